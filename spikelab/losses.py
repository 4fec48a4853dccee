r"""What a spiking classifier is trained to do: losses on the spikes or the membrane of its output layer.

All take ``[T, B, C]``, time first, and return one number, the mean over the samples of the batch; SLAYER's own
``spike_count_loss`` (a sum over the batch, as in its paper) is in ``spikelab.plasticity``. ``decide`` turns the same
outputs into classes. Explained in chapter 07.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from spikelab.validation import require_between, require_choice, require_positive, require_tensor

DECISIONS = ("count", "first", "membrane")


def count_cross_entropy(spikes: torch.Tensor, target: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
    r"""Cross-entropy of the spike counts: the class that fires most should be the right one.

    .. math:: E = -\frac{1}{B} \sum_b \log \mathrm{softmax}(c \, n_b)_{y_b}, \qquad n = \sum_t S[t]

    Args:
        spikes: output spike trains ``[T, B, C]``.
        target: class of each sample ``[B]``, integer.
        scale: c, how many units of log odds one spike is worth.
    Returns:
        Mean loss, a scalar.
    Raises:
        ValueError: if the shapes do not fit, a class does not exist or ``scale`` is not positive.

    Explained in chapter 07.
    """
    target = _checked(spikes, target)
    return F.cross_entropy(require_positive("scale", scale) * spikes.sum(0), target)


def membrane_cross_entropy(membrane: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    r"""Cross-entropy of each output neuron's highest membrane: :math:`\mathrm{softmax}(\max_t U[t])`.

    Args:
        membrane: output membranes ``[T, B, C]``.
        target: class of each sample ``[B]``, integer.
    Returns:
        Mean loss, a scalar.
    Raises:
        ValueError: if the shapes do not fit or a class does not exist.

    Explained in chapter 07.
    """
    return F.cross_entropy(membrane.amax(0), _checked(membrane, target, "membrane"))


def latency_cross_entropy(spikes: torch.Tensor, target: torch.Tensor, *, decay: float = 0.9) -> torch.Tensor:
    r"""Cross-entropy of spikes that are worth less the later they come.

    .. math:: E = -\frac{1}{B} \sum_b \log \mathrm{softmax}\Bigl(\sum_t \gamma^t S[t]\Bigr)_{y_b}

    Args:
        spikes: output spike trains ``[T, B, C]``.
        target: class of each sample ``[B]``, integer.
        decay: γ, the worth of a spike relative to one a step earlier, above 0 and at most 1; 1 is the count.
    Returns:
        Mean loss, a scalar.
    Raises:
        ValueError: if the shapes do not fit, a class does not exist or ``decay`` lies outside (0, 1].

    Explained in chapter 07.
    """
    target = _checked(spikes, target)
    gamma = require_between("decay", require_positive("decay", decay), 0.0, 1.0)
    worth = gamma ** torch.arange(len(spikes), dtype=spikes.dtype, device=spikes.device)
    return F.cross_entropy(torch.tensordot(worth, spikes, dims=1), target)


def rate_penalty(spikes: torch.Tensor, low: float = 0.0, high: float = 0.0) -> torch.Tensor:
    r"""Price of leaving a band of firing rates, neuron by neuron.

    .. math:: \frac{1}{N} \sum_i \max(0, r_{lo} - r_i)^2 + \max(0, r_i - r_{hi})^2, \qquad
              r_i = \frac{1}{TB} \sum_{t,b} S_i[t, b]

    Args:
        spikes: spike trains of a layer ``[T, B, ...]``.
        low: rate below which a neuron pays, in spikes per step, 0 to 1.
        high: rate above which it pays, at least ``low``.
    Returns:
        Penalty, a scalar; 0 inside the band.
    Raises:
        ValueError: if ``spikes`` has no time and batch axes or the band is not 0 ≤ low ≤ high ≤ 1.

    Explained in chapter 07.
    """
    require_tensor("spikes", spikes, min_dim=2, layout="[T, B, ...]")
    low = require_between("low", low, 0.0, 1.0, "a rate in spikes per step")
    high = require_between("high", high, low, 1.0, "a rate in spikes per step, not below low")
    rate = spikes.mean((0, 1))
    return (F.relu(low - rate).square() + F.relu(rate - high).square()).mean()


def decide(spikes: torch.Tensor, membrane: torch.Tensor, by: str = "count") -> torch.Tensor:
    """Class of each sample; ties and silence are settled by the highest membrane over time.

    With ``by="first"`` that is hindsight where two classes fire first in the same step: a decision on the spot would
    have to take the membranes of that step.

    Args:
        spikes: output spike trains ``[T, B, C]``.
        membrane: output membranes ``[T, B, C]``.
        by: ``"count"`` the most spikes, ``"first"`` the earliest spike (a silent class comes last), ``"membrane"`` the
            highest membrane.
    Returns:
        Classes ``[B]``, int64.
    Raises:
        ValueError: if the shapes differ or ``by`` is unknown.

    Explained in chapter 07.
    """
    require_choice("by", by, DECISIONS)
    require_tensor("spikes", spikes, min_dim=3, layout="[T, B, C]")
    if membrane.shape != spikes.shape:
        raise ValueError(f"membrane must have the shape of spikes {tuple(spikes.shape)}, got {tuple(membrane.shape)}")
    highest = membrane.detach().amax(0)
    if by == "membrane":
        return highest.argmax(1)
    if by == "count":
        score = spikes.detach().sum(0)
    else:
        steps = len(spikes)
        step = torch.arange(steps, dtype=torch.float32, device=spikes.device).reshape(-1, 1, 1)
        score = -torch.where(spikes.detach() > 0, step, float(steps)).amin(0)
    best = score == score.amax(1, keepdim=True)
    return highest.masked_fill(~best, -torch.inf).argmax(1)


def _checked(values: torch.Tensor, target: torch.Tensor, name: str = "spikes") -> torch.Tensor:
    require_tensor(name, values, min_dim=3, layout="[T, B, C]")
    batch, classes = values.shape[1:3]
    if values.dim() != 3:
        raise ValueError(f"{name} must have shape [T, B, C], got {tuple(values.shape)}")
    if tuple(target.shape) != (batch,) or target.is_floating_point():
        raise ValueError(f"target must hold one class per sample, integer [{batch}], got {tuple(target.shape)}")
    if batch and not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise ValueError(f"target must name classes 0 to {classes - 1}, got {int(target.min())} to {int(target.max())}")
    return target.long()
