"""How the course's lists of names were drawn: ``python -m spikelab.datasets.course_splits`` writes them again.

The lists are part of spikelab (``spikelab/datasets/splits/*.txt``), so that a result on one machine is a result on all.
Each line is a folder and a picture. What they promise:

- no picture that any target tests or validates on is in any target's training list;
- nor is a second copy of one: of each group of copies all are trained on;
- a picture with a head and a body has the same role for both;
- each breed has its share of every list.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikelab.datasets.files import disk_errors
from spikelab.datasets.pets import FOLDER, POLYGONS, SEED, breed
from spikelab.datasets.pictures import read_picture
from spikelab.datasets.places import require_folder
from spikelab.datasets.voc import ANIMALS, image_set, pictures_in_both_years, single_animals
from spikelab.files import write_atomically

HEADS = {"test": 700, "validation": 300}
BODIES = {"test": 292, "validation": 100}
ANIMAL_VALIDATION = 150
PAPER_TEST = 1_349  # of list.txt's 7,349
CLASSES = tuple(name for name in ANIMALS if name != "bird")
ALIKE, ALIKE_ACROSS = 0.97, 0.99  # correlation of two pictures' thumbnails: within the pets, and with VOC
THUMBNAIL = (16, 16)


class Found(NamedTuple):
    """What there is to be split.

    Attributes:
        heads, trimaps, polygons: names of pets with such an annotation.
        everything: the names of ``list.txt``.
        animals: class of each picture that shows one animal, by name, of VOC2012, and of VOC2007 without those that
            VOC2012 has too.
        tested: names of VOC2012's pictures in ``SegmentationAug/val.txt``.
        trained: those in ``SegmentationAug/train_aug.txt``.
        copies: keys (folder/name) of pictures that there are twice.
    """

    heads: list[str]
    trimaps: list[str]
    polygons: list[str]
    everything: list[str]
    animals: dict[str, dict[str, str]]
    tested: list[str]
    trained: list[str]
    copies: list[str]


def make_course_splits(target: str | os.PathLike, *, root: str | os.PathLike | None = None) -> list[Path]:
    """Write the lists of names of the scheme ``"course"``, and of the test split of ``"paper"``.

    Args:
        target: folder to write to.
        root: folder that holds ``oxford-iiit-pet`` and ``VOCdevkit`` with both years; if not given, the data folder.

    Returns:
        The files.

    Raises:
        DataError: if a data set is not there, or a file of it is damaged.
    """
    target = Path(target)
    lists = draw(look(root))
    written = []
    with disk_errors(target):
        for name, keys in lists.items():
            about = "drawn by spikelab.datasets.course_splits"
            text = f"# {name}: {len(keys):,} pictures, {about}\n" + "".join(f"{key}\n" for key in sorted(keys))
            written.append(write_atomically(target / f"{name}.txt", text))
    return written


def look(root: str | os.PathLike | None = None) -> Found:
    """Read from the disk what there is to be split."""
    pets, voc = (require_folder(name, f"spikelab data fetch {name}", root) for name in (FOLDER, "VOCdevkit"))
    annotations = pets / "annotations"
    pictures = _stems(pets / "images", ".jpg")
    polygons = json.loads((annotations / POLYGONS).read_text()) if (annotations / POLYGONS).exists() else {}
    animals = {year: single_animals(voc / year, CLASSES) for year in ("VOC2007", "VOC2012")}
    for name in pictures_in_both_years(voc).values():
        animals["VOC2007"].pop(name, None)
    keys = [f"{FOLDER}/{name}" for name in sorted(pictures)]
    keys += [f"{year}/{name}" for year, names in animals.items() for name in names]
    return Found(
        heads=sorted(pictures & _stems(annotations / "xmls", ".xml")),
        trimaps=sorted(pictures & _stems(annotations / "trimaps", ".png")),
        polygons=sorted(pictures & set(polygons)),
        everything=sorted(image_set(annotations / "list.txt")),
        animals=animals,
        tested=image_set(voc / "VOC2012/ImageSets/SegmentationAug/val.txt"),
        trained=image_set(voc / "VOC2012/ImageSets/SegmentationAug/train_aug.txt"),
        copies=find_copies(keys, lambda key: _picture(pets, voc, key)),
    )


def draw(found: Found, seed: int = SEED) -> dict[str, list[str]]:
    """Draw every list of names.

    Args:
        found: what there is.
        seed: of the draw.

    Returns:
        Keys (folder/name) by the name of the list.

    Raises:
        ValueError: if there are too few pictures of a breed.
    """
    generator = np.random.default_rng(seed)
    lists = {f"{target}_{split}": [] for target in ("head", "body") for split in ("train", "validation", "test")}
    heads, trimaps = set(found.heads), set(found.trimaps)
    trained = {key.split("/")[1] for key in found.copies if key.startswith(FOLDER)} | (set(found.polygons) - trimaps)
    free = sorted((heads | trimaps) - trained)
    for split in ("test", "validation"):
        per_breed = _quotas(HEADS[split], found.heads, breed), _quotas(BODIES[split], found.trimaps, breed)
        for name in sorted(set(map(breed, free))):
            members = [member for member in free if breed(member) == name]
            both = [member for member in members if member in heads and member in trimaps]
            alone = [[m for m in members if m in mine and m not in other] for mine, other in _either(heads, trimaps)]
            counts = tuple(quota.get(name, 0) for quota in per_breed)
            shared = _shared(name, len(both), [len(part) for part in alone], counts)
            common = _some(generator, both, shared)
            for target, part, count in zip(("head", "body"), alone, counts, strict=True):
                lists[f"{target}_{split}"] += common + _some(generator, part, count - shared)
        held = set(lists[f"head_{split}"]) | set(lists[f"body_{split}"])
        free = [member for member in free if member not in held]
    for target, annotated in (("head", heads), ("body", trimaps | set(found.polygons))):
        held = set(lists[f"{target}_test"]) | set(lists[f"{target}_validation"])
        lists[f"{target}_train"] = sorted(annotated - held)
    lists = {name: [f"{FOLDER}/{member}" for member in members] for name, members in lists.items()}
    test = _some(generator, found.everything, PAPER_TEST)
    lists["pets_paper_test"] = [f"{FOLDER}/{member}" for member in test]
    _draw_animals(found, generator, lists)
    return lists


def find_copies(keys: Iterable[str], read: Callable[[str], np.ndarray]) -> list[str]:
    """Return the pictures that there are twice: their gray thumbnails of 16 x 16 are almost the same.

    Args:
        keys: folder/name of each.
        read: gives the thumbnail ``[16, 16]`` of a key.

    Returns:
        The keys of all pictures that have a copy, sorted.
    """
    keys = list(keys)
    light = np.stack([read(key).astype(np.float32).ravel() for key in keys])
    light -= light.mean(1, keepdims=True)
    light /= np.linalg.norm(light, axis=1, keepdims=True) + 1e-9
    pets = np.array([key.startswith(FOLDER) for key in keys])
    copies: set[str] = set()
    for start in range(0, len(keys), 512):
        alike = light[start : start + 512] @ light.T
        among = pets[start : start + 512, None] & pets
        for row, column in zip(*np.nonzero(alike > np.where(among, ALIKE, ALIKE_ACROSS)), strict=True):
            if start + row != column:
                copies |= {keys[start + row], keys[column]}
    return sorted(copies)


def _draw_animals(found: Found, generator: np.random.Generator, lists: dict[str, list[str]]) -> None:
    """Add the lists of the target animal, and VOC's part to the bodies to train on."""
    later, copies = found.animals["VOC2012"], set(found.copies)
    test = sorted(set(later) & set(found.tested))
    pool = sorted(set(later) & set(found.trained) - set(test))
    free = [name for name in pool if f"VOC2012/{name}" not in copies]
    validation = []
    for group, count in _quotas(ANIMAL_VALIDATION, pool, later.get).items():
        validation += _some(generator, [name for name in free if later[name] == group], count)
    held = set(test) | set(validation)
    lists["animal_test"] = [f"VOC2012/{name}" for name in test]
    lists["animal_validation"] = [f"VOC2012/{name}" for name in validation]
    lists["animal_train"] = [f"VOC2012/{name}" for name in pool if name not in held]
    lists["body_train"] += [f"VOC2012/{name}" for name in later if name not in held]
    lists["body_train"] += [f"VOC2007/{name}" for name in found.animals["VOC2007"]]


def _quotas(total: int, names: Iterable[str], group: Callable[[str], str]) -> dict[str, int]:
    """Share a number out among groups by their size; the largest remainders are rounded up."""
    sizes = Counter(map(group, names))
    exact = {name: total * size / sizes.total() for name, size in sorted(sizes.items())}
    shares = {name: int(value) for name, value in exact.items()}
    left = sorted(exact, key=lambda name: shares[name] - exact[name])[: total - sum(shares.values())]
    return {name: share + (name in left) for name, share in shares.items()}


def _shared(name: str, both: int, alone: list[int], counts: tuple[int, int]) -> int:
    """Return how many of the pictures with head and body to take for both lists of a breed."""
    least = max(0, *(count - part for count, part in zip(counts, alone, strict=True)))
    most = min(both, *counts)
    if least > most:
        raise ValueError(f"{name} has too few pictures that may be held out: {both} + {alone} for {counts}")
    usual = round(counts[1] * both / max(both + alone[1], 1))
    return min(max(usual, least), most)


def _some(generator: np.random.Generator, names: list[str], count: int) -> list[str]:
    return [names[i] for i in generator.permutation(len(names))[:count]]


def _either(first: set[str], second: set[str]) -> tuple[tuple[set[str], set[str]], ...]:
    return (first, second), (second, first)


def _stems(folder: Path, suffix: str) -> set[str]:
    return {file.stem for file in folder.glob(f"[!.]*{suffix}")}


def _picture(pets: Path, voc: Path, key: str) -> np.ndarray:
    source, name = key.split("/")
    folder = pets / "images" if source == FOLDER else voc / source / "JPEGImages"
    return read_picture(folder / f"{name}.jpg", colour="gray", size=THUMBNAIL)[0].numpy()


if __name__ == "__main__":
    for file in make_course_splits(Path(__file__).parent / "splits"):
        print(file)
