"""Plausible wrong answers to the tasks of chapter 04, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

DECODE = """def decode_aer(raw):
    {guard}
    byte = np.frombuffer(raw, dtype=np.uint8){cut}.reshape(-1, 5){cast}
    t = {time}
    return {columns}
"""
GUARD = 'if len(raw) % 5: raise ValueError("no whole number of events")'
TIME = "(byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]"

FRAMES = """def frames(x, y, p, t, num_steps, window_us, size=34):
    step = {step}
    {late}
    x, y, p, step = x[inside], y[inside], p[inside], step[inside]
    counts = np.zeros((num_steps, 2, size, size), dtype=np.int64)
    {add}
    return {answer}
"""
ADD = "np.add.at(counts, (step, p, y, x), 1)"

PIXEL = """def dvs_pixel(log_i, contrast):
    reference, events = {start}, []
    for step, value in enumerate(log_i):
        n = int(({signal} - reference) / contrast)
        {limit}
        reference = {move}
        events += [(step, 1 if n > 0 else -1)] * abs(n)
    return events
"""


def _decode(
    guard=GUARD, cut="", cast=".astype(np.int64)", time=TIME, columns="byte[:, 0], byte[:, 1], byte[:, 2] >> 7, t"
):
    return DECODE.format(guard=guard, cut=cut, cast=cast, time=time, columns=columns)


def _frames(step="t // window_us", late="inside = step < num_steps", add=ADD, answer="counts"):
    return FRAMES.format(step=step, late=late, add=add, answer=answer)


def _pixel(start="float(log_i[0])", signal="value", limit="pass", move="reference + n * contrast"):
    return PIXEL.format(start=start, signal=signal, limit=limit, move=move)


def _shuffle(*lines: str) -> str:
    return "def shuffle_time(x, y, p, t, rng):\n" + "".join(f"    {line}\n" for line in lines)


def _currents(*lines: str) -> str:
    return "def event_currents(step, address, weight, num_steps):\n" + "".join(f"    {line}\n" for line in lines)


ZEROS = "out = torch.zeros(num_steps, weight.shape[1], dtype=weight.dtype)"

WRONG = {
    "decode-aer": [
        Wrong("polarity bit left in the time", _decode(time=TIME.replace(" & 127", "")), "& 127"),
        Wrong(
            "least significant byte first",
            _decode(time="(byte[:, 2] & 127) | byte[:, 3] << 8 | byte[:, 4] << 16"),
            "the wrong order",
        ),
        Wrong(
            "shifts in eight bits",
            _decode(
                cast="",
                time="((byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]).astype(np.int64)",
                columns="*(byte[:, i].astype(np.int64) for i in (0, 1)), (byte[:, 2] >> 7).astype(np.int64), t",
            ),
            "uint8 cannot hold",
        ),
        Wrong("y before x", _decode(columns="byte[:, 1], byte[:, 0], byte[:, 2] >> 7, t"), "x comes first"),
        Wrong(
            "polarity from the lowest bit", _decode(columns="byte[:, 0], byte[:, 1], byte[:, 2] & 1, t"), "the top bit"
        ),
        Wrong(
            "broken files read as far as they go",
            _decode(guard="", cut="[: len(raw) // 5 * 5]"),
            "a broken file goes unnoticed",
        ),
        Wrong("floats", _decode(cast=".astype(np.int64)", time=f"({TIME}) * 1.0"), "int64"),
        Wrong(
            "times wrap at 16 bits",
            _decode(time="byte[:, 3] << 8 | byte[:, 4]"),
            "t is wrong in",
        ),
    ],
    "frames": [
        Wrong("repeated indices added once", _frames(add="counts[step, p, y, x] += 1"), "an index occurs twice"),
        Wrong("0 and 1 instead of counts", _frames(answer="(counts > 0).astype(np.int64)"), "not only 0 and 1"),
        Wrong("columns before rows", _frames(add="np.add.at(counts, (step, p, x, y), 1)"), "rows come before columns"),
        Wrong("ON in channel 0", _frames(add="np.add.at(counts, (step, 1 - p, y, x), 1)"), "channel 1 is ON"),
        Wrong("rounded to the nearest step", _frames(step="np.round(t / window_us).astype(np.int64)"), "round down"),
        Wrong(
            "late events moved into the last step",
            _frames(step="np.minimum(t // window_us, num_steps - 1)"),
            "not moved into it",
        ),
        Wrong("late events not dropped", _frames(late="inside = slice(None)"), "leave them out"),
        Wrong("window taken for the whole", _frames(step="t * num_steps // window_us"), "width of one step"),
        Wrong(
            "size of N-MNIST written in",
            _frames().replace("num_steps, 2, size, size", "num_steps, 2, 34, 34"),
            "frames of 8 × 8",
        ),
    ],
    "dvs-pixel": [
        Wrong("one event per step", _pixel(limit="n = max(-1, min(1, n))"), "more than one event may be due"),
        Wrong(
            "linear intensity",
            _pixel(start="math.exp(log_i[0])", signal="math.exp(value)"),
            "a logarithm already",
        ),
        Wrong("reference snaps to the signal", _pixel(move="reference if n == 0 else value"), "not to the signal"),
        Wrong("neighbours compared", _pixel(move="value"), "not with the neighbour"),
        Wrong("reference never moves", _pixel(move="reference"), "has to move"),
        Wrong("reference starts at zero", _pixel(start="0.0"), "the first sample is the reference"),
        Wrong("a fall is an ON event too", _pixel().replace("1 if n > 0 else -1", "1"), "two OFF in step 4"),
    ],
    "shuffle-time": [
        Wrong(
            "whole events permuted",
            _shuffle("order = rng.permutation(len(t))", "return x[order], y[order], p[order], t[order]"),
            "whole rows change places",
        ),
        Wrong(
            "every column permuted",
            _shuffle("return tuple(rng.permutation(column) for column in (x, y, p, t))"),
            "the picture has changed",
        ),
        Wrong(
            "new times drawn",
            _shuffle("return x, y, p, rng.integers(0, t.max() + 1, len(t))"),
            "set of times has changed",
        ),
        Wrong(
            "jittered by 1 ms", _shuffle("return x, y, p, t + rng.integers(-1000, 1001, len(t))"), "move them a little"
        ),
        Wrong("reversed", _shuffle("return x, y, p, t[::-1].copy()"), "reversed time is still in order"),
        Wrong(
            "shuffled, then sorted on its own",
            _shuffle("return x, y, p, np.sort(rng.permutation(t))"),
            "sorted on its own",
        ),
        Wrong("shuffled in place", _shuffle("rng.shuffle(t)", "return x, y, p, t"), "have changed"),
        Wrong(
            "a generator of its own",
            _shuffle("return x, y, p, np.random.default_rng(0).permutation(t)"),
            "take all chance from rng",
        ),
    ],
    "event-currents": [
        Wrong(
            "repeated indices added once", _currents(ZEROS, "out[step] += weight[address]", "return out"), "adds once"
        ),
        Wrong(
            "mean of the rows",
            _currents(
                ZEROS,
                "out.index_add_(0, step, weight[address])",
                "return out / torch.bincount(step, minlength=num_steps).clamp(min=1).unsqueeze(1)",
            ),
            "a mean divides",
        ),
        Wrong(
            "equal events counted once",
            _currents(
                "step, address = torch.stack((step, address)).unique(dim=1)",
                ZEROS,
                "return out.index_add_(0, step, weight[address])",
            ),
            "each of two equal events counts",
        ),
        Wrong(
            "columns for rows",
            _currents(ZEROS, "return out.index_add_(0, step, weight[:, address].T)"),
            "not column",
        ),
        Wrong(
            "as many steps as events reach",
            _currents(
                "out = torch.zeros(int(step.max()) + 1, weight.shape[1], dtype=weight.dtype)",
                "return out.index_add_(0, step, weight[address])",
            ),
            "num_steps rows",
        ),
    ],
}
