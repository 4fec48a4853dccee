"""Plausible wrong answers to the tasks of chapter 06, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

FLAT = """def flat_share(count, weight, h):
    before = count(weight)
    unchanged = 0
{setup}    for i in range(weight.numel()):
{nudge}
        unchanged += int(count(nudged) {same} before)
    return {result}
"""
CLONE = "        nudged = weight.clone()\n        nudged.view(-1)[i] += h"

SPIKE = """class HardSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, slope):
        {save}
        return {forward}

    @staticmethod
    def backward(ctx, grad_spikes):
        {load}
        return {backward}


def spike(u, slope=25.0):
    return HardSpike.apply(u, slope)
"""

BPTT = """def bptt(membrane, grad_spikes, beta, threshold=1.0):
    grad_current = torch.empty_like(membrane)
    later = torch.zeros_like(membrane[0])
    for t in {order}:
        slope = 1 / (1 + 25 * ({distance}).abs()) ** 2
        later = {later}
        grad_current[t] = later
    return grad_current
"""

FINAL = """def final_membrane(x, w, beta, window):
    u = torch.zeros(x.shape[1], w.shape[0], dtype=x.dtype)
    for t, step in enumerate(x):
{body}
    return {result}
"""

DEAD = """def dead_share(membrane, threshold, slope, eps):
    surrogate = 1 / (1 + slope * {distance}) ** 2
    return {result}
"""

ROSSUM = """def van_rossum(a, b, tau_ms, dt_ms=1.0):
    decay = {decay}
    d, total = torch.zeros_like(a[0]), torch.zeros_like(a[0])
    for difference in {difference}:
        d = decay * d + difference
        total = total + {size}
    return {scale}total{last}
"""


def _flat(setup="", nudge=CLONE, same="==", result="unchanged / weight.numel()") -> str:
    return FLAT.format(setup=setup, nudge=nudge, same=same, result=result)


def _spike(
    forward="(u > 0).to(u.dtype)",
    backward="grad_spikes / (1 + ctx.slope * u.abs()) ** 2",
    save="ctx.save_for_backward(u)\n        ctx.slope = slope",
    load="(u,) = ctx.saved_tensors",
    rest=", None",
) -> str:
    return SPIKE.format(forward=forward, backward=backward + rest, save=save, load=load)


def _bptt(
    order="reversed(range(len(membrane)))",
    distance="membrane[t] - threshold",
    later="slope * grad_spikes[t] + beta * later",
) -> str:
    return BPTT.format(order=order, distance=distance, later=later)


def _final(*lines: str, result: str = "u") -> str:
    return FINAL.format(body="\n".join(f"        {line}" for line in lines), result=result)


def _dead(
    result="(surrogate.amax((0, 1)) < eps).double().mean().item()", distance="(membrane - threshold).abs()"
) -> str:
    return DEAD.format(distance=distance, result=result)


def _rossum(
    decay="math.exp(-dt_ms / tau_ms)", difference="a - b", size="d**2", scale="dt_ms / tau_ms * ", last=""
) -> str:
    return ROSSUM.format(decay=decay, difference=difference, size=size, scale=scale, last=last)


STEP = "u = beta * u + step @ w.T"

WRONG = {
    "flat-share": [
        Wrong(
            "nudges add up",
            _flat(setup="    nudged = weight.clone()\n", nudge="        nudged.view(-1)[i] += h"),
            "from the original weights again",
        ),
        Wrong("nudges all weights at once", _flat(nudge="        nudged = weight + h"), "nudge a single weight"),
        Wrong(
            "changes the weights it was given",
            _flat(nudge="        nudged = weight\n        nudged.view(-1)[i] += h"),
            "nudge a clone",
        ),
        Wrong("share that changes", _flat(same="!="), "does NOT change"),
        Wrong("a number, not a share", _flat(result="unchanged"), "divide by the number of weights"),
        Wrong(
            "nudges a whole row",
            _flat(nudge="        nudged = weight.clone()\n        nudged[i // weight.shape[1]] += h"),
            "nudge a single weight",
        ),
    ],
    "spike-function": [
        Wrong("surrogate in the forward pass", _spike(forward="u / (1 + slope * u.abs())"), "all or nothing"),
        Wrong(
            "gradient from above ignored",
            _spike(backward="1 / (1 + ctx.slope * u.abs()) ** 2"),
            "what comes from above",
        ),
        Wrong("no absolute value", _spike(backward="grad_spikes / (1 + ctx.slope * u) ** 2"), "|u|, on both sides"),
        Wrong("bracket not squared", _spike(backward="grad_spikes / (1 + ctx.slope * u.abs())"), "squared"),
        Wrong(
            "slope in front",
            _spike(backward="grad_spikes * ctx.slope / (1 + ctx.slope * u.abs()) ** 2"),
            "inside the bracket only",
        ),
        Wrong("fires at the threshold", _spike(forward="(u >= 0).to(u.dtype)"), "not ≥"),
        Wrong("slope fixed at 25", _spike(backward="grad_spikes / (1 + 25 * u.abs()) ** 2"), "Is the slope"),
        Wrong(
            "true derivative",
            _spike(backward="torch.zeros_like(grad_spikes)"),
            "φ'(-0.5) = .00549",
        ),
        Wrong(
            "slope among the saved tensors",
            _spike(
                save="ctx.save_for_backward(u, slope)",
                load="u, slope = ctx.saved_tensors",
                backward="grad_spikes / (1 + slope * u.abs()) ** 2",
            ),
            "The fault is in forward",
        ),
        Wrong("no value for the slope", _spike(rest=""), "one value for each argument of forward"),
        Wrong(
            "threshold subtracted twice",
            _spike(forward="(u > 1).to(u.dtype)"),
            "give spikes 0, 1, 1",
        ),
    ],
    "bptt-by-hand": [
        Wrong("forward in time", _bptt(order="range(len(membrane))"), "nothing comes from later steps"),
        Wrong("no carry", _bptt(later="slope * grad_spikes[t]"), "nothing comes from later steps"),
        Wrong("surrogate on the carry too", _bptt(later="slope * (grad_spikes[t] + beta * later)"), "by β alone"),
        Wrong("distance to the threshold forgotten", _bptt(distance="membrane[t]"), "not at U"),
        Wrong("no leak", _bptt(later="slope * grad_spikes[t] + later"), "times β"),
        Wrong(
            "through the reset",
            _bptt(later="slope * (grad_spikes[t] - threshold * later) + beta * later"),
            "right for another convention",
        ),
        Wrong(
            "list not reversed",
            "def bptt(membrane, grad_spikes, beta, threshold=1.0):\n"
            "    later, grads = torch.zeros_like(membrane[0]), []\n"
            "    for u, g in zip(membrane.flip(0), grad_spikes.flip(0)):\n"
            "        later = g / (1 + 25 * (u - threshold).abs()) ** 2 + beta * later\n"
            "        grads.append(later)\n"
            "    return torch.stack(grads)\n",
            "put them back in order",
        ),
        Wrong("threshold fixed at 1", _bptt(distance="membrane[t] - 1"), "off from autograd"),
        Wrong("gradient of the spikes ignored", _bptt(later="slope + beta * later"), "off from autograd"),
    ],
    "truncated": [
        Wrong("never detached", _final(STEP), "the whole past"),
        Wrong(
            "membrane set to zero",
            _final("if t % window == 0:", "    u = torch.zeros_like(u)", STEP),
            "never the membrane",
        ),
        Wrong("detached after the last step", _final(STEP, result="u.detach()"), "nothing to differentiate"),
        Wrong("detached in every step", _final("u = beta * u.detach() + step @ w.T"), "not where it ends"),
        Wrong("one step late", _final(STEP, "if t % window == 0:", "    u = u.detach()"), "one step late"),
        Wrong(
            "one step early",
            _final("if (t + 1) % window == 0:", "    u = u.detach()", STEP),
            "not where it ends",
        ),
        Wrong(
            "weights the other way round",
            _final("if t % window == 0:", "    u = u.detach()", "u = beta * u + step @ w"),
            "w is [M, N]",
        ),
        Wrong(
            "no leak", _final("if t % window == 0:", "    u = u.detach()", "u = u + step @ w.T"), "never the membrane"
        ),
    ],
    "dead-share": [
        Wrong(
            "silent counted as dead", _dead("(membrane <= threshold).all(0).all(0).double().mean().item()"), "Silent is"
        ),
        Wrong("share of entries", _dead("(surrogate < eps).double().mean().item()"), "count neurons"),
        Wrong(
            "dead in any step", _dead("(surrogate < eps).any(0).any(0).double().mean().item()"), "enough to be alive"
        ),
        Wrong("distance to the threshold forgotten", _dead(distance="membrane.abs()"), "is the distance U − θ"),
        Wrong("per sample", _dead("(surrogate < eps).all(0).double().mean().item()"), "once per sample"),
        Wrong("per step", _dead("(surrogate < eps).all(1).double().mean().item()"), "once per step"),
        Wrong("mean instead of maximum", _dead("(surrogate.mean((0, 1)) < eps).double().mean().item()"), "50 neurons"),
        Wrong("share of the living", _dead("(surrogate.amax((0, 1)) >= eps).double().mean().item()"), "not the living"),
        Wrong("a number of neurons", _dead("(surrogate.amax((0, 1)) < eps).sum().item()"), "dead"),
        Wrong("no absolute value", _dead(distance="(membrane - threshold)"), "below θ and above"),
        Wrong("no absolute value, turned round", _dead(distance="(threshold - membrane)"), "below θ and above"),
        Wrong(
            "a neuron that fires counted as alive",
            _dead("((surrogate.amax((0, 1)) < eps) & ~(membrane > threshold).any(0).any(0)).double().mean().item()"),
            "fired or not",
        ),
        Wrong("threshold fixed at 1", _dead(distance="(membrane - 1).abs()"), "are dead"),
    ],
    "van-rossum": [
        Wrong(
            "squared difference of counts",
            "def van_rossum(a, b, tau_ms, dt_ms=1.0):\n    return (a.sum(0) - b.sum(0)) ** 2\n",
            "nearly on time",
        ),
        Wrong(
            "step by step",
            "def van_rossum(a, b, tau_ms, dt_ms=1.0):\n    return (a != b).double().sum(0) / 2\n",
            "nearly on time",
        ),
        Wrong("decay without dt", _rossum(decay="math.exp(-1 / tau_ms)"), "not by exp(−1/τ)"),
        Wrong("no dt/τ in front", _rossum(scale=""), "in front is missing"),
        Wrong("size instead of square", _rossum(size="d.abs()"), "not its size"),
        Wrong("sign lost before filtering", _rossum(difference="(a - b).abs()"), "with its sign"),
        Wrong("one number for all trains", _rossum(scale="dt_ms / tau_ms * ", last=".sum()"), "have distances [2, 3]"),
    ],
}
