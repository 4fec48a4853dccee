"""Draw the pictures of the wanted results: ``python solutions/10_detection_basics/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib.patches import Rectangle

from spikelab import plotting
from spikelab.detection import iou, precision_envelope, precision_recall_curve

HERE = Path(__file__).parent / "images"


def _frame(ax, box, colour, **options):
    x0, y0, x1, y1 = box
    options = {"fill": False, "linewidth": 2.5, **options}
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor=colour, **options))


def draw_box_iou():
    """The worked example: one cell of seven."""
    _, (ax,) = plotting.panels(row_height=2.7)
    ax.add_patch(Rectangle((1, 1), 1, 1, color=plotting.SKY, alpha=0.7))
    _frame(ax, (0, 0, 2, 2), plotting.BLUE)
    _frame(ax, (1, 1, 3, 3), plotting.VERMILLION, linestyle="--")
    ax.annotate("shared: 1\nunion: 4 + 4 − 1 = 7", (3.2, 0.4), va="top")
    ax.set(xlim=(-0.2, 6), ylim=(3.2, -0.2), aspect="equal", xticks=range(4), yticks=range(4))
    return ax.figure


def draw_assign_anchor():
    """The worked example: shapes on one corner."""
    thing = torch.tensor([0.0, 0, 20, 20])
    figure, axes = plotting.panels(1, 2, row_height=2.5)
    for ax, (width, height) in zip(axes, ((10, 13), (33, 23)), strict=True):
        anchor = torch.tensor([0.0, 0, width, height])
        fit = iou(thing, anchor).item()
        _frame(ax, thing, plotting.BLUE)
        _frame(ax, anchor, plotting.VERMILLION, linestyle="--")
        ax.set(xlim=(-1, 36), ylim=(26, -1), aspect="equal", title=f"{width} × {height}: IoU {fit:.3f}")
    return figure


def draw_decode():
    """The worked example: a cell and the box that its zeros draw."""
    _, (ax,) = plotting.panels(row_height=3.1)
    _frame(ax, (16, 8, 24, 16), plotting.OCHRE, fill=True, facecolor=plotting.YELLOW, alpha=0.6)
    _frame(ax, (12, 0, 28, 24), plotting.BLUE)
    ax.plot(20, 12, "o", color=plotting.BLUE)
    ax.annotate("row 1, column 2", (24.5, 12), (34, 12), va="center", arrowprops={"arrowstyle": "->"})
    ax.set(xlim=(-1, 50), ylim=(25, -1), aspect="equal", xticks=range(0, 33, 8), yticks=range(0, 25, 8))
    ax.set(xlabel="x (px)", ylabel="y (px)")
    return ax.figure


def draw_nms():
    """The worked example: a chain of three, the middle one dropped."""
    _, (ax,) = plotting.panels(row_height=2.5)
    looks = (("A .9", 0, plotting.BLUE, "-"), ("B .8", 3, plotting.VERMILLION, ":"), ("C .7", 6, plotting.GREEN, "-"))
    for place, (name, x, colour, dash) in enumerate(looks):
        _frame(ax, (x, place * 0.5, x + 10, 10 + place * 0.5), colour, linestyle=dash)
        ax.annotate(name, (x + 0.3 + 5 * (place == 2), -0.5), color=colour)
    ax.annotate("A–B .54: B goes\nB–C .54: B is gone\nA–C .25: C stays", (18, 2), va="top")
    ax.set(xlim=(-1, 32), ylim=(12, -3), aspect="equal")
    ax.set_axis_off()
    return ax.figure


def draw_match():
    """The worked example: verdicts beside the boxes."""
    _, (ax,) = plotting.panels(row_height=1.9)
    for x, name in ((0, "dog"), (30, "difficult dog")):
        _frame(ax, (x, 0, x + 10, 10), plotting.INK, linewidth=1.5)
        ax.annotate(name, (x, 13), va="top")
    found = (
        ((1, 0, 11, 10), ".6 → 0", (11.5, 8), plotting.VERMILLION),
        ((0, 0, 10, 9), ".9 → 1", (11.5, 2), plotting.BLUE),
        ((30, 0, 40, 10), ".7 → −1", (41, 5), plotting.OCHRE),
        ((60, 0, 70, 10), ".5 → 0", (71, 5), plotting.VERMILLION),
    )
    for box, verdict, at, colour in found:
        _frame(ax, box, colour, linestyle="--")
        ax.annotate(verdict, at, va="center", color=colour)
    ax.set(xlim=(-1, 84), ylim=(17, -1), aspect="equal")
    ax.set_axis_off()
    return ax.figure


def draw_average_precision():
    """The worked example: curve, envelope, area and the eleven points."""
    hits = torch.tensor([1, 0, 1, 1, 0])
    curve = precision_recall_curve(hits, 4)
    level = precision_envelope(curve.precision)[hits == 1]
    _, (ax,) = plotting.panels(row_height=3.2)
    edges = torch.arange(4) / 4
    ax.stairs(level, edges, fill=True, color=plotting.SKY, alpha=0.5, label="envelope: area .6250")
    ax.plot(curve.recall, curve.precision, "s-", color=plotting.INK, label="after each detection")
    points = [1.0] * 3 + [0.75] * 5 + [0.0] * 3
    ax.plot(torch.arange(11) / 10, points, "o", color=plotting.VERMILLION, label="eleven points: mean .6136")
    ax.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.05, 1.1))
    ax.figure.legend(loc="outside upper center", ncols=2)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "box-iou": draw_box_iou,
        "assign-anchor": draw_assign_anchor,
        "decode": draw_decode,
        "nms": draw_nms,
        "match": draw_match,
        "average-precision": draw_average_precision,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
