"""What every localizer returns."""

from __future__ import annotations

from typing import NamedTuple

import torch


class LocalizerOutput(NamedTuple):
    """The answer of a localizer for B pictures.

    Attributes:
        boxes: predicted boxes ``[B, 4]``, corners x0, y0, x1, y1 in shares of the picture's width and height, as the
            readout gives them: not clipped to the picture.
        hidden: spike trains of the hidden layers ``[T, B, ...]``, from the input's side to the output's; empty for a
            network without spikes or one that learns online and keeps no history.
        readouts: every layer's answer at the last step ``[L, B, 4]``, for networks with a readout in each layer.
        mean_readouts: every layer's mean answer over the steps after burn-in ``[L, B, 4]``, likewise.
        rates: share of neurons and steps with a spike, by layer, where ``hidden`` is empty and there are spikes.
    """

    boxes: torch.Tensor
    hidden: tuple[torch.Tensor, ...] = ()
    readouts: torch.Tensor | None = None
    mean_readouts: torch.Tensor | None = None
    rates: tuple[float, ...] = ()
