"""Mistakes that learners of chapter 02 make, each with a part of the hint that it has to trigger."""

from spikelab.grading.wrong_answers import Wrong

GATE = """
def gate_step(x, alpha, beta, dt_ms):
    goal = {goal}
    return {result}
"""

RATE = """
def alpha_m(v_mv):
    x = (v_mv + 40) / 10
    return {result}
"""

IONS = """
def ionic_current(v, m, h, n):
    return {sodium} + {potassium} + 0.3 * (v + 54.387)
"""

KERNELS = """
def srm_kernels(beta, threshold, length):
    k = torch.arange(length, dtype=torch.float64)
    eps = {eps}
    eta = {eta}
    return eps, eta
"""

ALPHA = """
def alpha_kernel(tau_ms, dt_ms=1.0, cutoff=0.01):
    t = torch.arange(200, dtype=torch.float64){times_dt}
    k = t / tau_ms * torch.exp({exponent})
    return {result}
"""


def gate_with(result: str, goal: str = "alpha / (alpha + beta)") -> str:
    return GATE.format(goal=goal, result=result)


def ions_with(sodium: str = "120.0 * m**3 * h * (v - 50.0)", potassium: str = "36.0 * n**4 * (v + 77.0)") -> str:
    return IONS.format(sodium=sodium, potassium=potassium)


def kernels_with(eps: str = "beta**k", eta: str = "torch.where(k > 0, -threshold * beta ** (k - 1), 0.0)") -> str:
    return KERNELS.format(eps=eps, eta=eta)


def alpha_with(
    result: str = "k[: int((k >= cutoff).nonzero().max()) + 1]",
    exponent: str = "1 - t / tau_ms",
    times_dt: str = " * dt_ms",
) -> str:
    return ALPHA.format(result=result, exponent=exponent, times_dt=times_dt)


RELAX = "goal + (x - goal) * torch.exp(-(alpha + beta) * dt_ms)"

WRONG = {
    "gate-step": [
        Wrong("forward Euler", gate_with("x + dt_ms * (alpha * (1 - x) - beta * x)"), hint="depends on dt"),
        Wrong("closing rate in the goal", gate_with(RELAX, goal="beta / (alpha + beta)"), hint="which rate opens"),
        Wrong(
            "tau is the sum of the rates",
            gate_with("goal + (x - goal) * torch.exp(-dt_ms / (alpha + beta))"),
            hint="τ is 1/(α+β)",
        ),
        Wrong("starts at zero", gate_with("goal * (1 - torch.exp(-(alpha + beta) * dt_ms))"), hint="Where did x start"),
    ],
    "alpha-m": [
        Wrong("raw formula", RATE.format(result="x / (1 - torch.exp(-x))"), hint="0/0"),
        Wrong(
            "NaN turned into 0",
            RATE.format(result="torch.nan_to_num(x / (1 - torch.exp(-x)), nan=0.0)"),
            hint="the limit of x/(1 − e^(−x)) for x → 0 is 1",
        ),
        Wrong(
            "NaN turned into 1",
            RATE.format(result="torch.nan_to_num(x / (1 - torch.exp(-x)), nan=1.0)"),
            hint="evaluates both branches",
        ),
        Wrong(
            "where without a safe branch",
            RATE.format(result="torch.where(x.abs() < 1e-6, 1 + x / 2, x / (1 - torch.exp(-x)))"),
            hint="evaluates both branches",
        ),
        Wrong(
            "plateau of a millivolt",
            "def alpha_m(v_mv):\n"
            "    x = (v_mv + 40) / 10\n"
            "    near = x.abs() < 0.1\n"
            "    safe = torch.where(near, torch.ones_like(x), x)\n"
            "    return torch.where(near, 1 + 0 * x, safe / (1 - torch.exp(-safe)))\n",
            hint="the patch is too wide",
        ),
        Wrong(
            "series of a millivolt",
            "def alpha_m(v_mv):\n"
            "    x = (v_mv + 40) / 10\n"
            "    near = x.abs() < 0.1\n"
            "    safe = torch.where(near, torch.ones_like(x), x)\n"
            "    return torch.where(near, 1 + x / 2, safe / (1 - torch.exp(-safe)))\n",
            hint="the patch is too wide",
        ),
        Wrong(
            "tiny number in the denominator",
            RATE.format(result="x / (1 - torch.exp(-x) + 1e-9)"),
            hint="the limit of x/(1 − e^(−x)) for x → 0 is 1",
        ),
        Wrong(
            "denominator turned round",
            "def alpha_m(v_mv):\n"
            "    x = (v_mv + 40) / 10\n"
            "    safe = torch.where(x == 0, torch.ones_like(x), x)\n"
            "    return torch.where(x == 0, 1 + x / 2, safe / (torch.exp(-safe) - 1))\n",
            hint="the other way round",
        ),
        Wrong(
            "sign of the exponent",
            "def alpha_m(v_mv):\n"
            "    x = (v_mv + 40) / 10\n"
            "    safe = torch.where(x == 0, torch.ones_like(x), x)\n"
            "    return torch.where(x == 0, 1 + x / 2, safe / (1 - torch.exp(safe)))\n",
            hint="sign of the exponent",
        ),
    ],
    "ionic-current": [
        Wrong(
            "E minus V",
            "def ionic_current(v, m, h, n):\n"
            "    return 120.0 * m**3 * h * (50.0 - v) + 36.0 * n**4 * (-77.0 - v) + 0.3 * (-54.387 - v)\n",
            hint="the sign says outward",
        ),
        Wrong(
            "exponents swapped",
            ions_with(sodium="120.0 * m**4 * h * (v - 50.0)", potassium="36.0 * n**3 * (v + 77.0)"),
            hint="exponents",
        ),
        Wrong("no inactivation", ions_with(sodium="120.0 * m**3 * (v - 50.0)"), hint="never inactivates"),
        Wrong("E_K above zero", ions_with(potassium="36.0 * n**4 * (v - 77.0)"), hint="potassium reverses below rest"),
    ],
    "srm-kernels": [
        Wrong(
            "eta starts at lag 0",
            kernels_with(eta="-threshold * beta**k"),
            hint="η starts at lag 1",
        ),
        Wrong(
            "leaks before it arrives",
            kernels_with(eta="torch.where(k > 0, -threshold * beta**k, 0.0)"),
            hint="leaks only afterwards",
        ),
        Wrong(
            "threshold forgotten",
            kernels_with(eta="torch.where(k > 0, -(beta ** (k - 1)), 0.0)"),
            hint="it should take θ",
        ),
        Wrong("a single kick", kernels_with(eta="torch.where(k == 1, -threshold, 0.0)"), hint="not a single kick"),
        Wrong("normalised eps", kernels_with(eps="(1 - beta) * beta**k"), hint="an input counts in full at once"),
        Wrong(
            "sign of eta", kernels_with(eta="torch.where(k > 0, threshold * beta ** (k - 1), 0.0)"), hint="takes away"
        ),
    ],
    "alpha-kernel": [
        Wrong("no factor e", alpha_with(exponent="-t / tau_ms"), hint="a factor e is missing"),
        Wrong(
            "cut at the first small value",
            alpha_with(result="k[: int((k < cutoff).nonzero().min())]"),
            hint="your kernel is empty",
        ),
        Wrong("dt ignored", alpha_with(times_dt=""), hint="Does dt_ms matter"),
        Wrong("everything small dropped", alpha_with(result="k[k >= cutoff]"), hint="you lost t = 0"),
        Wrong("never cut", alpha_with(result="k"), hint="the tail is not cut"),
    ],
}
