"""Encoders: numbers in [0, 1], or a signal over time, become spike trains. Explained in chapter 03."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_positive,
    require_tensor,
    require_unit_interval,
)

# float32 has 24 significant bits: a longer cycle would send digits that the input does not have.
LONGEST_PERIOD = 24


def poisson(
    x: torch.Tensor,
    num_steps: int,
    *,
    max_rate_hz: float = 1000.0,
    dt_ms: float = 1.0,
    generator: torch.Generator,
) -> torch.Tensor:
    r"""Encode intensities as the rates of random spike trains.

    .. math:: S_t \sim \mathrm{Bernoulli}(p), \qquad p = x\, f_{max}\, dt / 1000

    independently in every step and for every element. In steps of dt this stands for a Poisson process: the
    count over T steps has mean pT and Fano factor 1 − p, the intervals have a CV of √(1 − p); both approach
    1 as p approaches 0.

    Args:
        x: intensities ``[B, ...]`` in [0, 1].
        num_steps: T.
        max_rate_hz: rate of an element of intensity 1, in Hz.
        dt_ms: duration of a step in ms.
        generator: source of the random numbers, on the device of ``x``.
    Returns:
        Spikes ``[T, B, ...]``, 0 or 1, dtype of ``x``.
    Raises:
        ValueError: if ``x`` leaves [0, 1], a constant is not positive, ``max_rate_hz`` exceeds one spike
            per step, or ``generator`` is no ``torch.Generator`` of that device.

    Explained in chapter 03. Source: paper 1, section IV; bit-equal to ``snntorch.spikegen.rate`` under one
    seed with the defaults (1000 Hz, 1 ms).
    """
    _require_intensities(x)
    steps = require_count("num_steps", num_steps)
    rate = require_positive("max_rate_hz", max_rate_hz, "Hz")
    dt = require_positive("dt_ms", dt_ms, "ms")
    if rate * dt > 1000 * (1 + 1e-9):
        raise ValueError(
            f"max_rate_hz must be at most {1000 / dt:g} Hz with steps of {dt:g} ms (one spike per step), got {rate:g}"
        )
    _require_generator(x, generator)
    probability = x * min(rate * dt / 1000, 1.0)
    return torch.bernoulli(probability.expand(steps, *x.shape).contiguous(), generator=generator)


def latency(
    x: torch.Tensor,
    num_steps: int,
    *,
    tau: float = 5.0,
    threshold: float = 0.01,
    linear: bool = False,
) -> torch.Tensor:
    r"""Encode intensities as the time of a single spike: the brighter, the earlier.

    By default x charges an RC membrane, :math:`U(t) = x (1 - e^{-t/\tau})`, which reaches the threshold at

    .. math:: t = \tau \ln \frac{x}{x - \theta}, \qquad x > \theta

    and the spike falls in step :math:`\lfloor t \rfloor`. With ``linear=True`` it falls in step
    :math:`(1 - x)(T - 1)`, rounded. An element with :math:`x \le \theta` is silent in both, and so is one
    whose time has not come within T steps.

    Args:
        x: intensities ``[B, ...]`` in [0, 1].
        num_steps: T; at least 2 if linear.
        tau: time constant of the membrane, in steps (linear: unused).
        threshold: θ, between 0 and 1, both excluded.
        linear: space the spikes evenly instead of by an RC membrane.
    Returns:
        Spikes ``[T, B, ...]``, 0 or 1, at most one per element, dtype of ``x``.
    Raises:
        ValueError: if ``x`` leaves [0, 1], ``num_steps`` is too small, ``tau`` not positive or
            ``threshold`` out of range.

    Explained in chapter 03. The linear code equals ``snntorch.spikegen.latency(normalize=True, linear=True,
    clip=True)``; snnTorch's RC code rounds to the nearest step instead of down, and its ``clip=False``
    fires dark elements last.
    """
    step = latency_steps(x, num_steps, tau=tau, threshold=threshold, linear=linear)
    clock = torch.arange(num_steps, device=x.device, dtype=x.dtype).view(-1, *[1] * x.dim())
    return (clock == step).to(x.dtype)


def latency_steps(
    x: torch.Tensor,
    num_steps: int,
    *,
    tau: float = 5.0,
    threshold: float = 0.01,
    linear: bool = False,
) -> torch.Tensor:
    """Return the step of each element's spike in the ``latency`` code, for who makes its frames one by one.

    Args:
        x, num_steps, tau, threshold, linear: as for ``latency``.
    Returns:
        Whole numbers in the dtype of ``x``, its shape; T where there is no spike within T steps.
    Raises:
        ValueError: as ``latency``.

    Explained in chapter 03.
    """
    _require_intensities(x)
    steps = require_count("num_steps", num_steps, minimum=2 if linear else 1)
    tau = require_positive("tau", tau, "steps")
    theta = require_open_unit("threshold", threshold)
    audible = x > theta
    if linear:
        step = torch.round((steps - 1) * (1 - x))
    else:
        safe = torch.where(audible, x, torch.ones_like(x))
        step = torch.floor(tau * torch.log(safe / (safe - theta))).clamp(max=steps)
    return torch.where(audible, step, steps)


def phase(x: torch.Tensor, num_steps: int = 8, period: int = 8) -> torch.Tensor:
    r"""Encode intensities as binary digits: a spike in step k of a cycle is worth :math:`2^{-(k+1)}`.

    The digits are those of :math:`\lfloor 2^{P} x \rfloor`, most significant first, for a cycle of P steps
    (1 is sent as the largest number, :math:`1 - 2^{-P}`). With P = 8 and ``x = pixel / 255`` they are the
    bits of the pixel.

    Args:
        x: intensities ``[B, ...]`` in [0, 1].
        num_steps: T: up to ``period`` (the leading digits only), or a multiple of it (the cycle repeats).
        period: P, digits per cycle, 1 to 24.
    Returns:
        Spikes ``[T, B, ...]``, 0 or 1, dtype of ``x``.
    Raises:
        ValueError: if ``x`` leaves [0, 1], ``period`` is out of range, or ``num_steps`` ends within a later
            cycle.

    Explained in chapter 03. Equal to ``numpy.unpackbits`` for 8 steps of an 8-bit image.
    """
    _require_intensities(x)
    cycle = require_period(period)
    steps = require_count("num_steps", num_steps)
    if steps > cycle and steps % cycle:
        raise ValueError(f"num_steps must be at most period={cycle} or a multiple of it, got {steps}")
    number = torch.floor(x.double() * 2**cycle).clamp(max=2**cycle - 1).long()
    place = cycle - 1 - torch.arange(steps, device=x.device).view(-1, *[1] * x.dim()) % cycle
    return ((number >> place) & 1).to(x.dtype)


def delta(signal: torch.Tensor, threshold: float) -> torch.Tensor:
    r"""Encode the changes of a signal: one event whenever it has moved by θ since the last.

    Sender and receiver share a reference that starts at 0. When the signal is at least θ away from it, the
    sender emits the sign of the difference and both move the reference by θ in that direction: one event
    per step at most. This is send-on-delta, and not the difference of neighbouring samples, which never
    notices a slow change.

    Args:
        signal: samples ``[T, ...]``.
        threshold: θ, in units of the signal.
    Returns:
        Events ``[T, ...]``: 1 (up), −1 (down) or 0 (nothing), dtype of ``signal``.
    Raises:
        ValueError: if ``signal`` has no time axis or is not finite, or ``threshold`` is not positive.

    Explained in chapter 03; chapter 04 builds an event camera on it. ``snntorch.spikegen.delta`` is the
    difference of neighbouring samples.
    """
    require_tensor("signal", signal, min_dim=1, layout="[T, ...]")
    theta = require_positive("threshold", threshold)
    events = torch.zeros_like(signal)
    if len(signal) == 0:
        return events
    # Counting the events, rather than adding θ up, keeps the reference free of accumulated rounding errors.
    level = torch.zeros_like(signal[0])
    for t, sample in enumerate(signal):
        away = sample - theta * level
        events[t] = torch.sign(away) * (away.abs() >= theta)
        level = level + events[t]
    return events


def direct(x: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Present the same analogue input in every step: the first layer of the network does the coding.

    Args:
        x: input ``[B, ...]``, any finite values.
        num_steps: T.
    Returns:
        ``[T, B, ...]``, a view of ``x`` that takes no memory: clone it before writing. Whatever a stateless
        first layer makes of one step it makes of all, so compute that layer once and expand its output.
    Raises:
        ValueError: if ``x`` is not finite or ``num_steps`` is no positive whole number.

    Explained in chapter 03. Source: paper 2, section 3.1 (the first convolution is the encoding layer).
    """
    require_tensor("x", x)
    return x.expand(require_count("num_steps", num_steps), *x.shape)


CODINGS: tuple[str, ...] = ("poisson", "latency", "phase", "delta", "direct")


def encode(x: torch.Tensor, coding: str, num_steps: int, **options: Any) -> torch.Tensor:
    """Encode by name, for configurations and command lines.

    Args:
        x: intensities ``[B, ...]``; for ``"delta"`` a signal ``[T, ...]`` that brings its own time axis.
        coding: one of ``CODINGS``.
        num_steps: T; for ``"delta"`` it has to be the length of the signal.
        **options: keyword arguments of the encoder of that name.
    Returns:
        Spikes ``[T, B, ...]``.
    Raises:
        ValueError: if the coding or an option is unknown, or one that the encoder needs is missing; and as
            the encoder.

    Explained in chapter 03.
    """
    encoder = _ENCODERS[require_choice("coding", coding, CODINGS)]
    parameters = [p for p in inspect.signature(encoder).parameters.values() if p.name not in _GIVEN]
    allowed = [p.name for p in parameters]
    for name in options:
        if name not in allowed:
            offer = ", ".join(allowed) if allowed else "no options"
            raise ValueError(f"coding {coding!r} takes {offer}; got {name}={options[name]!r}")
    for p in parameters:
        if p.default is inspect.Parameter.empty and p.name not in options:
            raise ValueError(f"coding {coding!r} needs {p.name}, got only {sorted(options) or 'no options'}")
    if coding != "delta":
        return encoder(x, num_steps, **options)
    events = encoder(x, **options)
    if require_count("num_steps", num_steps) != len(x):
        raise ValueError(f"num_steps must be the length of the signal, {len(x)}, for 'delta', got {num_steps}")
    return events


_GIVEN = ("x", "signal", "num_steps")
_ENCODERS: dict[str, Callable[..., torch.Tensor]] = {
    "poisson": poisson,
    "latency": latency,
    "phase": phase,
    "delta": delta,
    "direct": direct,
}


def require_open_unit(name: str, value: float) -> float:
    """Return ``value``, or raise unless it lies strictly between 0 and 1."""
    number = require_between(name, value, 0, 1)
    if number in (0, 1):
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {number:g}")
    return number


def require_period(period: int) -> int:
    """Return ``period``, or raise unless it is a whole number of digits that a float32 can hold."""
    cycle = require_count("period", period)
    if cycle > LONGEST_PERIOD:
        raise ValueError(f"period must be at most {LONGEST_PERIOD} (the digits of a float32), got {cycle}")
    return cycle


def _require_intensities(x: torch.Tensor) -> None:
    require_tensor("x", x, layout="[B, ...]")
    require_unit_interval("x", x, "an intensity; divide an 8-bit image by 255")


def _require_generator(x: torch.Tensor, generator: torch.Generator) -> None:
    if not isinstance(generator, torch.Generator):
        raise ValueError(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), got {generator!r}"
        )
    if generator.device.type != x.device.type:
        raise ValueError(f"generator must be on the device of x, {x.device}, got one on {generator.device}")
