"""The figures of the course, in one style.

The physics stays in the cell of the lesson, the drawing lives here. Every function takes tensors or arrays, draws on
``ax`` (or on a new figure) and returns the ``Axes``; nothing is printed or shown. Axes carry units, and no figure
speaks by colour alone: curves also differ in their dashes or markers, bars in their hatching.

The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart. All of ``PALETTE`` keep
a contrast of at least 3:1 on the white background and also after the book's dark mode has turned the lightness of a
figure around. ``FILLS`` are the light ones, for areas that have a dark edge.

>>> from spikelab import plotting
>>> plotting.style()                                             # once, in the set-up cell
>>> plotting.membrane(out.membrane, spikes=out.spikes, threshold=1.0);

Used in every chapter.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikelab.files import write_atomically
from spikelab.validation import require_between, require_choice, require_count, require_positive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK = "#000000"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
OCHRE = "#A86F00"  # Okabe and Ito's orange, darkened until a thin line of it can be read on white
ORANGE = "#E69F00"
SKY = "#56B4E9"
YELLOW = "#F0E442"
INK = "#222222"  # text, axes, edges
GREY = "#666666"  # guides: threshold, rheobase
WHITE = "#FFFFFF"

PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, OCHRE, BLACK)
FILLS = (SKY, ORANGE, GREEN, YELLOW, PURPLE, WHITE)
DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)), (0, (3, 1.5)), (0, (6, 2, 1.2, 2, 1.2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "X")
SPIKE_MARKERS = ("v", "^", "D", "s", "o", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xx", "--")

PAGE_WIDTH_INCHES = 6.0  # shown 720 px wide: 12 pt text is 20 px there and 10 px on a phone


def style_parameters() -> dict[str, Any]:
    """Return the course's matplotlib settings, for ``style`` or a ``matplotlib.rc_context``."""
    from cycler import cycler

    return {
        "figure.figsize": (PAGE_WIDTH_INCHES, 3.3),
        "figure.dpi": 120,
        "savefig.dpi": 144,
        "figure.facecolor": WHITE,
        "savefig.facecolor": WHITE,
        "savefig.transparent": False,
        "figure.constrained_layout.use": True,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "font.size": 11.5,
        "axes.titlesize": 11.5,
        "axes.labelsize": 11.5,
        "xtick.labelsize": 10.5,
        "ytick.labelsize": 10.5,
        "legend.fontsize": 10.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.facecolor": WHITE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.8,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "hatch.linewidth": 0.8,
        "legend.frameon": True,
        "legend.framealpha": 0.9,
        "legend.edgecolor": "#CCCCCC",
        "legend.handlelength": 2.6,
        "axes.prop_cycle": cycler(color=PALETTE, linestyle=DASHES),
    }


def style() -> None:
    """Set the course's figure style for the rest of the notebook.

    For a single figure use ``matplotlib.rc_context(style_parameters())`` instead.
    """
    import matplotlib

    matplotlib.rcParams.update(style_parameters())


def panels(
    rows: int = 1, columns: int = 1, *, row_height: float = 2.6, share_x: bool = False, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a new page-wide figure and its axes, row by row.

    Args:
        rows: number of rows of axes.
        columns: number of axes in a row.
        row_height: height of a row in inches (the page is 6 wide).
        share_x: one time axis for a column of panels.
        share_y: one value axis for a row of panels.

    Raises:
        ValueError: if a number of panels or the height is not positive.
    """
    require_count("rows", rows)
    require_count("columns", columns)
    require_positive("row_height", row_height, "inches")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(PAGE_WIDTH_INCHES, row_height * rows),
        sharex="col" if share_x else "none",
        sharey="row" if share_y else "none",
        squeeze=False,
        layout="constrained",
    )
    return figure, list(grid.ravel())


def membrane(
    potential: Any,
    *,
    spikes: Any = None,
    threshold: float | None = 1.0,
    dt_ms: float | None = None,
    start: float = 0.0,
    unit: str = "θ",
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw membrane potentials with the threshold (dashed) and a mark above each spike.

    Args:
        potential: ``[T]`` or ``[T, N]``, one curve for each of at most six neurons.
        spikes: 0 or 1, same shape; None draws no marks.
        threshold: in the potential's unit; None draws no line.
        dt_ms: step in ms; None counts the axis in time steps.
        start: time of the first sample, in the unit of the axis (``dt_ms`` where index 0 is the end of the first step).
        unit: of the potential, ``"mV"`` or ``"θ"`` (multiples of the threshold).
        labels: a name for each curve, shown in a legend.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if shapes do not fit or a value is NaN or infinite.

    Explained in chapter 01.
    """
    u = _columns("potential", potential, at_most=len(PALETTE))
    names = _names("labels", labels, u.shape[1])
    time, time_label = _time(len(u), dt_ms, start)
    marks = None
    if spikes is not None:
        marks = _columns("spikes", spikes)
        if marks.shape != u.shape:
            raise ValueError(f"spikes must have the shape of potential {u.shape}, got {marks.shape}")
    ax = _axes(ax)
    for i in range(u.shape[1]):
        dots = {"marker": "o", "markersize": 3.5} if len(u) <= 40 else {}
        ax.plot(time, u[:, i], color=PALETTE[i], linestyle=DASHES[i], label=names[i], **dots)
    if threshold is not None:
        ax.axhline(threshold, color=GREY, linestyle=(0, (4, 3)), linewidth=1.5, label="_threshold", zorder=1.5)
        _margin_note(ax, threshold, "θ")
    if marks is not None:
        top = max(float(u.max()), threshold if threshold is not None else -np.inf)
        height = (top - float(u.min())) or 1.0
        rows = [top + height * (0.08 + 0.11 * i) for i in range(u.shape[1])]
        for i, row in enumerate(rows):
            fired = time[marks[:, i] != 0]
            ax.plot(
                fired,
                np.full(len(fired), row),
                SPIKE_MARKERS[i],
                color=PALETTE[i],
                markeredgecolor=INK,
                label=f"_spikes {i}",
            )
        _margin_note(ax, sum(rows) / len(rows), "spikes")
    ax.set(xlabel=time_label, ylabel=f"membrane potential U ({unit})")
    _whole_steps(ax, dt_ms)
    return _finish(ax, title, legend="above")


def raster(
    spikes: Any,
    *,
    dt_ms: float | None = None,
    start: float = 0.0,
    rows: str = "neuron",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one mark for each spike: time to the right, neurons upwards.

    Args:
        spikes: ``[T, N]`` (or ``[T]``) of 0 and 1; −1 is an OFF event and is drawn as a cross.
        dt_ms: step in ms; None counts the axis in time steps.
        start: time of the first sample, in the unit of the axis.
        rows: what a row is, for the axis: ``"neuron"``, ``"pixel"``, ``"trial"``.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if the shape does not fit or a value is not −1, 0 or 1.

    Explained in chapter 03.
    """
    s = _columns("spikes", spikes)
    strange = s[~np.isin(s, (-1, 0, 1))]
    if strange.size:
        raise ValueError(f"spikes must hold only -1, 0 and 1, got {strange[0]:g} (for analogue values use image)")
    time, time_label = _time(len(s), dt_ms, start)
    ax = _axes(ax)
    count = s.shape[1]
    size = float(np.clip(150 / count, 1.5, 14))
    on, row = np.nonzero(s > 0)
    marks = ax.plot(time[on], row, "|", color=INK, markersize=size, markeredgewidth=1.4 if count <= 120 else 1.0)
    off, row = np.nonzero(s < 0)
    if off.size:
        marks[0].set_label("ON")
        ax.plot(time[off], row, "x", color=VERMILLION, markersize=max(4.0, 0.6 * size), label="OFF")
    margin = 0.5 * (time[1] - time[0]) if len(s) > 1 else 0.5
    ax.set(xlabel=time_label, ylabel=f"{rows} index", xlim=(time[0] - margin, time[-1] + margin))
    ax.set_ylim(-0.7, count - 0.3)
    ax.grid(False, axis="y")
    if count <= 12:
        ax.set_yticks(range(count))
    _whole_steps(ax, dt_ms)
    return _finish(ax, title, legend="above")


def fi_curve(
    drive: Any,
    rate: Any,
    *,
    measured: Any = None,
    measured_drive: Any = None,
    rheobase: float | None = None,
    label: str = "theory",
    measured_label: str = "simulated",
    drive_label: str = "drive R·I (mV)",
    rate_label: str = "firing rate (Hz)",
    series: int = 0,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a firing rate against its drive: theory as a line, measured points as open markers.

    Args:
        drive: ``[N]``, the axis to the right.
        rate: ``[N]``, the theoretical rate there.
        measured: ``[M]`` measured rates; None draws the line only.
        measured_drive: ``[M]`` where they were measured; None means at ``drive``.
        rheobase: drive below which the neuron is silent, drawn as a dotted line.
        label: name of the line.
        measured_label: name of the points.
        drive_label: axis label with its unit.
        rate_label: axis label with its unit.
        series: 0 to 5, which colour, dashes and marker: count up when several curves share ``ax``.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if lengths differ or a value is NaN or infinite.

    Explained in chapter 01.
    """
    x, y = _pair("drive", drive, "rate", rate)
    require_count("series", series, 0)
    i = series % len(PALETTE)
    if measured is not None:
        points = _pair("measured_drive", x if measured_drive is None else measured_drive, "measured", measured)
    ax = _axes(ax)
    ax.plot(x, y, color=PALETTE[i], linestyle=DASHES[i], label=label)
    if measured is not None:
        ax.plot(*points, MARKERS[i], color=PALETTE[i], markerfacecolor=WHITE, markeredgewidth=1.6, label=measured_label)
    if rheobase is not None:
        ax.axvline(rheobase, color=GREY, linestyle=":", linewidth=1.8, label="rheobase", zorder=1.5)
    ax.set(xlabel=drive_label, ylabel=rate_label)
    return _finish(ax, title, legend="inside")


def traces(
    x: Any,
    curves: Mapping[str, Any],
    *,
    x_label: str,
    y_label: str,
    log: str = "",
    markers: bool | None = None,
    guide: float | None = None,
    guide_label: str = "",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw several named curves over one axis, told apart by colour and by dashes (and markers).

    Args:
        x: ``[N]``, shared by all curves.
        curves: name → ``[N]`` values, or name → ``(x, values)`` for a curve with an axis of its own; at most six.
        x_label: axis label with its unit.
        y_label: axis label with its unit.
        log: ``"x"``, ``"y"`` or ``"xy"`` for logarithmic axes.
        markers: draw a marker on every point; None does so for curves of at most 20 points.
        guide: a level to compare with, drawn as a dashed grey line.
        guide_label: its name.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if there is no curve, more than six, lengths differ, or a value is NaN or infinite.

    Explained in chapter 01.
    """
    require_choice("log", log, ("", "x", "y", "xy"))
    if not isinstance(curves, Mapping) or not 1 <= len(curves) <= len(PALETTE):
        got = f"{len(curves)} curves" if isinstance(curves, Mapping) else type(curves).__name__
        raise ValueError(f"curves must map 1 to {len(PALETTE)} names to their values, got {got}")
    pairs = {
        name: _pair("x", value[0], name, value[1]) if isinstance(value, tuple) else _pair("x", x, name, value)
        for name, value in curves.items()
    }
    for name, (own_x, own_y) in pairs.items():
        if ("x" in log and own_x.min() <= 0) or ("y" in log and own_y.min() <= 0):
            raise ValueError(f"log={log!r} needs values above zero, but curve {name!r} has some at or below it")
    ax = _axes(ax)
    for i, (name, (own_x, own_y)) in enumerate(pairs.items()):
        dotted = len(own_x) <= 20 if markers is None else markers
        dots = {"marker": MARKERS[i], "markerfacecolor": WHITE, "markeredgewidth": 1.6} if dotted else {}
        ax.plot(own_x, own_y, color=PALETTE[i], linestyle=DASHES[i], label=name, **dots)
    if guide is not None:
        ax.axhline(guide, color=GREY, linestyle=(0, (4, 3)), linewidth=1.5, label=guide_label or None, zorder=1.5)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.set(xlabel=x_label, ylabel=y_label)
    return _finish(ax, title, legend="inside")


def kernel(
    kernels: Mapping[str, Any] | Any,
    *,
    dt_ms: float | None = None,
    y_label: str = "kernel value (θ)",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw kernels tap by tap: a stem for each lag, a marker for each kernel.

    Args:
        kernels: ``[K]`` values, or name → values for up to six.
        dt_ms: step in ms; None counts the lag in time steps.
        y_label: axis label with its unit.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if a kernel is empty, not one-dimensional, or holds NaN.

    Explained in chapter 02.
    """
    named = kernels if isinstance(kernels, Mapping) else {"": kernels}
    if not 1 <= len(named) <= len(PALETTE):
        raise ValueError(f"kernels must be 1 to {len(PALETTE)}, got {len(named)}")
    taps = {name: _vector(name or "kernels", values) for name, values in named.items()}
    _time(1, dt_ms, 0.0)
    ax = _axes(ax)
    for i, (name, values) in enumerate(taps.items()):
        lag, lag_label = _time(len(values), dt_ms, 0.0, what="lag")
        dense = len(values) > 40
        if not dense:
            ax.vlines(lag, 0, values, color=PALETTE[i], linewidth=1.6)
        ax.plot(
            lag,
            values,
            MARKERS[i],
            color=PALETTE[i],
            markersize=3.5 if dense else 6.0,
            markerfacecolor=PALETTE[i] if i % 2 == 0 else WHITE,
            label=name or None,
        )
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(xlabel=lag_label, ylabel=y_label)
    _whole_steps(ax, dt_ms)
    return _finish(ax, title, legend="inside")


def histogram(
    values: Mapping[str, Any] | Any,
    *,
    bins: int = 40,
    value_label: str = "weight",
    count_label: str = "count",
    log: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how weights, gradients or intervals are distributed.

    Args:
        values: any shape, or name → values for up to six sets over common bins.
        bins: number of bins.
        value_label: axis label, with a unit where the values have one.
        count_label: axis label of the counts.
        log: logarithmic counts.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if a set is empty or holds NaN or infinity, or ``bins`` is not a count.

    Explained in chapter 03 (intervals) and chapter 06 (gradients).
    """
    require_count("bins", bins)
    named = values if isinstance(values, Mapping) else {"": values}
    if not 1 <= len(named) <= len(PALETTE):
        raise ValueError(f"values must hold 1 to {len(PALETTE)} sets, got {len(named)}")
    sets = {name: _numbers(name or "values", one).ravel() for name, one in named.items()}
    for name, one in sets.items():
        if not one.size:
            raise ValueError(f"{name or 'values'} must hold at least one number, got none")
    edges = np.histogram_bin_edges(np.concatenate(list(sets.values())), bins=bins)
    ax = _axes(ax)
    for i, (name, one) in enumerate(sets.items()):
        counts, _ = np.histogram(one, bins=edges)
        ax.stairs(counts, edges, color=PALETTE[i], linestyle=DASHES[i], linewidth=2, label=name or None, zorder=3)
        ax.stairs(counts, edges, fill=True, color=FILLS[i], alpha=0.5 if len(sets) > 1 else 1.0, zorder=2)
    if log:
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7)
    ax.set(xlabel=value_label, ylabel=count_label)
    return _finish(ax, title, legend="inside")


def bars(
    groups: Sequence[str],
    series: Mapping[str, Any],
    *,
    y_label: str,
    log: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw grouped bars, one hatching for each series: which code survives which noise, for instance.

    Args:
        groups: a name for each group of bars.
        series: name → one height per group, at most six.
        y_label: axis label with its unit.
        log: logarithmic heights.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if a series has not one number per group, or a height does not fit the scale.

    Explained in chapter 03.
    """
    if not 1 <= len(series) <= len(FILLS):
        raise ValueError(f"series must be 1 to {len(FILLS)}, got {len(series)}")
    heights = {name: _vector(name, values) for name, values in series.items()}
    for name, values in heights.items():
        if len(values) != len(groups):
            raise ValueError(f"{name} must have one number for each of the {len(groups)} groups, got {len(values)}")
        if log and values.min() <= 0:
            raise ValueError(f"log=True needs heights above zero, but {name!r} has {values.min():g}")
    ax = _axes(ax)
    width = 0.8 / len(heights)
    for i, (name, values) in enumerate(heights.items()):
        middle = np.arange(len(groups)) + (i - (len(heights) - 1) / 2) * width
        ax.bar(middle, values, width, color=FILLS[i], edgecolor=INK, linewidth=1, hatch=HATCHES[i], label=name)
    if log:
        ax.set_yscale("log")
    ax.set_xticks(range(len(groups)), groups)
    ax.set_ylabel(y_label)
    ax.grid(False, axis="x")
    return _finish(ax, title, legend="inside")


def phase_plane(
    flow: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    names: tuple[str, str] = ("x", "y"),
    path: Any = None,
    rest: tuple[float, float] | None = None,
    stable: bool = True,
    legend: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where each of two variables stands still (their nullclines), and a path through their plane.

    Args:
        flow: ``flow(x, y)`` returns the slopes of both variables in time, for arrays of any shape; it is asked
            between the ends of the ranges, never at them.
        x_range: ends of the axis to the right.
        y_range: ends of the axis upwards.
        x_label: axis label with its unit.
        y_label: axis label with its unit.
        names: of the two variables, for the legend.
        path: ``[T, 2]``, drawn as a line that starts at a dot.
        rest: where both stand still, drawn as a diamond.
        stable: whether the path returns to ``rest``: a filled diamond, otherwise an open one.
        legend: name the lines, always at the lower right, so that the frames of a slider agree.
        title: of the panel.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if a range is empty or reversed, a slope or a point of the path is NaN or infinite, or ``path`` has
            not two columns.

    Explained in chapter 02.
    """
    middles = []
    for name, (low, high) in (("x_range", x_range), ("y_range", y_range)):
        require_positive(f"{name}'s length", high - low)
        middles.append(low + (high - low) * (np.arange(300) + 0.5) / 300)
    mesh = np.meshgrid(*middles)
    slopes = [_numbers("flow", slope) for slope in flow(*mesh)]
    ax = _axes(ax)
    if path is not None:
        points = _columns("path", path)
        if points.shape[1] != 2:
            raise ValueError(f"path must have shape [T, 2], got {points.shape}")
        ax.plot(*points.T, color=PALETTE[0], linestyle=DASHES[0], linewidth=1.6, label="path", zorder=3)
        ax.plot(*points[0], MARKERS[0], color=PALETTE[0], label="_start", zorder=4)
    for i, slope in enumerate(slopes, start=1):
        ax.contour(*mesh, slope, levels=[0.0], colors=PALETTE[i], linestyles=[DASHES[i]], linewidths=2.0)
        ax.plot([], [], color=PALETTE[i], linestyle=DASHES[i], label=f"{names[i - 1]} stands still")
    if rest is not None:
        ax.plot(*rest, "D", color=INK, markerfacecolor=INK if stable else WHITE, label="_rest", zorder=5)
    ax.set(xlim=x_range, ylim=y_range, xlabel=x_label, ylabel=y_label)
    if legend:
        ax.legend(loc="lower right", fontsize=9)
    return _finish(ax, title)


def image(
    values: Any,
    *,
    title: str | None = None,
    value_label: str | None = None,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a picture, pixel by pixel, without interpolation; with a colour bar if the values have a name.

    Args:
        values: ``[H, W]``.
        title: of the panel.
        value_label: what a pixel's value is, with its unit; None draws no colour bar.
        limits: values shown darkest and brightest; None takes the smallest and largest.
        ax: where to draw; None makes a new figure.

    Raises:
        ValueError: if the values have not two axes or hold NaN or infinity.

    Explained in chapter 03.
    """
    pixels = _numbers("values", values)
    if pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"values must have shape [H, W], got {pixels.shape}")
    low, high = limits if limits is not None else (None, None)
    ax = _axes(ax)
    shown = ax.imshow(pixels, cmap="gray" if value_label is None else "viridis", vmin=low, vmax=high)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    if value_label is not None:
        ax.figure.colorbar(shown, ax=ax, label=value_label, shrink=0.85)
    return _finish(ax, title)


def png_bytes(figure: Figure, *, dpi: float = 110, colours: int = 48) -> bytes:
    """Return a figure as a small PNG: few colours, no date, the same bytes every time.

    Args:
        figure: what to draw; it stays open.
        dpi: pixels per inch.
        colours: size of the palette, 2 to 256; lines and text need few, photographs many.
    Returns:
        The file's bytes.
    Raises:
        ValueError: if ``colours`` is not between 2 and 256.
    """
    from PIL import Image

    palette = int(require_between("colours", colours, 2, 256))
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, bbox_inches=None, metadata={"Software": None})
    with Image.open(raw) as picture:
        few = picture.convert("RGB").quantize(palette, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(small, format="PNG", optimize=True)
    return small.getvalue()


def save_picture(figure: Figure, path: str | Path, *, dpi: float = 110, colours: int = 48) -> None:
    """Write a figure as a small PNG and close it; see ``png_bytes``.

    Raises:
        ValueError: if ``colours`` is not between 2 and 256.
        WriteError: if the file cannot be written; an older one is then still whole.
    """
    import matplotlib.pyplot as plt

    try:
        write_atomically(path, png_bytes(figure, dpi=dpi, colours=colours))
    finally:
        plt.close(figure)


def _axes(ax: Axes | None) -> Axes:
    return ax if ax is not None else panels(row_height=3.3)[1][0]


def _finish(ax: Axes, title: str | None, *, legend: str = "") -> Axes:
    """Set the title, and a legend inside the panel or (where there is no title) above it."""
    if title is not None:
        ax.set_title(title)
    handles, names = ax.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    if not legend or not unique:
        return ax
    if legend == "above" and not ax.get_title(loc="left"):
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3, "frameon": False, "borderaxespad": 0.1}
        ax.legend(unique.values(), unique.keys(), **above)
    else:
        ax.legend(unique.values(), unique.keys(), loc="best")
    return ax


def _margin_note(ax: Axes, height: float, text: str) -> None:
    """Write beside the right edge of the panel, at a height in data units."""
    ax.annotate(text, (1, height), (5, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points", va="center")


def _whole_steps(ax: Axes, dt_ms: float | None) -> None:
    if dt_ms is None:
        ax.xaxis.get_major_locator().set_params(integer=True)


def _time(steps: int, dt_ms: float | None, start: float, what: str = "time") -> tuple[np.ndarray, str]:
    if dt_ms is None:
        return start + np.arange(steps), f"{what} (steps)"
    return start + np.arange(steps) * require_positive("dt_ms", dt_ms, "ms"), f"{what} (ms)"


def _numbers(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers of one shape, got {type(values).__name__}") from None
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"{name} must be finite, but {bad} of its {array.size} values are NaN or infinite "
            "(cut the curve off before the first of them)"
        )
    return array


def _vector(name: str, values: Any) -> np.ndarray:
    array = _numbers(name, values)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must have one axis and at least one value, got shape {array.shape}")
    return array


def _pair(x_name: str, x: Any, y_name: str, y: Any) -> tuple[np.ndarray, np.ndarray]:
    right, up = _vector(x_name, x), _vector(y_name, y)
    if len(right) != len(up):
        raise ValueError(f"{y_name} must have as many values as {x_name} ({len(right)}), got {len(up)}")
    return right, up


def _columns(name: str, values: Any, at_most: int | None = None) -> np.ndarray:
    array = _numbers(name, values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} must have shape [T] or [T, N], got {array.shape}")
    if at_most is not None and array.shape[1] > at_most:
        raise ValueError(
            f"{name} must hold at most {at_most} curves, got {array.shape[1]} (choose a few, or use raster)"
        )
    return array


def _names(name: str, labels: Sequence[str] | None, count: int) -> list[str | None]:
    if labels is None:
        return [None] * count
    names = [labels] if isinstance(labels, str) else list(labels)
    if len(names) != count:
        raise ValueError(f"{name} must name each of the {count} curves, got {len(names)}: {names}")
    return names
