"""Augmentation of pictures with a box: another view of the same animal, and the box moves with it.

A view is a row of random numbers, drawn once and then applied to a whole batch, so that a resumed run sees the views
that an unbroken one would have seen.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from spikelab.validation import require_between, require_count, require_non_negative

#: What a row of ``draw_views`` holds, in order.
COLUMNS = ("flip", "zoom", "aspect", "x", "y", "brightness", "contrast", "saturation")
_LUMA = (0.299, 0.587, 0.114)


def draw_views(
    count: int,
    generator: torch.Generator,
    *,
    flip: float = 0.5,
    zoom: float = 0.0,
    zoom_out: float = 0.0,
    aspect: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
) -> torch.Tensor:
    """Draw how to look at each of some pictures.

    Args:
        count: number of pictures.
        generator: source of randomness.
        flip: probability of a left-right flip.
        zoom: most to come closer: the view's sides are at least ``1 - zoom`` of the picture's, uniform.
        zoom_out: most to step back: the view's sides are at most ``1 + zoom_out`` of the picture's; the rest is grey.
        aspect: largest change of the view's width against its height, as a logarithm.
        brightness, contrast, saturation: largest change of each, as a share.
    Returns:
        A row of the numbers ``COLUMNS`` for each picture ``[count, 8]``, for ``apply_views``.
    Raises:
        ValueError: if a number is out of its range.
    """
    require_count("count", count, minimum=0)
    require_between("flip", flip, 0, 1)
    require_between("zoom", zoom, 0, 0.9)
    for name, value in (("zoom_out", zoom_out), ("aspect", aspect)):
        require_non_negative(name, value)
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        require_between(name, value, 0, 1)
    draws = torch.rand(count, len(COLUMNS), generator=generator)
    draws[:, 0] = (draws[:, 0] < flip).float()
    draws[:, 1] = 1 - zoom + draws[:, 1] * (zoom + zoom_out)
    draws[:, 2:] = 2 * draws[:, 2:] - 1
    draws[:, 2] *= aspect
    draws[:, 5:] *= torch.tensor([brightness, contrast, saturation])
    return draws


def apply_views(
    images: torch.Tensor,
    boxes: torch.Tensor,
    draws: torch.Tensor | None,
    *,
    size: tuple[int, int] | None = None,
    keep: float = 0.8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Look at pictures as drawn; without draws, as they are.

    A view never loses the animal: it is widened or moved, no more than needed, until at least the share ``keep`` of the
    box's width and height is in it. The box of a view ends where the view ends.

    Args:
        images: pictures ``[B, C, H, W]``, uint8.
        boxes: ``[B, 4]``, corners x0, y0, x1, y1, in shares of width and height.
        draws: ``[B, 8]`` of ``draw_views``, or None.
        size: rows and columns of the views; those of the pictures if not given.
        keep: share of each side of a box that stays in view, in (0.5, 1].
    Returns:
        Views ``[B, C, *size]`` float32 in [0, 1], and their boxes ``[B, 4]``.
    Raises:
        ValueError: if shapes do not fit.
    """
    size = tuple(images.shape[-2:]) if size is None else tuple(size)
    light = images.float() / 255
    if draws is None:
        if size != tuple(images.shape[-2:]):
            light = F.interpolate(light, size=size, mode="bilinear", align_corners=False, antialias=True)
        return light, boxes
    if draws.shape != (len(images), len(COLUMNS)):
        raise ValueError(f"draws must be [{len(images)}, {len(COLUMNS)}], got {list(draws.shape)}")
    if not 0.5 < keep <= 1:
        raise ValueError(f"keep must be in (0.5, 1], got {keep}")
    draws = draws.to(images.device)
    windows = _windows(boxes.float(), draws, keep)
    corner, extent = windows[:, :2], windows[:, 2:] - windows[:, :2]
    moved = ((boxes.float() - corner.repeat(1, 2)) / extent.repeat(1, 2)).clamp(0, 1)
    flip = draws[:, 0] > 0.5
    mirrored = torch.stack([1 - moved[:, 2], moved[:, 1], 1 - moved[:, 0], moved[:, 3]], 1)
    moved = torch.where(flip[:, None], mirrored, moved).to(boxes.dtype)

    return look(light, windows, draws, size), moved


def drawn_windows(draws: torch.Tensor) -> torch.Tensor:
    """Return the windows ``[B, 4]`` on the pictures as they were drawn, wherever the objects are."""
    return _placed(draws, _extent(draws))


def look(light: torch.Tensor, windows: torch.Tensor, draws: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return what is seen of pictures ``[B, C, H, W]`` in [0, 1] through windows, flipped and coloured as drawn."""
    corner, extent = windows[:, :2], windows[:, 2:] - windows[:, :2]
    # grid_sample counts from -1 to 1 over the picture; a mirrored view runs through its window backwards.
    theta = torch.zeros(len(light), 2, 3, device=light.device)
    theta[:, 0, 0] = extent[:, 0] * (1 - 2 * (draws[:, 0] > 0.5).float())
    theta[:, 1, 1] = extent[:, 1]
    theta[:, :, 2] = 2 * corner + extent - 1
    grid = F.affine_grid(theta, [len(light), light.shape[1], *size], align_corners=False)
    views = F.grid_sample(light - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 0.5
    return _recolour(views, draws)


def _extent(draws: torch.Tensor) -> torch.Tensor:
    """Width and height ``[B, 2]`` of the windows."""
    return draws[:, 1:2] * torch.stack([torch.exp(draws[:, 2] / 2), torch.exp(-draws[:, 2] / 2)], 1)


def _placed(draws: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    start = 0.5 + draws[:, 3:5] * (1 - extent).abs() / 2 - extent / 2
    return torch.cat([start, start + extent], 1)


def _windows(boxes: torch.Tensor, draws: torch.Tensor, keep: float) -> torch.Tensor:
    """Corners ``[B, 4]`` of the windows on the pictures."""
    low, high = boxes[:, :2], boxes[:, 2:]
    side = high - low
    extent = torch.maximum(_extent(draws), keep * side)
    start = _placed(draws, extent)[:, :2]
    margin = (1 - keep) * side
    start = torch.minimum(torch.maximum(start, high - margin - extent), low + margin)
    return torch.cat([start, start + extent], 1)


def _recolour(views: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Change light and colours, the mean of each view staying where it is under contrast."""
    brightness, contrast, saturation = (1 + draws[:, 5 + i].view(-1, 1, 1, 1) for i in range(3))
    if views.shape[1] == 3:
        grey = (views * views.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        views = grey + saturation * (views - grey)
    mean = views.mean((1, 2, 3), keepdim=True)
    return ((mean + contrast * (views - mean)) * brightness).clamp_(0, 1)
