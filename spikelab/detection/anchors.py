r"""Anchors: the few widths and heights from which a detector's boxes start.

A head does not predict a box from nothing but by what factor an anchor must be stretched. Good anchors look like the
boxes of the data, and what "like" means is the overlap of the two shapes laid on one corner. An anchor is ``[w, h]`` in
pixels of the network's picture, so it belongs to a picture size: ``AnchorSet.at`` scales it to another.

Explained in chapter 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from spikelab.detection.boxes import iou_matrix
from spikelab.validation import require_choice, require_count, require_positive, require_tensor

DISTANCES = ("iou", "euclidean")
CENTRES = ("median", "mean")


class AnchorSet(NamedTuple):
    """Published anchors.

    Attributes:
        sizes: width and height of each in pixels, from the smallest area to the largest.
        picture: side in pixels of the square picture that they are for.
        source: where they come from.
    """

    sizes: tuple[tuple[float, float], ...]
    picture: int
    source: str

    def at(self, size: int | Sequence[int]) -> torch.Tensor:
        """Return the anchors ``[K, 2]`` in pixels of a picture of side ``size``, or of ``(height, width)``."""
        height, width = _size(size)
        return torch.tensor(self.sizes) * torch.tensor([width, height]) / self.picture


COCO_ANCHORS = AnchorSet(
    ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)),
    416,
    "YOLOv3, arXiv:1804.02767, section 2.3: k-means on COCO; also in its configurations for VOC and in SNN-YOLOv3's",
)
COCO_TINY_ANCHORS = AnchorSet(
    ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319)),
    416,
    "YOLOv3's authors' yolov3-tiny.cfg: two heads of three",
)
COCO_YOLOV2_ANCHORS = AnchorSet(
    (
        (0.57273 * 32, 0.677385 * 32),
        (1.87446 * 32, 2.06253 * 32),
        (3.33843 * 32, 5.47434 * 32),
        (7.88282 * 32, 3.52778 * 32),
        (9.77052 * 32, 9.16828 * 32),
    ),
    416,
    "YOLOv2's authors' yolov2.cfg, given there in cells of 32 pixels",
)
VOC_YOLOV2_ANCHORS = AnchorSet(
    (
        (1.3221 * 32, 1.73145 * 32),
        (3.19275 * 32, 4.00944 * 32),
        (5.05587 * 32, 8.09892 * 32),
        (9.47112 * 32, 4.84053 * 32),
        (11.2364 * 32, 10.0071 * 32),
    ),
    416,
    "YOLOv2's authors' yolov2-voc.cfg, given there in cells of 32 pixels",
)
VOC_ANCHORS = AnchorSet(
    ((18, 30), (28, 78), (52, 47), (51, 137), (94, 95), (101, 206), (218, 157), (178, 305), (342, 334)),
    416,
    "kmeans_anchors on the 7,843 boxes of 2,500 VOC2007 train pictures stretched to a square: mean best IoU .68",
)
VOC_TINY_ANCHORS = AnchorSet(
    ((22, 36), (37, 101), (68, 67), (88, 159), (174, 241), (337, 325)),
    416,
    "the same with six, for two heads of three: mean best IoU .63",
)


class HeadLayout(NamedTuple):
    """What the outputs of a detector's heads mean.

    Attributes:
        anchors: of each head ``[A, 2]`` in pixels of the network's picture.
        strides: of each head, how many pixels one of its cells is wide and high.
        num_classes: C.
    """

    anchors: tuple[torch.Tensor, ...]
    strides: tuple[int, ...]
    num_classes: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each head's output: for each anchor four of the box, one of the object, C of the class."""
        return tuple(len(anchors) * (5 + self.num_classes) for anchors in self.anchors)

    def grids(self, size: int | Sequence[int]) -> list[tuple[int, int]]:
        """Return rows and columns of each head's cells for a picture of side ``size`` or of (height, width).

        Raises:
            ValueError: if a stride does not divide the picture's sides.
        """
        height, width = _size(size)
        if any(height % stride or width % stride for stride in self.strides):
            raise ValueError(
                f"size must be a multiple of every stride {self.strides}, got {height} x {width} (a part of the "
                "picture would belong to no cell)"
            )
        return [(height // stride, width // stride) for stride in self.strides]


def head_layout(anchors: torch.Tensor, num_classes: int, strides: Sequence[int] = (32, 16, 8)) -> HeadLayout:
    """Deal anchors out to heads: the largest areas to the head with the widest cells.

    Args:
        anchors: ``[K, 2]`` in pixels of the network's picture; the number of heads must divide K.
        num_classes: C.
        strides: of each head, in the order in which the network gives them out.
    Returns:
        The layout.
    Raises:
        ValueError: if the anchors cannot be dealt out evenly, two strides are equal or an anchor is not positive.

    Explained in chapters 10 and 12. Source: YOLOv3, arXiv:1804.02767.
    """
    anchors = _sizes("anchors", anchors)
    strides = tuple(require_count("strides", stride) for stride in strides)
    require_count("num_classes", num_classes)
    if not strides or len(set(strides)) != len(strides) or len(anchors) % len(strides):
        raise ValueError(
            f"strides must differ, and their number divide the anchors', got {strides} for {len(anchors)} anchors"
        )
    hands = _by_area(anchors).chunk(len(strides))
    by_stride = dict(zip(sorted(strides), hands, strict=True))
    return HeadLayout(tuple(by_stride[stride] for stride in strides), strides, num_classes)


def shape_iou(wh: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return how much each box and each anchor overlap when they share a corner.

    Args:
        wh: widths and heights ``[N, 2]``, in the anchors' unit.
        anchors: ``[K, 2]``.
    Returns:
        ``[N, K]``, 0 to 1.
    Raises:
        ValueError: if a shape is not ``[number, 2]`` or a side is not positive.

    Explained in chapter 10.
    """
    wh, anchors = _sizes("wh", wh), _sizes("anchors", anchors).to(wh)
    return iou_matrix(*(torch.cat((torch.zeros_like(sides), sides), 1) for sides in (wh, anchors)))


def best_shape_iou(wh: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return the overlap ``[N]`` of each box with the anchor that fits it best, both on one corner.

    Its mean is the usual measure of a set of anchors. Arguments and errors as for ``shape_iou``.

    Explained in chapter 10.
    """
    return shape_iou(wh, anchors).amax(1)


def kmeans_anchors(
    wh: torch.Tensor,
    k: int,
    *,
    distance: str = "iou",
    centre: str = "median",
    generator: torch.Generator,
    max_iterations: int = 300,
) -> torch.Tensor:
    """Choose anchors by k-means on the widths and heights of boxes.

    Starts from k different boxes drawn at random; a centre that no box is nearest to moves to the box that fits worst.
    With overlap as distance neither mean nor median is a cluster's best centre, so a round can make things worse: the
    best set of all rounds is returned. The median is dragged less by the largest boxes, and comes out better.

    Args:
        wh: widths and heights of the training boxes ``[N, 2]``, in pixels of the network's picture.
        k: how many anchors.
        distance: ``"iou"`` 1 - overlap on one corner, or ``"euclidean"``, which lets the largest boxes decide.
        centre: of a cluster, ``"median"`` or, k-means to the letter, ``"mean"`` of its widths and of its heights.
        generator: of the first k.
        max_iterations: rounds at most; it usually settles within 100.
    Returns:
        ``[k, 2]``, from the smallest area to the largest, in the dtype of ``wh``.
    Raises:
        ValueError: if there are fewer than k different boxes, or a side is not positive.

    Explained in chapter 10. Source: Redmon and Farhadi, YOLO9000, CVPR 2017.
    """
    wh = _sizes("wh", wh)
    require_choice("distance", distance, DISTANCES)
    require_choice("centre", centre, CENTRES)
    require_count("k", k)
    require_count("max_iterations", max_iterations)
    different = torch.unique(wh, dim=0)
    if len(different) < k:
        raise ValueError(f"wh must hold at least k = {k} different boxes, got {len(different)} of {len(wh)}")
    order = torch.randperm(len(different), generator=generator, device=generator.device)
    anchors = different[order[:k].to(wh.device)]
    best, lowest, before = anchors, float("inf"), None
    for _ in range(max_iterations):
        apart = _distances(wh, anchors, distance)
        nearest, cluster = apart.min(1)
        cost = float(nearest.mean())
        if cost < lowest:
            best, lowest = anchors, cost
        if before is not None and torch.equal(cluster, before):
            break
        before, anchors = cluster, _centres(wh, cluster, nearest, k, centre)
    return _by_area(best)


def _distances(wh: torch.Tensor, anchors: torch.Tensor, distance: str) -> torch.Tensor:
    return 1 - shape_iou(wh, anchors) if distance == "iou" else torch.cdist(wh, anchors).square()


def _centres(wh: torch.Tensor, cluster: torch.Tensor, nearest: torch.Tensor, k: int, centre: str) -> torch.Tensor:
    spare = iter(nearest.argsort(descending=True, stable=True).tolist())
    members = [wh[cluster == i] for i in range(k)]
    if centre == "mean":
        return torch.stack([boxes.mean(0) if len(boxes) else wh[next(spare)] for boxes in members])
    return torch.stack([boxes.quantile(0.5, 0) if len(boxes) else wh[next(spare)] for boxes in members])


def _by_area(anchors: torch.Tensor) -> torch.Tensor:
    return anchors[anchors.prod(1).argsort(stable=True)]


def _sizes(name: str, wh: torch.Tensor) -> torch.Tensor:
    require_tensor(name, wh, layout="[number, 2] of width and height")
    if wh.dim() != 2 or wh.shape[1] != 2:
        raise ValueError(f"{name} must have shape [number, 2], width and height, got {tuple(wh.shape)}")
    if wh.numel() and wh.min() <= 0:
        raise ValueError(f"{name} must be positive, got {float(wh.min()):g} (corners are not sizes: x1 - x0, y1 - y0)")
    return wh


def _size(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a picture."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise ValueError(f"size must be one side or (height, width) in pixels, got {size!r}")
    for name, side in zip(("height", "width"), sides, strict=True):
        require_positive(name, side, "pixels")
    return sides
