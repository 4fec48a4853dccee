"""Plausible wrong answers to the tasks of chapter 12, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong


def _answer(signature: str, *lines: str) -> str:
    return f"def {signature}:\n    " + "\n    ".join(lines) + "\n"


def _direct(*lines: str) -> str:
    return _answer("direct_encode(conv, image, num_steps)", *lines)


def _current(*lines: str) -> str:
    return _answer("decode_current_mean(spikes, weight, bias)", *lines)


RIGHT_ERROR = "return (high - low) / num_steps / 2"
RIGHT_LEVELS = (
    "inside = raw.clamp(low, high)",
    "gap = (high - low) / num_steps",
    "said = low + gap * ((inside - low) / gap).round()",
    "return inside + (said - inside).detach()",
)


def _coarse(error: str, levels: tuple[str, ...]) -> str:
    bound = _answer("worst_rate_error(num_steps, low, high)", error)
    return bound + "\n\n" + _answer("in_levels(raw, num_steps, low, high)", *levels)


def _error(line: str) -> str:
    return _coarse(line, RIGHT_LEVELS)


def _levels(*lines: str) -> str:
    return _coarse(RIGHT_ERROR, lines)


def _said(number: int, line: str) -> str:
    """The right answer but for one of its four lines."""
    return _levels(*RIGHT_LEVELS[:number], line, *RIGHT_LEVELS[number + 1 :])


def _loss(*lines: str) -> str:
    return _answer("weighted(loss, h)", *lines)


def _fold(*lines: str) -> str:
    return _answer("fold_time(x, layer)", *lines)


IF = """def if_neuron(current, threshold=1.0, reset="soft"):
    potential = torch.zeros_like(current[0])
    spikes = []
    for drive in current:
        {integrate}
        spike = ({fires}).to(current.dtype)
        {reset}
        spikes.append(spike)
    return torch.stack(spikes)
"""
INTEGRATE = "potential = potential + drive"
FIRES = "potential > threshold"
SOFT, HARD = "potential - threshold * spike", "potential * (1 - spike)"


def _if(integrate: str = INTEGRATE, fires: str = FIRES, soft: str = SOFT, hard: str = HARD) -> str:
    reset = f'potential = {soft} if reset == "soft" else {hard}'
    return IF.format(integrate=integrate, fires=fires, reset=reset)


WRONG = {
    "direct-once": [
        Wrong("a loop", _direct("return torch.stack([conv(image) for _ in range(num_steps)])"), "ran 5 times"),
        Wrong("copies along the batch", _direct("return conv(image.repeat(num_steps, 1, 1, 1))"), "new axis"),
        Wrong(
            "time behind the batch",
            _direct("return conv(image).unsqueeze(1).repeat(1, num_steps, 1, 1, 1)"),
            "in front",
        ),
        Wrong(
            "current divided among the steps",
            _direct("current = conv(image) / num_steps", "return current.expand(num_steps, *current.shape)"),
            "each step gets the whole",
        ),
        Wrong(
            "shown in the first step only",
            _direct(
                "current = conv(image)",
                "out = torch.zeros(num_steps, *current.shape, dtype=current.dtype)",
                "out[0] = current",
                "return out",
            ),
            "every step",
        ),
        Wrong(
            "copies in memory",
            _direct("current = conv(image)", "return torch.stack([current] * num_steps)"),
            "view of its map",
        ),
        Wrong(
            "cut off from the gradient",
            _direct("current = conv(image).detach()", "return current.expand(num_steps, *current.shape)"),
            "do not detach",
        ),
    ],
    "current-mean": [
        Wrong("sum over the steps", _current("return (spikes @ weight.T + bias).sum(0)"), "take the mean"),
        Wrong("sum, bias once", _current("return spikes.sum(0) @ weight.T + bias"), "take the mean"),
        Wrong(
            "bias over T", _current("return spikes.mean(0) @ weight.T + bias / len(spikes)"), "bias comes every step"
        ),
        Wrong("last step only", _current("return spikes[-1] @ weight.T + bias"), "all steps"),
        Wrong(
            "spikes of the output",
            _current(
                "current = spikes @ weight.T + bias",
                "return integrate_and_fire(current).spikes.mean(0)",
            ),
            "no threshold at the end",
        ),
        Wrong("bias forgotten", _current("return spikes.mean(0) @ weight.T"), "where is the bias"),
        Wrong(
            "one call, T times the work", _current("return (spikes @ weight.T + bias).mean(0)"), "in however many calls"
        ),
        Wrong(
            "a loop",
            _current("return sum(step @ weight.T + bias for step in spikes) / len(spikes)"),
            "costs 4 products",
        ),
    ],
    "coarse": [
        Wrong("levels for gaps", _error("return (high - low) / (num_steps + 1) / 2"), "gaps, not levels"),
        Wrong("the whole gap", _error("return (high - low) / num_steps"), "nearest"),
        Wrong(
            "words of T bits",
            _error("return (high - low) / (2**num_steps - 1) / 2"),
            "order of spikes does not matter in a count",
        ),
        Wrong("low ignored", _error("return high / num_steps / 2"), "range"),
        Wrong(
            "as if it were noise",
            _error("return (high - low) / num_steps**0.5 / 2"),
            "a count of a constant is no noise",
        ),
        Wrong("T values", _said(1, "gap = (high - low) / (num_steps - 1)"), "T values"),
        Wrong("T + 2 values", _said(1, "gap = (high - low) / (num_steps + 1)"), "T + 2 values"),
        Wrong("no cut off", _said(0, "inside = raw"), "where is the cut"),
        Wrong("floor", _said(2, "said = low + gap * ((inside - low) / gap).floor()"), "rounds down"),
        Wrong("values counted from 0", _said(2, "said = gap * (inside / gap).round()"), "starts there"),
        Wrong(
            "range from 0",
            _levels("low = 0.0", *RIGHT_LEVELS),
            "no spike says low",
        ),
        Wrong("the rate itself", _said(2, "said = ((inside - low) / gap).round() / num_steps"), "that is the rate"),
        Wrong("not rounded", _levels("return raw.clamp(low, high)"), "not rounded"),
        Wrong("gradient of round", _said(3, "return said"), "straight through"),
        Wrong("no gradient", _said(3, "return said.detach()"), "no gradient comes back"),
        Wrong("gradient outside, too", _said(3, "return raw + (said - raw).detach()"), "outside the range"),
        Wrong(
            "gradient of the rate",
            _said(3, "return inside / (high - low) + (said - inside / (high - low)).detach()"),
            "1 is wanted",
        ),
        Wrong("worked range written in", _levels("low, high = -1.0, 5.0", *RIGHT_LEVELS), "on fresh numbers"),
        Wrong("worked T written in", _levels("num_steps = 4", *RIGHT_LEVELS), "on fresh numbers"),
    ],
    "if-reset": [
        Wrong("subtracts 1", _if(soft="potential - spike"), "subtract the threshold"),
        Wrong("resets exchanged", _if(soft=HARD, hard=SOFT), "soft keeps the surplus"),
        Wrong("no reset", _if(soft="potential", hard="potential"), "reset"),
        Wrong("hard reset of silent neurons, too", _if(hard="torch.zeros_like(potential)"), "only where it fired"),
        Wrong("always soft", _if(hard=SOFT), "throws the surplus away"),
        Wrong("fires at the threshold", _if(fires="potential >= threshold"), "strictly >"),
        Wrong("threshold of 1", _if(fires="potential > 1"), "differ"),
    ],
    "loss-weight": [
        Wrong("the public code", _loss("loss = loss * 1.0", "loss *= loss.clone() * h", "return loss"), "squared"),
        Wrong("detached factor", _loss("return loss * (loss.detach() * h)"), "must not depend on the loss"),
        Wrong("normalised by itself", _loss("return h * loss / loss.detach()"), "value"),
        Wrong("loss detached", _loss("return h * loss.detach()"), "do not detach"),
        Wrong("weight forgotten", _loss("return loss * 1.0"), "h · ∇loss"),
        Wrong("number of the lesson written in", _loss("return 64.3 * loss"), "at every size of the loss"),
    ],
    "fold-time": [
        Wrong(
            "split as batch and time",
            _fold("out = layer(x.flatten(0, 1))", "return out.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)"),
            "step and sample mixed",
        ),
        Wrong(
            "mean over time first",
            _fold("return layer(x.mean(0)).expand(len(x), *layer(x.mean(0)).shape)"),
            "each step on its own",
        ),
        Wrong(
            "first step copied",
            _fold("out = layer(x[0])", "return out.expand(len(x), *out.shape)"),
            "at all steps",
        ),
        Wrong("a loop", _fold("return torch.stack([layer(step) for step in x])"), "run it once"),
        Wrong("time left in the batch", _fold("return layer(x.flatten(0, 1))"), "first in, first out"),
    ],
}
