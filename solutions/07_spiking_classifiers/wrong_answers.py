"""Plausible wrong answers to the tasks of chapter 07, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

FLATTEN = """def flatten_size(size, layers):
    for channels, kernel, padding, pool in layers:
        size = {side}
    return {values}
"""
SIDE = "(size + 2 * padding - kernel + 1) // pool"

LOSS = """def spike_count_loss(spikes, target, true=60, false=10):
    steps, batch, classes = spikes.shape
    wanted = {wanted}
    error = {error}
    return {loss}
"""
WANTED = "false + (true - false) * F.one_hot(target, classes)"
ERROR = "(spikes.sum(0) - wanted) / steps"
SQUARES = "0.5 * error.square().sum() * steps"

DECIDE = """def decide(spikes, membrane):
    never = len(spikes)
    first = {first}
    in_the_lead = first == first.amin(1, keepdim=True)
    return {winner}
"""
FIRST = "torch.where(spikes.any(0), spikes.argmax(0), never)"
WINNER = "membrane.amax(0).masked_fill(~in_the_lead, -math.inf).argmax(1)"

PENALTY = """def rate_penalty(spikes, low, high):
    rate = {rate}
    return {cost}
"""
RATE = "spikes.mean((0, 1))"
COST = "(F.relu(low - rate).square() + F.relu(rate - high).square()).mean()"

INTERVAL = """def wilson_interval(correct, total, z=1.96):
    p = correct / total
    {ends}
"""
WALD = "half = z * math.sqrt(p * (1 - p) / total)"
WILSON = (
    "half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))\n"
    "    middle, scale = p + z**2 / (2 * total), 1 + z**2 / total\n"
    "    low, high = (middle - half) / scale, (middle + half) / scale"
)


def _flatten(side: str = SIDE, values: str = "channels * size * size") -> str:
    return FLATTEN.format(side=side, values=values)


def _loss(wanted: str = WANTED, error: str = ERROR, loss: str = SQUARES) -> str:
    return LOSS.format(wanted=wanted, error=error, loss=loss)


def _decide(first: str = FIRST, winner: str = WINNER) -> str:
    return DECIDE.format(first=first, winner=winner)


def _penalty(rate: str = RATE, cost: str = COST) -> str:
    return PENALTY.format(rate=rate, cost=cost)


def _interval(*lines: str) -> str:
    return INTERVAL.format(ends="\n    ".join(lines))


WRONG = {
    "flatten-size": [
        Wrong("the kernel does not shrink the map", _flatten("size // pool"), "shrinks the map"),
        Wrong("padding ignored", _flatten("(size - kernel + 1) // pool"), "both sides"),
        Wrong("size minus kernel", _flatten("(size + 2 * padding - kernel) // pool"), "still fits once"),
        Wrong("pooling rounds up", _flatten("-(-(size + 2 * padding - kernel + 1) // pool)"), "remainder"),
        Wrong("padding on one side", _flatten("(size + padding - kernel + 1) // pool"), "both sides"),
        Wrong("channels forgotten", _flatten(values="size * size"), "16 channels"),
        Wrong(
            "channels of all blocks multiplied",
            "def flatten_size(size, layers):\n"
            "    values = 1\n"
            "    for channels, kernel, padding, pool in layers:\n"
            f"        size = {SIDE}\n"
            "        values = values * channels\n"
            "    return values * size * size\n",
            "only its own 16",
        ),
        Wrong("true division", _flatten("(size + 2 * padding - kernel + 1) / pool"), "an int"),
    ],
    "spike-count-loss": [
        Wrong("false neurons should be silent", _loss("true * F.one_hot(target, classes)"), "fire 10 times"),
        Wrong("targets exchanged", _loss("true + (false - true) * F.one_hot(target, classes)"), "exchanged"),
        Wrong(
            "columns filled for the whole batch",
            _loss("torch.full((batch, classes), float(false))\n    wanted[:, target] = true"),
            "in its own row",
        ),
        Wrong("rate minus count", _loss(error="spikes.mean(0) - wanted"), "no meaning"),
        Wrong(
            "counts not divided by T",
            _loss(loss="0.5 * error.square().sum()", error="spikes.sum(0) - wanted"),
            "of rates",
        ),
        Wrong(
            "error of each step",
            _loss(error="spikes - wanted / steps", loss="0.5 * error.square().sum()"),
            "sum over time first",
        ),
        Wrong("mean for sum", _loss(loss="0.5 * error.square().mean() * steps"), "not a mean"),
        Wrong("mean over the batch", _loss(loss="0.5 * error.square().sum() * steps / batch"), "not a mean"),
        Wrong("60 and 10 written in", _loss("10 + 50 * F.one_hot(target, classes)"), "written into the function"),
        Wrong("times T forgotten", _loss(loss="0.5 * error.square().sum()"), "times T"),
    ],
    "decide": [
        Wrong("silence is step 0", _decide(first="spikes.argmax(0)"), "not the fastest"),
        Wrong("by count", "def decide(spikes, membrane):\n    return spikes.sum(0).argmax(1)\n", "not by count"),
        Wrong("no rule for ties", _decide(winner="first.argmin(1)"), "who breaks the tie"),
        Wrong(
            "membrane only",
            "def decide(spikes, membrane):\n    return membrane.amax(0).argmax(1)\n",
            "not the membrane",
        ),
        Wrong(
            "last spike",
            _decide(first="torch.where(spikes.any(0), never - 1 - spikes.flip(0).argmax(0), never)"),
            "not the last",
        ),
        Wrong(
            "ties broken by everybody's membrane",
            _decide(winner="torch.where(in_the_lead.sum(1) > 1, membrane.amax(0).argmax(1), first.argmin(1))"),
            "no part of the tie",
        ),
        Wrong(
            "last membrane for the silent",
            _decide(winner="membrane[-1].masked_fill(~in_the_lead, -math.inf).argmax(1)"),
            "highest membrane",
        ),
    ],
    "rate-penalty": [
        Wrong("rate of the layer", _penalty(rate="spikes.mean()"), "not of the layer"),
        Wrong("only the upper side", _penalty(cost="F.relu(rate - high).square().mean()"), "below the band"),
        Wrong("only the lower side", _penalty(cost="F.relu(low - rate).square().mean()"), "above the band"),
        Wrong("rate per sample", _penalty(rate="spikes.mean(0)"), "specialist"),
        Wrong("counts for rates", _penalty(rate="spikes.sum((0, 1))"), "not a count"),
        Wrong("not squared", _penalty(cost="(F.relu(low - rate) + F.relu(rate - high)).mean()"), "squared"),
        Wrong("sum over neurons", _penalty(cost=COST.replace(".mean()", ".sum()")), "not a sum"),
    ],
    "wilson": [
        Wrong("Wald's interval", _interval(WALD, "return p - half, p + half"), "at p̂ itself"),
        Wrong(
            "Wald's interval, clipped",
            _interval(WALD, "return max(p - half, 0.0), min(p + half, 1.0)"),
            "at p̂ itself",
        ),
        Wrong(
            "root of n missing",
            _interval("half = z * math.sqrt(p * (1 - p))", "return max(p - half, 0.0), min(p + half, 1.0)"),
            "shrink with n",
        ),
        Wrong("one standard error", _interval("z = 1", WILSON, "return low, high"), "1.96 is not used"),
        Wrong("per cent", _interval(WILSON, "return 100 * low, 100 * high"), "per cent"),
        Wrong("z of 1.96 written in", _interval("z = 1.96", WILSON, "return low, high"), "z is an argument"),
        Wrong("ends exchanged", _interval(WILSON, "return high, low"), "low end comes first"),
    ],
}
