"""Mistakes that learners of chapter 01 make, each with a part of the hint that it has to trigger."""

from spikelab.grading.wrong_answers import Wrong

DECAY = """
def decay_from_tau(tau_ms, dt_ms):
    return {result}
"""

MEMBRANE = """
def passive_membrane(current_na, tau_ms, resistance_mohm, dt_ms):
    beta = {beta}
    u = torch.zeros_like(current_na[0])
    trace = []
    for i in current_na:
        u = {update}
        trace.append(u)
    return torch.stack(trace)
"""

LIF = """
def lif(current, beta, threshold=1.0, reset="subtract"):
    u = torch.zeros_like(current[0])
    s = torch.zeros_like(current[0])
    spikes, membrane = [], []
    for i in current:
{step}
        spikes.append(s)
        membrane.append(u)
    return torch.stack(spikes), torch.stack(membrane)
"""

RATE = """
def firing_rate_hz(drive_mv, tau_ms, threshold_mv, t_ref_ms):
    if drive_mv <= threshold_mv:
        return 0.0
    return {result}
"""

IDENTIFY = """
def identify(neuron):
    def edge(steps, halvings={halvings}):
        low, high = 0.0, 10.0
        for _ in range(halvings):
            middle = (low + high) / 2
            if neuron(torch.full((steps,), middle)).sum() > 0:
                high = middle
            else:
                low = middle
        return high

    threshold, rheobase = edge({pulse}), edge({long})
    return {result}
"""


def lif_with(step: str) -> str:
    lines = [" " * 8 + line for line in step.strip("\n").split("\n")]
    return LIF.format(step="\n".join(lines))


def membrane_with(update: str, beta: str = "math.exp(-dt_ms / tau_ms)") -> str:
    return MEMBRANE.format(beta=beta, update=update)


def identify_with(result: str = "(1 - rheobase / threshold, threshold)", pulse=1, long=2000, halvings=40) -> str:
    return IDENTIFY.format(result=result, pulse=pulse, long=long, halvings=halvings)


WRONG = {
    "decay-from-tau": [
        Wrong("Euler", DECAY.format(result="1 - dt_ms / tau_ms"), hint="Euler"),
        Wrong("ratio upside down", DECAY.format(result="math.exp(-tau_ms / dt_ms)"), hint="upside down"),
        Wrong("sign of the exponent", DECAY.format(result="math.exp(dt_ms / tau_ms)"), hint="grows"),
        Wrong("tau as a half-life", DECAY.format(result="0.5 ** (dt_ms / tau_ms)"), hint="half-life"),
    ],
    "passive-membrane": [
        Wrong(
            "current not scaled",
            membrane_with("beta * u + resistance_mohm * i"),
            hint="by which factor must the current be scaled",
        ),
        Wrong(
            "Euler",
            membrane_with("beta * u + (1 - beta) * resistance_mohm * i", beta="1 - dt_ms / tau_ms"),
            hint="depends on dt",
        ),
        Wrong(
            "current of the previous step",
            """
def passive_membrane(current_na, tau_ms, resistance_mohm, dt_ms):
    beta = math.exp(-dt_ms / tau_ms)
    membrane = torch.zeros_like(current_na)
    for t in range(1, len(current_na)):
        membrane[t] = beta * membrane[t - 1] + (1 - beta) * resistance_mohm * current_na[t - 1]
    return membrane
""",
            hint="one step late",
        ),
        Wrong("resistance forgotten", membrane_with("beta * u + (1 - beta) * i"), hint="nA is not mV"),
        Wrong(
            "exact decay with Euler's gain",
            membrane_with("beta * u + dt_ms / tau_ms * resistance_mohm * i"),
            hint="do your weights add up to 1",
        ),
        Wrong(
            "only the last potential returned",
            """
def passive_membrane(current_na, tau_ms, resistance_mohm, dt_ms):
    beta = math.exp(-dt_ms / tau_ms)
    u = torch.zeros_like(current_na[0])
    for i in current_na:
        u = beta * u + (1 - beta) * resistance_mohm * i
    return u
""",
            hint="shape of the current",
        ),
    ],
    "lif-sequence": [
        Wrong(
            "reset in the step of the spike",
            lif_with("""
u = beta * u + i
s = (u > threshold).to(current.dtype)
u = u * (1 - s) if reset == "zero" else u - threshold * s
"""),
            hint="one step too early",
        ),
        Wrong(
            "no reset",
            lif_with("""
u = beta * u + i
s = (u > threshold).to(current.dtype)
"""),
            hint="took nothing away",
        ),
        Wrong(
            "reset before the leak",
            lif_with("""
u = beta * ((1 - s) * u if reset == "zero" else u - threshold * s) + i
s = (u > threshold).to(current.dtype)
"""),
            hint="your reset has leaked",
        ),
        Wrong(
            "fires at the threshold",
            lif_with("""
u = beta * (1 - s) * u + i if reset == "zero" else beta * u + i - threshold * s
s = (u >= threshold).to(current.dtype)
"""),
            hint="not ≥",
        ),
        Wrong(
            "threshold fixed to 1",
            lif_with("""
u = beta * (1 - s) * u + i if reset == "zero" else beta * u + i - s
s = (u > 1).to(current.dtype)
"""),
            hint="the argument threshold is not used",
        ),
        Wrong(
            "reset subtracts 1, whatever the threshold",
            lif_with("""
u = beta * (1 - s) * u + i if reset == "zero" else beta * u + i - s
s = (u > threshold).to(current.dtype)
"""),
            hint="book-keeping",
        ),
        Wrong(
            "reset to zero wipes the new input",
            lif_with("""
u = (beta * u + i) * (1 - s) if reset == "zero" else beta * u + i - threshold * s
s = (u > threshold).to(current.dtype)
"""),
            hint="wiped the new input",
        ),
        Wrong(
            "argument reset ignored",
            lif_with("""
u = beta * u + i - threshold * s
s = (u > threshold).to(current.dtype)
"""),
            hint="the argument reset is ignored",
        ),
    ],
    "firing-rate": [
        Wrong(
            "per millisecond",
            RATE.format(result="1 / (t_ref_ms + tau_ms * math.log(drive_mv / (drive_mv - threshold_mv)))"),
            hint="per second",
        ),
        Wrong(
            "logarithm inverted",
            RATE.format(result="1000 / (t_ref_ms + tau_ms * math.log((drive_mv - threshold_mv) / drive_mv))"),
            hint="which sign has your logarithm",
        ),
        Wrong(
            "refractory period dropped",
            RATE.format(result="1000 / (tau_ms * math.log(drive_mv / (drive_mv - threshold_mv)))"),
            hint="where is the refractory period",
        ),
        Wrong(
            "no guard below rheobase",
            """
def firing_rate_hz(drive_mv, tau_ms, threshold_mv, t_ref_ms):
    return 1000 / (t_ref_ms + tau_ms * math.log(drive_mv / (drive_mv - threshold_mv)))
""",
            hint="the neuron is silent",
        ),
        Wrong(
            "log(1 + theta / RI)",
            RATE.format(result="1000 / (t_ref_ms + tau_ms * math.log(1 + threshold_mv / drive_mv))"),
            hint="the climb is too short",
        ),
        Wrong(
            "silent below rheobase, but not at it",
            """
def firing_rate_hz(drive_mv, tau_ms, threshold_mv, t_ref_ms):
    if drive_mv < threshold_mv:
        return 0.0
    return 1000 / (t_ref_ms + tau_ms * math.log(drive_mv / (drive_mv - threshold_mv)))
""",
            hint="At and below rheobase",
        ),
    ],
    "identify-neuron": [
        Wrong("no time to charge", identify_with(long=10), hint="Had a faint current time to charge"),
        Wrong("ratio instead of 1 − ratio", identify_with("(rheobase / threshold, threshold)"), hint="1 minus that"),
        Wrong("swapped results", identify_with("(threshold, 1 - rheobase / threshold)"), hint="swapped"),
        Wrong("ten-step pulse for θ", identify_with(pulse=10), hint="not a single step"),
        Wrong("five halvings", identify_with(halvings=5), hint="Too few halvings"),
    ],
}
