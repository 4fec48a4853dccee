"""Augmentation of pictures with many objects: flip, light and colour, scale and crop, and mosaics of four.

As for pictures with one box a view is a row of random numbers, drawn once and then applied to a whole batch: a resumed
run sees the views that an unbroken one would have seen. An object of which too little is left is no object of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F

from spikelab.datasets.augment import COLUMNS, apply_views, draw_views, drawn_windows, look
from spikelab.datasets.scenes import into_window, out_of_window
from spikelab.detection.boxes import area, clip_boxes, flip_boxes
from spikelab.detection.records import Objects
from spikelab.validation import require_between, require_count

#: What a row of ``draw_mosaics`` holds, in order.
MOSAIC_COLUMNS = ("used", "x", "y", "second", "third", "fourth", "shift_1", "shift_2", "shift_3", "shift_4")
VISIBLE = 0.3
LEAST_PX = 1.0
ROUNDING = 1e-5  # of what is just visible enough


class SceneDraws(NamedTuple):
    """What was drawn for a batch: rows of ``draw_views`` and of ``draw_mosaics``; ``None``: as they are."""

    views: torch.Tensor | None = None
    mosaics: torch.Tensor | None = None


def draw_scenes(count: int, generator: torch.Generator, *, mosaic: float = 0.0, **views: float) -> SceneDraws:
    """Draw how to look at each of some pictures.

    Args:
        count: number of pictures.
        generator: source of randomness.
        mosaic: probability that a picture becomes part of a mosaic of four.
        views: options of ``draw_views``: ``flip``, ``zoom``, ``zoom_out``, ``aspect``, ``brightness``, ...

    Raises:
        ValueError: if a number is out of its range.
    """
    rows = draw_views(count, generator, **views)
    return SceneDraws(rows, draw_mosaics(count, generator, share=mosaic))


def draw_mosaics(count: int, generator: torch.Generator, *, share: float = 1.0, middle: float = 0.15) -> torch.Tensor:
    """Draw which pictures become mosaics of four, of what, and where the four meet.

    Args:
        count: number of pictures.
        generator: source of randomness.
        share: probability of a mosaic.
        middle: how far from the middle the four may meet, as a share of width and height, at most 0.4.

    Returns:
        A row of the numbers ``MOSAIC_COLUMNS`` for each picture ``[count, 10]``, for ``apply_mosaics``.

    Raises:
        ValueError: if a number is out of its range.
    """
    require_count("count", count, minimum=0)
    require_between("share", share, 0, 1)
    require_between("middle", middle, 0, 0.4)
    draws = torch.rand(count, len(MOSAIC_COLUMNS), generator=generator)
    draws[:, 0] = (draws[:, 0] < share).float()
    draws[:, 1:3] = 0.5 + middle * (2 * draws[:, 1:3] - 1)
    return draws


def augment_scenes(
    images: torch.Tensor,
    objects: Sequence[Objects],
    draws: SceneDraws,
    *,
    size: tuple[int, int] | None = None,
    pool: tuple[torch.Tensor, Sequence[Objects]] | None = None,
    visible: float = VISIBLE,
) -> tuple[torch.Tensor, list[Objects]]:
    """Make mosaics of pictures and look at them, as drawn; see ``apply_mosaics`` and ``apply_scene_views``.

    Returns:
        Views ``[B, C, *size]`` float32 in [0, 1], and what is in each.
    """
    if draws.mosaics is not None:
        images, objects = apply_mosaics(images, objects, draws.mosaics, pool=pool, visible=visible)
    return apply_scene_views(images, objects, draws.views, size=size, visible=visible)


def apply_scene_views(
    images: torch.Tensor,
    objects: Sequence[Objects],
    draws: torch.Tensor | None,
    *,
    size: tuple[int, int] | None = None,
    visible: float = VISIBLE,
    least_px: float = LEAST_PX,
) -> tuple[torch.Tensor, list[Objects]]:
    """Look at pictures with any number of objects as drawn; without draws, as they are.

    Boxes end where the view ends. An object stays if enough of its box is in view.

    Args:
        images: pictures ``[B, C, H, W]``, uint8.
        objects: what is in each, boxes in shares of it.
        draws: ``[B, 8]`` of ``draw_views``, or None.
        size: rows and columns of the views; those of the pictures if not given.
        visible: share of a box's area that must be in view.
        least_px: width and height in pixels that a box must have in the view.

    Returns:
        Views ``[B, C, *size]`` float32 in [0, 1], and what is in each.

    Raises:
        ValueError: if shapes do not fit.
    """
    _check(images, objects, "images", "objects")
    require_between("visible", visible, 0, 1)
    size = tuple(images.shape[-2:]) if size is None else tuple(size)
    if draws is None:
        light, _ = apply_views(images, images.new_zeros(len(images), 4), None, size=size)
        return light, [one._replace(difficult=_difficult(one)) for one in objects]
    if draws.shape != (len(images), len(COLUMNS)):
        raise ValueError(f"draws must be [{len(images)}, {len(COLUMNS)}], got {list(draws.shape)}")
    windows = drawn_windows(draws)
    seen = []
    for one, window, flipped in zip(objects, windows, (draws[:, 0] > 0.5).tolist(), strict=True):
        found = _seen(one, window, visible, (least_px / size[1], least_px / size[0]))
        seen.append(found._replace(boxes=flip_boxes(found.boxes)) if flipped else found)
    draws, windows = draws.to(images.device), windows.to(images.device)
    return look(images.float() / 255, windows, draws, size), seen


def apply_mosaics(
    images: torch.Tensor,
    objects: Sequence[Objects],
    draws: torch.Tensor,
    *,
    pool: tuple[torch.Tensor, Sequence[Objects]] | None = None,
    visible: float = VISIBLE,
    least_px: float = LEAST_PX,
) -> tuple[torch.Tensor, list[Objects]]:
    """Lay four pictures together into one, as drawn: itself top left, and three others.

    Each is scaled, its proportions unchanged but for rounding, until it fills its part, and cut off on the side that is
    too long, at a drawn place. What stays of its objects is in the mosaic.

    Args:
        images: pictures ``[B, C, H, W]``, uint8.
        objects: what is in each, boxes in shares of it.
        draws: ``[B, 10]`` of ``draw_mosaics``.
        pool: pictures of the same shape, and their objects, from which the other three come; the batch if not given.
        visible: share of a box's area that must stay.
        least_px: width and height in pixels that must stay of a box.

    Returns:
        Pictures ``[B, C, H, W]`` of uint8, and what is in each.

    Raises:
        ValueError: if shapes do not fit.
    """
    _check(images, objects, "images", "objects")
    others, things = (images, objects) if pool is None else pool
    _check(others, things, "pool[0]", "pool[1]")
    require_between("visible", visible, 0, 1)
    if draws.shape != (len(images), len(MOSAIC_COLUMNS)):
        raise ValueError(f"draws must be [{len(images)}, {len(MOSAIC_COLUMNS)}], got {list(draws.shape)}")
    if len(images) and (not len(others) or others.shape[1:] != images.shape[1:]):
        raise ValueError(f"pool must hold pictures {list(images.shape[1:])}, got {list(others.shape)}")
    laid = images.clone()
    found = [one._replace(difficult=_difficult(one)) for one in objects]
    rows, columns = images.shape[-2:]
    least = (least_px / columns, least_px / rows)
    for place, row in enumerate(draws.tolist()):
        if row[0] <= 0.5:
            continue
        x = min(max(round(row[1] * columns), 1), columns - 1)
        y = min(max(round(row[2] * rows), 1), rows - 1)
        chosen = [min(int(number * len(others)), len(others) - 1) for number in row[3:6]]
        four = [(images[place], objects[place]), *((others[i], things[i]) for i in chosen)]
        parts = ((0, 0, y, x), (0, x, y, columns), (y, 0, rows, x), (y, x, rows, columns))
        kept = []
        for (picture, inside), (top, left, bottom, right), shift in zip(four, parts, row[6:], strict=True):
            cut = _cut(rows, columns, bottom - top, right - left, shift)
            part = picture[:, cut[0] : cut[2], cut[1] : cut[3]].float()[None]
            part = F.interpolate(part, size=(bottom - top, right - left), mode="bilinear", antialias=True)
            laid[place, :, top:bottom, left:right] = part[0].round().to(torch.uint8)
            target = _shares((top, left, bottom, right), rows, columns)
            side = target[2:] - target[:2]
            near = _seen(inside, _shares(cut, rows, columns), visible, tuple((torch.tensor(least) / side).tolist()))
            kept.append(near._replace(boxes=into_window(near.boxes, target)))
        found[place] = Objects(*(torch.cat(several) for several in zip(*kept, strict=True)))
    return laid, found


def _cut(rows: int, columns: int, height: int, width: int, shift: float) -> tuple[int, int, int, int]:
    """Return the largest part (top, left, bottom, right) of a picture with the proportions of another."""
    scale = max(height / rows, width / columns)
    tall, wide = (min(max(round(side / scale), 1), most) for side, most in ((height, rows), (width, columns)))
    top, left = round(shift * (rows - tall)), round(shift * (columns - wide))
    return top, left, top + tall, left + wide


def _shares(part: tuple[int, int, int, int], rows: int, columns: int) -> torch.Tensor:
    top, left, bottom, right = part
    return torch.tensor([left / columns, top / rows, right / columns, bottom / rows], dtype=torch.float64)


def _seen(one: Objects, window: torch.Tensor, visible: float, least: tuple[float, float]) -> Objects:
    """Return the objects of which enough is in a window, boxes in shares of it, cut off at its edge."""
    boxes = out_of_window(one.boxes, window)
    inside = clip_boxes(boxes)
    sides = inside[:, 2:] - inside[:, :2]
    enough = (1 - ROUNDING) * visible * area(boxes)
    stays = (area(inside) >= enough) & (sides >= inside.new_tensor(least)).all(-1) & (sides > 0).all(-1)
    return Objects(inside[stays], one.labels[stays], _difficult(one)[stays])


def _difficult(one: Objects) -> torch.Tensor:
    return torch.zeros_like(one.labels, dtype=torch.bool) if one.difficult is None else one.difficult


def _check(images: torch.Tensor, objects: Sequence[Objects], name: str, others: str) -> None:
    if images.dim() != 4 or images.dtype != torch.uint8 or len(images) != len(objects):
        raise ValueError(
            f"{name} must be [B, C, H, W] of uint8 with one record in {others} for each, got {images.dtype} of shape "
            f"{list(images.shape)} and {len(objects)} records"
        )
