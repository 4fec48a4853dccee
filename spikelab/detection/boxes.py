r"""Boxes and how much they overlap.

A box is ``[x0, y0, x1, y1]``, left, top, right, bottom, in the last axis of a tensor; x is the column. Boxes are
half-open, x1 - x0 is the width, and in shares of the picture's width and height unless a function says pixels. The
older convention of whole pixels that both belong to the box (``inclusive``: the width is x1 - x0 + 1) only makes sense
in pixels: on shares it would add a whole picture to every side.

Two boxes that together cover nothing have IoU 0: there is no division by zero anywhere, and no NaN in a value or a
gradient for any finite box, be it empty, reversed, a point, or too large for its area to be a number. A point inside
its target is where all these losses are flat: width and height, both zero, wait for each other.

Explained in chapter 09.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from spikelab.validation import require_count

SMALLEST_EXPONENT = -60
"""Boxes smaller than two to this power are not scaled up: one over it is the steepest slope that scaling makes."""


class _Pair(NamedTuple):
    """Two boxes in units of a power of two near the size of what they span; [...] each."""

    intersection: torch.Tensor
    union: torch.Tensor
    spanned: tuple[torch.Tensor, torch.Tensor]
    units: tuple[torch.Tensor, torch.Tensor]


def area(boxes: torch.Tensor, *, inclusive: bool = False) -> torch.Tensor:
    """Return the area of each box.

    Args:
        boxes: ``[..., 4]``, corners.
        inclusive: count the pixels of boxes in whole pixels whose last row and column belong to them.
    Returns:
        ``[...]``, 0 for a box whose corners are reversed.
    Raises:
        ValueError: if the last axis is not 4 long.

    Explained in chapter 09.
    """
    width, height = _sides(_checked("boxes", boxes), inclusive)
    return width * height


def centre_offset(boxes: torch.Tensor) -> torch.Tensor:
    """Return how far each box's centre lies from the picture's, ``[...]``, for boxes ``[..., 4]`` in shares.

    Explained in chapter 09.
    """
    boxes = _checked("boxes", boxes)
    return torch.hypot(*((boxes[..., :2] + boxes[..., 2:] - 1) / 2).unbind(-1))


def iou(a: torch.Tensor, b: torch.Tensor, *, inclusive: bool = False) -> torch.Tensor:
    r"""Return the intersection over the union of paired boxes.

    .. math:: \mathrm{IoU} = \frac{|A \cap B|}{|A \cup B|}

    Args:
        a: ``[..., 4]``, corners.
        b: ``[..., 4]``, corners; the leading axes are broadcast.
        inclusive: the boxes are in whole pixels and their last row and column belong to them (+ 1 in every width).
    Returns:
        ``[...]``, 0 to 1; 0 where a box has no area or reversed corners.
    Raises:
        ValueError: if a last axis is not 4 long or the shapes do not broadcast.

    Explained in chapter 09.
    """
    pair = _pair(*_both(a, b), inclusive)
    return _ratio(pair.intersection, pair.union)


def iou_matrix(a: torch.Tensor, b: torch.Tensor, *, inclusive: bool = False) -> torch.Tensor:
    """Return the IoU of every box of one list with every box of another.

    Args:
        a: ``[N, 4]``, corners.
        b: ``[M, 4]``, corners.
        inclusive: as for ``iou``.
    Returns:
        ``[N, M]``.
    Raises:
        ValueError: if a shape is not ``[number, 4]``.

    Explained in chapters 09 and 10.
    """
    for name, boxes in (("a", a), ("b", b)):
        if _checked(name, boxes).dim() != 2:
            raise ValueError(f"{name} must have shape [number, 4], got {tuple(boxes.shape)}")
    return iou(a[:, None], b[None], inclusive=inclusive)


def giou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r"""Return the generalised IoU of paired boxes, which tells far from near where nothing overlaps.

    .. math:: \mathrm{GIoU} = \mathrm{IoU} - \frac{|C| - |A \cup B|}{|C|}

    with C the smallest box around both. Reversed corners are put in order first, as in the source, so that such a box
    can still be pulled into place.

    Args:
        a: ``[..., 4]``, corners.
        b: ``[..., 4]``, corners; the leading axes are broadcast.
    Returns:
        ``[...]``, -1 to 1; 0 for two points in one place.
    Raises:
        ValueError: if a last axis is not 4 long or the shapes do not broadcast.

    Explained in chapter 09. Source: Rezatofighi et al., CVPR 2019.
    """
    pair = _pair(*_ordered(a, b))
    around = pair.spanned[0] * pair.spanned[1]
    return _ratio(pair.intersection, pair.union) - _ratio(around - pair.union, around)


def diou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r"""Return the distance IoU of paired boxes.

    .. math:: \mathrm{DIoU} = \mathrm{IoU} - \frac{\rho^2}{c^2}

    with ρ the distance of the centres and c the diagonal of the smallest box around both. Reversed corners are put in
    order first.

    Args:
        a: ``[..., 4]``, corners.
        b: ``[..., 4]``, corners; the leading axes are broadcast.
    Returns:
        ``[...]``, -1 to 1; 0 for two points in one place.
    Raises:
        ValueError: if a last axis is not 4 long or the shapes do not broadcast.

    Explained in chapter 09. Source: Zheng et al., AAAI 2020.
    """
    a, b = _ordered(a, b)
    pair = _pair(a, b)
    return _ratio(pair.intersection, pair.union) - _distance(a, b, pair)


def ciou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    r"""Return the complete IoU of paired boxes: the distance IoU, less a price for another shape.

    .. math:: \mathrm{CIoU} = \mathrm{DIoU} - \alpha v, \qquad
              v = \frac{4}{\pi^2}\Bigl(\arctan\frac{w_b}{h_b} - \arctan\frac{w_a}{h_a}\Bigr)^2, \qquad
              \alpha = \frac{v}{1 - \mathrm{IoU} + v}

    α is a weight: as in the source, no gradient goes through it. A point has no shape, v = 0. Reversed corners are put
    in order first.

    Args:
        a: ``[..., 4]``, corners.
        b: ``[..., 4]``, corners; the leading axes are broadcast.
    Returns:
        ``[...]``, -2 to 1.
    Raises:
        ValueError: if a last axis is not 4 long or the shapes do not broadcast.

    Explained in chapter 09. Source: Zheng et al., AAAI 2020.
    """
    a, b = _ordered(a, b)
    pair = _pair(a, b)
    overlap = _ratio(pair.intersection, pair.union)
    angle_a, solid_a = _shape(a, pair)
    angle_b, solid_b = _shape(b, pair)
    both = solid_a & solid_b
    v = 4 / math.pi**2 * torch.where(both, angle_b - angle_a, angle_a.new_zeros(())).square()
    alpha = _ratio(v, 1 - overlap + v).detach()
    return overlap - _distance(a, b, pair) - alpha * v


def giou_loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - GIoU over paired boxes ``[..., 4]``, a scalar from 0 to 2. Explained in chapter 09."""
    return (1 - giou(pred, target)).mean()


def diou_loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - DIoU over paired boxes ``[..., 4]``, a scalar from 0 to 2. Explained in chapter 09."""
    return (1 - diou(pred, target)).mean()


def ciou_loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - CIoU over paired boxes ``[..., 4]``, a scalar from 0 to 3. Explained in chapter 09."""
    return (1 - ciou(pred, target)).mean()


def clip_boxes(boxes: torch.Tensor) -> torch.Tensor:
    """Cut boxes ``[..., 4]`` in shares off at the picture's edge. Explained in chapter 09."""
    return _checked("boxes", boxes).clamp(0, 1)


def flip_boxes(boxes: torch.Tensor) -> torch.Tensor:
    """Return where boxes ``[..., 4]`` in shares are after a left-right flip. Explained in chapter 09."""
    x0, y0, x1, y1 = _checked("boxes", boxes).unbind(-1)
    return torch.stack((1 - x1, y0, 1 - x0, y1), -1)


def order_corners(boxes: torch.Tensor) -> torch.Tensor:
    """Swap the sides of boxes ``[..., 4]`` that are reversed, so that x0 ≤ x1 and y0 ≤ y1.

    Explained in chapter 09. Source: Rezatofighi et al., CVPR 2019, algorithm 2.
    """
    first, second = _checked("boxes", boxes).split(2, -1)
    # Not minimum and maximum: they share the gradient at equality, and a box without width would never get one.
    right = first <= second
    return torch.cat((torch.where(right, first, second), torch.where(right, second, first)), -1)


def to_corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turn boxes ``[..., 4]`` given as centre x, centre y, width, height into corners. Explained in chapter 09."""
    centre, size = _checked("boxes", boxes).split(2, -1)
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def to_centre(boxes: torch.Tensor) -> torch.Tensor:
    """Turn boxes ``[..., 4]`` given by corners into centre x, centre y, width, height. Explained in chapter 09."""
    first, second = _checked("boxes", boxes).split(2, -1)
    return torch.cat(((first + second) / 2, second - first), -1)


def from_voc(boxes: torch.Tensor) -> torch.Tensor:
    """Turn VOC's ``[..., 4]`` xmin, ymin, xmax, ymax, pixels counted from 1, both ends inside, into half-open corners.

    Explained in chapter 10.
    """
    first, last = _checked("boxes", boxes).split(2, -1)
    return torch.cat((first - 1, last), -1)


def to_voc(boxes: torch.Tensor) -> torch.Tensor:
    """Turn half-open corners ``[..., 4]`` in pixels into VOC's numbers, see ``from_voc``. Explained in chapter 10."""
    first, last = _checked("boxes", boxes).split(2, -1)
    return torch.cat((first + 1, last), -1)


def from_coco(boxes: torch.Tensor) -> torch.Tensor:
    """Turn COCO's ``[..., 4]`` x, y, width, height, in pixels from 0, into corners. Explained in chapter 10."""
    first, sides = _checked("boxes", boxes).split(2, -1)
    return torch.cat((first, first + sides), -1)


def to_coco(boxes: torch.Tensor) -> torch.Tensor:
    """Turn corners ``[..., 4]`` in pixels into COCO's x, y, width, height. Explained in chapter 10."""
    first, last = _checked("boxes", boxes).split(2, -1)
    return torch.cat((first, last - first), -1)


def to_pixels(boxes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Return boxes in whole pixels, as paper 1's authors score them: cut off at the edge, scaled, rounded down.

    Args:
        boxes: ``[..., 4]``, corners in shares.
        size: height and width of the picture in pixels.
    Returns:
        ``[..., 4]`` int64. Their last pixels count as inside, so compare them with ``inclusive=True``: that is the
        published measure, although a box over the whole picture then reaches one pixel beyond it.
    Raises:
        ValueError: if the last axis is not 4 long or ``size`` is not two positive whole numbers.

    Explained in chapter 09. Source: the code of paper 1's first author.
    """
    if len(size) != 2:
        raise ValueError(f"size must be (height, width) in pixels, got {tuple(size)}")
    height, width = (require_count(name, side) for name, side in zip(("height", "width"), size, strict=True))
    boxes = clip_boxes(boxes)
    return (boxes * boxes.new_tensor([width, height, width, height])).long()


def box_of_mask(mask: Any) -> torch.Tensor:
    """Return the smallest box around the pixels of a mask.

    Args:
        mask: ``[H, W]`` of bool, tensor or array: which pixels belong to the object.
    Returns:
        ``[4]`` float64, corners in shares of width and height, half-open: the far edges of the last pixels.
    Raises:
        ValueError: if the mask is not two-dimensional and bool, or has no pixel set.

    Explained in chapter 09.
    """
    mask = torch.as_tensor(mask)
    if mask.dim() != 2 or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be [H, W] of bool, got {mask.dtype} of shape {tuple(mask.shape)} (compare first: mask == value)"
        )
    if not mask.any():
        raise ValueError(f"mask of shape {tuple(mask.shape)} has no pixel set, so there is no box around it")
    (y0, y1), (x0, x1) = (_reach(mask.any(1 - axis)) for axis in (0, 1))
    height, width = mask.shape
    return torch.tensor([x0 / width, y0 / height, x1 / width, y1 / height], dtype=torch.float64)


def _reach(used: torch.Tensor) -> tuple[int, int]:
    places = used.nonzero()
    return int(places[0]), int(places[-1]) + 1


def _checked(name: str, boxes: torch.Tensor) -> torch.Tensor:
    if not isinstance(boxes, torch.Tensor):
        raise ValueError(f"{name} must be a torch.Tensor [..., 4] of corners, got {type(boxes).__name__}")
    if boxes.dim() == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"{name} must have shape [..., 4], x0, y0, x1, y1 in the last axis, got {tuple(boxes.shape)}")
    return boxes


def _both(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two lists of boxes of one shape and of numbers precise enough for areas."""
    a, b = (_precise(_checked(name, boxes)) for name, boxes in (("a", a), ("b", b)))
    try:
        return torch.broadcast_tensors(a, b)
    except RuntimeError:
        raise ValueError(
            f"a and b must pair up, got shapes {tuple(a.shape)} and {tuple(b.shape)} (each with each: iou_matrix)"
        ) from None


def _ordered(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = _both(a, b)
    return order_corners(a), order_corners(b)


def _precise(boxes: torch.Tensor) -> torch.Tensor:
    if not boxes.is_floating_point():
        return boxes.double()
    return boxes.float() if boxes.dtype.itemsize < 4 else boxes


def _pair(a: torch.Tensor, b: torch.Tensor, inclusive: bool = False) -> _Pair:
    """Intersect two lists of boxes, width and height each in a unit of its own.

    Every share of an area is the same in any unit. A power of two near the span rounds nothing, and neither a giant nor
    a speck overflows when its sides are multiplied.
    """
    intersection, area_a, area_b = [], [], []
    spanned, units = [], []
    for axis in (0, 1):
        lows, highs = (a[..., axis], b[..., axis]), (a[..., axis + 2], b[..., axis + 2])
        unit = _unit(lows, highs)
        one = unit if inclusive else 0.0
        low_a, low_b = (low * unit for low in lows)
        high_a, high_b = (high * unit for high in highs)
        intersection.append((torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b) + one).clamp(min=0))
        area_a.append((high_a - low_a + one).clamp(min=0))
        area_b.append((high_b - low_b + one).clamp(min=0))
        spanned.append(torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b))
        units.append(unit)
    common = intersection[0] * intersection[1]
    return _Pair(common, area_a[0] * area_a[1] + area_b[0] * area_b[1] - common, tuple(spanned), tuple(units))


def _unit(lows: tuple[torch.Tensor, ...], highs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Power of two by which the lengths along one axis are multiplied."""
    with torch.no_grad():
        corners = torch.stack((*lows, *highs)) / 4
        exponent = torch.frexp(corners.amax(0) - corners.amin(0)).exponent + 2
        return torch.exp2(-exponent.clamp(min=SMALLEST_EXPONENT).to(corners.dtype))


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Part of a whole that is at least as large; 0 of nothing is 0, with no infinite gradient."""
    return part / torch.where(whole > torch.finfo(whole.dtype).tiny, whole, torch.ones_like(whole))


def _distance(a: torch.Tensor, b: torch.Tensor, pair: _Pair) -> torch.Tensor:
    """Squared distance of the centres in units of the squared diagonal of the box around both."""
    unit = torch.minimum(*pair.units)
    apart, diagonal = 0.0, 0.0
    for axis in (0, 1):
        centres = [(boxes[..., axis] * unit + boxes[..., axis + 2] * unit) / 2 for boxes in (a, b)]
        apart = apart + (centres[0] - centres[1]).square()
        diagonal = diagonal + (pair.spanned[axis] * (unit / pair.units[axis])).square()
    return _ratio(apart, diagonal)


def _shape(boxes: torch.Tensor, pair: _Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """Angle of each box's diagonal, and whether the box is more than a point."""
    unit = torch.minimum(*pair.units)
    width, height = (boxes[..., axis + 2] * unit - boxes[..., axis] * unit for axis in (0, 1))
    solid = torch.maximum(width, height) > math.sqrt(torch.finfo(boxes.dtype).tiny)
    zero, one = torch.zeros_like(width), torch.ones_like(width)
    return torch.atan2(torch.where(solid, width, zero), torch.where(solid, height, one)), solid


def _sides(boxes: torch.Tensor, inclusive: bool) -> tuple[torch.Tensor, torch.Tensor]:
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (x1 - x0 + inclusive).clamp(min=0), (y1 - y0 + inclusive).clamp(min=0)
