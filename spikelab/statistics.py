r"""How sure an accuracy is.

A test of n recordings that are right or wrong is n throws of one coin; the Wilson interval says which coins are
plausible. With 100 recordings it is about ten points wide, so 93 and 97 of 100 are not two different results.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import torch

from spikelab.validation import require_count


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    r"""Return the Wilson score interval of a proportion.

    .. math:: \frac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}}
              {1 + \frac{z^2}{n}}

    Args:
        successes: how many were right, 0 to ``n``.
        n: how many were tried, at least 1.
        confidence: between 0 and 1; 0.95 gives z = 1.96.
    Returns:
        ``(low, high)``, inside [0, 1] also where all or none are right.
    Raises:
        ValueError: if ``successes`` lies outside 0 to ``n``, or ``confidence`` outside (0, 1).

    Explained in chapter 07. Source: E. B. Wilson, 1927.
    """
    require_count("n", n)
    require_count("successes", successes, minimum=0)
    if successes > n:
        raise ValueError(f"successes must be at most n = {n}, got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence:g}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the exact value is 0 or 1; rounding must not push it past.
    low = 0.0 if successes == 0 else (centre - reach) / scale
    high = 1.0 if successes == n else (centre + reach) / scale
    return Interval(low, high)


def confusion_matrix(target: torch.Tensor, predicted: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Count how often each class was taken for each.

    Args:
        target: true classes ``[N]``, whole numbers.
        predicted: predicted classes ``[N]``.
        num_classes: C.
    Returns:
        ``[C, C]`` int64; row: true class, column: predicted class.
    Raises:
        ValueError: if the shapes differ or a class lies outside 0 to C - 1.

    Explained in chapter 07.
    """
    require_count("num_classes", num_classes)
    if target.shape != predicted.shape or target.dim() != 1:
        raise ValueError(
            f"target and predicted must both have shape [N], got {tuple(target.shape)} and {tuple(predicted.shape)}"
        )
    for name, classes in (("target", target), ("predicted", predicted)):
        if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(
                f"{name} must lie in 0 to {num_classes - 1}, got {int(classes.min())} to {int(classes.max())}"
            )
    cells = target.long() * num_classes + predicted.long()
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
