"""Draw the pictures of the wanted results: ``python solutions/13_energy/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib.patches import Rectangle
from torch.nn import functional as F

from spikelab import plotting
from spikelab.energy import break_even_rate, chip_energy_j, paper_2_energy

HERE = Path(__file__).parent / "images"


def _grid(ax, left, top, rows, columns, colour):
    for row in range(rows):
        for column in range(columns):
            square = Rectangle(
                (left + column, top + row), 1, 1, facecolor=colour, edgecolor=plotting.INK, linewidth=0.8
            )
            ax.add_patch(square)


def draw_conv_macs():
    """A window that moves by two over a padded map, and the map that comes out."""
    _, (ax,) = plotting.panels(row_height=3.2)
    _grid(ax, -1, -1, 8, 8, "#E8E8E8")
    _grid(ax, 0, 0, 6, 6, plotting.WHITE)
    _grid(ax, 10, 1.5, 3, 3, plotting.WHITE)
    for left, top, colour, dash in ((-1, -1, plotting.BLUE, "-"), (1, -1, plotting.VERMILLION, "--")):
        frame = Rectangle((left, top), 3, 3, fill=False, edgecolor=colour, linewidth=3, linestyle=dash)
        ax.add_patch(frame)
    for place, colour, dash in ((10, plotting.BLUE, "-"), (11, plotting.VERMILLION, "--")):
        ax.add_patch(Rectangle((place, 1.5), 1, 1, fill=False, edgecolor=colour, linewidth=3, linestyle=dash))
    ax.annotate("", (9.6, 3), (7.4, 3), arrowprops={"arrowstyle": "->", "color": plotting.INK})
    ax.annotate("6 × 6, padding 1,\nwindow 3 × 3, stride 2", (3, 7.4), ha="center", va="top")
    ax.annotate("3 × 3 places:\na window each", (11.5, 5), ha="center", va="top")
    ax.set(xlim=(-1.5, 14), ylim=(9.3, -1.5), aspect="equal", xticks=[], yticks=[])
    ax.axis("off")
    return ax.figure


def draw_synaptic_operations():
    """How many outputs each place of a map of 8 by 8 reaches through a window of 3 by 3."""
    reach = F.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), padding=1)[0, 0]
    _, (ax,) = plotting.panels(row_height=3.4)
    ax.imshow(reach, cmap="Blues", vmin=0, vmax=16)
    for row in range(8):
        for column in range(8):
            ax.annotate(f"{reach[row, column]:.0f}", (column, row), ha="center", va="center")
    ax.set(xticks=[], yticks=[], title="outputs of one channel that a spike reaches")
    ax.grid(False)
    return ax.figure


def draw_break_even():
    """The line of the task, dense and with half of the twin's activations skipped."""
    steps = [1, 2, 4, 6, 16, 32, 64, 128, 256]
    curves = {
        "dense twin": [break_even_rate(t) for t in steps],
        "twin skips half": [break_even_rate(t, zeros=0.5) for t in steps],
    }
    ax = plotting.traces(
        steps,
        curves,
        x_label="steps T",
        y_label="break-even rate",
        log="xy",
        guide=1.0,
        guide_label="a spike each step",
    )
    ax.plot(6, break_even_rate(6), "o", color=plotting.VERMILLION, markersize=9)
    ax.annotate("T = 6: .852", (6, break_even_rate(6)), (8, 1.3), color=plotting.VERMILLION)
    ax.set_xticks([1, 4, 16, 64, 256], [1, 4, 16, 64, 256])
    ax.minorticks_off()
    return ax.figure


def draw_chip_energy():
    """Both rows of paper 2's table, as printed and in joules."""
    rows = {"SNN-YOLOv3\nT = 6": (4.25e8, 6), "Spiking-YOLO\nT = 3,500": (4.9e7, 3500)}
    ax = plotting.bars(
        list(rows),
        {
            "in the table": [paper_2_energy(*row) for row in rows.values()],
            "operations / (operations / J)": [chip_energy_j(*row) for row in rows.values()],
        },
        y_label="energy (J)",
        log=True,
    )
    ax.set_ylim(1e-6, 30)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "conv-macs": draw_conv_macs,
        "synaptic-operations": draw_synaptic_operations,
        "break-even": draw_break_even,
        "chip-energy": draw_chip_energy,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
