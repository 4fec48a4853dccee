"""Pictures of exactly one animal, split for the capstone: train, choose, test, and a test on pictures from elsewhere.

Explained in chapter 14.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from spikelab.datasets import coco
from spikelab.datasets.detection_sets import KINDS, SHARED, SOURCES, Animals
from spikelab.datasets.errors import DataError
from spikelab.datasets.scenes import SceneSet, require_apart, split_by_photo
from spikelab.validation import require_choice, require_count

TEST = 600
"""Photographs of VOC to test on, or a fifth of all where there are fewer than five times as many."""
ENOUGH = 1000
"""Pictures of COCO below which ``"auto"`` takes VOC."""


class AnimalSplits(NamedTuple):
    """Pictures of one animal each, no photograph in two of them.

    Attributes:
        train: to learn from.
        validation: to choose the epoch by.
        test: to look at once.
    """

    train: SceneSet
    validation: SceneSet
    test: SceneSet


def single_animals(
    source: str = "auto", *, kind: str = "auto", seed: int = 0, root: str | os.PathLike | None = None
) -> AnimalSplits:
    """Return pictures of exactly one animal, split by photograph.

    VOC, both years with each photograph once, has six of the ten animals; 600 photographs are the test and half as many
    the validation, drawn at random from all. COCO has ten; its official validation pictures are the test, and a tenth
    of its training photographs the validation.

    Args:
        source: ``"voc"``, ``"coco"``, or ``"auto"``: see ``animal_source``.
        kind: ``"real"``, ``"synthetic"`` (a drawn stand-in, far smaller), or ``"auto"``: real where it is found.
        seed: of the split; results can be compared only at the same one.
        root: as for :class:`spikelab.datasets.Animals`.
    Raises:
        ValueError: for an unknown source or kind.
        DataError: if the files are not there or damaged, or a photograph is in two parts.

    Explained in chapter 14.
    """
    require_count("seed", seed, minimum=0)
    source = animal_source(source, kind=kind, root=root)
    if source == "voc":
        found = Animals("all", source=source, kind=kind, single=True, root=root)
        test = min(TEST / max(len(found), 1), 0.2)
        splits = AnimalSplits(*split_by_photo(found, (1 - 1.5 * test, test / 2, test), seed))
    else:
        learning, test = (Animals(name, source=source, kind=kind, single=True, root=root) for name in coco.SPLITS)
        splits = AnimalSplits(*split_by_photo(learning, (0.9, 0.1), seed), test)
    if not all(len(split) for split in splits):
        raise DataError(
            f"there are too few pictures of one animal to split ({', '.join(str(len(split)) for split in splits)} to "
            f"train, validate and test on; {splits.train.label}): take kind='synthetic', or fetch the data set"
        )
    require_apart(splits.train, splits.validation)
    require_apart(splits.train, splits.test)
    require_apart(splits.validation, splits.test)
    return splits


def animal_source(source: str = "auto", *, kind: str = "auto", root: str | os.PathLike | None = None) -> str:
    """Return which data set there is to learn ten animals, or six, from: ``"coco"`` or ``"voc"``.

    ``"auto"`` takes COCO if it has at least a thousand training pictures of one animal, as a part of it teaches nothing
    and tests little; else VOC, and of the stand-ins VOC's, which is the larger one.

    Raises:
        ValueError: for an unknown source or kind.

    Explained in chapter 14.
    """
    require_choice("source", source, SOURCES)
    require_choice("kind", kind, KINDS)
    if source != "auto":
        return source
    if kind != "synthetic":
        try:
            if len(Animals("train", source="coco", kind="real", single=True, root=root)) >= ENOUGH:
                return "coco"
        except DataError:
            pass  # it is not there, or not whole
    return "voc"


def coco_of_shared(*, kind: str = "auto", root: str | os.PathLike | None = None) -> SceneSet:
    """Return COCO's pictures of one animal, if it is one of the six that VOC has too: a test of a shift of domain.

    Both of COCO's splits are taken, as nothing was learned from either. Pictures that show a second one of
    the ten are left out.

    Args:
        kind, root: as for :class:`spikelab.datasets.Animals`.
    Raises:
        DataError: if the files are not there or damaged.

    Explained in chapter 14.
    """
    found = Animals("all", source="coco", kind=kind, single=True, root=root)
    scenes = [scene for scene in found.scenes if scene.things[0].name in SHARED]
    return SceneSet(scenes, SHARED, kind=found.kind, title=f"{found.title}, of VOC's six")
