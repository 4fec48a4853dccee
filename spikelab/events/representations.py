"""Events as frames: what a network with time steps can read, and what it costs.

Every frame keeps where and drops some of when. Channel 0 is OFF, channel 1 is ON. Explained in chapter 04.
"""

from __future__ import annotations

import numpy as np
import torch

from spikelab.events.array import check_events, check_size
from spikelab.validation import require_choice, require_count, require_positive

MODES = ("count", "binary")
POLARITIES = ("split", "merge", "signed")


def frames(
    events: np.ndarray,
    num_steps: int,
    window_us: float,
    *,
    size: tuple[int, int] = (34, 34),
    mode: str = "count",
    polarity: str = "split",
) -> torch.Tensor:
    """Add up the events of each time window.

    An event at t falls into step floor(t / window_us): with 1 ms windows, 999 µs is step 0 and 1000 µs is step 1.
    Events at or after ``num_steps * window_us`` are dropped.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``.
        num_steps: number of frames T.
        window_us: width of one frame in µs.
        size: (height, width) of the sensor.
        mode: ``"count"`` keeps how many events fell into a cell, ``"binary"`` only whether any did.
        polarity: ``"split"`` gives two channels, OFF and ON; ``"merge"`` one channel for both; ``"signed"`` one
            channel with ON minus OFF (in mode ``"binary"`` its sign).

    Returns:
        Frames ``[T, C, H, W]``, float32.

    Raises:
        ValueError: if an argument or an event is out of range.

    Explained in chapter 04.
    """
    require_count("num_steps", num_steps)
    window_us = require_positive("window_us", window_us, "µs")
    _check(events, size, mode, polarity)
    step = time_steps(events["t"], window_us)
    inside = step < num_steps
    return _accumulate(events[inside], step[inside], num_steps, size, mode, polarity)


def frames_by_count(
    events: np.ndarray,
    num_steps: int,
    *,
    size: tuple[int, int] = (34, 34),
    mode: str = "count",
    polarity: str = "split",
) -> torch.Tensor:
    """Give each frame the same number of events, so that fast motion gets more frames than slow motion.

    Event number e of E goes to frame floor(e·T / E): all events are used and two frames differ by one event at most.

    Args:
        events: recording ``[E]`` of dtype ``EVENT``, sorted in time.
        num_steps: number of frames T.
        size: (height, width) of the sensor.
        mode: as in ``frames``.
        polarity: as in ``frames``.

    Returns:
        Frames ``[T, C, H, W]``, float32.

    Raises:
        ValueError: if an argument or an event is out of range.

    Explained in chapter 04.
    """
    require_count("num_steps", num_steps)
    _check(events, size, mode, polarity)
    step = np.arange(len(events), dtype=np.int64) * num_steps // max(len(events), 1)
    return _accumulate(events, step, num_steps, size, mode, polarity)


def time_steps(t: np.ndarray, window_us: float) -> np.ndarray:
    """Step of each time in µs: floor(t / window_us), exact for whole windows."""
    if float(window_us).is_integer():
        return t // int(window_us)
    return np.floor(t / window_us).astype(np.int64)


def _check(events: np.ndarray, size: tuple[int, int], mode: str, polarity: str) -> None:
    require_choice("mode", mode, MODES)
    require_choice("polarity", polarity, POLARITIES)
    check_events(events, size=check_size(size))


def _accumulate(
    events: np.ndarray, step: np.ndarray, num_steps: int, size: tuple[int, int], mode: str, polarity: str
) -> torch.Tensor:
    height, width = size
    channels = 2 if polarity == "split" else 1
    channel = events["p"].astype(np.int64) if polarity == "split" else 0
    cell = ((step * channels + channel) * height + events["y"]) * width + events["x"]
    value = 2.0 * events["p"] - 1 if polarity == "signed" else np.ones(len(events))
    summed = torch.zeros(num_steps * channels * height * width)
    summed.index_add_(0, torch.from_numpy(cell), torch.from_numpy(value.astype(np.float32)))
    summed = summed.view(num_steps, channels, height, width)
    return summed if mode == "count" else torch.sign(summed)
