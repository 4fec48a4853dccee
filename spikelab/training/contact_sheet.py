"""The contact sheet of a localizer: its best, its median and its worst answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

COLUMNS = 6


def ranked(ious: torch.Tensor, columns: int = COLUMNS) -> dict[str, list[int]]:
    """Return which pictures a contact sheet shows, by row.

    Args:
        ious: overlap of each picture's boxes ``[N]``; of equal ones the earlier picture comes first.
        columns: pictures of a row; fewer if there are too few.
    Returns:
        Indices of the ``"best"``, the ``"median"`` and the ``"worst"``, each from better to worse.

    Explained in chapter 09.
    """
    order = ious.argsort(descending=True, stable=True).tolist()
    columns = min(columns, len(order))
    middle = (len(order) - columns) // 2
    return {"best": order[:columns], "median": order[middle : middle + columns], "worst": order[-columns:]}


def plot_contact_sheet(
    images: torch.Tensor,
    truth: torch.Tensor,
    predicted: torch.Tensor,
    ious: torch.Tensor,
    *,
    columns: int = COLUMNS,
    titles: Sequence[str] | None = None,
) -> Any:
    """Draw pictures with their true box and the predicted one.

    Args:
        images: ``[N, C, H, W]`` uint8, gray or colour.
        truth: true boxes ``[N, 4]``, corners in shares of width and height.
        predicted: predicted boxes, likewise.
        ious, columns: as for ``ranked``.
        titles: a line above each picture, N of them; its IoU if not given.
    Returns:
        A matplotlib Figure that no window owns.

    Explained in chapter 09.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    from spikelab.plotting import PALETTE, style_parameters

    rows = ranked(ious, columns)
    columns = len(rows["best"])
    height, width = images.shape[-2:]
    looks = {
        "true box": {"edgecolor": PALETTE[0], "linestyle": "-"},
        "predicted box": {"edgecolor": PALETTE[1], "linestyle": "--"},
    }
    with matplotlib.rc_context(style_parameters()):
        figure = Figure(figsize=(1.8 * columns, len(rows) * (1.8 * height / width + 0.3) + 0.4), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, (row, places) in zip(grid, rows.items(), strict=True):
            for ax, place in zip(axes, places, strict=True):
                # Half-open boxes: the left edge of the first pixel is 0.
                picture = images[place].movedim(0, -1).squeeze(-1).numpy()
                ax.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
                ax.spines[:].set_visible(False)
                ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect=height / width)
                for box, look in zip((truth[place], predicted[place]), looks.values(), strict=True):
                    x0, y0, x1, y1 = box.tolist()
                    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1.8, **look))
                title = f"IoU {float(ious[place]):.2f}" if titles is None else titles[place]
                ax.set_title(title, fontsize=9, pad=3)
            axes[0].set_ylabel(row)
        lines = [Line2D([], [], color=look["edgecolor"], linestyle=look["linestyle"]) for look in looks.values()]
        figure.legend(lines, list(looks), loc="outside lower center", ncols=len(looks), frameon=False)
    return figure
