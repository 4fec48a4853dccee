"""Draw the pictures of wanted results that the exercises of chapter 14 show."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle

from spikelab import plotting

HERE = Path(__file__).parent / "images"
T_975 = {3: 4.3027, 5: 2.7764, 9: 2.3060}


def _frame(ax, box, colour, dash="-", width=2.2):
    x0, y0, x1, y1 = box
    patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=width, edgecolor=colour, linestyle=dash)
    ax.add_patch(patch)


def draw_joint_success():
    """Three dogs and a cat with their boxes, and the two ways of averaging."""
    figure, axes = plt.subplots(1, 4, figsize=(6, 1.9), layout="constrained")
    told = (("dog", 1), ("dog", 1), ("dog", 1), ("cat", 0.4))
    for ax, (name, overlap) in zip(axes, told, strict=True):
        _frame(ax, (0.1, 0.15, 0.9, 0.85), plotting.BLUE)
        bottom = 0.15 + 0.7 * overlap
        _frame(ax, (0.1, 0.15, 0.9, bottom), plotting.VERMILLION, "--")
        ax.text(0.5, 0.3, f"{name}: {name}", ha="center", va="center")
        ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], title="success" if overlap > 0.5 else "IoU .4: none")
        ax.grid(False)
    figure.supxlabel("dogs 3 of 3, cats 0 of 1: mean over the classes .5, over the pictures .75", fontsize=10)
    return figure


def draw_split_by_photo():
    """The rows of a merged data set, split by row and by photograph."""
    names = ["a", "b", "b", "c", "d", "d", "d", "e", "f"]
    by_row = [1, 0, 1, 0, 1, 0, 0, 1, 0]
    by_photo = [int(name in "bef") for name in names]
    figure, axes = plotting.panels(1, 2, row_height=2.4)
    titles = ("by row: photos b and d leak", "by photograph")
    for ax, sides, title in zip(axes, (by_row, by_photo), titles, strict=True):
        for row, (name, side) in enumerate(zip(names, sides, strict=True)):
            both = len({s for n, s in zip(names, sides, strict=True) if n == name}) > 1
            ax.barh(row, 0.9, left=side, color=plotting.FILLS[side], edgecolor=plotting.INK)
            ax.text(side + 0.45, row, f"photo {name}{' ✗' if both else ''}", ha="center", va="center", fontsize=9)
        ax.set(xticks=[0.45, 1.45], xticklabels=["train", "test"], yticks=[], ylim=(8.6, -0.6), title=title)
        ax.grid(False)
    return figure


def draw_to_original():
    """A wide photograph in its square, and a box in both."""
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.5), width_ratios=(1, 1.7), layout="constrained")
    square, photo = axes
    square.add_patch(Rectangle((0, 0), 160, 160, color="#BBBBBB"))
    square.add_patch(Rectangle((0, 40), 160, 80, color=plotting.FILLS[0]))
    _frame(square, (40, 60, 80, 100), plotting.VERMILLION)
    square.annotate("bar", (80, 20), ha="center", va="center")
    square.annotate("bar", (80, 140), ha="center", va="center")
    square.set(xlim=(0, 160), ylim=(160, 0), xticks=[0, 40, 80, 160], yticks=[0, 40, 120, 160], title="square of 160")
    photo.add_patch(Rectangle((0, 0), 480, 240, color=plotting.FILLS[0]))
    _frame(photo, (120, 60, 240, 180), plotting.VERMILLION)
    photo.set(xlim=(0, 480), ylim=(240, 0), xticks=[0, 120, 240, 480], yticks=[0, 60, 180, 240], title="240 × 480")
    for ax in axes:
        ax.set_aspect("equal")
        ax.grid(False)
    return figure


def draw_seed_interval():
    """Share of intervals that hold the truth, by the number of runs, for t and for 1.96."""
    generator = torch.Generator().manual_seed(0)
    shares = {"Student's t": [], "1.96": []}
    for n, t in T_975.items():
        runs = torch.randn(20_000, n, generator=generator, dtype=torch.float64)
        error = runs.std(1) / n**0.5
        for name, factor in zip(shares, (t, 1.96), strict=True):
            shares[name].append(100 * (runs.mean(1).abs() < factor * error).double().mean().item())
    ax = plotting.bars([f"n = {n}" for n in T_975], shares, y_label="intervals that hold\nthe truth (%)")
    ax.axhline(95, color=plotting.GREY, linestyle=":")
    ax.set_ylim(70, 104)
    ax.legend(loc="upper right", ncols=2)
    ax.figure.set_size_inches(6, 2.4)
    return ax.figure


def draw_submission_check():
    """A row of the leaderboard and what is wrong with it."""
    row = (
        ("twin", "None", "no twin"),
        ("seeds", "[0]", "one seed"),
        ("T", "4", ""),
        ("params", "300,000", ""),
        ("mac_first, synops", "112,896 and 1,397,171", ""),
        ("uJ", "0.62", "they make 1.777"),
        ("rates", "[.1, .1, .1, .3]", ""),
    )
    figure, (ax,) = plotting.panels(row_height=2.2)
    for place, (key, value, fault) in enumerate(row):
        colour = plotting.VERMILLION if fault else plotting.INK
        ax.text(0.02, place, key, va="center", color=colour)
        ax.text(0.30, place, value, va="center", color=colour)
        ax.text(0.66, place, f"✗ {fault}" if fault else "", va="center", color=colour)
    ax.set(xlim=(0, 1), ylim=(len(row) - 0.4, -0.6), xticks=[], yticks=[])
    ax.grid(False)
    return figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "joint-success": draw_joint_success,
        "split-by-photo": draw_split_by_photo,
        "to-original": draw_to_original,
        "seed-interval": draw_seed_interval,
        "submission-check": draw_submission_check,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
