"""The contact sheet of a detector: pictures that it does best, middling and worst, with what it finds in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from spikelab.detection import Detections, Objects
from spikelab.detection.matching import PooledDetections, PooledObjects, match, pool
from spikelab.training.contact_sheet import COLUMNS, ranked


def best_score(found: Sequence[Detections], objects: Sequence[Objects]) -> float:
    """Return the score from which on a detector's answers are best taken: the one of the highest F over all pictures.

    F is twice the hits over detections and objects together, at IoU .5. A detector that hits nothing has 1.

    Args:
        found: what was found in each picture.
        objects: what is in each; difficult ones count neither way.

    Explained in chapter 12.
    """
    pooled, true, hit = _judged(found, objects)
    scores, right = pooled.scores[hit >= 0], hit[hit >= 0].double().cumsum(0)
    if not len(right) or not right[-1]:
        return 1.0
    f = 2 * right / (torch.arange(1, len(right) + 1) + int((~true.difficult).sum()))
    return float(scores[f.argmax()])


def f_scores(found: Sequence[Detections], objects: Sequence[Objects], *, score: float) -> torch.Tensor:
    """Return each picture's F ``[N]``: twice the hits over detections and objects together, at IoU .5.

    Args:
        found: what was found in each picture.
        objects: what is in each; difficult ones count neither way.
        score: what counts as found.
    Returns:
        0 to 1; NaN for a picture that holds nothing to find.

    Explained in chapter 12.
    """
    pooled, true, hit = _judged(found, objects)
    sure = (pooled.scores >= score) & (hit >= 0)
    said = torch.bincount(pooled.picture[sure], minlength=len(objects))
    hits = torch.bincount(pooled.picture[sure & (hit == 1)], minlength=len(objects))
    easy = torch.bincount(true.picture[~true.difficult], minlength=len(objects))
    return torch.where(easy > 0, 2 * hits / (said + easy), torch.nan)


def ranked_pictures(
    found: Sequence[Detections], objects: Sequence[Objects], *, score: float, columns: int = COLUMNS
) -> dict[str, list[tuple[int, float]]]:
    """Return which pictures a contact sheet shows, by row, each with its F; those with nothing to find are left out.

    Explained in chapter 12.
    """
    values = f_scores(found, objects, score=score)
    there = (~values.isnan()).nonzero()[:, 0]
    rows = ranked(values[there], columns)
    return {row: [(int(there[i]), float(values[there[i]])) for i in places] for row, places in rows.items()}


def plot_detections(
    images: torch.Tensor,
    objects: Sequence[Objects],
    found: Sequence[Detections],
    classes: Sequence[str],
    *,
    columns: int = COLUMNS,
) -> Any:
    """Draw pictures with what is in them and what was found.

    Args:
        images: ``[N, C, H, W]`` uint8, gray or colour.
        objects: what is in each, boxes in shares of width and height.
        found: what was found in each, likewise; drawn is what scores at least ``best_score``.
        classes: the classes' names.
        columns: pictures of a row.
    Returns:
        A matplotlib Figure that no window owns.

    Explained in chapter 12.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    from spikelab.plotting import PALETTE, style_parameters

    least = best_score(found, objects)
    rows = ranked_pictures(found, objects, score=least, columns=columns)
    columns = max(map(len, rows.values()))
    height, width = images.shape[-2:]
    looks = {
        "object": {"edgecolor": "white", "linestyle": "-", "linewidth": 2.2},
        "found": {"edgecolor": PALETTE[1], "linestyle": "--", "linewidth": 1.6},
    }
    with matplotlib.rc_context(style_parameters()):
        figure = Figure(figsize=(2.2 * columns, len(rows) * (2.2 * height / width + 0.3) + 0.4), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, (row, places) in zip(grid, rows.items(), strict=True):
            for ax, (place, value) in zip(axes, places, strict=False):
                # Half-open boxes: the left edge of the first pixel is 0.
                picture = images[place].movedim(0, -1).squeeze(-1).numpy()
                ax.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
                ax.spines[:].set_visible(False)
                ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect=height / width)
                for box, hard in zip(objects[place].boxes.tolist(), _difficult(objects[place]), strict=True):
                    _outline(ax, Rectangle, box, {**looks["object"], "linestyle": ":" if hard else "-"})
                one = found[place]
                sure = one.scores >= least
                for box, score, label in zip(*(part[sure].tolist() for part in one), strict=True):
                    _outline(ax, Rectangle, box, looks["found"])
                    ax.text(
                        max(box[0], 0.01), max(box[1], 0.06), f"{classes[label]} {score:.2f}", fontsize=6.5,
                        color="white", backgroundcolor=PALETTE[1], va="bottom", clip_on=True,
                        bbox={"facecolor": PALETTE[1], "edgecolor": "none", "pad": 0.8},
                    )  # fmt: skip
                ax.set_title(f"F {value:.2f}", fontsize=9, pad=3)
            axes[0].set_ylabel(row)
        keys = [{**look, "color": look["edgecolor"]} for look in looks.values()]
        lines = [Line2D([], [], color=key["color"], linestyle=key["linestyle"], linewidth=2) for key in keys]
        names = ["what is there (dotted: difficult)", f"what was found, scores from {least:.2f}"]
        figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=True, facecolor="0.75")
    return figure


def _outline(ax: Any, shape: Any, box: Sequence[float], look: dict[str, Any]) -> None:
    x0, y0, x1, y1 = box
    ax.add_patch(shape((x0, y0), x1 - x0, y1 - y0, fill=False, **look))


def _judged(
    found: Sequence[Detections], objects: Sequence[Objects]
) -> tuple[PooledDetections, PooledObjects, torch.Tensor]:
    """Everything that was found, the surest first, everything that is there, and which detections are right."""
    classes = 1 + int(max((one.labels.max() for one in (*found, *objects) if len(one.labels)), default=0))
    pooled, true = pool(found, objects, classes)
    return pooled, true, match(pooled, true).hit


def _difficult(objects: Objects) -> list[bool]:
    return [False] * len(objects.labels) if objects.difficult is None else objects.difficult.tolist()
