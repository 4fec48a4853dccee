"""Digits on an empty canvas, one or several: boxes and classes to find, learned in a minute on one core.

The digits are MNIST's where its files are, else the small ones that come with scikit-learn. Each is cut out at its ink,
scaled and put somewhere; its box is that of the ink.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch.nn import functional as F

from spikelab.datasets.idx import MNIST_FILES, read_mnist
from spikelab.datasets.places import find_folder, require_folder
from spikelab.datasets.scenes import WHOLE, Scenes
from spikelab.detection.boxes import iou
from spikelab.detection.records import Objects
from spikelab.validation import require_between, require_choice, require_count

CLASSES = tuple("0123456789")
KINDS = ("auto", "mnist", "scikit-learn")
INK = 64  # of 255: what is darker is paper
SLANT = 0.15  # largest change of a digit's width, as a logarithm
TRIES = 20  # places that are drawn for a digit before it is left out


class Digits(NamedTuple):
    """Digits to draw with.

    Attributes:
        images: ``[N, 28, 28]`` of uint8, bright ink.
        labels: ``[N]`` of int64, 0 to 9.
        label: a phrase that says what the data is; print it with every result and figure.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label: str


class Canvases(NamedTuple):
    """Pictures of one digit each.

    Attributes:
        images: ``[N, 1, H, W]`` of uint8.
        boxes: ``[N, 4]`` of float32, (x0, y0, x1, y1), half-open, in shares.
        labels: ``[N]`` of int64.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor


def load_digits(split: str = "train", *, kind: str = "auto", root: str | os.PathLike | None = None) -> Digits:
    """Return digits to draw with: MNIST's 60,000 or 10,000, or scikit-learn's 1,397 or 400.

    Args:
        split: ``"train"`` or ``"test"``.
        kind: ``"mnist"``, ``"scikit-learn"``, or ``"auto"``: MNIST where it is found.
        root: folder that holds ``mnist``; if not given, ``$SPIKELAB_DATA`` and the cache.

    Raises:
        ValueError: for an unknown split or kind.
        DataError: if MNIST is asked for and not there, or damaged.

    Explained in chapter 11.
    """
    require_choice("split", split, tuple(MNIST_FILES))
    require_choice("kind", kind, KINDS)
    if kind == "auto":
        kind = "mnist" if find_folder("mnist", root) is not None else "scikit-learn"
    if kind == "mnist":
        images, labels = read_mnist(require_folder("mnist", "spikelab data fetch mnist", root), split)
        title = "MNIST"
    else:
        from spikelab.datasets.simulated import small_digits

        images, labels = next((images, labels) for part, images, labels in small_digits(0) if part == split)
        title = "scikit-learn's digits (stand-in for MNIST)"
    kept = torch.from_numpy(images)
    inked = (kept > INK).flatten(1).any(1)
    return Digits(kept[inked], torch.from_numpy(labels).long()[inked], f"{title}, {split}, {int(inked.sum()):,} digits")


def digit_on_canvas(
    digits: Digits,
    count: int,
    generator: torch.Generator,
    *,
    size: int = 40,
    share: tuple[float, float] = (0.35, 0.8),
) -> Canvases:
    """Draw pictures of one digit each, at a random scale and place.

    Args:
        digits: what to draw with; each picture's digit is drawn at random.
        count: number of pictures.
        generator: source of randomness.
        size: rows and columns.
        share: smallest and largest height of a digit, as a share of the canvas.

    Raises:
        ValueError: for a wrong count, size or share.

    Explained in chapter 11.
    """
    _check(digits, count, size, share)
    chosen = torch.randint(len(digits.labels), (count,), generator=generator)
    sides = _sides(digits.images[chosen], share, generator)
    corner = torch.rand(count, 2, generator=generator) * (1 - sides)
    boxes = torch.cat([corner, corner + sides], 1)
    return Canvases(_bytes(_drawn(digits.images[chosen], boxes, size)), boxes, digits.labels[chosen])


def digit_scenes(
    digits: Digits,
    count: int,
    generator: torch.Generator,
    *,
    size: int = 56,
    most: int = 3,
    share: tuple[float, float] = (0.25, 0.55),
    overlap: float = 0.05,
) -> Scenes:
    """Draw pictures of one to three digits each, with what VOC's annotations would say of them.

    Args:
        digits: what to draw with; each picture's digits are drawn at random.
        count: number of pictures.
        generator: source of randomness.
        size: rows and columns.
        most: largest number of digits; every number from 1 on is as frequent.
        share: smallest and largest height of a digit, as a share of the canvas.
        overlap: largest IoU of two boxes. A digit for which no place is found is left out.

    Returns:
        Pictures ``[N, 1, H, W]``, and objects whose labels are the digits; none is difficult.

    Raises:
        ValueError: for a wrong count, size, share or overlap.

    Explained in chapter 12.
    """
    _check(digits, count, size, share)
    require_count("most", most)
    require_between("overlap", overlap, 0, 1)
    wanted = torch.randint(1, most + 1, (count,), generator=generator)
    light = torch.zeros(count, 1, size, size)
    boxes, labels, there = [], [], []
    for place in range(most):
        chosen = torch.randint(len(digits.labels), (count,), generator=generator)
        sides = _sides(digits.images[chosen], share, generator)[:, None]
        corner = torch.rand(count, TRIES, 2, generator=generator) * (1 - sides)
        tried = torch.cat([corner, corner + sides], -1)
        free = torch.ones(count, TRIES, dtype=torch.bool)
        for earlier, shown in zip(boxes, there, strict=True):
            free &= (iou(tried, earlier[:, None].expand_as(tried)) <= overlap) | ~shown[:, None]
        first = free.int().argmax(1)
        boxes.append(tried[torch.arange(count), first])
        labels.append(digits.labels[chosen])
        there.append((wanted > place) & free.any(1))
        drawn = _drawn(digits.images[chosen], boxes[-1], size)
        light = torch.where(there[-1].view(-1, 1, 1, 1), torch.maximum(light, drawn), light)
    boxes, labels, there = (torch.stack(several, 1) for several in (boxes, labels, there))
    objects = [
        Objects(box[shown], label[shown], torch.zeros(int(shown.sum()), dtype=torch.bool))
        for box, label, shown in zip(boxes, labels, there, strict=True)
    ]
    return Scenes(_bytes(light), objects, WHOLE.repeat(count, 1))


def _check(digits: Digits, count: int, size: int, share: tuple[float, float]) -> None:
    require_count("count", count)
    require_count("size", size, minimum=8)
    if not 0 < share[0] <= share[1] <= 1:
        raise ValueError(f"share must be (smallest, largest), above 0 and at most 1, got {share}")
    if not len(digits.labels):
        raise ValueError("digits must hold at least one digit, got none")


def _ink(images: torch.Tensor) -> torch.Tensor:
    """Return the boxes ``[N, 4]`` of the ink, half-open, in shares."""
    inked, size = images > INK, images.shape[-1]
    sides = []
    for along in (inked.any(1).int(), inked.any(2).int()):  # columns, then rows
        sides.append((along.argmax(1), size - along.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], 1) / size


def _sides(images: torch.Tensor, share: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Draw width and height ``[N, 2]`` of digits on the canvas, in shares of it."""
    ink = _ink(images)
    number = torch.rand(len(images), 2, generator=generator)
    height = share[0] + number[:, 0] * (share[1] - share[0])
    wide = (ink[:, 2] - ink[:, 0]) / (ink[:, 3] - ink[:, 1]) * torch.exp(SLANT * (2 * number[:, 1] - 1))
    return torch.stack([(height * wide).clamp(max=1), height], 1)


def _drawn(images: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Return light ``[N, 1, size, size]`` of digits whose ink fills boxes in shares of the canvas."""
    ink = _ink(images)
    scale = (ink[:, 2:] - ink[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0], scale[:, 1]
    theta[:, :, 2] = 2 * (ink[:, :2] + (0.5 - boxes[:, :2]) * scale) - 1  # the canvas' middle, in the digit's picture
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images[:, None].float() / 255, grid, mode="bilinear", align_corners=False)


def _bytes(light: torch.Tensor) -> torch.Tensor:
    return (light * 255).round().to(torch.uint8)
