"""Draw the pictures of the wanted results: ``python solutions/12_snn_yolov3/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib.patches import Rectangle

from spikelab import plotting
from spikelab.neurons import integrate_and_fire

HERE = Path(__file__).parent / "images"
ARROW = {"arrowstyle": "->", "color": "black", "linewidth": 1.5}


def _box(ax, x, y, text, colour, width=1.6, height=0.9):
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="black"))
    ax.annotate(text, (x + width / 2, y + height / 2), ha="center", va="center")


def _blank(ax, right, top, bottom=0.0):
    ax.set(xlim=(0, right), ylim=(bottom, top))
    ax.set_axis_off()


def draw_direct_once():
    """One picture, one convolution, one map for five steps."""
    _, (ax,) = plotting.panels(row_height=2.4)
    _box(ax, 0.1, 1.5, "picture", plotting.SKY)
    _box(ax, 2.9, 1.5, "convolution,\n1 run", plotting.YELLOW, 2.0)
    _box(ax, 6.1, 1.5, "1 map", plotting.SKY)
    for start, end in ((1.7, 2.9), (4.9, 6.1)):
        ax.annotate("", (end, 1.95), (start, 1.95), arrowprops=ARROW)
    for step in range(5):
        _box(ax, 9.4, 3.2 - 0.8 * step, f"step {step}", plotting.WHITE, 1.5, 0.6)
        ax.annotate("", (9.4, 3.5 - 0.8 * step), (7.7, 1.95), arrowprops=ARROW)
    _blank(ax, 11.2, 4.1, -0.2)
    return ax.figure


def draw_current_mean():
    """The worked example: two trains, their rates, the weights."""
    _, (ax,) = plotting.panels(row_height=2.0)
    for row, (steps, rate, weight) in enumerate((((0, 1, 3), "¾", "3"), ((2,), "¼", "−1"))):
        y = 2.0 - 1.3 * row
        ax.plot([0, 4], [y, y], "-", color=plotting.GREY)
        for step in steps:
            ax.plot([step + 0.5] * 2, [y, y + 0.8], "-", color=plotting.BLUE, linewidth=3)
        ax.annotate(f"rate {rate}", (4.3, y + 0.3), va="center")
        ax.annotate(f"× {weight}", (6.3, y + 0.3), va="center", color=plotting.VERMILLION)
    ax.annotate("+ bias ½", (7.6, 1.65), va="center")
    ax.annotate("= 2.5", (9.4, 1.65), va="center", color=plotting.VERMILLION, fontweight="bold")
    _blank(ax, 11, 3.2, 0.3)
    return ax.figure


def draw_rate_error():
    """The worked example: seven values on the line, and the worst place."""
    _, (ax,) = plotting.panels(row_height=1.9)
    values = [416 * count / 6 for count in range(7)]
    ax.plot([0, 416], [0, 0], "-", color=plotting.GREY)
    ax.plot(values, [0] * 7, "o", color=plotting.BLUE, markersize=9)
    for count, value in enumerate(values):
        ax.annotate(f"{count}", (value, 0.16), ha="center")
    worst = values[3] + 416 / 12
    ax.plot(worst, 0, "X", color=plotting.VERMILLION, markersize=11)
    ax.annotate("", (values[3], -0.2), (worst, -0.2), arrowprops={"arrowstyle": "<->"})
    ax.annotate("34.67 px", ((values[3] + worst) / 2, -0.45), ha="center", color=plotting.VERMILLION)
    ax.annotate("spikes", (-20, 0.16), ha="right")
    ax.set(xlim=(-75, 430), ylim=(-0.6, 0.4), yticks=[], xticks=[0, 208, 416], xlabel="pixel")
    ax.grid(False)
    return ax.figure


def draw_coarse():
    """The worked example: what T = 4 can say between -1 and 5, and the gradient that learns with it."""
    _, axes = plotting.panels(1, 2, row_height=2.6)
    raw = torch.linspace(-3, 7, 2001, dtype=torch.float64)
    said = -1 + 1.5 * ((raw.clamp(-1, 5) + 1) / 1.5).round()
    axes[0].plot(raw, raw, "--", color=plotting.GREY)
    axes[0].plot(raw, said, "-", color=plotting.BLUE)
    points = torch.tensor([-2.0, 0.4, 1.1, 1.6, 4.5, 6.0])
    values = torch.tensor([-1.0, 0.5, 0.5, 2.0, 5.0, 5.0])
    axes[0].plot(points, values, "o", color=plotting.VERMILLION)
    axes[0].set(xlabel="raw", ylabel="said", yticks=[-1, 0.5, 2, 3.5, 5], ylim=(-3, 7))
    axes[1].plot(raw, ((raw > -1) & (raw < 5)).double(), "-", color=plotting.BLUE)
    axes[1].plot(points, ((points > -1) & (points < 5)).double(), "o", color=plotting.VERMILLION)
    axes[1].set(xlabel="raw", ylabel="gradient", yticks=[0, 1], ylim=(-0.2, 1.3))
    for ax in axes:
        ax.set(xticks=[-1, 2, 5])
    return axes[0].figure


def draw_if_reset():
    """The worked example: the potential with both resets, 11 steps of .7."""
    figure, axes = plotting.panels(1, 2, row_height=2.5, share_y=True)
    drive = torch.full((11, 1), 0.7, dtype=torch.float64)
    for ax, (name, reset) in zip(axes, (("soft", "subtract"), ("hard", "zero")), strict=True):
        out = integrate_and_fire(drive, reset=reset)
        steps = torch.arange(11)
        fired = out.spikes[:, 0] > 0
        ax.plot(steps, out.membrane[:, 0], "-", color=plotting.GREY)
        ax.plot(steps, out.membrane[:, 0], "o", color=plotting.BLUE)
        ax.plot(steps[fired], out.membrane[fired, 0], "o", color=plotting.VERMILLION, markersize=9)
        ax.axhline(1, color="black", linestyle="--")
        ax.set(title=f"{name}: {int(fired.sum())} spikes", xlabel="step", ylim=(0, 1.8), xticks=[0, 2, 4, 6, 8, 10])
    axes[0].set(ylabel="potential (θ = 1)")
    return figure


def draw_loss_weight():
    """What multiplies the plain gradient, over the loss."""
    loss = torch.linspace(0, 1, 101)
    ax = plotting.traces(
        loss,
        {"h · loss": torch.full_like(loss, 64.3), "h · loss²": 2 * 64.3 * loss},
        x_label="loss",
        y_label="gradient, in plain ones",
        markers=False,
    )
    ax.annotate("h = 64.3", (0.72, 68))
    return ax.figure


def draw_fold_time():
    """Three steps of two samples, as a batch of six and back."""
    _, (ax,) = plotting.panels(row_height=2.6)
    fills = (plotting.SKY, plotting.YELLOW, plotting.WHITE)
    for step in range(3):
        for sample in range(2):
            name, place = f"t{step} b{sample}", 2 * step + sample
            _box(ax, 0.1 + 1.2 * sample, 2.9 - step, name, fills[step], 1.1, 0.8)
            _box(ax, 4.0, 3.5 - 0.68 * place, name, fills[step], 1.1, 0.6)
            _box(ax, 9.6 + 1.2 * sample, 2.9 - step, name, fills[step], 1.1, 0.8)
    _box(ax, 6.3, 1.5, "layer,\n1 run", plotting.ORANGE, 1.6, 1.2)
    for start, end in ((2.6, 3.9), (5.2, 6.2), (8.0, 9.5)):
        ax.annotate("", (end, 2.1), (start, 2.1), arrowprops=ARROW)
    ax.annotate("[3, 2, …]", (1.25, 4.0), ha="center")
    ax.annotate("[6, …]", (4.55, 4.3), ha="center")
    ax.annotate("[3, 2, …]", (10.75, 4.0), ha="center")
    _blank(ax, 12.1, 4.7)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "direct-once": draw_direct_once,
        "current-mean": draw_current_mean,
        "rate-error": draw_rate_error,
        "coarse": draw_coarse,
        "if-reset": draw_if_reset,
        "loss-weight": draw_loss_weight,
        "fold-time": draw_fold_time,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
