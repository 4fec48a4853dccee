"""What annotations alone decide: crowds, cells, anchors, the ceiling of suppression, a detector that never looks.

    python -m benchmarks.detection_basics [--kind real|synthetic] [--json FILE]

No network takes part. Anchors and constants are fitted on VOC2007's train pictures and scored on its val pictures;
everything else is counted on both. A run replaces that kind's earlier run.
"""

from __future__ import annotations

import datetime
import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from spikelab.datasets import VOC, SceneSet
from spikelab.detection import (
    COCO_ANCHORS,
    VOC_ANCHORS,
    AnchorSet,
    Detections,
    assign_targets,
    average_precision,
    best_shape_iou,
    evaluate_detections,
    head_layout,
    iou,
    iou_matrix,
    kmeans_anchors,
    nms,
    shape_iou,
    to_coco,
    to_voc,
)
from spikelab.files import write_atomically
from spikelab.training.results import hardware, versions

KINDS = ("real", "synthetic")
FLAVOURS = ("voc07", "area", "coco101")
SIDE = 416
GRIDS = (7, 13, 26, 52)
NUMBERS = (1, 3, 5, 6, 9, 12)
SEEDS = range(3)
NMS_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
IOUS = (0.5, 0.75, 0.9, 0.95)
RANKINGS = 2000
PARTS = ("trainval", "train", "val")
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "10_detection_basics.json"


def contents(scenes: SceneSet) -> dict[str, Any]:
    """Count pictures, objects and classes."""
    counts = torch.tensor([len(labels) for labels in scenes.labels])
    kinds = torch.tensor([len(labels.unique()) for labels in scenes.labels])
    return {
        "pictures": len(scenes),
        "objects": int(counts.sum()),
        "difficult_as_given": int(sum(flags.sum() for flags in scenes.difficult)),
        "mean": _few(counts.double().mean()),
        "median": int(counts.median()),
        "most": int(counts.max()),
        "histogram": torch.bincount(counts).tolist(),
        "one_object": _few((counts == 1).double().mean()),
        "one_class": _few((kinds == 1).double().mean()),
        "by_class": scenes.count_by_class(),
    }


def taken_cells(scenes: SceneSet) -> dict[str, float]:
    """Return the share of objects whose cell another one took, for several grids, and with scale and anchor told apart.

    The pictures are stretched to a square. The last entry is YOLOv3's: three heads of three anchors, one for each box.
    """
    found = {}
    total = sum(len(boxes) for boxes in scenes.boxes)
    for grid in GRIDS:
        free = 0
        for boxes in scenes.boxes:
            cells = ((boxes[:, :2] + boxes[:, 2:]) / 2 * grid).floor().clamp(max=grid - 1)
            free += len(cells.unique(dim=0))
        found[str(grid)] = _few(1 - free / total, 5)
    layout = head_layout(VOC_ANCHORS.at(SIDE), len(scenes.classes))
    objects = [scenes.objects(i) for i in range(len(scenes))]
    free = sum(
        len(torch.stack(one.place, 1).unique(dim=0)) for one in assign_targets(objects, layout, SIDE, rule="best")
    )
    return {**found, "cell, scale and anchor": _few(1 - free / total, 5)}


def sides(scenes: SceneSet) -> torch.Tensor:
    """Return widths and heights ``[N, 2]`` in pixels of pictures stretched to a square."""
    boxes = torch.cat(scenes.boxes)
    return (boxes[:, 2:] - boxes[:, :2]) * SIDE


def anchors(train: SceneSet, val: SceneSet) -> dict[str, Any]:
    """Return how well anchors fit that k-means chose by several rules, and how well published ones do."""
    learn, test = sides(train), sides(val)
    small = test.prod(1) <= test.prod(1).quantile(0.25)
    rules = {"iou": ("iou", "median"), "iou, mean": ("iou", "mean"), "euclidean": ("euclidean", "mean")}
    rows: dict[str, dict[str, Any]] = {}
    for name, (distance, centre) in rules.items():
        rows[name] = {}
        for k in NUMBERS:
            fits = []
            for seed in SEEDS:
                generator = torch.Generator().manual_seed(seed)
                chosen = kmeans_anchors(learn, k, distance=distance, centre=centre, generator=generator)
                fit = best_shape_iou(test, chosen)
                fits.append([fit.mean(), fit[small].mean()])
            fits = torch.tensor(fits, dtype=torch.float64)
            rows[name][str(k)] = {
                "all": _few(fits[:, 0].mean()),
                "sd": _few(fits[:, 0].std()),
                "smallest_quarter": _few(fits[:, 1].mean()),
            }
    published = {}
    sets: dict[str, AnchorSet] = {"COCO's nine": COCO_ANCHORS, "VOC's nine": VOC_ANCHORS}
    for name, one in sets.items():
        overlap = shape_iou(test, one.at(SIDE).double())
        published[name] = {
            "all": _few(overlap.amax(1).mean()),
            "smallest_quarter": _few(overlap.amax(1)[small].mean()),
            "claimed_above_20": _few((overlap > 0.2).sum(1).double().mean()),
        }
    return {"seeds": list(SEEDS), "kmeans": rows, "published": published}


def crowds(scenes: SceneSet) -> dict[str, Any]:
    """Return how many objects overlap one of their own class, and what suppression leaves of perfect boxes."""
    pairs, crowded, crowded_by = Counter(), 0, Counter()
    for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True):
        overlap = iou_matrix(boxes, boxes).triu(1) * (labels[:, None] == labels)
        for threshold in (0.3, 0.5):
            pairs[str(threshold)] += int((overlap > threshold).sum())
        near = ((overlap + overlap.T) > 0.5).any(1)
        crowded += int(near.sum())
        crowded_by.update(scenes.classes[label] for label in labels[near].tolist())
    by_class = scenes.count_by_class()
    total = sum(by_class.values())
    left = {
        str(threshold): _few(
            sum(
                len(nms(boxes, torch.ones(len(boxes)), labels, threshold))
                for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True)
            )
            / total,
            5,
        )
        for threshold in NMS_THRESHOLDS
    }
    share = {name: _few(crowded_by[name] / count) for name, count in by_class.items() if count}
    return {
        "pairs_above": dict(pairs),
        "crowded": _few(crowded / total),
        "crowded_by_class": share,
        "recall_left": left,
    }


def constant_detector(train: SceneSet, val: SceneSet, orders: int = 20) -> dict[str, Any]:
    """Score the detector that puts each class's median box, of the train pictures, on every val picture.

    All its scores are equal, so the order of the pictures decides; mean and spread are over random orders.
    """
    boxes, labels = torch.cat(train.boxes), torch.cat(train.labels)
    known = labels.unique()
    medians = torch.stack([boxes[labels == label].median(0).values for label in known])
    always = Detections(medians, torch.ones(len(known)), known)
    objects = [val.objects(i) for i in range(len(val))]
    found: dict[str, Any] = {"orders": orders}
    for flavour in FLAVOURS:
        means = []
        for seed in range(orders):
            order = torch.randperm(len(objects), generator=torch.Generator().manual_seed(seed)).tolist()
            shuffled = [objects[i] for i in order]
            means.append(evaluate_detections([always] * len(val), shuffled, val.classes, flavour=flavour).mean)
        means = torch.tensor(means, dtype=torch.float64)
        found[flavour] = {"mean": _few(means.mean(), 5), "sd": _few(means.std(), 5), "highest": _few(means.max(), 5)}
    best = [
        iou_matrix(one.boxes, medians)[torch.arange(len(one.labels)), torch.searchsorted(known, one.labels)]
        for one in objects
    ]
    found["mean_iou_with_objects"] = _few(torch.cat(best).mean())
    return found


def misread(scenes: SceneSet) -> dict[str, Any]:
    """Return which share of objects perfect boxes still reach, at several IoUs, if read by a wrong convention."""
    pixels = torch.cat(
        [boxes * size.flip(0).repeat(2) for boxes, size in zip(scenes.boxes, scenes.sizes.double(), strict=True)]
    )
    wrong = {
        "1 not subtracted": to_voc(pixels),
        "x, y, w, h as corners": to_coco(pixels),
        "y first": pixels[:, [1, 0, 3, 2]],
    }
    reached = {name: [_few((iou(boxes, pixels) > t).double().mean()) for t in IOUS] for name, boxes in wrong.items()}
    return {
        "median_long_side_px": int(scenes.sizes.amax(1).median()),
        "above_iou": list(IOUS),
        "share_of_objects": reached,
    }


def rankings() -> dict[str, Any]:
    """Return how far the flavours differ over random rankings: root mean square and largest, in points."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(RANKINGS):
        length, more = (int(torch.randint(*ends, (1,), generator=generator)) for ends in ((5, 60), (0, 20)))
        hits = torch.randint(2, (length,), generator=generator)
        rows.append([100 * average_precision(hits, int(hits.sum()) + more + 1, flavour) for flavour in FLAVOURS])
    voc07, over, fine = torch.tensor(rows, dtype=torch.float64).T
    found = {}
    for name, difference in (("voc07 - area", voc07 - over), ("coco101 - area", fine - over)):
        found[name] = {"rms": _few(difference.square().mean().sqrt(), 2), "largest": _few(difference.abs().max(), 2)}
    return {"rankings": RANKINGS, **found}


def measure(kind: str) -> dict[str, Any]:
    """Measure everything on one kind of data."""
    every, train, val = sets = [VOC("VOC2007", part, kind=kind) for part in PARTS]
    return {
        "data": {part: {"label": one.label, "hash": one.hash} for part, one in zip(PARTS, sets, strict=True)},
        "contents": contents(every),
        "taken_cells": taken_cells(every),
        "anchors": anchors(train, val),
        "crowds": crowds(every),
        "constant_detector": constant_detector(train, val),
        "misread": misread(every),
    }


def _few(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)


def main(
    kind: Annotated[list[str] | None, typer.Option(help=f"Pictures: {', '.join(KINDS)}; may be repeated.")] = None,
    json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT,
) -> None:
    """Measure what annotations alone decide."""
    kind = kind or ["real"]
    if strange := [name for name in kind if name not in KINDS]:
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(KINDS)}")
    for name in kind:
        begin = time.perf_counter()
        run = {
            **measure(name),
            "hardware": hardware(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "seconds": round(time.perf_counter() - begin, 1),
        }
        content = json.loads(json_file.read_text(encoding="utf-8")) if json_file.is_file() else {}
        runs = {**content.get("runs", {}), name: run}
        runs = {one: runs[one] for one in KINDS if one in runs}
        content = {"schema_version": 1, "kind": "detection_basics", "rankings": rankings(), "runs": runs}
        write_atomically(json_file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        typer.echo(run["data"]["trainval"]["label"])
        for part in ("taken_cells", "crowds", "constant_detector"):
            typer.echo(f"{part}: {run[part]}")
    typer.echo(f"written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
