"""The picture of a run: loss, metric and firing rates over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikelab.files import write_atomically

MANY_LAYERS = 8  # more rates than this are shown as a range


def plot_curves(
    history: Sequence[dict[str, Any]], metric: str, *, running: str = "", best_epoch: int | None = None
) -> Any:
    """Draw a run.

    Args:
        history: a record of each epoch, as results keep it.
        metric: which metric to draw.
        running: the metric of the batches that were learned from, if it is another.
        best_epoch: the epoch to mark, counted from 1.
    Returns:
        A matplotlib Figure that no window owns.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from spikelab.plotting import GREY, MARKERS, PALETTE, style_parameters

    epochs = [record["epoch"] for record in history]
    rates = history[-1].get("firing_rate") or {} if history else {}
    panels = 3 if rates else 2  # a network without spikes has none to show
    with matplotlib.rc_context(style_parameters()):
        figure = Figure(figsize=(3.0 * panels, 3.0), layout="constrained")
        axes = figure.subplots(1, panels)
        names = {"train": running or metric, "validation": metric}
        for ax, of_loss in zip(axes, (True, False), strict=False):
            for split, colour, marker in zip(names, PALETTE, MARKERS, strict=False):
                name = "loss" if of_loss else names[split]
                values = [(record.get(split) or {}).get(name) for record in history]
                if any(value is not None for value in values):
                    label = split if name in ("loss", metric) else f"{split}: {name}"
                    ax.plot(epochs, values, color=colour, marker=marker, markersize=3.5, label=label)
            ax.set(xlabel="epoch", ylabel="loss" if of_loss else metric)
            ax.legend(frameon=False)
        many = len(rates) > MANY_LAYERS
        for index, layer in enumerate(rates):
            values = [(record.get("firing_rate") or {}).get(layer) for record in history]
            if many:  # from the picture's side, dark, to the answer's, light
                shade = matplotlib.colormaps["cividis"](index / (len(rates) - 1))
                ends = {0: f"first of {len(rates)} layers", len(rates) - 1: "last"}
                axes[2].plot(epochs, values, color=shade, linewidth=1.0, label=ends.get(index))
                continue
            look = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)], "markersize": 3.5}
            axes[2].plot(epochs, values, label=layer, **look)
        if rates:
            axes[2].set(xlabel="epoch", ylabel="firing rate (spikes per step)", ylim=(0, None))
            axes[2].legend(frameon=False, fontsize=8.5)
        for ax in axes:
            ax.xaxis.get_major_locator().set_params(integer=True)
            if best_epoch is not None:
                ax.axvline(best_epoch, color=GREY, linewidth=0.8, linestyle=":")
    return figure


def save_figure(path: Path, figure: Any) -> Path:
    """Write a figure as PNG.

    Raises:
        WriteError: if it cannot be written.
    """
    return write_atomically(path, lambda part: figure.savefig(part, format="png", dpi=110))
