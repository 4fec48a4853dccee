"""Argument checks shared by the public functions.

Every error says which argument, which value and what is allowed, because a learner reads it before any documentation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch


def require_positive(name: str, value: float, unit: str = "") -> float:
    """Return ``value`` as a float, or raise if it is not a finite number above zero."""
    number = _number(name, value)
    if not number > 0:
        raise ValueError(f"{name} must be positive{_in(unit)}, got {number:g}")
    return number


def require_non_negative(name: str, value: float, unit: str = "") -> float:
    """Return ``value`` as a float, or raise if it is not a finite number of at least zero."""
    number = _number(name, value)
    if number < 0:
        raise ValueError(f"{name} must be zero or more{_in(unit)}, got {number:g}")
    return number


def require_between(name: str, value: float, low: float, high: float, note: str = "") -> float:
    """Return ``value`` as a float, or raise if it lies outside the closed interval [low, high]."""
    number = _number(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {number:g}{_note(note)}")
    return number


def require_count(name: str, value: int, minimum: int = 1) -> int:
    """Return ``value`` as an int, or raise if it is not a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return value


def require_choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return ``value``, or raise if it is not one of ``allowed``."""
    if value not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")
    return value


def require_tensor(name: str, value: Any, *, min_dim: int = 0, layout: str = "") -> torch.Tensor:
    """Return ``value``, or raise if it is no finite floating-point tensor of at least ``min_dim`` axes."""
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} must be a torch.Tensor{_shaped(layout)}, got {type(value).__name__}")
    if not value.is_floating_point():
        raise ValueError(f"{name} must hold floating-point numbers, got {value.dtype} (use {name}.float())")
    if value.dim() < min_dim:
        raise ValueError(f"{name} must have at least {min_dim} axes{_shaped(layout)}, got shape {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        bad = int((~torch.isfinite(value)).sum())
        raise ValueError(f"{name} must be finite, but {bad} of its {value.numel()} values are NaN or infinite")
    return value


def require_unit_interval(name: str, value: torch.Tensor, note: str = "") -> torch.Tensor:
    """Return ``value``, or raise if any of its elements lies outside [0, 1]."""
    if value.numel() and (value.min() < 0 or value.max() > 1):
        low, high = float(value.min()), float(value.max())
        raise ValueError(f"{name} must lie in [0, 1], got values from {low:g} to {high:g}{_note(note)}")
    return value


def require_shape(name: str, value: torch.Tensor, shape: Sequence[int], because: str = "") -> torch.Tensor:
    """Return ``value``, or raise if its shape is not ``shape``."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}{_note(because)}, got {tuple(value.shape)}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"{name} must be a single number, got a tensor of shape {tuple(value.shape)}")
    if isinstance(value, torch.Tensor):
        value = value.detach()
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def _in(unit: str) -> str:
    return f" (in {unit})" if unit else ""


def _note(note: str) -> str:
    return f" ({note})" if note else ""


def _shaped(layout: str) -> str:
    return f" {layout}" if layout else ""
