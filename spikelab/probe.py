r"""How much can be read off some features, by the plainest reader there is.

A linear probe is softmax regression with a quadratic penalty, tested on folds that it was not fitted to. Whatever it
finds was there to be found without further computation; what it misses, another reader may still find.

Explained in chapter 04.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from spikelab.statistics import wilson_interval
from spikelab.validation import require_count, require_non_negative, require_tensor

MAX_ITERATIONS = 200


class Probe(NamedTuple):
    """What a linear probe found."""

    right: torch.Tensor
    """Which items it named rightly when they were in the test fold, ``[N]`` of bool."""
    penalties: list[float]
    """The penalty used in each fold."""

    @property
    def accuracy(self) -> float:
        """Share of items named rightly."""
        return self.right.double().mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(int(self.right.sum()), len(self.right))


class Difference(NamedTuple):
    """Points of accuracy that a second reading gained over a first, with its 95 % interval."""

    points: float
    low: float
    high: float


def linear_probe(
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    penalty: float | Sequence[float] = 1e-4,
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    r"""Name the class of each item from its features by softmax regression, fitted to the other folds.

    In each fold the features are centred and scaled to a mean square length of 1, and

    .. math:: \frac1n \sum_i \text{cross-entropy}(W x_i + b,\, y_i) + \frac{\lambda}{2} \lVert W \rVert^2

    is made as small as L-BFGS makes it in 200 iterations.

    Args:
        features: one row per item, ``[N, ...]``; further axes are flattened.
        labels: classes ``[N]``, int64, from 0.
        penalty: :math:`\lambda`. Of several, each fold takes the one that does best on a fifth of its training items.
        folds: number of folds, 2 to N.
        seed: for the division into folds.
    Returns:
        A ``Probe``: which items were right, so that two probes can be compared item by item.
    Raises:
        ValueError: if shapes do not fit, a penalty is negative, or there are fewer items than folds.

    Explained in chapter 04.
    """
    require_tensor("features", features, min_dim=1, layout="[N, ...]")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels must have shape [N] = ({len(features)},), got {tuple(labels.shape)}")
    require_count("folds", folds, 2)
    if len(features) < 2 * folds:
        raise ValueError(f"features must hold at least two items for each of the {folds} folds, got {len(features)}")
    offered = [
        require_non_negative("penalty", one) for one in (penalty if isinstance(penalty, Sequence) else [penalty])
    ]
    if not offered:
        raise ValueError("penalty must hold at least one number, got none")
    flat, classes = features.detach().flatten(1) if features.dim() > 1 else features.unsqueeze(1), int(labels.max()) + 1
    flat = flat.float()
    right, chosen = torch.zeros(len(labels), dtype=torch.bool), []
    for train, test in fold_indices(len(labels), folds, seed):
        best = offered[0]
        if len(offered) > 1:
            inner, check = train[: len(train) * 4 // 5], train[len(train) * 4 // 5 :]
            fitted, checked = _rotated(flat[inner], flat[check])
            scores = [
                (_fit(fitted, labels[inner], classes, one)(checked) == labels[check]).sum().item() for one in offered
            ]
            best = offered[scores.index(max(scores))]
        fitted, tested = _rotated(flat[train], flat[test])
        right[test] = _fit(fitted, labels[train], classes, best)(tested) == labels[test]
        chosen.append(best)
    return Probe(right, chosen)


def paired_difference(before: torch.Tensor, after: torch.Tensor) -> Difference:
    """Compare two readers of the same items: how many points the second gained.

    What counts is on how many items they disagree, which makes the interval narrower than two intervals side by side.

    Args:
        before: which items the first reader named rightly, ``[N]`` of bool.
        after: the same for the second reader.
    Returns:
        The difference in points of accuracy (hundredths) with its 95 % interval.
    Raises:
        ValueError: if the shapes differ or there are fewer than two items.

    Explained in chapter 04.
    """
    if before.shape != after.shape or before.dim() != 1 or len(before) < 2:
        raise ValueError(
            f"before and after must both have shape [N] with N of at least 2, got {tuple(before.shape)} and "
            f"{tuple(after.shape)}"
        )
    change = 100 * (after.double() - before.double())
    middle, reach = change.mean().item(), 1.96 * change.std().item() / math.sqrt(len(change))
    return Difference(middle, middle - reach, middle + reach)


def fold_indices(count: int, folds: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the (train, test) indices of each fold; together the test parts hold every item once.

    Args:
        count: number of items N.
        folds: number of folds.
        seed: for the order.

    Explained in chapter 04.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(folds)
    return [(torch.cat([*parts[:i], *parts[i + 1 :]]), part) for i, part in enumerate(parts)]


def _rotated(train: torch.Tensor, test: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre, scale, and turn into the space that the training items span.

    The weights of a linear reader with a quadratic penalty lie in that space, so nothing is lost, and 23,120 features
    become at most as many as there are training items.
    """
    mean = train.mean(0)
    train, test = train - mean, test - mean
    scale = train.square().sum(1).mean().sqrt().clamp(min=1e-12)
    train, test = train / scale, test / scale
    if train.shape[1] <= len(train):
        return train, test
    values, vectors = torch.linalg.eigh((train @ train.T).double())
    kept = values > 1e-8 * values.max()
    lengths, vectors = values[kept].sqrt(), vectors[:, kept]
    return (vectors * lengths).float(), ((test @ train.T).double() @ vectors / lengths).float()


def _fit(inputs: torch.Tensor, labels: torch.Tensor, classes: int, penalty: float) -> Callable[..., torch.Tensor]:
    """Return a function that names classes."""
    with torch.enable_grad():
        weight = torch.zeros(inputs.shape[1], classes, requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=MAX_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
        )

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = cross_entropy(inputs @ weight + bias, labels) + penalty / 2 * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
    return lambda x: (x @ weight + bias).detach().argmax(1)
