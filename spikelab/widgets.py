"""A slider that moves a figure, in JupyterLab and on a plain web page alike.

A static page has no Python to redraw a figure, so every frame is drawn beforehand and the slider only chooses which
one to show; slider and frames are linked in the browser.

Used in every chapter.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from spikelab.plotting import png_bytes, style_parameters
from spikelab.validation import require_positive

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

FRAME_DPI = 144
FRAME_COLOURS = 64


def frames_slider(
    draw: Callable[[Any], Figure],
    values: Iterable[Any],
    *,
    label: str,
    unit: str = "",
    alt: str | Callable[[Any], str] | None = None,
    start: Any = None,
    dpi: float = FRAME_DPI,
) -> ipywidgets.VBox:
    """Draw one figure for each value and return them under a slider.

    Arrow keys, Home and End move the slider once it has the focus. Ten to twenty frames are plenty: each one becomes
    part of the page (15 to 40 kB).

    Args:
        draw: takes one of the values, returns a matplotlib ``Figure`` (not the ``Axes``); give all frames the same
            limits, so that only what changes moves. The figure is closed afterwards.
        values: what the slider offers, in order: numbers or texts.
        label: what the values are, left of the slider.
        unit: their unit, shown behind each value.
        alt: what a reader who cannot see the frame should know: a function of the value, or one text to which label
            and value are added.
        start: the value shown first; None takes the first one.
        dpi: pixels per inch of the frames.

    Returns:
        The widget; as the last line of a cell it is shown.

    Raises:
        ValueError: if there are no values, ``draw`` returns something else than a ``Figure``, ``alt`` is missing, or
            ``start`` is not one of the values.

    Explained in chapter 01, where the first one stands.
    """
    import ipywidgets

    choices = list(values)
    if not choices:
        raise ValueError("values must hold at least one value, got none")
    if not callable(draw):
        raise ValueError(f"draw must be a function of one value, got {type(draw).__name__}")
    if not str(label).strip():
        raise ValueError(f"label must say what the slider changes, got {label!r}")
    require_positive("dpi", dpi, "pixels per inch")
    if start is not None and start not in choices:
        raise ValueError(f"start must be one of the values {choices}, got {start!r}")
    shown = [_with_unit(value, unit) for value in choices]
    texts = [_alt_text(alt, value, f"{label}: {text}") for value, text in zip(choices, shown, strict=True)]
    frames = [
        ipywidgets.HTML(_image_tag(_frame(draw, value, dpi), text)) for value, text in zip(choices, texts, strict=True)
    ]
    first = 0 if start is None else choices.index(start)
    slider = ipywidgets.SelectionSlider(
        options=[(text, index) for index, text in enumerate(shown)],
        index=first,
        description=label,
        continuous_update=True,
        style={"description_width": "initial"},
        layout={"width": "100%", "max_width": "40em"},
    )
    stack = ipywidgets.Stack(frames, selected_index=first, layout={"width": "100%"})
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    return ipywidgets.VBox([slider, stack], layout={"width": "100%"})


def _with_unit(value: Any, unit: str) -> str:
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".strip()


def _alt_text(alt: str | Callable[[Any], str] | None, value: Any, shown: str) -> str:
    text = alt(value) if callable(alt) else alt
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"alt must describe the frame in words for a reader who cannot see it, got {text!r} at {shown}"
        )
    return text if callable(alt) else f"{text.rstrip('. ')}. {shown}"


def _frame(draw: Callable[[Any], Figure], value: Any, dpi: float) -> bytes:
    """Return one frame as PNG, in few colours to keep pages small, and close every figure that drawing opened."""
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    before = set(plt.get_fignums())
    try:
        with matplotlib.rc_context(style_parameters()):
            figure = draw(value)
            if not isinstance(figure, Figure):
                hint = " (return ax.figure)" if hasattr(figure, "figure") else ""
                raise ValueError(f"draw must return a matplotlib Figure, got {type(figure).__name__}{hint}")
            png = png_bytes(figure, dpi=dpi, colours=FRAME_COLOURS)
            interactive = matplotlib.is_interactive()
        # The first figure of a notebook switches pyplot to interactive; leaving the context must not switch it back,
        # or Jupyter would never show a later figure.
        matplotlib.interactive(interactive)
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
    return png


def _image_tag(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<img class="spikelab-frame" alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}" '
        'style="width:100%;max-width:720px;height:auto;background:#fff">'
    )
