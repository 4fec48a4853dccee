"""Plausible wrong answers to the tasks of chapter 03, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

POISSON = """def poisson(x, num_steps, max_rate_hz, dt_ms, generator):
    {body}
"""
RANDOM = "torch.rand(num_steps, *x.shape, generator=generator, dtype=torch.float64)"

LATENCY = """def latency(x, num_steps, tau, threshold=0.01):
    {step}
    clock = torch.arange(num_steps).view(-1, *[1] * x.dim())
    {train}
"""
RC_STEP = "step = torch.floor(tau * torch.log(x / (x - threshold).clamp(min=1e-12)))"
ONE_SPIKE = "return ((clock == step) & (x > threshold)).double()"

DELTA = """def delta(signal, threshold):
    reference = torch.zeros_like(signal[0])
    events = torch.zeros_like(signal)
    for t, sample in enumerate(signal):
        gap = sample - reference
        events[t] = {event}
        reference = {reference}
    return events
"""
EVENT = "torch.sign(gap) * (gap.abs() >= threshold)"
MOVE = "reference + threshold * events[t]"


def _poisson(*lines: str) -> str:
    return POISSON.format(body="\n    ".join(lines))


def _latency(step: str = RC_STEP, train: str = ONE_SPIKE) -> str:
    return LATENCY.format(step=step, train=train)


def _activation(silent="(counts == 0)", saturated="(counts == num_steps)", share="", entropy="") -> str:
    share = share or "counts.unique(return_counts=True)[1].double() / counts.numel()"
    entropy = entropy or "-(share * share.log2()).sum().item()"
    return (
        "def activation(counts, num_steps):\n"
        f"    share = {share}\n"
        f"    return {silent}.double().mean().item(), {saturated}.double().mean().item(), {entropy}\n"
    )


WRONG = {
    "poisson": [
        Wrong("rate per second as probability", _poisson(f"return ({RANDOM} < x * max_rate_hz).double()"), "per step"),
        Wrong(
            "rate per second handed to torch.bernoulli",
            _poisson("return torch.bernoulli((x * max_rate_hz).expand(num_steps, *x.shape), generator=generator)"),
            "not per step",
        ),
        Wrong(
            "comparison the wrong way round",
            _poisson(f"return ({RANDOM} > x * max_rate_hz * dt_ms / 1000).double()"),
            "wrong way round",
        ),
        Wrong("dt ignored", _poisson(f"return ({RANDOM} < x * max_rate_hz / 1000).double()"), "half the length"),
        Wrong(
            "one draw for all pixels",
            _poisson(
                "number = torch.rand(num_steps, *[1] * x.dim(), generator=generator, dtype=torch.float64)",
                "return (number < x * max_rate_hz * dt_ms / 1000).double()",
            ),
            "fire together",
        ),
        Wrong(
            "one draw for all time",
            _poisson(
                "number = torch.rand(*x.shape, generator=generator, dtype=torch.float64)",
                "return (number < x * max_rate_hz * dt_ms / 1000).double().expand(num_steps, *x.shape)",
            ),
            "in every step, not once for all time",
        ),
        Wrong(
            "regular spacing",
            _poisson(
                "p = x * max_rate_hz * dt_ms / 1000",
                "time = torch.arange(num_steps + 1, dtype=torch.float64).view(-1, *[1] * x.dim())",
                "return (time * p + 1e-9).floor().diff(dim=0)",
            ),
            "regular spacing",
        ),
        Wrong(
            "global random numbers",
            _poisson(
                "number = torch.rand(num_steps, *x.shape, dtype=torch.float64)",
                "return (number < x * max_rate_hz * dt_ms / 1000).double()",
            ),
            "same seed",
        ),
        Wrong(
            "time last",
            _poisson(
                "number = torch.rand(*x.shape, num_steps, generator=generator, dtype=torch.float64)",
                "return (number < (x * max_rate_hz * dt_ms / 1000).unsqueeze(-1)).double()",
            ),
            "time first",
        ),
    ],
    "steps-needed": [
        Wrong(
            "no square",
            "def steps_needed(p, tolerance):\n    return math.ceil(p * (1 - p) / tolerance)\n",
            "grow with the square",
        ),
        Wrong(
            "p instead of p(1 - p)",
            "def steps_needed(p, tolerance):\n    return math.ceil(p / tolerance**2)\n",
            "variance of one step",
        ),
        Wrong(
            "price of a regular train",
            "def steps_needed(p, tolerance):\n    return round(1 / tolerance)\n",
            "chance costs the square",
        ),
        Wrong(
            "standard deviation for variance",
            "def steps_needed(p, tolerance):\n    return math.ceil(math.sqrt(p * (1 - p)) / tolerance**2)\n",
            "variance of one step",
        ),
        Wrong(
            "worst case for every pixel",
            "def steps_needed(p, tolerance):\n    return math.ceil(0.25 / tolerance**2)\n",
            "no variance",
        ),
    ],
    "latency": [
        Wrong(
            "dark pixels in the last step",
            _latency(
                f"{RC_STEP}\n    step = torch.where(x > threshold, step, torch.full_like(step, num_steps - 1))",
                "return (clock == step).double()",
            ),
            "silent",
        ),
        Wrong(
            "ln(x / threshold)",
            _latency("step = torch.floor(tau * torch.log((x / threshold).clamp(min=1e-12)))"),
            "brighter is earlier",
        ),
        Wrong("linear code", _latency("step = torch.floor((1 - x) * (num_steps - 1))"), "linear"),
        Wrong("keeps firing", _latency(train="return ((clock >= step) & (x > threshold)).double()"), "one spike"),
        Wrong(
            "NaN becomes step 0",
            _latency(
                "step = torch.floor(tau * torch.log(x / (x - threshold))).nan_to_num(0.0)",
                "return (clock == step).double()",
            ),
            "silent",
        ),
        Wrong("rounded to the nearest step", _latency(RC_STEP.replace("floor", "round")), "rounded down"),
        Wrong(
            "too late becomes the last step",
            _latency(f"{RC_STEP.replace('1e-12', '1e-9')}.clamp(max=num_steps - 1)"),
            "too late is never",
        ),
    ],
    "delta": [
        Wrong(
            "neighbour differences",
            DELTA.format(event=EVENT, reference="sample"),
            "slow changes never arrive",
        ),
        Wrong(
            "reference jumps to the signal",
            DELTA.format(event=EVENT, reference="torch.where(events[t] != 0, sample, reference)"),
            "so must your reference",
        ),
        Wrong("ON events only", DELTA.format(event="(gap >= threshold).to(signal.dtype)", reference=MOVE), "goes down"),
        Wrong(
            "unsigned events",
            DELTA.format(
                event="(gap.abs() >= threshold).to(signal.dtype)",
                reference="reference + threshold * torch.sign(gap) * events[t]",
            ),
            "sign of the change",
        ),
        Wrong("reference never moves", DELTA.format(event=EVENT, reference="reference"), "does the reference move"),
    ],
    "current-mean": [
        Wrong(
            "sum instead of mean",
            "def current_mean(spikes, weight, bias):\n    return spikes.sum(0) @ weight.T + bias\n",
            "not a sum",
        ),
        Wrong(
            "sum of currents with bias",
            "def current_mean(spikes, weight, bias):\n    return (spikes @ weight.T + bias).sum(0)\n",
            "T equal biases",
        ),
        Wrong(
            "mean over the batch",
            "def current_mean(spikes, weight, bias):\n    return spikes.mean(1) @ weight.T + bias\n",
            "which axis is time",
        ),
        Wrong(
            "bias divided by T",
            "def current_mean(spikes, weight, bias):\n    return spikes.mean(0) @ weight.T + bias / len(spikes)\n",
            "its mean is b, not b / T",
        ),
        Wrong(
            "output spikes averaged",
            "def current_mean(spikes, weight, bias):\n"
            "    return integrate_and_fire(spikes @ weight.T + bias).spikes.mean(0)\n",
            "real-valued",
        ),
        Wrong(
            "weight not transposed",
            "def current_mean(spikes, weight, bias):\n    return spikes.mean(0) @ weight + bias\n",
            "which axes are summed",
        ),
    ],
    "activation": [
        Wrong("nats", _activation(entropy="-(share * share.log()).sum().item()"), "base 2"),
        Wrong(
            "counts taken for probabilities",
            _activation(share="counts[counts > 0] / counts.sum()"),
            "share of neurons",
        ),
        Wrong(
            "number of neurons instead of share",
            "def activation(counts, num_steps):\n"
            "    share = counts.unique(return_counts=True)[1].double() / counts.numel()\n"
            "    bits = -(share * share.log2()).sum().item()\n"
            "    return (counts == 0).sum().item(), (counts == num_steps).sum().item(), bits\n",
            "not a number of neurons",
        ),
        Wrong("highest count taken for saturation", _activation(saturated="(counts == counts.max())"), "in every step"),
        Wrong(
            "0 log 0",
            _activation(share="torch.bincount(counts.long(), minlength=num_steps + 1) / counts.numel()"),
            "0 · log 0",
        ),
    ],
}
