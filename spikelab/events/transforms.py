"""Recordings cut, flipped, jittered and thinned: augmentation, and controls that destroy one thing at a time.

Each function returns a new recording, sorted in time, and leaves the old one as it is. Explained in chapter 04.
"""

from __future__ import annotations

import numpy as np
import torch

from spikelab.events.array import check_events, check_size, sort_events
from spikelab.validation import require_between, require_count, require_non_negative, require_positive


def slice_time(events: np.ndarray, start_us: float, stop_us: float, *, rebase: bool = True) -> np.ndarray:
    """Keep the events from ``start_us`` (included) to ``stop_us`` (excluded).

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        start_us: first time kept, in µs.
        stop_us: first time no longer kept, in µs.
        rebase: count time from ``start_us`` afterwards (which is then a whole number of µs).

    Returns:
        The events of that window.

    Raises:
        ValueError: if the window ends before it starts.
    """
    start_us = require_non_negative("start_us", start_us, "µs")
    stop_us = require_non_negative("stop_us", stop_us, "µs")
    if stop_us < start_us:
        raise ValueError(f"stop_us must not lie before start_us, got {stop_us:g} before {start_us:g}")
    check_events(events)
    kept = events[(events["t"] >= start_us) & (events["t"] < stop_us)].copy()
    if rebase:
        kept["t"] -= int(start_us)
    return kept


def flip_x(events: np.ndarray, width: int) -> np.ndarray:
    """Mirror left and right on a sensor of ``width`` columns; ValueError if an event lies outside it."""
    return _mirrored(events, "x", "width", width)


def flip_y(events: np.ndarray, height: int) -> np.ndarray:
    """Mirror top and bottom on a sensor of ``height`` rows; ValueError if an event lies outside it."""
    return _mirrored(events, "y", "height", height)


def flip_polarity(events: np.ndarray) -> np.ndarray:
    """Swap ON and OFF, as if the picture were its negative."""
    flipped = check_events(events).copy()
    flipped["p"] = 1 - flipped["p"]
    return flipped


def shift(events: np.ndarray, dx: int, dy: int, size: tuple[int, int]) -> np.ndarray:
    """Move all events by whole pixels and drop those that leave the sensor.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        dx: columns to the right (negative: to the left).
        dy: rows down (negative: up).
        size: (height, width) of the sensor.

    Returns:
        The events that are still on the sensor.

    Raises:
        ValueError: if dx or dy is no whole number or an event lies outside the sensor.
    """
    for name, step in (("dx", dx), ("dy", dy)):
        if isinstance(step, bool) or not isinstance(step, int | np.integer):
            raise ValueError(f"{name} must be a whole number of pixels, got {step!r}")
    check_events(events, size=size)
    return _placed(events, events["x"].astype(np.int64) + dx, events["y"].astype(np.int64) + dy, size)


def crop(events: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Keep the events of a window of the sensor, and count places from the window's corner.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        left: first column kept.
        top: first row kept.
        size: (height, width) of the window.

    Returns:
        The events within the window.

    Raises:
        ValueError: if the corner is no pixel.
    """
    require_count("left", left, minimum=0)
    require_count("top", top, minimum=0)
    check_events(events)
    return _placed(events, events["x"].astype(np.int64) - left, events["y"].astype(np.int64) - top, size)


def jitter_space(events: np.ndarray, sd_px: float, size: tuple[int, int], generator: torch.Generator) -> np.ndarray:
    """Move each event by a normal random step of its own, rounded to whole pixels; drop those that leave the sensor.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        sd_px: standard deviation of the step in each direction, in pixels.
        size: (height, width) of the sensor.
        generator: source of randomness.

    Returns:
        The events that are still on the sensor.

    Raises:
        ValueError: if ``sd_px`` is negative or an event lies outside the sensor.
    """
    sd_px = require_non_negative("sd_px", sd_px, "pixels")
    check_events(events, size=size)
    step = torch.round(sd_px * torch.randn(2, len(events), generator=generator)).long().numpy()
    return _placed(events, events["x"] + step[0], events["y"] + step[1], size)


def jitter_time(events: np.ndarray, sd_us: float, generator: torch.Generator) -> np.ndarray:
    """Move each event in time by a normal random step of its own; none gets before 0 µs.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        sd_us: standard deviation in µs.
        generator: source of randomness.

    Returns:
        The events, sorted anew.

    Raises:
        ValueError: if ``sd_us`` is negative.
    """
    sd_us = require_non_negative("sd_us", sd_us, "µs")
    moved = check_events(events).copy()
    step = torch.round(sd_us * torch.randn(len(events), generator=generator, dtype=torch.float64)).long().numpy()
    moved["t"] = np.maximum(moved["t"] + step, 0)
    return sort_events(moved)


def scale_time(events: np.ndarray, factor: float) -> np.ndarray:
    """Stretch time by ``factor`` (below 1: the same film faster), floored to whole µs."""
    factor = require_positive("factor", factor)
    scaled = check_events(events).copy()
    scaled["t"] = np.floor(scaled["t"] * factor).astype(np.int64)
    return scaled


def drop_events(events: np.ndarray, probability: float, generator: torch.Generator) -> np.ndarray:
    """Leave out each event with the given probability, independently of the others.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        probability: 0 keeps all, 1 none.
        generator: source of randomness.

    Returns:
        The events that remain.

    Raises:
        ValueError: if ``probability`` lies outside [0, 1].
    """
    probability = require_between("probability", probability, 0, 1)
    kept = torch.rand(len(check_events(events)), generator=generator, dtype=torch.float64) >= probability
    return events[kept.numpy()].copy()


def shuffle_time(events: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Deal the recording's times out anew among its places: the control that destroys timing and nothing else.

    The set of times and the picture of counts stay exactly as they were; which place fired when becomes chance.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        generator: source of randomness.

    Returns:
        The events, sorted anew.
    """
    shuffled = check_events(events).copy()
    shuffled["t"] = shuffled["t"][torch.randperm(len(events), generator=generator).numpy()]
    return sort_events(shuffled)


def _mirrored(events: np.ndarray, axis: str, name: str, side: int) -> np.ndarray:
    side = require_count(name, side)
    mirrored = check_events(events).copy()
    if len(events) and events[axis].max() >= side:
        raise ValueError(
            f"{name} must be more than the largest {axis}, got {side} with an event at {events[axis].max()}"
        )
    mirrored[axis] = side - 1 - mirrored[axis]
    return mirrored


def _placed(events: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = check_size(size)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    placed = events[inside].copy()
    placed["x"], placed["y"] = x[inside], y[inside]
    return placed
