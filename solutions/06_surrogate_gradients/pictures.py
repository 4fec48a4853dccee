"""Draw the pictures of the wanted results: ``python solutions/06_surrogate_gradients/pictures.py``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch

from spikelab import plotting
from spikelab.neurons import lif
from spikelab.surrogate import fast_sigmoid

HERE = Path(__file__).parent / "images"


def draw_spike_function():
    """The step of the forward pass, and two surrogates of the backward pass."""
    u = torch.linspace(-1, 1, 801, dtype=torch.float64)
    figure, axes = plotting.panels(1, 2, row_height=2.6)
    plotting.traces(u, {"spike": (u > 0).double()}, x_label="u = U − θ", y_label="forward: spike", ax=axes[0])
    axes[0].get_legend().remove()
    bumps = {f"slope {k}": fast_sigmoid(k).derivative(u) for k in (5, 25)}
    plotting.traces(u, bumps, x_label="u = U − θ", y_label="backward: φ′", ax=axes[1])
    axes[1].set_ylim(-0.05, 1.6)
    return figure


def draw_bptt():
    """Membrane and gradient of twelve steps."""
    current = torch.tensor([0.5, 0.4, 0.2, 0.6, 0.1, 0.3, 0.3, 0.5, 0.0, 0.7, 0.2, 0.1], dtype=torch.float64)
    current = current.requires_grad_()
    out = lif(current, beta=0.8, spike_grad=fast_sigmoid(25))
    (gradient,) = torch.autograd.grad(out.spikes.sum(), current)
    figure, axes = plotting.panels(2, 1, row_height=2.1, share_x=True)
    plotting.membrane(out.membrane, spikes=out.spikes, ax=axes[0])
    axes[0].set(xlabel="", ylabel="U (θ)")
    axes[1].bar(range(len(gradient)), gradient, color=plotting.ORANGE, edgecolor=plotting.INK)
    axes[1].set(xlabel="time (steps)", ylabel="λ = ∂L/∂I")
    return figure


def draw_truncated():
    """How much each of 100 steps counts in the gradient of the last membrane."""
    step = torch.arange(100, dtype=torch.float64)
    weight = 0.95 ** (99 - step)
    curves = {"full": weight, "truncated, window 20": torch.where(step >= 80, weight, torch.zeros_like(weight))}
    ax = plotting.traces(step, curves, x_label="step t", y_label="weight of x[t] in ∂U[T−1]/∂w", markers=False)
    ax.figure.set_size_inches(6, 2.6)
    ax.set_title("β = .95", loc="right")
    return ax.figure


def draw_van_rossum():
    """Squared distance of two single spikes against their shift."""
    shift = torch.linspace(0, 50, 201, dtype=torch.float64)
    curves = {f"τ = {tau} ms": 1 - torch.exp(-shift / tau) for tau in (5, 10, 20)}
    ax = plotting.traces(
        shift,
        curves,
        x_label="shift δ of one spike (ms)",
        y_label="D²",
        markers=False,
        guide=1 - math.exp(-1),
        guide_label="δ = τ",
    )
    ax.figure.set_size_inches(6, 2.6)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "spike-function": draw_spike_function,
        "bptt-by-hand": draw_bptt,
        "truncated": draw_truncated,
        "van-rossum": draw_van_rossum,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
