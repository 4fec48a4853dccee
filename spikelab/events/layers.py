r"""A first layer that works per event instead of per pixel.

A frame of N-MNIST at 1 ms is 99.4 % zeros, and a dense layer multiplies them all. The sum over events is the same sum:

.. math:: I_t = W x_t = \sum_{\text{events } e \text{ in step } t} W_{\cdot, \text{address}(e)}

Explained in chapter 04.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from spikelab.events.array import check_events, check_size
from spikelab.events.representations import MODES, POLARITIES, time_steps
from spikelab.validation import require_choice, require_count, require_positive, require_tensor


class SparseFrames(NamedTuple):
    """A batch of frames as lists of addresses: step t of recording b is bag t·B + b."""

    indices: torch.Tensor
    """Address of each entry, bag after bag, int64: (channel·H + y)·W + x."""
    offsets: torch.Tensor
    """Where each of the T·B bags starts in ``indices``, int64."""
    weights: torch.Tensor | None
    """Value of each entry, float32; None if all are 1."""
    num_steps: int
    """T."""
    in_features: int
    """Number of addresses, C·H·W."""

    @property
    def batch(self) -> int:
        """B, the number of recordings."""
        return len(self.offsets) // self.num_steps

    def to(self, device: torch.device | str) -> SparseFrames:
        """Copy to a device."""
        weights = None if self.weights is None else self.weights.to(device)
        return self._replace(indices=self.indices.to(device), offsets=self.offsets.to(device), weights=weights)


def sparse_frames(
    recordings: Sequence[np.ndarray],
    num_steps: int,
    window_us: float,
    *,
    size: tuple[int, int] = (34, 34),
    mode: str = "count",
    polarity: str = "split",
) -> SparseFrames:
    """Sort the events of a batch into time steps without making frames.

    Args:
        recordings: B recordings of dtype ``EVENT``.
        num_steps: number of steps T.
        window_us: width of one step in µs.
        size: (height, width) of the sensor.
        mode: as in ``frames``.
        polarity: as in ``frames``.

    Returns:
        What ``frames`` of each recording, stacked to ``[T, B, C, H, W]``, holds besides zeros.

    Raises:
        ValueError: if an argument or an event is out of range.

    Explained in chapter 04.
    """
    num_steps = require_count("num_steps", num_steps)
    window_us = require_positive("window_us", window_us, "µs")
    require_choice("mode", mode, MODES)
    require_choice("polarity", polarity, POLARITIES)
    height, width = check_size(size)
    if not len(recordings):
        raise ValueError("recordings must hold at least one recording, got none")
    channels = 2 if polarity == "split" else 1
    features = channels * height * width
    cells, signs = [], []
    for number, events in enumerate(recordings):
        check_events(events, size=size, source=f"recording {number}")
        step = time_steps(events["t"], window_us)
        inside = step < num_steps
        step, events = step[inside], events[inside]
        channel = events["p"].astype(np.int64) if polarity == "split" else 0
        address = (channel * height + events["y"]) * width + events["x"]
        cells.append((step * len(recordings) + number) * features + address)
        signs.append(2 * events["p"].astype(np.int64) - 1)
    cell = np.concatenate(cells)
    if mode == "count" and polarity != "signed":
        cell, weights = np.sort(cell), None  # a cell that occurs twice is added twice
    elif polarity != "signed":
        cell, weights = np.unique(cell), None
    else:
        cell, place = np.unique(cell, return_inverse=True)
        value = np.bincount(place, weights=np.concatenate(signs), minlength=len(cell))
        weights = torch.from_numpy((value if mode == "count" else np.sign(value)).astype(np.float32))
    return _bags(torch.from_numpy(cell), weights, num_steps, len(recordings), features)


def sparsify(frames: torch.Tensor) -> SparseFrames:
    """List what frames ``[T, B, C, H, W]`` (or any ``[T, B, ...]``) hold besides zeros.

    Args:
        frames: numbers of any dtype; uint8 as loaded from a cache will do.

    Returns:
        The same frames as lists of addresses.

    Raises:
        ValueError: if there are fewer than three axes.

    Explained in chapter 04.
    """
    if not isinstance(frames, torch.Tensor) or frames.dim() < 3:
        shape = tuple(frames.shape) if isinstance(frames, torch.Tensor) else type(frames).__name__
        raise ValueError(f"frames must be a tensor [T, B, ...] of at least three axes, got {shape}")
    num_steps, batch = frames.shape[:2]
    flat = frames.reshape(num_steps * batch, -1)
    features = flat.shape[1]
    cell = flat.reshape(-1).nonzero().squeeze(1)
    values = flat.reshape(-1)[cell].float()
    weights = None if (values == 1).all() else values
    return _bags(cell, weights, num_steps, batch, features)


def event_currents(step: torch.Tensor, address: torch.Tensor, weight: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Input current of a layer, one row of the weights per event.

    Args:
        step: time step of each event ``[E]``, 0 to ``num_steps`` − 1.
        address: input of each event ``[E]``, 0 to N − 1.
        weight: weights ``[N, M]``, from N addresses to M neurons.
        num_steps: number of steps T.

    Returns:
        Currents ``[T, M]``; the same as counts ``[T, N]`` times weights.

    Raises:
        ValueError: if a step or an address is out of range.

    Explained in chapter 04.
    """
    require_count("num_steps", num_steps)
    require_tensor("weight", weight, min_dim=2, layout="[N, M]")
    if step.shape != address.shape or step.dim() != 1:
        raise ValueError(f"step and address must both be [E], got {tuple(step.shape)} and {tuple(address.shape)}")
    _in_range("step", step, num_steps)
    _in_range("address", address, len(weight))
    currents = weight.new_zeros(num_steps, weight.shape[1])
    return currents.index_add(0, step.long(), weight[address.long()])


class EventLinear(nn.Module):
    """A linear layer whose input is a list of events.

    ``EventLinear.from_linear(dense)(sparse_frames(recordings, ...))`` equals ``dense(frames.flatten(2))``, values and
    gradients. The work grows with the number of events instead of T·B·N.

    Args:
        in_features: number of addresses N, C·H·W of the sensor.
        out_features: number of neurons M.
        bias: add a bias to every step.

    Explained in chapter 04.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features = require_count("in_features", in_features)
        self.out_features = require_count("out_features", out_features)
        self.weight = nn.Parameter(torch.empty(in_features, out_features))  # one row per address
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        bound = 1 / math.sqrt(in_features)  # that of nn.Linear
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> EventLinear:
        """Make an event-driven layer with a copy of a dense layer's weights."""
        layer = cls(linear.in_features, linear.out_features, bias=linear.bias is not None)
        layer.to(linear.weight.device, linear.weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(linear.weight.T)
            if linear.bias is not None:
                layer.bias.copy_(linear.bias)
        return layer

    def forward(self, frames: SparseFrames) -> torch.Tensor:
        """Return the currents ``[T, B, out_features]`` of a batch of sparse frames."""
        if frames.in_features != self.in_features:
            raise ValueError(
                f"frames have {frames.in_features} addresses, but the layer has {self.in_features} inputs; "
                "in_features is channels · height · width"
            )
        weights = None if frames.weights is None else frames.weights.to(self.weight.dtype)
        currents = functional.embedding_bag(
            frames.indices, self.weight, frames.offsets, mode="sum", per_sample_weights=weights
        )
        currents = currents.view(frames.num_steps, frames.batch, self.out_features)
        return currents if self.bias is None else currents + self.bias

    def extra_repr(self) -> str:
        """Sizes, as ``nn.Linear`` shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def _bags(cell: torch.Tensor, weights: torch.Tensor | None, num_steps: int, batch: int, features: int) -> SparseFrames:
    """Cut sorted cells, numbered bag·features + address, into bags."""
    edges = torch.arange(num_steps * batch, device=cell.device) * features
    return SparseFrames(cell % features, torch.searchsorted(cell, edges), weights, num_steps, features)


def _in_range(name: str, values: torch.Tensor, limit: int) -> None:
    if len(values) and not (values.min() >= 0 and values.max() < limit):
        low, high = int(values.min()), int(values.max())
        raise ValueError(f"{name} must lie in 0..{limit - 1}, got values from {low} to {high}")
