r"""A simulated event camera that looks at a picture.

Every pixel of a dynamic vision sensor (DVS) remembers the logarithm of the light at its last event and emits an event
each time the logarithm has moved by C from there, ON upwards and OFF downwards:

.. math:: |\log I(t) - R| \ge C \;\Rightarrow\; \text{event},\quad R \leftarrow R \pm C

A picture that stands still gives no events, so the camera moves: N-MNIST was filmed by a camera that ran along the
sides of a triangle, three saccades of about 100 ms. Explained in chapter 04. Sources: Lichtsteiner et al. 2008 (pixel),
Orchard et al. 2015 (saccades), Rebecq et al. 2018 (crossings interpolated between samples of log I).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from spikelab.events.array import EVENT, check_size
from spikelab.validation import (
    require_non_negative,
    require_positive,
    require_tensor,
    require_unit_interval,
)

_CHUNK = 32  # images worked on at once; always filled up, so that an image gives the same events in any batch


class DVS(NamedTuple):
    """What a simulated sensor is made of.

    The light of a pixel runs from ``dark`` (black) to 1 + ``dark`` (white), in units of the picture's range.
    """

    threshold_on: float = 0.2
    """C, the rise of log light that makes an ON event."""
    threshold_off: float = 0.2
    """The fall of log light that makes an OFF event."""
    threshold_sd: float = 0.0
    """Mismatch: every pixel's two thresholds are drawn around C with this relative spread (lognormal)."""
    refractory_us: float = 0.0
    """Time in µs after an event in which a pixel emits no other; its reference follows the light all the same."""
    noise_rate_hz: float = 0.0
    """Events per pixel and second without any cause, of either polarity. They do not move the reference."""
    dark: float = 0.1
    """Light of a black pixel; log light would have no bottom without it."""
    inverted: bool = False
    """True if the picture was shown as its negative, dark ink on a bright screen."""
    blur_px: float = 0.0
    """Standard deviation of the lens' blur, in pixels of the picture, on top of linear interpolation."""


class CameraPath(NamedTuple):
    """Where the middle of the picture is seen, and when."""

    position_px: torch.Tensor
    """Columns and rows from the middle of the sensor, ``[K, 2]``."""
    time_us: torch.Tensor
    """Times ``[K]`` in µs, rising from 0."""


# Where the picture's middle was every 10 ms, in pixels from the middle of the sensor. Measured on N-MNIST: at each time
# the shift at which the gradient of the pictures' log light best explains ON minus OFF events (300 recordings).
# fmt: off
_NMNIST_COLUMN_PX = (
    -2.55, -2.57, -2.64, -2.71, -2.74, -2.65, -2.18, -1.61, -1.3, -1.22, -1.12, -0.97, -0.73, -0.21, 0.52, 1.11,
    1.39, 1.75, 2.07, 2.25, 2.41, 2.64, 2.75, 2.59, 1.83, 0.84, -0.19, -1.13, -1.76, -2.2, -2.38, -2.4,
)
_NMNIST_ROW_PX = (
    -1.75, -1.68, -1.37, -0.67, 0.42, 1.65, 2.68, 3.32, 3.52, 3.54, 3.49, 3.42, 3.4, 3.16, 2.42, 1.33, 0.2, -0.84,
    -1.4, -1.55, -1.56, -1.57, -1.6, -1.6, -1.55, -1.53, -1.56, -1.65, -1.75, -1.77, -1.73, -1.7,
)
# fmt: on
_CORNERS = (0, 9, 22)  # where in these the motion turns

NMNIST_DVS = DVS(
    threshold_on=0.225,
    threshold_off=0.234,
    threshold_sd=0.1,
    refractory_us=2000.0,
    noise_rate_hz=0.35,
    dark=0.2,
    inverted=True,
    blur_px=0.5,
)
"""A sensor under which MNIST gives recordings like those of N-MNIST, with ``saccades()`` and scale 1.

Fitted by hand on the first 400 training images. The first 1,000, N-MNIST's own recordings against the simulator's:

==================================================  ===================  ===================
measure                                             N-MNIST              simulated
==================================================  ===================  ===================
events per recording, mean and sd                   4,133 ± 1,154        4,096 ± 1,137
events of a 0, of a 1                               5,506, 2,575         5,474, 2,632
correlation of the events per recording             1                    .996
ON events                                           49.8 %               49.7 %
events of a pixel followed by the same polarity     78 %                 80 %
pixels with an event                                448                  443
events in 40-60, 150-160, 250-260 ms (per 10 ms)    302, 253, 252        308, 244, 255
events in 90-100, 220-230 ms                        22, 20               23, 5
time between events of one polarity, 1 %, median    1.7, 4.1 ms          2.1, 4.3 ms
lost by binary frames of 300, 10, 1 ms              81, 34, .1 %         81, 34, .0 %
==================================================  ===================  ===================

N-MNIST's polarities say that its digits were seen dark on bright, or that ON and OFF are exchanged: with bright digits
log light explains the events with the opposite sign, and fewer of them. What differs: all simulated recordings last
307.7 ms and follow one path (N-MNIST: 296.8 to 315.1 ms, never quite the same path); the refractory time is sharp;
noise is the same in all pixels, and none is hot (one of N-MNIST's bottom rows fires about 15 times per recording); the
third saccade starts more sharply. ``python -m benchmarks.event_statistics`` measures both kinds.
"""


def saccades(
    *, duration_us: float = 307_700.0, step_us: float = 4_000.0, amplitude: float = 1.0, smooth: bool = False
) -> CameraPath:
    """Return the path of a picture under a camera that makes three saccades around a triangle.

    Args:
        duration_us: time for all three, in µs (N-MNIST: 307.7 ms on average).
        step_us: distance of two points of the path in time, in µs.
        amplitude: size of the triangle, 1 for that of N-MNIST (sides of 5.4, 6.5 and 5.2 px).
        smooth: False follows the motion measured in N-MNIST; True runs along straight sides, a third of the time each,
            with the speed of half a sine wave.

    Returns:
        A ``CameraPath`` whose points are at most ``step_us`` apart.

    Raises:
        ValueError: if a duration is not positive or the amplitude negative.

    Explained in chapter 04.
    """
    duration_us = require_positive("duration_us", duration_us, "µs")
    step_us = require_positive("step_us", step_us, "µs")
    amplitude = require_non_negative("amplitude", amplitude)
    points = max(1, math.ceil(duration_us / step_us)) + 1
    phase = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    trace = torch.tensor([_NMNIST_COLUMN_PX, _NMNIST_ROW_PX], dtype=torch.float64).T
    if smooth:
        corners = trace[[*_CORNERS, 0]]
        side = torch.clamp((3 * phase).floor().long(), max=2)
        along = 0.5 - 0.5 * torch.cos(math.pi * (3 * phase - side))
        position = torch.lerp(corners[side], corners[side + 1], along.unsqueeze(1))
    else:
        place = phase * (len(trace) - 1)
        knot = torch.clamp(place.floor().long(), max=len(trace) - 2)
        position = torch.lerp(trace[knot], trace[knot + 1], (place - knot).unsqueeze(1))
    return CameraPath(amplitude * position, duration_us * phase)


def simulate_dvs(
    images: torch.Tensor,
    *,
    sensor: DVS = NMNIST_DVS,
    size: tuple[int, int] = (34, 34),
    scale: float = 1.0,
    path: CameraPath | None = None,
    generator: torch.Generator | Sequence[torch.Generator],
) -> list[np.ndarray]:
    """Film pictures with a moving event camera.

    The picture moves along the path; between two points of the path log light is taken to change linearly, so each
    crossing of a threshold has a time of its own. Around the picture all is black (white if ``sensor.inverted``). The
    reference of each pixel starts anywhere within its thresholds.

    Args:
        images: pictures ``[B, H, W]``, values in [0, 1].
        sensor: thresholds, noise and optics.
        size: (height, width) of the sensor in pixels.
        scale: pixels of the sensor per pixel of the picture (N-MNIST: 1).
        path: the motion; None is ``saccades()``.
        generator: source of mismatch and noise: one for all, or a list of B, one for each picture. With a list, what a
            picture gives does not depend on the others in the batch.

    Returns:
        One recording of dtype ``EVENT`` for each picture, sorted in time.

    Raises:
        ValueError: if pictures, sensor or path are out of range.

    Explained in chapter 04.
    """
    require_tensor("images", images, min_dim=3, layout="[B, H, W]")
    require_unit_interval("images", images, "divide grey values by 255")
    if images.dim() != 3:
        raise ValueError(f"images must have three axes [B, H, W], got shape {tuple(images.shape)}")
    size = check_size(size)
    scale = require_positive("scale", scale)
    _check_sensor(sensor)
    path = saccades() if path is None else path
    _check_path(path)
    generators = _one_each(generator, len(images))
    rows = _views(images.shape[1], size[0], scale, path.position_px[:, 1], sensor.blur_px)
    columns = _views(images.shape[2], size[1], scale, path.position_px[:, 0], sensor.blur_px)
    recordings: list[np.ndarray] = []
    with torch.no_grad():
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK].detach().float().cpu()
            log_light = _log_light(chunk, rows, columns, sensor)
            recordings += _film(log_light, path, sensor, size, generators[start : start + _CHUNK])
    return recordings


def _views(pixels: int, sensor_pixels: int, scale: float, shift: torch.Tensor, blur_px: float) -> torch.Tensor:
    """Weight of each picture row (or column) in each sensor row, ``[K, sensor, picture]``, for each point of the path.

    The weight is the triangle of linear interpolation, smoothed by the Gaussian of the lens.
    """
    sensor_at = torch.arange(sensor_pixels, dtype=torch.float64) - (sensor_pixels - 1) / 2
    picture_at = torch.arange(pixels, dtype=torch.float64) - (pixels - 1) / 2
    distance = (sensor_at.view(1, -1, 1) - shift.double().view(-1, 1, 1)) / scale - picture_at.view(1, 1, -1)
    ramp = [_smooth_ramp(distance + offset, blur_px) for offset in (1.0, 0.0, -1.0)]
    return (ramp[0] - 2 * ramp[1] + ramp[2]).clamp(min=0).float()


def _smooth_ramp(x: torch.Tensor, sd: float) -> torch.Tensor:
    if sd == 0:
        return x.clamp(min=0)
    z = x / sd
    return x * torch.special.ndtr(z) + sd * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _log_light(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, sensor: DVS) -> torch.Tensor:
    """Log light of a full chunk at each point of the path, laid out ``[K, sensor rows, chunk, sensor columns]``."""
    batch, height, width = images.shape
    points, sensor_height = rows.shape[:2]
    full = images.new_zeros(height, _CHUNK, width)
    full[:, :batch] = images.transpose(0, 1)
    seen = rows.reshape(-1, height) @ full.view(height, -1)
    light = seen.view(points, sensor_height * _CHUNK, width) @ columns.transpose(1, 2)
    light = light.neg_().add_(1 + sensor.dark) if sensor.inverted else light.add_(sensor.dark)
    return light.clamp_(min=1e-6).log_().view(points, sensor_height, _CHUNK, -1)


def _film(
    log_light: torch.Tensor, path: CameraPath, sensor: DVS, size: tuple[int, int], generators: Sequence[torch.Generator]
) -> list[np.ndarray]:
    """Events of one chunk; the state of all pixels is flat in the order (row, picture, column)."""
    height, width = size
    batch = len(generators)
    duration = float(path.time_us[-1])
    mismatch = torch.zeros(2, height, _CHUNK, width)
    phase = torch.full((height, _CHUNK, width), 0.5)
    noise = []
    for picture, generator in enumerate(generators):
        mismatch[:, :, picture] = torch.randn(2, height, width, generator=generator)
        phase[:, picture] = torch.rand(height, width, generator=generator)
        noise.append(_noise(sensor, size, duration, picture, generator))
    scatter = torch.exp(sensor.threshold_sd * mismatch).flatten(1)
    rise, fall = sensor.threshold_on * scatter[0], -sensor.threshold_off * scatter[1]
    log_light = log_light.flatten(1)
    reference = log_light[0] - (fall + phase.flatten() * (rise - fall))
    last = torch.full_like(reference, -math.inf, dtype=torch.float64)
    found = []
    times = path.time_us.tolist()
    for step in range(1, len(times)):
        change = log_light[step] - reference
        pixel = ((change >= rise) | (change <= fall)).nonzero().squeeze(1)
        if not len(pixel):
            continue
        change = change[pixel]
        quantum = torch.where(change > 0, rise[pixel], fall[pixel])
        due = torch.floor(change / quantum)
        before = log_light[step - 1][pixel]
        slope = (times[step] - times[step - 1]) / (log_light[step][pixel] - before).double()
        gap = (reference[pixel] - before).double()
        for nth in range(1, int(due.max()) + 1):
            if nth > 1:
                more = due >= nth
                pixel, quantum, due, slope, gap = (x[more] for x in (pixel, quantum, due, slope, gap))
            at = times[step - 1] + (gap + nth * quantum) * slope
            at = at.clamp(times[step - 1], times[step])
            reference[pixel] += quantum
            ready = at - last[pixel] >= sensor.refractory_us
            heard, at = pixel[ready], at[ready]
            last[heard] = at
            found.append((heard, at, quantum[ready] > 0))
    return _recordings(found, noise, batch, width, duration)


def _noise(
    sensor: DVS, size: tuple[int, int], duration_us: float, picture: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    height, width = size
    mean = torch.tensor(sensor.noise_rate_hz * 1e-6 * duration_us * height * width)
    number = int(torch.poisson(mean, generator=generator))
    place = torch.randint(height * width, (number,), generator=generator)
    time = duration_us * torch.rand(number, generator=generator, dtype=torch.float64)
    on = torch.rand(number, generator=generator) < 0.5
    row, column = place // width, place % width
    return (row * _CHUNK + picture) * width + column, time, on


def _recordings(
    found: list[tuple[torch.Tensor, ...]], noise: list[tuple[torch.Tensor, ...]], batch: int, width: int, end_us: float
) -> list[np.ndarray]:
    """Sort all events of a chunk by picture and time, and cut them into recordings."""
    pixel, time, on = (torch.cat(column).numpy() for column in zip(*found, *noise, strict=True))
    picture = pixel // width % _CHUNK
    real = picture < batch  # pictures that only fill the chunk up are blank, but be sure
    pixel, time, on, picture = pixel[real], time[real], on[real], picture[real]
    time = np.minimum(time, end_us).astype(np.int64)
    # µs, then the pixel, so that the order never depends on how events were found
    row, column = pixel // (width * _CHUNK), pixel % width
    order = np.argsort((picture << 52) | (time << 20) | (row * width + column), kind="stable")
    events = np.empty(len(order), dtype=EVENT)
    events["x"], events["y"] = column[order], row[order]
    events["p"], events["t"] = on[order], time[order]
    ends = np.cumsum(np.bincount(picture, minlength=batch))
    return [part.copy() for part in np.split(events, ends[:-1])]


def _check_sensor(sensor: DVS) -> None:
    require_positive("threshold_on", sensor.threshold_on, "log light")
    require_positive("threshold_off", sensor.threshold_off, "log light")
    require_positive("dark", sensor.dark)
    for name in ("threshold_sd", "refractory_us", "noise_rate_hz", "blur_px"):
        require_non_negative(name, getattr(sensor, name))


def _check_path(path: CameraPath) -> None:
    position, time = path
    if position.dim() != 2 or position.shape[1] != 2 or time.shape != position.shape[:1] or len(time) < 2:
        shapes = f"{tuple(position.shape)} and {tuple(time.shape)}"
        raise ValueError(f"path must hold positions [K, 2] and times [K] with K of at least 2, got {shapes}")
    if not (time[0] == 0 and (time[1:] > time[:-1]).all()):
        raise ValueError(f"path times must rise from 0 µs, got {time[:3].tolist()}...")


def _one_each(generator: torch.Generator | Sequence[torch.Generator], count: int) -> list[torch.Generator]:
    if isinstance(generator, torch.Generator):
        seeds = torch.randint(2**62, (count,), generator=generator)
        return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    generators = list(generator)
    if len(generators) != count or not all(isinstance(one, torch.Generator) for one in generators):
        kinds = ", ".join(sorted({type(one).__name__ for one in generators})) or "none"
        raise ValueError(
            f"generator must be one torch.Generator or a list of {count}, one per picture, "
            f"got {len(generators)} ({kinds})"
        )
    return generators
