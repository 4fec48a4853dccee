"""Plausible wrong answers to the tasks of chapter 13, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

MACS = """def conv_macs(conv, height, width):
    places = 1
    for axis, side in enumerate((height, width)):
        span = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
        places *= {places}
    return {macs}
"""
PLACES = "(side + 2 * conv.padding[axis] - span) // conv.stride[axis] + 1"
PRODUCT = "places * conv.weight.numel()"

ADDITIONS = """def synaptic_operations(spikes, conv):
    {lines}
"""
ONES = "ones = torch.ones_like(conv.weight, dtype=spikes.dtype)"
SHAPE = "shape = (conv.stride, conv.padding, conv.dilation, conv.groups)"


def _macs(places: str = PLACES, macs: str = PRODUCT) -> str:
    return MACS.format(places=places, macs=macs)


def _additions(*lines: str) -> str:
    return ADDITIONS.format(lines="\n    ".join(lines))


def _by_ones(spikes: str, *, ones: str = ONES, value: str = "reached.sum().item()") -> str:
    return _additions(ones, SHAPE, f"reached = F.conv2d({spikes}, ones, None, *shape)", f"return {value}")


def _joules(value: str) -> str:
    return f"def energy_joules(macs, acs, e_mac_pj=4.6, e_ac_pj=0.9):\n    return {value}\n"


def _rate(value: str) -> str:
    return f"def break_even_rate(num_steps, e_mac=4.6, e_ac=0.9, ann_zeros=0.0):\n    return {value}\n"


def _chip(value: str) -> str:
    return f"def chip_energy(ops_per_step, num_steps, gops_per_watt):\n    return {value}\n"


FAN_OUT = "conv.weight[:, 0].numel()"

WRONG = {
    "conv-macs": [
        Wrong("input positions", _macs(places="side"), hint="output positions"),
        Wrong("FLOPs", _macs(macs=f"2 * {PRODUCT}"), hint="FLOPs are two per MAC"),
        Wrong("weights only", _macs(macs="conv.weight.numel()"), hint="times positions"),
        Wrong(
            "groups ignored",
            _macs(macs="places * conv.in_channels * conv.out_channels * conv.weight[0, 0].numel()"),
            hint="in_channels / groups",
        ),
        Wrong("one channel out", _macs(macs="places * conv.weight[0].numel()"), hint="32 output channels"),
        Wrong("no padding", _macs(places="(side - span) // conv.stride[axis] + 1"), hint="padding of 1"),
        Wrong(
            "square kernels",
            _macs(macs="places * conv.weight[:, :, 0, 0].numel() * conv.kernel_size[0] ** 2"),
            hint="rows and columns",
        ),
        Wrong("raises", "def conv_macs(conv, height, width):\n    raise KeyError('k')\n", hint="Output places"),
    ],
    "synaptic-operations": [
        Wrong("constant fan-out", _additions(f"return spikes.sum().item() * {FAN_OUT}"), hint="border"),
        Wrong(
            "fan-out over the stride",
            _additions(f"return spikes.sum().item() * {FAN_OUT} / (conv.stride[0] * conv.stride[1])"),
            hint="border",
        ),
        Wrong("not by value", _by_ones("(spikes != 0).to(spikes.dtype).sum(0)"), hint="value"),
        Wrong("mean over time", _by_ones("spikes.mean(0)"), hint="every step costs"),
        Wrong("mean over samples", _by_ones("spikes.sum(0)", value="reached.sum().item() / 2"), hint="every sample"),
        Wrong(
            "rate times MAC",
            _additions(
                "steps, samples, _, height, width = spikes.shape",
                "places = (height // conv.stride[0]) * (width // conv.stride[1])",
                "return spikes.mean().item() * places * conv.weight.numel() * steps * samples",
            ),
            hint="border",
        ),
        Wrong("spikes only", _additions("return spikes.sum().item()"), hint="reaches many neurons"),
        Wrong("its own weights", _by_ones("spikes.sum(0)", ones="ones = conv.weight.double()"), hint="weights to 1"),
        Wrong(
            "stride forgotten",
            _additions(ONES, "reached = F.conv2d(spikes.sum(0), ones, None, 1, conv.padding, 1, conv.groups)")
            + "    return reached.sum().item()\n",
            hint="which outputs does each pixel feed",
        ),
    ],
    "energy-joules": [
        Wrong("two operations per MAC", _joules("(2 * macs * e_mac_pj + acs * e_ac_pj) * 1e-12"), hint="paid once"),
        Wrong("nano", _joules("(macs * e_mac_pj + acs * e_ac_pj) * 1e-9"), hint="pico"),
        Wrong("all are additions", _joules("(macs + acs) * e_ac_pj * 1e-12"), hint="a layer that multiplies"),
        Wrong("hard-coded", _joules("(macs * 4.6 + acs * 0.9) * 1e-12"), hint="use the arguments"),
        Wrong("prices swapped", _joules("(macs * e_ac_pj + acs * e_mac_pj) * 1e-12"), hint="swapped"),
    ],
    "break-even": [
        Wrong("no T", _rate("(1 - ann_zeros) * e_mac / e_ac"), hint="every step is paid"),
        Wrong("inverse", _rate("e_ac / (num_steps * e_mac)"), hint="cheaper additions allow more spikes"),
        Wrong("no prices", _rate("(1 - ann_zeros) / num_steps"), hint="price ratio"),
        Wrong("zeros ignored", _rate("e_mac / (num_steps * e_ac)"), hint="the ANN may skip zeros too"),
        Wrong(
            "zeros, not the rest", _rate("(ann_zeros or 1) ** 2 * e_mac / (num_steps * e_ac)"), hint="skip zeros too"
        ),
        Wrong("zeros for the rest", _rate("ann_zeros * e_mac / (num_steps * e_ac)"), hint="1 − ann_zeros"),
        Wrong("hard-coded", _rate("(1 - ann_zeros) * 4.6 / (num_steps * 0.9)"), hint="use the arguments"),
        Wrong("upside down", _rate("num_steps * e_ac / e_mac"), hint="more steps allow fewer spikes"),
    ],
    "chip-energy": [
        Wrong("joule seconds", _chip("ops_per_step * num_steps * 1e-3 / (gops_per_watt * 1e9)"), hint="J·s"),
        Wrong("one step", _chip("ops_per_step / (gops_per_watt * 1e9)"), hint="all steps"),
        Wrong("giga lost", _chip("ops_per_step * num_steps / gops_per_watt"), hint="powers of ten"),
        Wrong("multiplied", _chip("ops_per_step * num_steps * gops_per_watt * 1e9"), hint="fewer joules"),
        Wrong("always 400", _chip("ops_per_step * num_steps / 400e9"), hint="use the arguments"),
    ],
}
