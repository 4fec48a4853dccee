"""Plausible wrong answers to the tasks of chapter 05, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

WINDOW = """def stdp_window(dt_ms, a_plus, a_minus, tau_plus, tau_minus):
    rewarded = {rewarded}
    punished = {punished}
    return {choice}
"""
CHOICE = "torch.where(dt_ms > 0, rewarded, torch.where(dt_ms < 0, punished, 0.0))"

TRACE = """def stdp_trace(pre, post, a_plus, a_minus, tau_plus, tau_minus):
    x = y = dw = 0.0
    for before, after in zip(pre.tolist(), post.tolist(), strict=True):
        {steps}
    return dw
"""
DECAY = "x, y = x * math.exp(-1 / tau_plus), y * math.exp(-1 / tau_minus)"
USE = "dw = dw + a_plus * x * after - a_minus * y * before"
ADD = "x, y = x + before, y + after"

SELECT = """def stdp_select(w, theta, spikes, a_plus=0.01, ratio=1.5, eta=0.1):
    u = s = y = 0.0
    x, fired = torch.zeros_like(w), []
    for pre in spikes:
        u = {potential} + (w * pre).sum().item()
        s = float(u > theta)
        {steps}
        fired.append(s)
    return {weights}, theta, torch.tensor(fired, dtype=w.dtype)
"""
FADES = "x, y = FADE * x, FADE * y"
LEARNS = "w = (w + a_plus * (x * s - ratio * y * pre)).clamp(0, 1)"
GROWS = "x, y = x + pre, y + s"
BRAKE = "theta = theta + eta * (s - 0.01)"

CROSSING = """def first_crossing(u, threshold, dt_ms):
    above = u > threshold
    {silent}
    {time}
"""
SILENT = "if not above.any(): return math.inf"
STRAIGHT = (
    "k = max(int(above.int().argmax()) - 1, 0); return (k + ((threshold - u[k]) / (u[k + 1] - u[k])).item()) * dt_ms"
)


def _window(
    rewarded="a_plus * torch.exp(-dt_ms.abs() / tau_plus)",
    punished="-a_minus * torch.exp(-dt_ms.abs() / tau_minus)",
    choice=CHOICE,
) -> str:
    return WINDOW.format(rewarded=rewarded, punished=punished, choice=choice)


def _trace(*steps: str) -> str:
    return TRACE.format(steps="\n        ".join(steps))


def _select(*steps: str, potential="BETA * (1 - s) * u", weights="w") -> str:
    return SELECT.format(potential=potential, steps="\n        ".join(steps), weights=weights)


def _resume(body: str) -> str:
    return f"def resume_step(trace, desired, output, a, lr):\n    {body}\n"


def _crossing(silent: str = SILENT, time: str = STRAIGHT) -> str:
    return CROSSING.format(silent=silent, time=time)


def _gradient(formula: str) -> str:
    return (
        "def spike_time_gradient(t, w, t_in, tau):\n"
        "    e, slope = epsilon(t - t_in, tau), epsilon_slope(t - t_in, tau)\n"
        f"    return {formula}\n"
    )


WRONG = {
    "stdp-window": [
        Wrong(
            "sides flipped",
            _window(choice="torch.where(dt_ms < 0, rewarded, torch.where(dt_ms > 0, punished, 0.0))"),
            "sides are flipped",
        ),
        Wrong(
            "left branch grows with distance",
            _window(punished="-a_minus * torch.exp(-dt_ms / tau_minus)"),
            "grows with distance",
        ),
        Wrong(
            "one time constant for both sides",
            _window(punished="-a_minus * torch.exp(-dt_ms.abs() / tau_plus)"),
            "each side has its own τ",
        ),
        Wrong(
            "simultaneous spikes rewarded",
            _window(choice="torch.where(dt_ms >= 0, rewarded, punished)"),
            "neither came first",
        ),
        Wrong(
            "masks multiplied with exponentials that overflow",
            _window(
                rewarded="(dt_ms > 0) * a_plus * torch.exp(-dt_ms / tau_plus)",
                punished="-a_minus * (dt_ms < 0) * torch.exp(dt_ms / tau_minus)",
                choice="rewarded + punished",
            ),
            "0 · ∞ is not 0",
        ),
        Wrong(
            "one amplitude for both sides",
            _window(punished="-a_plus * torch.exp(-dt_ms.abs() / tau_minus)"),
            "−10 ms gives −.0105",
        ),
        Wrong(
            "if on a tensor",
            "def stdp_window(dt_ms, a_plus, a_minus, tau_plus, tau_minus):\n"
            "    if dt_ms > 0:\n"
            "        return a_plus * torch.exp(-dt_ms / tau_plus)\n"
            "    return -a_minus * torch.exp(dt_ms / tau_minus)\n",
            "torch.where",
        ),
    ],
    "stdp-trace": [
        Wrong(
            "Euler's decay",
            _trace("x, y = x * (1 - 1 / tau_plus), y * (1 - 1 / tau_minus)", USE, ADD),
            "use exp(−1/τ)",
        ),
        Wrong("added before use", _trace(DECAY, ADD, USE), "before adding the present spikes"),
        Wrong(
            "traces crossed",
            _trace(DECAY, "dw = dw + a_plus * x * before - a_minus * y * after", ADD),
            "trace of the other side",
        ),
        Wrong(
            "trace set to 1 (nearest neighbour)",
            _trace(DECAY, USE, "x = 1.0 if before else x", "y = 1.0 if after else y"),
            "set to 1 forgets",
        ),
        Wrong(
            "time constants swapped",
            _trace("x, y = x * math.exp(-1 / tau_minus), y * math.exp(-1 / tau_plus)", USE, ADD),
            "the two τ are swapped",
        ),
        Wrong("decay last", _trace(USE, DECAY, ADD), "nine steps of decay"),
        Wrong(
            "reward and punishment exchanged",
            _trace(DECAY, "dw = dw - a_plus * x * after + a_minus * y * before", ADD),
            "so the weight grows",
        ),
    ],
    "stdp-select": [
        Wrong("no brake", _select(FADES, LEARNS, GROWS), "where is the brake?"),
        Wrong(
            "threshold falls with each spike",
            _select(FADES, LEARNS, GROWS, BRAKE.replace("+ eta", "- eta")),
            "a brake raises it",
        ),
        Wrong(
            "threshold moves with spikes only",
            _select(FADES, LEARNS, GROWS, "theta = theta + eta * s"),
            "a silent neuron never wakes",
        ),
        Wrong(
            "latecomers rewarded",
            _select(FADES, LEARNS.replace("x * s - ratio * y * pre", "ratio * y * pre - x * s"), GROWS, BRAKE),
            "the sides are exchanged",
        ),
        Wrong("added before use", _select(FADES, GROWS, LEARNS, BRAKE), "use the traces, then add"),
        Wrong(
            "one amplitude for both sides", _select(FADES, LEARNS.replace("ratio * ", ""), GROWS, BRAKE), "A₋ is ratio"
        ),
        Wrong("decay last", _select(LEARNS, FADES, GROWS, BRAKE), "what is left of their traces"),
        Wrong(
            "no reset",
            _select(FADES, LEARNS, GROWS, BRAKE, potential="BETA * u"),
            "starts again from 0",
        ),
        Wrong("no bounds", _select(FADES, LEARNS.replace(".clamp(0, 1)", ""), GROWS, BRAKE), "clamp them to [0, 1]"),
        Wrong(
            "no lower bound",
            _select(FADES, LEARNS.replace("clamp(0, 1)", "clamp(max=1)"), GROWS, BRAKE),
            "clamp them to [0, 1]",
        ),
        Wrong(
            "bounds at the end only",
            _select(FADES, LEARNS.replace(".clamp(0, 1)", ""), GROWS, BRAKE, weights="w.clamp(0, 1)"),
            "clamp in every step",
        ),
        Wrong(
            "trace set to 1 (nearest neighbour)",
            _select(FADES, LEARNS, "x, y = torch.where(pre > 0, 1.0, x), 1.0 if s else y", BRAKE),
            "set to 1 forgets",
        ),
        Wrong(
            "weights changed in place",
            _select(FADES, "w += a_plus * (x * s - ratio * y * pre)", "w.clamp_(0, 1)", GROWS, BRAKE),
            "weights you were given have changed",
        ),
    ],
    "resume-step": [
        Wrong(
            "sign of the error",
            _resume("return lr * ((output - desired).unsqueeze(1) * (a + trace)).sum(0)"),
            "a missing spike must strengthen",
        ),
        Wrong(
            "a dropped",
            _resume("return lr * ((desired - output).unsqueeze(1) * trace).sum(0)"),
            "where is a?",
        ),
        Wrong(
            "a added once, outside",
            _resume("return lr * (a + ((desired - output).unsqueeze(1) * trace).sum(0))"),
            "leaves all weights alone",
        ),
        Wrong(
            "a added outside wherever something is wrong",
            _resume("e = desired - output; return lr * (a * (e != 0).any() + (e.unsqueeze(1) * trace).sum(0))"),
            "a belongs inside the sum",
        ),
        Wrong(
            "only the teacher (Hebb)",
            _resume("return lr * (desired.unsqueeze(1) * (a + trace)).sum(0)"),
            "leaves all weights alone",
        ),
        Wrong(
            "size of the error",
            _resume("return lr * ((desired - output).abs().unsqueeze(1) * (a + trace)).sum(0)"),
            "the error has a sign",
        ),
        Wrong(
            "no learning rate",
            _resume("return ((desired - output).unsqueeze(1) * (a + trace)).sum(0)"),
            "learning rate is missing",
        ),
        Wrong(
            "no sum over time",
            _resume("return lr * (desired - output).unsqueeze(1) * (a + trace)"),
            "sum over time",
        ),
    ],
    "first-crossing": [
        Wrong("argmax of nothing", _crossing(silent="pass"), "argmax of nothing but False is 0"),
        Wrong(
            "argmax on the grid, silent or not",
            "def first_crossing(u, threshold, dt_ms):\n    return int((u > threshold).int().argmax()) * dt_ms\n",
            "go linearly between samples",
        ),
        Wrong(
            "a silent neuron fires last",
            _crossing(silent="if not above.any(): return (len(u) - 1) * dt_ms"),
            "a silent neuron has no spike",
        ),
        Wrong(
            "time of the grid",
            _crossing(time="return int(above.int().argmax()) * dt_ms"),
            "go linearly between samples",
        ),
        Wrong("time of the peak", _crossing(time="return int(u.argmax()) * dt_ms"), "that is the peak"),
        Wrong(
            "last crossing",
            _crossing(
                time="k = int((above[1:] & ~above[:-1]).nonzero()[-1]); "
                "return (k + ((threshold - u[k]) / (u[k + 1] - u[k])).item()) * dt_ms"
            ),
            "not the last",
        ),
        Wrong("dt forgotten", _crossing(time=STRAIGHT.replace(" * dt_ms", "")), "dt_ms is missing"),
        Wrong(
            "reaching counts as crossing",
            f"def first_crossing(u, threshold, dt_ms):\n    above = u >= threshold\n    {SILENT}\n    {STRAIGHT}\n",
            "only touches θ",
        ),
    ],
    "spike-time-gradient": [
        Wrong("no minus", _gradient("e / (w * slope).sum()"), "more weight makes the spike earlier"),
        Wrong("no slope", _gradient("-e"), "the slope is missing"),
        Wrong("slope without weights", _gradient("-e / slope.sum()"), "has the weights in it"),
        Wrong("slope of the response on top", _gradient("-slope / (w * slope).sum()"), "by ε, not by ε'"),
        Wrong("multiplied by the slope", _gradient("-e * (w * slope).sum()"), "steep crossings hardly move"),
        Wrong("own slope only", _gradient("-e / (w * slope)"), "slope of the whole potential"),
        Wrong("weights on top", _gradient("-w * e / (w * slope).sum()"), "differentiate Σ w ε(t − t_i) = θ"),
    ],
}
