"""Plausible wrong answers to the tasks of chapter 08, each with the hint that its test has to give."""

from spikelab.grading.wrong_answers import Wrong

TRACE = """def trace_step(q, p, s, alpha, beta):
{body}
"""

THREE = """def three_factor(P, U, G, y, target, slope=10.0):
    error = {error}
    post = {post}
    return {result}
"""

LOCAL = """def forward_local(x, weights, spike):
    potentials = []
    for k, w in enumerate(weights):
        potentials.append({potential})
        x = {handed}
    return potentials
"""

READOUT = """def fixed_readout(n_out, n_in, seed, amplitude=0.5):
{seeding}
    uniform = {uniform}
    return {result}
"""

OWN = "    generator = torch.Generator().manual_seed(seed)"
DRAWN = "2 * torch.rand(n_out, n_in, generator=generator, dtype=torch.float64) - 1"
GLOBAL = "2 * torch.rand(n_out, n_in, dtype=torch.float64) - 1"


def _trace(*lines: str) -> str:
    return TRACE.format(body="\n".join(f"    {line}" for line in lines))


def _three(
    error="(y - target) @ G", post="1 / (1 + slope * U.abs()) ** 2", result="(error * post).T @ P / len(P)"
) -> str:
    return THREE.format(error=error, post=post, result=result)


def _local(potential="x @ w.T", handed="spike(potentials[-1]).detach()") -> str:
    return LOCAL.format(potential=potential, handed=handed)


def _readout(seeding=OWN, uniform=DRAWN, result="amplitude / math.sqrt(n_in) * uniform") -> str:
    return READOUT.format(seeding=seeding, uniform=uniform, result=result)


def _lr(result: str) -> str:
    return f"def equivalent_lr(lr, alpha, beta):\n    return {result}\n"


WRONG = {
    "trace-step": [
        Wrong(
            "P takes the new Q",
            _trace("q = beta * q + (1 - beta) * s", "return q, alpha * p + (1 - alpha) * q"),
            "on the step of the spike",
        ),
        Wrong(
            "returned in the wrong order",
            _trace("return alpha * p + (1 - alpha) * q, beta * q + (1 - beta) * s"),
            "that is Q",
        ),
        Wrong("un-normalised", _trace("return beta * q + s / (1 - beta), alpha * p + q / (1 - alpha)"), "(1-alpha)"),
        Wrong("Q without (1 − β)", _trace("return beta * q + s, alpha * p + (1 - alpha) * q"), "area of Q"),
        Wrong("P without (1 − α)", _trace("return beta * q + (1 - beta) * s, alpha * p + q"), "area of P"),
        Wrong("neither filter scaled", _trace("return beta * q + s, alpha * p + q"), "neither filter"),
        Wrong(
            "α and β swapped",
            _trace("return alpha * q + (1 - alpha) * s, beta * p + (1 - beta) * q"),
            "which trace does beta belong to",
        ),
        Wrong(
            "one trace only",
            _trace("return beta * q + (1 - beta) * s, alpha * p + (1 - alpha) * (1 - beta) * s"),
            "on the step of the spike",
        ),
        Wrong(
            "only the newest spike",
            _trace("return (1 - beta) * s, alpha * p + (1 - alpha) * q"),
            "three steps after a spike",
        ),
    ],
    "three-factor": [
        Wrong("no surrogate", _three(post="1.0"), "post-synaptic factor"),
        Wrong("spike instead of trace", _three(result="(error * post).T @ (P > 0).to(P) / len(P)"), "trace, not spike"),
        Wrong("the update, not the gradient", _three(error="(target - y) @ G"), "minus the gradient is the update"),
        Wrong("sum over the batch", _three(result="(error * post).T @ P"), "mean"),
        Wrong("transposed", _three(result="P.T @ (error * post) / len(P)"), "[O, I]"),
        Wrong("surrogate not squared", _three(post="1 / (1 + slope * U.abs())"), "squared"),
        Wrong("slope fixed at 25", _three(post="1 / (1 + 25 * U.abs()) ** 2"), "use the argument"),
        Wrong("slope fixed at 10", _three(post="1 / (1 + 10 * U.abs()) ** 2"), "Is the slope used"),
        Wrong("side of the threshold", _three(post="1 / (1 + slope * U) ** 2"), "it takes |U|"),
        Wrong("mean over the outputs as well", _three(error="(y - target) @ G / y.shape[1]"), "off from autograd"),
        Wrong("error not sent back", _three(error="(y - target).mean(1, keepdim=True)"), "multiply by G"),
    ],
    "local-losses": [
        Wrong("no detach", _local(handed="spike(potentials[-1])"), "crosses a layer"),
        Wrong(
            "potential detached",
            _local(potential="(x @ w.T).detach()"),
            "no layer gets a gradient from its own loss",
        ),
        Wrong("sigmoid handed on", _local(handed="torch.sigmoid(potentials[-1]).detach()"), "must see spikes"),
        Wrong("potential handed on", _local(handed="potentials[-1].detach()"), "must see spikes"),
        Wrong(
            "only the last layer attached",
            _local(potential="x @ (w.T if k == len(weights) - 1 else w.T.detach())"),
            "layer 0 gets no gradient",
        ),
        Wrong("weights not transposed", _local(potential="x @ w"), "first layer is (.5, −.2)"),
        Wrong("fires at zero", _local(handed="(potentials[-1] >= 0).to(x)"), "the comparison is >"),
        Wrong(
            "input detached only once",
            _local(handed="spike(potentials[-1]) if k else spike(potentials[-1]).detach()"),
            "crosses a layer",
        ),
    ],
    "fixed-readout": [
        Wrong("global generator", _readout(seeding="    pass", uniform=GLOBAL), "same seed"),
        Wrong(
            "a parameter", _readout(result="torch.nn.Parameter(amplitude / math.sqrt(n_in) * uniform)"), "stay fixed"
        ),
        Wrong(
            "positive only",
            _readout(uniform="torch.rand(n_out, n_in, generator=generator, dtype=torch.float64)"),
            "both signs",
        ),
        Wrong("divided by n_in", _readout(result="amplitude / n_in * uniform"), "sqrt"),
        Wrong("global seed", _readout(seeding="    torch.manual_seed(seed)", uniform=GLOBAL), "global random state"),
        Wrong(
            "normal numbers",
            _readout(uniform="torch.randn(n_out, n_in, generator=generator, dtype=torch.float64)"),
            "uniform between",
        ),
        Wrong("divided by √n_out", _readout(result="amplitude / math.sqrt(n_out) * uniform"), "sqrt(n_in)"),
        Wrong("amplitude fixed", _readout(result="0.5 / math.sqrt(n_in) * uniform"), "the largest entry should be"),
        Wrong("seed ignored", _readout(seeding="    generator = torch.Generator().manual_seed(0)"), "another seed"),
    ],
    "equivalent-lr": [
        Wrong("one factor each", _lr("lr / ((1 - alpha) * (1 - beta))"), "two traces, each with input and steady gain"),
        Wrong("inverse", _lr("lr * (1 - alpha) ** 2 * (1 - beta) ** 2"), "which weights are larger"),
        Wrong("alpha only", _lr("lr / (1 - alpha) ** 2"), "beta"),
        Wrong("beta only", _lr("lr / (1 - beta) ** 2"), "where is alpha"),
        Wrong("SGD's factor", _lr("lr / ((1 - alpha) ** 4 * (1 - beta) ** 4)"), "not squared twice"),
        Wrong("worked number by heart", _lr("1.7361111e5 * lr"), "differ by"),
    ],
}
