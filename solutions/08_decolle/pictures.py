"""Draw the pictures of the wanted results: ``python solutions/08_decolle/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch

from spikelab import plotting
from spikelab.plasticity.decolle import DecolleConstants, FixedReadout, decolle_mlp, local_losses, trace_step

HERE = Path(__file__).parent / "images"


def draw_traces():
    """Both traces of one spike."""
    q = p = torch.zeros(1, dtype=torch.float64)
    course = []
    for step in range(150):
        q, p = trace_step(q, p, torch.full_like(q, step == 20), DecolleConstants())
        course.append([q.item(), p.item()])
    first, second = torch.tensor(course).T
    figure, axes = plotting.panels(1, 2, row_height=2.6)
    for ax, name, values in zip(axes, "QP", (first, second), strict=True):
        plotting.traces(range(150), {name: values}, x_label="time (ms)", y_label=name, markers=False, ax=ax)
        ax.get_legend().remove()
        ax.axvline(20, color=plotting.GREY, linestyle="--", linewidth=1.2)
    return figure


def draw_matrix():
    """Gradients of three local losses with respect to three weight matrices."""
    net = decolle_mlp((40, 30, 30, 30), 5, read="spikes", generator=torch.Generator().manual_seed(0))
    state = net.rest(4)
    for _ in range(30):
        frame = (torch.rand(4, 40, generator=torch.Generator().manual_seed(1)) < 0.3).float()
        readouts, state = net.step(frame, state)
    weights = [layer.synapse.weight for layer in net.layers]
    sizes = torch.zeros(3, 3)
    for row, loss in enumerate(local_losses(readouts, torch.ones(4, 5))):
        grads = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)
        sizes[row] = torch.tensor([0.0 if grad is None else grad.norm().item() for grad in grads])
    ax = plotting.image((sizes == 0).float())
    for k in range(3):
        for j in range(3):
            ax.annotate("∂L/∂W" if k == j else "0", (j, k), ha="center", va="center", color="white" if k == j else "k")
    ax.set(xticks=range(3), yticks=range(3), xlabel="weights of layer", ylabel="loss of layer")
    ax.figure.set_size_inches(3.6, 3)
    return ax.figure


def draw_reach():
    """Largest value that a readout can reach."""
    sizes = [2**k for k in range(1, 11)]
    reach = [
        sum(FixedReadout(1, n, seed=s, bias=False).weight.clamp(min=0).sum().item() for s in range(50)) / 50
        for n in sizes
    ]
    curves = {"measured": reach, "a √n / 4": [0.5 * n**0.5 / 4 for n in sizes]}
    ax = plotting.traces(sizes, curves, x_label="neurons", y_label="largest readout", guide=1.0, guide_label="target 1")
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes[1::2], sizes[1::2])
    ax.set_yticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    ax.minorticks_off()
    ax.figure.set_size_inches(6, 2.8)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {"trace-step": draw_traces, "local-losses": draw_matrix, "fixed-readout": draw_reach}
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
