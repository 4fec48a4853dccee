"""Plausible wrong answers to the tasks of chapter 11, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

FOLD = """def fold_batchnorm(weight, bias, gamma, beta, mean, var, eps=1e-5):
    gain = {gain}
    return {weight}, {bias}
"""
GAIN = "gamma / torch.sqrt(var + eps)"
SCALED = "weight * gain[:, None, None, None]"
SHIFTED = "gain * (bias - mean) + beta"

RATE = """def if_rate(z, num_steps, v0=0.0):
    v, count = torch.full_like(z, {begin}), torch.zeros_like(z)
    for _ in range(num_steps):
        {step}
        count = count + s
    return {rate}
"""
INTEGRATE = "v = v + z"
FIRE = "s = (v > 1).to(z.dtype)"
SUBTRACT = "v = v - s"

SCALES = """def channel_scales(activation, q=0.999):
    {lines}
"""
ROWS = "rows = activation.transpose(0, 1).flatten(1)"
RARE = "scale = torch.where(scale > 0, scale, rows.amax(1))"
SILENT = "return torch.where(scale > 0, scale, scale.max())"

NORMALISE = """def normalise(weight, bias, scale_in, scale_out):
    before, after = scale_in[None, :, None, None], scale_out[:, None, None, None]
    return {weight}, {bias}
"""

SIGNED = """def signed_if(current, alpha=0.1):
    v, spikes = torch.zeros_like(current[0]), torch.zeros_like(current)
    for t, z in enumerate(current):
        v = v + z
        up, down = (v > 1).to(v.dtype), (v < {lower}).to(v.dtype)
        spikes[t] = {spike}
        v = {after}
    return spikes
"""


def _fold(gain: str = GAIN, weight: str = SCALED, bias: str = SHIFTED) -> str:
    return FOLD.format(gain=gain, weight=weight, bias=bias)


def _rate(*steps: str, begin: str = "v0", rate: str = "count / num_steps") -> str:
    return RATE.format(begin=begin, step="\n        ".join(steps), rate=rate)


def _scales(*lines: str) -> str:
    return SCALES.format(lines="\n    ".join(lines))


def _normalise(weight: str = "weight * before / after", bias: str = "bias / scale_out") -> str:
    return NORMALISE.format(weight=weight, bias=bias)


def _signed(lower: str = "-1 / alpha", spike: str = "up - down", after: str = "v - up + down / alpha") -> str:
    return SIGNED.format(lower=lower, spike=spike, after=after)


WRONG = {
    "fold-batchnorm": [
        Wrong("mean forgotten", _fold(bias="gain * bias + beta"), hint="shift by the mean"),
        Wrong("variance without the root", _fold(gain="gamma / (var + eps)"), hint="standard deviation"),
        Wrong("bias unscaled", _fold(bias="bias - gain * mean + beta"), hint="the bias passes through the scale too"),
        Wrong("scale on the input channels", _fold(weight="weight * gain[None, :, None, None]"), hint="output"),
        Wrong("scaled before the mean is taken away", _fold(bias="gain * bias - mean + beta"), hint="before scaling"),
        Wrong("epsilon forgotten", _fold(gain="gamma / torch.sqrt(var)"), hint="ε inside of the root"),
        Wrong("fixed epsilon", _fold(gain="gamma / torch.sqrt(var + 0.01)"), hint="as it is given"),
    ],
    "if-rate": [
        Wrong("hard reset", _rate(INTEGRATE, FIRE, "v = v * (1 - s)"), hint="surplus"),
        Wrong("fires before it integrates", _rate(FIRE, "v = v + z - s"), hint="integrate first"),
        Wrong("leak", _rate("v = 0.9 * v + z", FIRE, SUBTRACT), hint="forgets nothing"),
        Wrong("count", _rate(INTEGRATE, FIRE, SUBTRACT, rate="count"), hint="per step"),
        Wrong("initial charge ignored", _rate(INTEGRATE, FIRE, SUBTRACT, begin="0.0"), hint="begin with the charge v0"),
        Wrong("several spikes in a step", _rate(INTEGRATE, "s = v.floor().clamp(min=0)", SUBTRACT), hint="one spike"),
    ],
    "channel-scales": [
        Wrong(
            "layer-wise",
            _scales("return activation.quantile(q).expand(activation.shape[1]).clone()"),
            hint="one scale per channel, not for the layer",
        ),
        Wrong("for each picture", _scales("return activation.flatten(1).quantile(q, dim=1)"), hint="per channel"),
        Wrong(
            "reshape without transpose",
            _scales(
                "rows = activation.reshape(activation.shape[1], -1)", "scale = rows.quantile(q, dim=1)", RARE, SILENT
            ),
            hint="mixes images and channels",
        ),
        Wrong("maximum", _scales(ROWS, "scale = rows.amax(1)", SILENT), hint="one outlier"),
        Wrong("no floor", _scales(ROWS, "scale = rows.quantile(q, dim=1)", RARE, "return scale"), hint="silent"),
        Wrong(
            "quantile of the positive values",
            _scales(
                ROWS, "return torch.stack([row[row > 0].quantile(q) if row.any() else rows.max() for row in rows])"
            ),
            hint="zeros too",
        ),
        Wrong(
            "tiny floor",
            _scales(ROWS, "scale = rows.quantile(q, dim=1)", RARE, "return scale.clamp(min=1e-6)"),
            hint="it may fire on the next picture",
        ),
        Wrong(
            "rare channel like a silent one",
            _scales(ROWS, "scale = rows.quantile(q, dim=1)", SILENT),
            hint="takes its maximum",
        ),
    ],
    "normalise": [
        Wrong("scale of the inputs inverted", _normalise("weight / before / after"), hint="the weight must grow"),
        Wrong("bias left as it is", _normalise(bias="bias"), hint="bias"),
        Wrong(
            "bias treated as a weight",
            _normalise(bias="bias * scale_in / scale_out"),
            hint="no input stands before the bias",
        ),
        Wrong("scale of the inputs ignored", _normalise("weight / after"), hint="previous layer"),
        Wrong("scale of the outputs inverted", _normalise("weight * before * after"), hint="must come out divided"),
        Wrong(
            "axes exchanged",
            _normalise("weight * scale_in[:, None, None, None] / scale_out[None, :, None, None]"),
            hint="exchanged",
        ),
    ],
    "signed-if": [
        Wrong("symmetric threshold", _signed("-1", after="v - up + down"), hint="leaky, not linear"),
        Wrong("reset by 1", _signed(after="v - up + down"), hint="reset by the threshold crossed"),
        Wrong("threshold at minus alpha", _signed("-alpha", after="v - up + alpha * down"), hint="1/α"),
        Wrong("plain neuron", _signed(spike="up", after="v - up"), hint="negative spikes"),
        Wrong("hard reset", _signed(after="v * (1 - up - down)"), hint="above 1 fire and subtract 1"),
        Wrong("spike of size alpha", _signed("-1", "up - alpha * down", "v - up + down"), hint="spikes are −1, 0 or 1"),
    ],
}
