"""Data sets with several objects in a picture: PASCAL VOC, and the animals of COCO and VOC."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from spikelab.datasets import coco, voc
from spikelab.datasets.errors import DataError
from spikelab.datasets.pictures import AGAIN, gather, require_same_size
from spikelab.datasets.places import cache_folder, find_folder, require_folder
from spikelab.datasets.scenes import Scene, SceneSet, unknown_class
from spikelab.datasets.voc import image_set as read_list
from spikelab.validation import require_choice

KINDS = ("auto", "real", "synthetic")
SOURCES = ("auto", "coco", "voc")
ALL = "all"
SYNTHETIC = "scenes-synthetic"
SHARED = coco.ANIMALS[:6]


class VOC(SceneSet):
    """PASCAL VOC: pictures with objects of 20 classes.

    With both years, a photograph that is in both is taken once, from the year that is named first; the numbers of the
    pictures tell which these are (see ``voc.photograph``). To train on one year and test on the other take
    ``train.without(test)``.

    Pictures of which neither file is there are left out: ``label`` and ``skipped`` say how many.

    Args:
        years: ``"VOC2007"``, ``"VOC2012"``, their numbers, or several.
        image_set: an official list, ``"train"``, ``"val"``, ``"trainval"`` or ``"test"`` below ``ImageSets/Main``, or
            with its folder, such as ``"Segmentation/val"``; or ``"all"``: every picture with an annotation.
        kind: ``"real"``, ``"synthetic"`` (drawn, made once in the cache folder), or ``"auto"``: real where it is found.
        classes: which classes, in this order; objects of the others are left out.
        empty: whether pictures without an object stay.
        lenient: leave faulty pictures out and count them in ``skipped``, instead of an error for the first.
        root: folder that holds ``VOCdevkit``; if not given, ``$SPIKELAB_DATA`` and the cache.

    Raises:
        ValueError: for an unknown year, kind or class.
        DataError: if the files or the list are not there, or, unless lenient, for the first picture with a damaged
            file, an object of no class of VOC's, a box without area or outside its picture, ...

    Explained in chapter 10. Source: Everingham, Van Gool, Williams, Winn, Zisserman, "The PASCAL visual object classes
    (VOC) challenge", IJCV 2010.
    """

    def __init__(
        self,
        years: str | int | Sequence[str | int] = "VOC2007",
        image_set: str = "trainval",
        *,
        kind: str = "auto",
        classes: Sequence[str] = voc.CLASSES,
        empty: bool = True,
        lenient: bool = False,
        root: str | os.PathLike | None = None,
    ) -> None:
        self.years = _years(years)
        self.image_set = image_set
        for name in classes:
            require_choice("classes", name, voc.CLASSES)
        kind = _kind(kind, f"{voc.FOLDER}/{self.years[0]}", root)
        root = _synthetic(root) if kind == "synthetic" else root
        title = (
            f"{'synthetic stand-in: drawn' if kind == 'synthetic' else 'real'} {' and '.join(self.years)} {image_set}"
        )
        parts = [
            _year(year, image_set, classes, kind=kind, title=title, empty=empty, lenient=lenient, root=root)
            for year in self.years
        ]
        scenes, skipped = _joined(parts)
        super().__init__(
            scenes, classes, kind=kind, title=title, listed=sum(part.listed for part in parts), skipped=skipped
        )


class Animals(SceneSet):
    """Pictures of animals: COCO's ten, or the six of them that VOC has too (numbered as in COCO, so weights fit both).

    Pictures without one of the animals are left out, and so are other objects.

    Args:
        image_set: of COCO ``"train"`` or ``"val"``, of VOC as for :class:`VOC`; or ``"all"``, which of VOC means both
            years with each photograph once: split it with ``split_by_photo``.
        source: ``"coco"``, ``"voc"``, or ``"auto"``: COCO where it is found, else VOC, else the stand-in for COCO.
        kind: ``"real"``, ``"synthetic"``, or ``"auto"``: real where it is found.
        classes: which animals, in this order; if not given, all that the source has.
        single: take only pictures with exactly one animal (whatever else is in them, and difficult ones counted).
        lenient: leave faulty pictures out and count them in ``skipped``, instead of an error for the first.
        root: folder that holds ``coco`` and ``VOCdevkit``; if not given, ``$SPIKELAB_DATA`` and the cache.

    Raises:
        ValueError: for an unknown source, split, kind or animal.
        DataError: as for :class:`VOC`.

    Explained in chapter 14. Source: Lin et al., "Microsoft COCO: common objects in context", ECCV 2014; and VOC's.
    """

    def __init__(
        self,
        image_set: str = "train",
        *,
        source: str = "auto",
        kind: str = "auto",
        classes: Sequence[str] | None = None,
        single: bool = False,
        lenient: bool = False,
        root: str | os.PathLike | None = None,
    ) -> None:
        require_choice("source", source, SOURCES)
        require_choice("kind", kind, KINDS)
        if source == "auto":
            only_voc = kind != "synthetic" and not find_folder(coco.FOLDER, root) and find_folder(voc.FOLDER, root)
            source = "voc" if only_voc else "coco"
        self.source, self.image_set, self.single = source, image_set, single
        known = coco.ANIMALS if source == "coco" else SHARED
        classes = known if classes is None else tuple(classes)
        for name in classes:
            require_choice("classes", name, known)
        if source == "voc":
            years = voc.YEARS if image_set == ALL else voc.YEARS[:1]
            found = VOC(years, image_set, kind=kind, classes=classes, empty=False, lenient=lenient, root=root)
            scenes, kind, listed, skipped = found.scenes, found.kind, found.listed, found.skipped
            title = found.title.replace(f" {image_set}", f" animals, {image_set}")
        else:
            require_choice("image_set", image_set, (*coco.SPLITS, ALL))
            kind = _kind(kind, coco.FOLDER, root)
            mend = f"spikelab data fetch {coco.FOLDER}"
            folder = require_folder(coco.FOLDER, mend, _synthetic(root) if kind == "synthetic" else root)
            splits = coco.SPLITS if image_set == ALL else (image_set,)
            scenes, skipped, listed = [], {}, 0
            for split in splits:
                found, left_out, count = _coco(folder, split, classes, lenient)
                scenes, listed = scenes + found, listed + count
                skipped = {reason: skipped.get(reason, 0) + left_out.get(reason, 0) for reason in skipped | left_out}
            title = f"{'synthetic stand-in: drawn' if kind == 'synthetic' else 'real'} COCO animals, {image_set}"
        if single:
            scenes = [scene for scene in scenes if len(scene.things) == 1]
            title, listed = f"{title.removesuffix(f', {ALL}')}, one to a picture", None
        super().__init__(scenes, classes, kind=kind, title=title, listed=listed, skipped=skipped)


def _years(years: str | int | Sequence[str | int]) -> tuple[str, ...]:
    several = (years,) if isinstance(years, str | int) else tuple(years)
    names = tuple(str(year) if str(year).startswith("VOC") else f"VOC{year}" for year in several)
    for name in names:
        require_choice("years", name, voc.YEARS)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"years must name each year once, at least one, got {years!r}")
    return names


def _kind(kind: str, wanted: str, root: str | os.PathLike | None) -> str:
    require_choice("kind", kind, KINDS)
    if kind != "auto":
        return kind
    return "real" if find_folder(wanted, root) is not None else "synthetic"


def _synthetic(root: str | os.PathLike | None) -> Path:
    """Return the folder of the stand-in, which is drawn in the cache folder if it is not there."""
    found = find_folder(SYNTHETIC, root)
    if found is not None and found.parent != cache_folder() and (found / "MANIFEST.json").is_file():
        return found
    from spikelab.datasets.scenes_synthetic import make_synthetic_scenes

    return make_synthetic_scenes()


# --- VOC -------------------------------------------------------------------------------------------------------------


def _year(
    year: str,
    image_set: str,
    classes: Sequence[str],
    *,
    kind: str,
    title: str,
    empty: bool,
    lenient: bool,
    root: str | os.PathLike | None,
) -> SceneSet:
    """Return one year's pictures."""
    folder = voc.year_folder(year, root)
    if folder is None:
        folder = require_folder(f"{voc.FOLDER}/{year}", f"spikelab data fetch {voc.FOLDER}", root)
    names = _listed(folder, image_set)
    files = {part: set(os.listdir(folder / part)) for part in ("JPEGImages", "Annotations")}
    present = [name for name in names if f"{name}.jpg" in files["JPEGImages"] or f"{name}.xml" in files["Annotations"]]
    if not present:
        raise DataError(
            f"none of the {len(names):,} pictures that {year}'s list {image_set!r} names is in {folder}, the first "
            f"would be {names[0]}.jpg: run spikelab data fetch {voc.FOLDER}, or take another list"
        )
    read = functools.partial(_read_voc, folder=folder, classes=frozenset(classes), empty=empty)
    scenes, skipped = gather(present, read, lenient=lenient)
    if len(present) < len(names):
        skipped["not there"] = len(names) - len(present)
    shown = [scene for scene in scenes if scene.things or empty]
    return SceneSet(
        shown, classes, kind=kind, title=title, listed=len(names) - (len(scenes) - len(shown)), skipped=skipped
    )


def _read_voc(name: str, *, folder: Path, classes: frozenset[str], empty: bool) -> Scene:
    picture, annotated = folder / "JPEGImages" / f"{name}.jpg", folder / "Annotations" / f"{name}.xml"
    annotation = voc.read_annotation(annotated, empty=True)
    strange = next((thing.name for thing in annotation.things if thing.name not in voc.CLASSES), None)
    if strange is not None:
        raise unknown_class(annotated, strange, voc.CLASSES)
    things = tuple(thing for thing in annotation.things if thing.name in classes)
    size = require_same_size(picture, annotated, annotation.size) if things or empty else annotation.size
    return Scene(picture, name, voc.photograph(folder.name, name), size, things, folder.name)


def _listed(folder: Path, image_set: str) -> list[str]:
    if image_set == ALL:
        return sorted(file.stem for file in (folder / "Annotations").glob("[!.]*.xml"))
    lists = folder / "ImageSets"
    path = lists / (f"{image_set}.txt" if "/" in image_set else f"Main/{image_set}.txt")
    if not path.is_file() or lists.resolve() not in path.resolve().parents:
        there = [file.relative_to(lists).with_suffix("").as_posix() for file in sorted(lists.glob("*/*.txt"))]
        short = [name for name in there if name.split("/")[1] in ("train", "val", "trainval", "test", "train_aug")]
        raise DataError(
            f"{folder.name} has no list {image_set!r} ({path}): take one of {', '.join(map(repr, short)) or 'none'} or "
            f"image_set='all', or run spikelab data fetch {voc.FOLDER}"
        )
    return read_list(path)


def _joined(parts: list[SceneSet]) -> tuple[list[Scene], dict[str, int]]:
    """Return the pictures of several years, each photograph once, and how many were left out."""
    first, *others = parts
    scenes, skipped = list(first.scenes), dict(first.skipped)
    for part in others:
        fresh = part.without(first)
        scenes += fresh.scenes
        for reason, count in fresh.skipped.items():
            reason = "the same photograph again" if reason == "in the other set" else reason
            skipped[reason] = skipped.get(reason, 0) + count
    return scenes, skipped


# --- COCO ------------------------------------------------------------------------------------------------------------


def _coco(folder: Path, split: str, classes: Sequence[str], lenient: bool) -> tuple[list[Scene], dict[str, int], int]:
    """Return the pictures of a split that show some classes, how many were left out, and how many are listed."""
    instances = coco.read_instances(folder / "annotations" / f"instances_{split}2017.json")
    numbers = {number for number, name in instances.classes.items() if name in classes}
    absent = set(classes) - set(instances.classes.values())
    if absent:
        raise DataError(f"{instances.file} lists no category {', '.join(sorted(absent))}: {AGAIN}")
    chosen = []
    for picture, found in instances.found.items():
        kept = [entry for entry in found if entry["category_id"] in numbers]
        if kept:
            instances.found[picture] = kept
            chosen.append(picture)
    pictures = folder / f"{split}2017"
    chosen.sort(key=lambda picture: instances.pictures[picture][0])

    def read(picture: int) -> Scene:
        name, size = instances.pictures[picture]
        things = instances.things(picture)
        size = require_same_size(pictures / name, instances.file, size)
        stem = Path(name).stem
        return Scene(pictures / name, stem, f"COCO/{stem}", size, things, "COCO")

    scenes, skipped = gather(chosen, read, lenient=lenient)
    return scenes, skipped, len(chosen)
