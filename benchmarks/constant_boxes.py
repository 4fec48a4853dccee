"""How well do boxes fit that never look? Constant boxes on the heads and bodies of all pets that are there.

    python -m benchmarks.constant_boxes [--kind real|synthetic] [--json FILE]

Bodies are measured twice, with the border of the mask and without it, on every mask there is. Constants are fitted and
scored on the same boxes, which is a little kind to them; over random splits they are fitted on one part and scored on
the other. A run replaces that kind's earlier run.
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

from spikelab.datasets import Pets
from spikelab.detection import area, by_quartile, centre_offset, constant_boxes, iou, iou_histogram, to_pixels
from spikelab.files import write_atomically
from spikelab.training.results import hardware, versions

KINDS = ("real", "synthetic")
SIZES = ((22, 30), (44, 60), (88, 120), (176, 240), (352, 480))
SPLITS, TRAIN_SHARE = 200, 6000 / 7349  # paper 1's
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "09_constant_boxes.json"


class Boxes:
    """The boxes of some splits together, with breeds, label and hashes."""

    def __init__(self, target: str, kind: str, scheme: str, border: bool = True) -> None:
        parts = [Pets(target, s, kind=kind, scheme=scheme, border=border) for s in ("train", "validation", "test")]
        self.boxes = torch.cat([part.boxes for part in parts])
        self.groups = [group for part in parts for group in part.groups]
        self.names = [name for part in parts for name in part.names]
        self.about = {"label": parts[0].label.rpartition(", ")[0], "hash": [part.hash for part in parts]}


def constants(boxes: torch.Tensor) -> dict[str, Any]:
    """Return how each constant box scores on the boxes it was fitted to, and the whole picture."""
    fitted = {**constant_boxes(boxes), "whole picture": boxes.new_tensor([0.0, 0.0, 1.0, 1.0])}
    found = {}
    for name, box in fitted.items():
        ious = iou(box, boxes)
        found[name] = {
            "box": _few(box.tolist()),
            "miou": _few(ious.mean().item()),
            "at_most_15": _few((ious <= 0.15).double().mean().item()),
            "from_55_to_70": _few(((ious >= 0.55) & (ious <= 0.70)).double().mean().item()),
            "above_50": _few((ious > 0.5).double().mean().item()),
            "histogram": iou_histogram(ious).tolist(),
        }
    return found


def random_splits(boxes: torch.Tensor) -> dict[str, Any]:
    """Return how mean and median box score when fitted on one part and scored on the other, over random splits."""
    train = round(TRAIN_SHARE * len(boxes))
    scores: dict[str, list[float]] = {"mean": [], "median": []}
    for seed in range(SPLITS):
        order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
        fit, rest = boxes[order[:train]], boxes[order[train:]]
        for name, box in (("mean", fit.mean(0)), ("median", fit.median(0).values)):
            scores[name].append(iou(box, rest).mean().item())
    found: dict[str, Any] = {"splits": SPLITS, "train_share": _few(TRAIN_SHARE)}
    for name, values in scores.items():
        one = torch.tensor(values, dtype=torch.float64)
        summary = {"mean": one.mean(), "sd": one.std(), "lowest": one.min(), "highest": one.max()}
        found[name] = {key: _few(value.item()) for key, value in summary.items()}
    return found


def rulers(boxes: torch.Tensor) -> list[dict[str, Any]]:
    """Return the median box's score by both conventions, in pictures of several sizes."""
    median = constant_boxes(boxes)["median"].expand_as(boxes)
    rows = []
    for size in SIZES:
        pixels = [to_pixels(some, size) for some in (median, boxes)]
        scores = {"half_open": iou(median, boxes), "inclusive": iou(*pixels, inclusive=True)}
        rows.append({"size": list(size), **{name: _few(ious.mean().item()) for name, ious in scores.items()}})
    return rows


def breeds(body: Boxes) -> dict[str, Any]:
    """Return how the masks spread over breeds, and the median box's score without the three most frequent ones."""
    frequent = [name for name, _ in Counter(body.groups).most_common(3)]
    rare = torch.tensor([group not in frequent for group in body.groups])
    median = constant_boxes(body.boxes[rare])["median"]
    return {
        "masks": len(rare),
        "most_frequent": frequent,
        "of_these": int((~rare).sum()),
        "median_without_them": _few(iou(median, body.boxes[rare]).mean().item()),
    }


def measure(kind: str) -> dict[str, Any]:
    """Measure everything on one kind of data."""
    body, pet_alone = (Boxes("body", kind, "official", border) for border in (True, False))
    head = Boxes("head", kind, "course")
    together = {"body": body, "body without border": pet_alone, "head": head}
    best = {name: iou(constant_boxes(one.boxes)["best"], one.boxes) for name, one in together.items()}
    return {
        "data": {name: {**one.about, "n": len(one.boxes)} for name, one in together.items()},
        "constants": {name: constants(one.boxes) for name, one in together.items()},
        "iou_of_the_two_definitions": _few(iou(body.boxes, pet_alone.boxes).mean().item()),
        "breeds": breeds(body),
        "random_splits": {name: random_splits(one.boxes) for name, one in together.items()},
        "rulers": {name: rulers(together[name].boxes) for name in ("body", "head")},
        "best_by_quartile": {
            rank.__name__: [_few(e.value) for e in by_quartile(rank(head.boxes), best["head"])]
            for rank in (area, centre_offset)
        },
    }


def _few(value: Any, digits: int = 4) -> Any:
    return [_few(one, digits) for one in value] if isinstance(value, list) else round(value, digits)


def main(
    kind: Annotated[list[str] | None, typer.Option(help=f"Pictures: {', '.join(KINDS)}; may be repeated.")] = None,
    json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT,
) -> None:
    """Score boxes that never look."""
    kind = kind or ["real"]
    if strange := [name for name in kind if name not in KINDS]:
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(KINDS)}")
    for name in kind:
        begin = time.perf_counter()
        found = measure(name)
        run = {
            **found,
            "hardware": hardware(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "seconds": round(time.perf_counter() - begin, 1),
        }
        content = json.loads(json_file.read_text(encoding="utf-8")) if json_file.is_file() else {}
        runs = {**content.get("runs", {}), name: run}
        content = {"schema_version": 1, "kind": "constant_boxes", "runs": {k: runs[k] for k in KINDS if k in runs}}
        write_atomically(json_file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        for target, rows in run["constants"].items():
            scores = ", ".join(f"{name} {100 * row['miou']:.1f}" for name, row in rows.items())
            typer.echo(f"{run['data'][target]['label']} ({target}): {scores}")
    typer.echo(f"written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
