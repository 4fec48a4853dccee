"""Draw the pictures of the wanted results: ``python solutions/09_localizing_pets/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from spikelab import plotting
from spikelab.detection import giou, iou

HERE = Path(__file__).parent / "images"
SHADES = ListedColormap([plotting.ORANGE, "#E8E8E8", plotting.SKY])


def _frame(ax, box, colour, **options):
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=2.5, **options))


def draw_box_from_trimap():
    """The worked example: pet, border, and the box along the border's outer edge."""
    mask = torch.full((10, 20), 2)
    mask[3:6, 4:10] = 3
    mask[4, 5:9] = 1
    _, (ax,) = plotting.panels(row_height=3.3)
    ax.imshow(mask, cmap=SHADES, vmin=1, vmax=3, extent=(0, 20, 10, 0))
    _frame(ax, (4, 3, 10, 6), plotting.VERMILLION)
    ax.annotate("pet (1)", (7, 4.5), ha="center", va="center")
    ax.annotate("border (3)", (10.2, 3.5), va="center")
    ax.annotate("background (2)", (15, 8.5), ha="center", va="center")
    ax.set(xticks=[0, 4, 10, 20], yticks=[0, 3, 6, 10], xlabel="column edge", ylabel="row edge")
    return ax.figure


def draw_iou_paired():
    """The worked example by both rulers."""
    figure, axes = plotting.panels(1, 2, row_height=2.9)
    for ax, one, title in zip(axes, (0, 1), ("half-open: 36 of 126", "inclusive: 50 of 150"), strict=True):
        for x, colour, dash in ((0, plotting.BLUE, "-"), (5, plotting.VERMILLION, "--")):
            _frame(ax, (x, 0, x + 9 + one, 9 + one), colour, linestyle=dash)
        ax.add_patch(Rectangle((5, 0), 4 + one, 9 + one, color=plotting.SKY, alpha=0.6))
        ax.set(xlim=(-1, 16), ylim=(11, -1), aspect="equal", title=title)
        ax.set(xticks=[0, 5, 9 + one, 14 + one], yticks=[0, 9 + one])
    return figure


def _head_boxes(count, generator):
    draw = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    centre = torch.tensor([0.5, 0.38]) + draw[:, :2] * torch.tensor([0.12, 0.10])
    size = 0.38 * torch.exp(0.45 * draw[:, 2:3] + 0.12 * draw[:, 3:])
    return torch.cat([centre - size / 2, centre + size / 2], 1).clamp(0, 1)


def draw_constant_box():
    """Score of the best box so far against the number of boxes tried."""
    train = _head_boxes(400, torch.Generator().manual_seed(0))
    box, step = train.median(0).values, 0.08
    best = iou(train, box).mean().item()
    path = [best]
    while step > 0.001:
        helped = False
        for side in range(4):
            for move in (-step, step):
                trial = box.clone()
                trial[side] += move
                score = iou(train, trial).mean().item()
                if score > best:
                    box, best, helped = trial, score, True
                path.append(best)
        step = step if helped else step / 2
    mean = iou(train, train.mean(0)).mean().item()
    ax = plotting.traces(
        range(len(path)),
        {"best box so far": path},
        x_label="boxes tried",
        y_label="mean IoU",
        markers=False,
        guide=mean,
        guide_label="mean box",
    )
    ax.annotate("median box", (0, path[0]), (20, path[0] - 0.0001), arrowprops={"arrowstyle": "->"})
    return ax.figure


def draw_paired_gain():
    """Resampled gains, with the same pictures for both and with other pictures for each."""
    generator = torch.Generator().manual_seed(0)
    hard = 0.2 * torch.randn(400, dtype=torch.float64, generator=generator)
    own = 0.05 * torch.randn(400, dtype=torch.float64, generator=generator)
    model, base = (0.5 + hard + own - own.mean()).clamp(0, 1), (0.4 + hard).clamp(-0.1, 0.9)
    rows, others = torch.randint(0, 400, (2, 1000, 400), generator=generator)
    ax = plotting.histogram(
        {
            "same pictures for both": (model - base)[rows].mean(1),
            "other pictures for each": model[rows].mean(1) - base[others].mean(1),
        },
        bins=50,
        value_label="gain in mean IoU",
        count_label="resamples",
    )
    return ax.figure


def draw_flip_with_box():
    """An off-centre shape, its box, and both mirrored."""
    y, x = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    pet = (((x - 17) / 13) ** 2 + ((y - 24) / 10) ** 2 < 1) | (((x - 8) / 5) ** 2 + ((y - 13) / 5) ** 2 < 1)
    figure, axes = plotting.panels(1, 2, row_height=2.2)
    for ax, shape, title in zip(axes, (pet, pet.flip(1)), ("given", "mirrored"), strict=True):
        ax.imshow(shape, cmap=ListedColormap(["#E8E8E8", plotting.SKY]), extent=(0, 1, 1, 0), aspect=40 / 60)
        columns, rows = shape.any(0).nonzero(), shape.any(1).nonzero()
        box = [columns[0] / 60, rows[0] / 40, (columns[-1] + 1) / 60, (rows[-1] + 1) / 40]
        box = [edge.item() for edge in box]
        _frame(ax, box, plotting.VERMILLION)
        ax.set(xticks=[round(box[0], 2), round(box[2], 2)], yticks=[0, 1], title=title)
        ax.grid(False)
    return figure


def draw_giou_loss():
    """Both losses against the distance of two unit boxes."""
    shift = torch.linspace(0, 4, 201, dtype=torch.float64)
    here = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64).expand(201, 4)
    there = here + shift[:, None] * torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)
    ax = plotting.traces(
        shift,
        {"1 − IoU": 1 - iou(here, there), "1 − GIoU": 1 - giou(here, there)},
        x_label="shift of the second unit box",
        y_label="loss",
        markers=False,
    )
    ax.plot(2, 4 / 3, "o", color=plotting.VERMILLION)
    ax.annotate("worked example: 1.3333", (2, 4 / 3), (2.15, 1.2), color=plotting.VERMILLION)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "box-from-trimap": draw_box_from_trimap,
        "iou-paired": draw_iou_paired,
        "constant-box": draw_constant_box,
        "paired-gain": draw_paired_gain,
        "flip-with-box": draw_flip_with_box,
        "giou-loss": draw_giou_loss,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
