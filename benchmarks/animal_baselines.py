"""What does an answer score that never looks at the animal? And what leaks if the two years of VOC are split by row?

    python -m benchmarks.animal_baselines [--json FILE]

Everything is counted on annotations alone: pictures of exactly one of the six animals, real VOC2007 and VOC2012, and
COCO's as far as they are there. Class and box that never look are fitted on the training part and scored on the test
part, over several splits by photograph.
"""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from spikelab.datasets import VOC, Animals
from spikelab.datasets.detection_sets import SHARED
from spikelab.datasets.scenes import SceneSet
from spikelab.datasets.single_animals import coco_of_shared, single_animals
from spikelab.datasets.voc import pictures_in_both_years
from spikelab.detection import area
from spikelab.files import write_atomically
from spikelab.leaderboard import trivial_baseline
from spikelab.training.results import hardware, versions

SPLITS = 10
TINY = 0.02
TEST_SHARES = (0.1, 0.2, 0.5)
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "14_trivial.json"


def ones(scenes: SceneSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the one class and the one box of each picture."""
    return torch.cat(scenes.labels), torch.cat(scenes.boxes)


def never_looking(seed: int, boxes: tuple[str, ...] = ("best", "median")) -> dict[str, Any]:
    """Return what commonest class and constant box score on one split, and what the split is."""
    train, validation, test = single_animals("voc", kind="real", seed=seed)
    found = {
        "split_seed": seed,
        "label": test.title,
        "pictures": {"train": len(train), "validation": len(validation), "test": len(test)},
        "classes": {"train": train.count_by_class(), "test": test.count_by_class()},
        "dropped_copies": train.skipped.get("the same photograph again", 0),
        "hash": test.hash if seed == 0 else None,
    }
    for name in boxes:
        trivial = trivial_baseline(*ones(train), *ones(test), box=name)
        scores = {key: round(value, 4) for key, value in trivial._asdict().items() if isinstance(value, float)}
        found[name] = {"class": train.classes[trivial.label], "box": _few(trivial.box), **scores}
    return found


def leaks() -> dict[str, Any]:
    """Return how many photographs are in both years, and how many lie on both sides if rows are drawn for a test."""
    later = _one_animal_of_2012()
    twins = sum(photo.startswith("VOC2007/") for photo in later.photos)
    listed = len(pictures_in_both_years(later.files[0].parents[2]))
    return {
        "listed": listed,
        "of_one_animal": twins,
        "on_both_sides": {f"{p:g}": round(2 * p * (1 - p) * twins, 1) for p in TEST_SHARES},
    }


def _one_animal_of_2012() -> SceneSet:
    found = VOC("VOC2012", "all", kind="real", classes=SHARED, empty=False)
    return found.select(i for i, labels in enumerate(found.labels) if len(labels) == 1)


def shifted() -> dict[str, Any]:
    """Return how small the animals of the COCO pictures that are there are."""
    found = {}
    for split in ("train", "val"):
        every = Animals(split, source="coco", kind="real")
        share = area(torch.cat(every.boxes))
        found[split] = {
            "pictures": len(every),
            "boxes": len(share),
            "median_area": round(share.median().item(), 4),
            "below_2_per_cent": round((share < TINY).double().mean().item(), 4),
        }
    return {**found, "of_the_six_single": len(coco_of_shared(kind="real"))}


def _few(values: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def main(json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT) -> None:
    """Score class and box that never look, and count what leaks."""
    begin = time.perf_counter()
    splits = [never_looking(seed) for seed in range(SPLITS)]
    run = {
        "splits": splits,
        "leaks": leaks(),
        "coco": shifted(),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    content = {"schema_version": 1, "kind": "animal_baselines", "runs": {"real": run}}
    write_atomically(json_file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    for split in splits:
        scores = {key: 100 * split["best"][key] for key in ("accuracy", "miou", "joint", "macro_joint")}
        typer.echo(f"split {split['split_seed']}: " + ", ".join(f"{key} {value:.1f}" for key, value in scores.items()))
    typer.echo(f"{run['leaks']}\n{run['coco']}\nwritten to {json_file}")


if __name__ == "__main__":
    typer.run(main)
