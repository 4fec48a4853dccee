"""The stand-in for VOC and COCO: drawn scenes of several animals and things that hide each other.

Each picture has a random generator of its own, seeded from (seed, list, number of the picture). So any part of a set is
the same as in the whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spikelab import __version__
from spikelab.datasets import coco
from spikelab.datasets.drawn_animals import FARM, PETS, POSES, Breed, Drawn, Place, draw
from spikelab.datasets.drawn_things import THINGS
from spikelab.datasets.files import disk_errors, locked, require_room, whole_folder, write_atomic, write_json
from spikelab.datasets.kept import with_bar
from spikelab.datasets.pets_synthetic import (
    MANIFEST,
    finished,
    generator_of,
    inclusive_box,
    jpeg,
    settings_hash,
    voc_xml,
    write_lines,
)
from spikelab.datasets.places import cache_folder
from spikelab.validation import require_choice, require_count

FOLDER = "scenes-synthetic"
FORMAT = 2  # another number makes the set anew: raise it whenever a drawing changes
COUNTS = {"VOC2007/train": 120, "VOC2007/val": 60, "VOC2012/trainval": 30, "COCO/train": 50, "COCO/val": 25}
COPIES = 4  # pictures of VOC2012 that are copies of VOC2007's, as there are in the real sets
BYTES_PER_PICTURE = 20_000
LONG_SIDE = (128, 176)  # px, shortest and longest
ASPECTS = (1.33, 1.5, 1.0, 0.75)  # width to height
HOW_MANY = (0.37, 0.3, 0.2, 0.13)  # pictures with 1, 2, 3 and 4 objects
THING_SHARE = 0.3  # of the objects behind the first
SMALLEST_PX, LEAST_SEEN, CLEARLY_SEEN = 8, 0.3, 0.55  # side; share not hidden; below the last it is difficult
COCO_IDS = dict(zip(coco.ANIMALS, range(16, 26), strict=True))

_HORSE, _COW, _BULLY = (
    next(b for b in (*FARM, *PETS) if b.name == n).build for n in ("bay", "pied", "flat_nosed_bully")
)
WILD = (
    Breed("zebra", "zebra", _HORSE._replace(leg=0.8), "f0eee8 1c1a1a f0eee8", "tabby"),
    Breed(
        "giraffe",
        "giraffe",
        _HORSE._replace(leg=1.25, neck=1.55, girth=0.25, ears="side", ear=0.6),
        "dcae68 84522a ecd6ab",
        "spots",
    ),
    Breed(
        "elephant",
        "elephant",
        _COW._replace(leg=0.5, leg_width=0.14, girth=0.4, head=0.25, ear=1.9, muzzle=1.9, muzzle_width=0.36, fur=0.004),
        "86868a 707074 96959a",
        "solid",
    ),
    Breed("bear", "bear", _BULLY._replace(head=0.23, ear=0.4, muzzle=0.4, fur=0.045), "5a3a22 47301c 6b4a30", "solid"),
)
_BREEDS = {name: [breed for breed in (*FARM, *PETS, *WILD) if breed.species == name] for name in coco.ANIMALS}
_VOC_THINGS = (*coco.ANIMALS[:6], *THINGS)


class DrawnScene(NamedTuple):
    """A drawn picture, uint8 ``[H, W, 3]``, and what is to be found in it, from back to front."""

    image: np.ndarray
    found: list[Drawn]

    def things(self, names: Sequence[str]) -> list[tuple[str, tuple[int, int, int, int], bool]]:
        """Return class, box in pixels from 1 with both ends inside, and whether it is difficult, of some classes."""
        every = [(class_of(one), inclusive_box(one.mask), one.seen < CLEARLY_SEEN) for one in self.found]
        return [thing for thing in every if thing[0] in names]


def make_synthetic_scenes(
    target: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    counts: dict[str, int] | None = None,
    progress: bool = True,
) -> Path:
    """Write drawn scenes in the layouts of PASCAL VOC and COCO.

    ``target/VOCdevkit`` holds ``VOC2007`` (lists train, val, trainval) and a smaller ``VOC2012`` (trainval), of which a
    few pictures are copies of VOC2007's, numbered as those of the real set. Of VOC's classes there are the six
    animals, bottles, chairs and monitors. ``target/coco`` holds train2017, val2017 and their annotations of the ten
    animals.

    Several processes may ask at once: one draws the set, the others wait. A finished set with these settings is left as
    it is; another one, or one that broke off, is made anew.

    Args:
        target: folder to write; if not given, ``scenes-synthetic`` in the cache folder.
        seed: another seed gives other pictures.
        counts: how many pictures the lists have, by the names of ``COUNTS``, where it differs from there.
        progress: show a bar while they are drawn, on a terminal.

    Returns:
        ``target``.

    Raises:
        ValueError: for a wrong argument.
        DataError: if the folder cannot be written, or the disk is too full.

    Explained in chapter 10.
    """
    target = Path(target) if target is not None else cache_folder() / FOLDER
    for name, count in (counts or {}).items():
        require_choice("counts", name, tuple(COUNTS))
        require_count(f"counts[{name!r}]", count)
    counts = COUNTS | (counts or {})
    settings = {"format": FORMAT, "seed": require_count("seed", seed, 0), "counts": counts}
    if finished(target, settings):
        return target
    with disk_errors(target.parent), locked(target):
        if finished(target, settings):
            return target
        total = sum(counts.values())
        require_room(
            target.parent, total * BYTES_PER_PICTURE, f"the synthetic stand-in for scenes ({total:,} pictures)"
        )
        with whole_folder(target) as part:
            jobs = [(name, number) for name, count in counts.items() for number in range(count)]
            instances: dict[str, dict[str, Any]] = {}
            for name, number in with_bar(jobs, progress, desc="drawing scenes", unit="picture"):
                if name.startswith("VOC"):
                    _write_voc(part / "VOCdevkit", name, number, seed, counts)
                else:
                    _write_coco(part / coco.FOLDER, name, number, seed, instances)
            _write_lists(part / "VOCdevkit", counts)
            for split, content in instances.items():
                write_json(part / coco.FOLDER / "annotations" / f"instances_{split}2017.json", content)
            write_json(part / MANIFEST, settings | {"hash": settings_hash(settings), "spikelab": __version__})
    return target


def draw_scene(number: int, split: str, *, seed: int = 0) -> DrawnScene:
    """Draw one picture of the stand-in, without writing it.

    Args:
        number: the picture's number on its list, from 0; the first object's class goes around with it.
        split: one of ``COUNTS``.
        seed: the set's seed.

    Explained in chapter 10.
    """
    require_count("number", number, 0)
    require_choice("split", split, tuple(COUNTS))
    generator = generator_of(seed, split, number)
    names = coco.ANIMALS if split.startswith("COCO") else _VOC_THINGS
    while True:
        long, aspect = int(generator.integers(*LONG_SIDE, endpoint=True)), generator.choice(ASPECTS)
        size = (round(long / aspect), long) if aspect >= 1 else (long, round(long * aspect))
        count = int(generator.choice(len(HOW_MANY), p=HOW_MANY)) + 1
        chosen = [names[number % len(names)]]
        for _ in range(count - 1):
            thing = generator.random() < THING_SHARE
            chosen.append(str(generator.choice(THINGS if thing else [n for n in names if n not in THINGS])))
        places = sorted((_place(generator, count) for _ in range(count)), key=lambda place: place.down)
        order = generator.permutation(count)
        breeds = [_breed(chosen[i], generator) for i in order]
        picture = draw(breeds, size, generator, places=places)
        if all(_is_seen(one) for one in picture.animals):
            return DrawnScene(picture.image, picture.animals)


def class_of(one: Drawn) -> str:
    """Return the class of an animal or a thing."""
    return one.breed if isinstance(one.breed, str) else one.breed.species


def _breed(name: str, generator: np.random.Generator) -> Breed | str:
    return name if name in THINGS else _BREEDS[name][generator.integers(len(_BREEDS[name]))]


def _place(generator: np.random.Generator, count: int) -> Place:
    """Draw a place: what is nearer is larger and lower."""
    near = generator.random()
    share = generator.uniform(0.35, 1.0) if count == 1 else (0.3 + 0.4 * near) * generator.uniform(0.75, 1.25)
    across = generator.uniform(0.15, 0.85) if count > 1 else generator.normal(0.5, 0.14)
    pose = str(generator.choice(POSES[:4], p=(0.4, 0.3, 0.15, 0.15)))
    return Place(pose, share, across, 0.42 + 0.3 * near + generator.normal(0, 0.03))


def _is_seen(one: Drawn) -> bool:
    if not one.mask.any() or one.seen < LEAST_SEEN:
        return False
    x0, y0, x1, y1 = inclusive_box(one.mask)
    return min(x1 - x0, y1 - y0) + 1 >= SMALLEST_PX


def _voc_source(name: str, number: int, counts: dict[str, int]) -> tuple[str, int]:
    """Return list and number of the drawing that a picture of VOC shows; that of a copy is VOC2007's."""
    split, place = "VOC2007/train" if number % 2 else "VOC2007/val", number // 2
    copied = name.startswith("VOC2012") and number < COPIES and place < counts[split]
    return (split, place) if copied else (name, number)


def _voc_name(name: str, number: int, counts: dict[str, int]) -> str:
    source, place = _voc_source(name, number, counts)
    if source != name:
        return f"2007_{_voc_name(source, place, counts)}"
    return f"2012_{number + 1:06}" if name.startswith("VOC2012") else f"{place + 1 + 5000 * source.endswith('val'):06}"


def _write_voc(folder: Path, name: str, number: int, seed: int, counts: dict[str, int]) -> None:
    source, place = _voc_source(name, number, counts)
    scene, year = draw_scene(place, source, seed=seed), name.partition("/")[0]
    picture = _voc_name(name, number, counts)
    write_atomic(folder / year / "JPEGImages" / f"{picture}.jpg", jpeg(scene.image))
    xml = voc_xml(year, picture, scene.image.shape[:2], scene.things(_VOC_THINGS))
    write_atomic(folder / year / "Annotations" / f"{picture}.xml", xml)


def _write_lists(folder: Path, counts: dict[str, int]) -> None:
    lists = {
        name: [_voc_name(name, number, counts) for number in range(count)]
        for name, count in counts.items()
        if name.startswith("VOC")
    }
    lists["VOC2007/trainval"] = sorted(lists["VOC2007/train"] + lists["VOC2007/val"])
    for name, names in lists.items():
        year, _, split = name.partition("/")
        write_lines(folder / year / "ImageSets" / "Main" / f"{split}.txt", names)


def _write_coco(folder: Path, name: str, number: int, seed: int, instances: dict[str, dict[str, Any]]) -> None:
    split, scene = name.partition("/")[2], draw_scene(number, name, seed=seed)
    categories = [{"id": i, "name": animal, "supercategory": "animal"} for animal, i in COCO_IDS.items()]
    content = instances.setdefault(split, {"images": [], "annotations": [], "categories": categories})
    picture = number + 1 + 500_000 * (split == "val")
    file, (height, width) = f"{picture:012}.jpg", scene.image.shape[:2]
    write_atomic(folder / f"{split}2017" / file, jpeg(scene.image))
    content["images"].append({"id": picture, "file_name": file, "height": height, "width": width})
    for one in scene.found:
        if class_of(one) in COCO_IDS:
            x0, y0, x1, y1 = inclusive_box(one.mask)
            entry = {"id": len(content["annotations"]) + 1, "image_id": picture, "category_id": COCO_IDS[class_of(one)]}
            box = {"bbox": [x0 - 1.0, y0 - 1.0, x1 - x0 + 1.0, y1 - y0 + 1.0], "area": float(one.mask.sum())}
            content["annotations"].append({**entry, **box, "iscrowd": 0})
