"""Draw the pictures of the wanted results: ``python solutions/11_conversion/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib.patches import FancyBboxPatch
from torch.nn import functional as F

from spikelab import plotting
from spikelab.datasets.digits import digit_on_canvas, load_digits
from spikelab.detection import iou, mean_iou
from spikelab.models.conversion import convert, if_rate, signed_if
from spikelab.models.pretrained import load
from spikelab.statistics import wilson_interval

HERE = Path(__file__).parent / "images"


def _box(ax, x, y, width, text, colour):
    ax.add_patch(FancyBboxPatch((x, y), width, 1, boxstyle="round,pad=0.05", facecolor=colour, edgecolor="k"))
    ax.annotate(text, (x + width / 2, y + 0.5), ha="center", va="center")


def _blank(row_height):
    _, (ax,) = plotting.panels(row_height=row_height)
    ax.axis("off")
    return ax


def draw_fold_batchnorm():
    """Two layers become one."""
    ax = _blank(2.6)
    _box(ax, 0.6, 2.4, 3.4, "convolution\nw = [[2, 1], [1, 3]],\nb = [1, 2]", plotting.SKY)
    _box(ax, 5.4, 2.4, 4.4, "normalisation\nγ = [6, 1.5], β = [.5, 0],\nμ = [4, 1], σ² + ε = [9, .25]", plotting.YELLOW)
    _box(ax, 2.6, 0.2, 5.2, "convolution\nw̃ = [[4, 2], [3, 9]], b̃ = [−5.5, 3]", plotting.SKY)
    arrow = {"arrowstyle": "->", "lw": 1.8}
    for start, end in (((4.1, 2.9), (5.3, 2.9)), ((0, 2.9), (0.5, 2.9)), ((9.9, 2.9), (10.5, 2.9))):
        ax.annotate("", end, start, arrowprops=arrow)
    for start, end in (((0, 0.7), (2.5, 0.7)), ((7.9, 0.7), (10.5, 0.7))):
        ax.annotate("", end, start, arrowprops=arrow)
    ax.annotate("the same function:", (5.2, 1.75), ha="center", va="center")
    ax.set(xlim=(-0.1, 10.6), ylim=(0, 3.6))
    return ax.figure


def draw_if_rate():
    """Staircase of ten steps with the worked currents."""
    z = torch.linspace(-0.5, 1.8, 2001, dtype=torch.float64)
    _, (ax,) = plotting.panels(row_height=2.9)
    ax.plot(z, z.clamp(0, 1), "--", color=plotting.GREY, label="ReLU, cut off at 1")
    ax.plot(z, if_rate(z, 10), color=plotting.BLUE, label="ten steps")
    ax.plot([0.31, 0.62, 1.7, -0.4], [0.3, 0.6, 1, 0], "o", color=plotting.VERMILLION, label="worked numbers")
    ax.set(xlabel="current z (thresholds per step)", ylabel="rate (spikes per step)")
    ax.legend(loc="upper left")
    return ax.figure


def draw_channel_scales():
    """Three channels of different size and their scales."""
    generator = torch.Generator().manual_seed(0)
    _, axes = plotting.panels(1, 3, row_height=2.1, share_y=True)
    for ax, size, colour in zip(
        axes, (0.2, 1.0, 5.0), (plotting.BLUE, plotting.GREEN, plotting.VERMILLION), strict=True
    ):
        values = (size * torch.randn(20_000, generator=generator)).clamp(min=0)
        ax.hist(values[values > 0], bins=40, color=colour)
        scale = values.quantile(0.999)
        ax.axvline(scale, color=plotting.INK, linestyle="--")
        ax.set(xlabel="activation", yscale="log", title=f"λ = {scale:.2f}")
    axes[0].set(ylabel="count")
    return axes[0].figure


def draw_normalise():
    """Activations before and after, and the weights between."""
    ax = _blank(2.7)
    for row, (title, left, right, lines) in enumerate(
        (
            ("given", "x", "y", ("w = [[1, 2], [3, 4]]", "b = [1, 1]")),
            ("rescaled", "x / [2, .5]", "y / [4, 1]", ("w̃ = [[.5, .25], [6, 2]]", "b̃ = [.25, 1]")),
        )
    ):
        y = 2.3 - 2 * row
        ax.annotate(title, (0, y + 1.25))
        _box(ax, 0.3, y, 1.9, left, plotting.YELLOW)
        _box(ax, 3.4, y, 3.4, "\n".join(lines), plotting.SKY)
        _box(ax, 8.0, y, 1.9, right, plotting.YELLOW)
        for start, end in (((2.3, y + 0.5), (3.3, y + 0.5)), ((6.9, y + 0.5), (7.9, y + 0.5))):
            ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.8})
    ax.set(xlim=(0, 10), ylim=(0.1, 3.9))
    return ax.figure


def draw_signed_if():
    """Rates of the signed neuron on the leaky ReLU."""
    z = torch.linspace(-1, 1, 41, dtype=torch.float64)
    spikes, _ = signed_if(z.expand(1000, 41), slope=0.1)
    _, (ax,) = plotting.panels(row_height=2.7)
    ax.plot(z, F.leaky_relu(z, 0.1), "--", color=plotting.GREY, label="leaky ReLU, α = .1")
    ax.plot(z, spikes.mean(0), ".", color=plotting.BLUE, label="signed neuron, 1,000 steps")
    worked = torch.tensor([0.5, -0.5, 0.9, -1.0])
    ax.plot(
        worked, F.leaky_relu(worked, 0.1), "o", mfc="none", ms=10, color=plotting.VERMILLION, label="worked numbers"
    )
    ax.set(xlabel="current z (thresholds per step)", ylabel="rate (spikes per step)")
    ax.legend(loc="upper left")
    return ax.figure


def draw_open_curve():
    """Class and box over T with and without an initial charge."""
    digits, steps = load_digits("test", kind="scikit-learn"), (4, 8, 16, 32, 64)
    test = digit_on_canvas(digits, 150, torch.Generator().manual_seed(0))
    train = digit_on_canvas(load_digits("train", kind="scikit-learn"), 200, torch.Generator().manual_seed(1))
    figure, axes = plotting.panels(1, 2, row_height=2.7)
    looks = ((0.0, "no charge", plotting.BLUE, 0.97), (0.5, "charge ½", plotting.VERMILLION, 1.03))
    for charge, label, colour, shift in looks:
        network = convert(load("canvas-relu").model, train.images / 255, initial_charge=charge)
        curves = [[], []]
        for said in network(test.images / 255, steps[-1], steps).outputs:
            right = int((said.classes.argmax(1) == test.labels).sum())
            curves[0].append((right / 150, *wilson_interval(right, 150)))
            curves[1].append(mean_iou(iou(said.boxes, test.boxes).double())[:3])
        for ax, points in zip(axes, curves, strict=True):
            middle, low, high = 100 * torch.tensor(points).T
            where = [shift * step for step in steps]
            ax.errorbar(where, middle, [middle - low, high - middle], fmt="o-", color=colour, label=label)
    for ax, name in zip(axes, ("right classes (%)", "box mIoU (%)"), strict=True):
        ax.set_xscale("log", base=2)
        ax.set(xlabel="T (steps)", ylabel=name, xticks=steps, xticklabels=steps, ylim=(0, 100))
    axes[1].legend(loc="lower right")
    return figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "fold-batchnorm": draw_fold_batchnorm,
        "if-rate": draw_if_rate,
        "channel-scales": draw_channel_scales,
        "normalise": draw_normalise,
        "signed-if": draw_signed_if,
        "open-curve": draw_open_curve,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
