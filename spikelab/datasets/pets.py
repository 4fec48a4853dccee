"""One animal per picture: bodies and heads of the Oxford-IIIT-Pet set, and animals of PASCAL VOC."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from importlib.resources import files as packaged
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spikelab.datasets.errors import DataError
from spikelab.datasets.pictures import (
    AGAIN,
    BROKEN,
    Boxed,
    LocalizationSet,
    PictureError,
    gather,
    require_same_size,
)
from spikelab.datasets.places import cache_folder, find_folder, require_folder
from spikelab.datasets.voc import (
    ANIMALS,
    YEARS,
    image_set,
    read_annotation,
    read_single,
    require_parts,
    year_folder,
)
from spikelab.detection.boxes import box_of_mask
from spikelab.validation import require_choice

TARGETS = ("body", "head", "animal")
SPLITS = ("train", "validation", "test")
SCHEMES = ("course", "official", "paper", "stratified")
KINDS = ("auto", "real", "synthetic")
FOLDER = "oxford-iiit-pet"
SYNTHETIC = "pets-synthetic"
POLYGONS = "foreground_polygons.json"
VALIDATION_SHARE, TEST_SHARE, SEED = 0.1, 0.2, 0  # of the schemes that no list of names fixes
PET, BACKGROUND, BORDER = 1, 2, 3  # the values of a trimap

_THINGS = {"body": "pet bodies", "head": "pet heads", "animal": "single animals"}
_TITLES = {FOLDER: "Oxford-IIIT-Pet", "VOC2007": "VOC2007", "VOC2012": "VOC2012"}


class Pets(LocalizationSet):
    """Pictures of one animal each, and the box to be found in it.

    Three targets:

    - ``"head"``: the head, as the Oxford-IIIT-Pet set's XML files give it;
    - ``"body"``: the whole pet, the box of its trimap's pet and border pixels. The course's training split adds the box
      of a polygon where there is no trimap, and VOC's pictures whose only object is a cat, cow, dog, horse or sheep (no
      birds: of all VOC animals they look least like pets);
    - ``"animal"``: pictures of VOC2012 whose only object is a cat, cow, dog, horse or sheep.

    Four ways to split:

    - ``"course"``: the lists of names that are packaged with spikelab (``spikelab/datasets/splits``), made by
      :func:`spikelab.datasets.course_splits.make_course_splits`, stratified by breed. No picture, and no second copy of
      one, that any target tests or validates on is in any target's training split: weights may move between targets.
    - ``"official"``: the set's own ``trainval.txt`` and ``test.txt``; a tenth of trainval, by breed, is validation.
    - ``"paper"``: paper 1's sizes, 6,000 and 1,349 of the 7,349 pictures drawn at random (which ones it took is not
      known; ours are published in ``splits/pets_paper_test.txt``); a tenth of the 6,000 is validation.
    - ``"stratified"``: of each breed a fifth is test, and a tenth of the rest validation.

    Only ``"course"`` has the target ``"animal"``. A listed picture that is not on the disk is left out; the label says
    how many are there. Of the other schemes, so is a picture without an annotation: head boxes were published for half
    of the set only. In the course's lists every picture has its annotation, so there a missing one is an error.

    The stand-in, ``kind="synthetic"``, is drawn once in the cache folder. It has its own official lists, and those
    are also its ``"course"`` and ``"paper"`` scheme.

    Args:
        target: ``"body"``, ``"head"`` or ``"animal"``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        scheme: one of the four.
        kind: ``"real"``, ``"synthetic"``, or ``"auto"``: real where it is found, else synthetic.
        border: whether a trimap's border belongs to the body; polygons and VOC's boxes have no border to leave out.
        lenient: leave faulty pictures out and count them in ``skipped``, instead of an error for the first.
        root: folder that holds ``oxford-iiit-pet`` and ``VOCdevkit``; if not given, ``$SPIKELAB_DATA`` and the cache.

    Raises:
        ValueError: for an unknown target, split, scheme or kind.
        DataError: if the files are not there or are not the data set's, or, unless lenient, for the first picture
            without annotation, mask without a pet, box without area or outside its picture, ...

    Explained in chapter 09. Source: Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and dogs", CVPR 2012; Everingham, Van
    Gool, Williams, Winn, Zisserman, "The PASCAL visual object classes (VOC) challenge", IJCV 2010; paper 1.
    """

    def __init__(
        self,
        target: str = "body",
        split: str = "train",
        *,
        scheme: str = "course",
        kind: str = "auto",
        border: bool = True,
        lenient: bool = False,
        root: str | os.PathLike | None = None,
    ) -> None:
        self.target = require_choice("target", target, TARGETS)
        self.split = require_choice("split", split, SPLITS)
        self.scheme = require_choice("scheme", scheme, SCHEMES)
        require_choice("kind", kind, KINDS)
        if target == "animal" and scheme != "course":
            raise ValueError(f"scheme must be 'course' for the target 'animal', got {scheme!r}")
        if kind == "auto":
            wanted = "VOCdevkit/VOC2012" if target == "animal" else FOLDER
            kind = "real" if find_folder(wanted, root) is not None else "synthetic"
        places = _Places(_synthetic(root) if kind == "synthetic" else root, needs_voc=target == "animal")
        listed = _listed(target, split, scheme, kind, places)
        present = [key for key in listed if places.picture(key) is not None]
        if not present:
            raise DataError(
                f"none of the {len(listed):,} pictures of the split {split!r} is there; the first would be "
                f"{listed[0] if listed else 'in a list that is empty'}: {AGAIN}"
            )
        read = functools.partial(_read, target=target, border=border, places=places)
        complete = kind == "synthetic" or scheme == "course"
        if not complete:
            present = [key for key in present if places.annotated(key, target)]
        items, skipped = gather(present, read, lenient=lenient)
        if not items:
            raise DataError(_nothing(target, split, scheme, listed, skipped))
        self.listed = len(listed)
        label = f"{len(items):,} of {len(listed):,} pictures"
        super().__init__(items, kind=kind, label=f"{_title(target, kind, items)}, {label}", skipped=skipped)


def box_from_trimap(mask: np.ndarray | torch.Tensor, border: bool = True) -> torch.Tensor:
    """Return the box of the pet in a trimap.

    Args:
        mask: ``[H, W]``, 1 = pet, 2 = background, 3 = border between them.
        border: whether the border belongs to the pet, as in the code of paper 1's first author.

    Returns:
        (x0, y0, x1, y1), half-open, in shares of the mask's width and height, float64.

    Raises:
        ValueError: if a value is not 1, 2 or 3, or no pixel is the pet's.

    Explained in chapter 09.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must have shape [H, W], got {mask.shape}")
    strange = sorted(set(np.unique(mask).tolist()) - {PET, BACKGROUND, BORDER})
    if strange:
        raise ValueError(f"mask must hold 1 (pet), 2 (background) and 3 (border) only, got {strange[:5]}")
    if not (mask == PET).any():
        raise ValueError("mask must hold a pet: no pixel is 1")
    return box_of_mask(torch.from_numpy((mask == PET) | ((mask == BORDER) & border)))


def read_trimap(path: str | os.PathLike) -> np.ndarray:
    """Return a trimap ``[H, W]`` of uint8: 1 = pet, 2 = background, 3 = border.

    Raises:
        DataError: if the file is missing, damaged, holds other values or no pet; the message names it.

    Explained in chapter 09.
    """
    path = Path(path)
    mask = _mask(path)
    _trimap_box(path, mask, True)
    return mask.astype(np.uint8)


def read_head_box(path: str | os.PathLike) -> tuple[float, float, float, float]:
    """Return the box of the head from one of the set's XML files, half-open, in shares of width and height.

    Raises:
        DataError: if the file is missing or damaged, has not exactly one object, or its box has no area or reaches
            beyond the picture; the message names the file.

    Explained in chapter 09.
    """
    return _head(Path(path))[0]


def names_of_split(name: str) -> list[str]:
    """Return one of the packaged lists of names, such as ``"head_train"`` or ``"pets_paper_test"``.

    Each name is a folder and a picture: ``oxford-iiit-pet/Abyssinian_1``, ``VOC2012/2007_000063``.
    """
    text = packaged("spikelab.datasets").joinpath("splits", f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def breed(name: str) -> str:
    """Return the breed in a picture's name: ``"english_setter"`` of ``"english_setter_12"``."""
    return name.rpartition("_")[0]


def share_by_group(names: Iterable[str], share: float, seed: int) -> list[str]:
    """Draw a share of each breed at random, rounded, the same for any order of the names.

    Args:
        names: pictures' names.
        share: 0 to 1.
        seed: of the draw.

    Returns:
        The drawn names, sorted.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(breed(name), []).append(name)
    generator = np.random.default_rng(seed)
    drawn = []
    for members in groups.values():
        count = int(len(members) * share + 0.5)
        drawn += [members[i] for i in generator.permutation(len(members))[:count]]
    return sorted(drawn)


class _Places:
    """The folders of a data set and what is in them; a key is ``folder/name``, as in the lists of names."""

    def __init__(self, root: str | os.PathLike | None, *, needs_voc: bool) -> None:
        mend = "spikelab data fetch"
        self.folders: dict[str, Path] = {}
        if needs_voc:
            self.folders["VOC2012"] = require_folder("VOCdevkit/VOC2012", f"{mend} VOCdevkit", root)
        else:
            self.folders[FOLDER] = require_folder(FOLDER, f"{mend} {FOLDER}", root)
            require_parts(self.folders[FOLDER], ("images", "annotations"), "the Oxford-IIIT-Pet set")
        for year in YEARS:
            found = year_folder(year, root)
            if found is not None:
                self.folders[year] = found
        self._pictures: dict[str, set[str]] = {}

    def picture(self, key: str) -> Path | None:
        """Return the path of a picture, or ``None`` if it is not there."""
        source, name = key.split("/")
        if source not in self.folders:
            return None
        folder = self.folders[source] / ("images" if source == FOLDER else "JPEGImages")
        if source not in self._pictures:
            self._pictures[source] = set(os.listdir(folder))
        return folder / f"{name}.jpg" if f"{name}.jpg" in self._pictures[source] else None

    def annotated(self, key: str, target: str) -> bool:
        """Return whether a pet's annotation is there."""
        name = key.split("/")[1]
        return (self.trimap(name) if target == "body" else self.head(name)).exists()

    def trimap(self, name: str) -> Path:
        return self.folders[FOLDER] / "annotations" / "trimaps" / f"{name}.png"

    def head(self, name: str) -> Path:
        return self.folders[FOLDER] / "annotations" / "xmls" / f"{name}.xml"

    def list(self, name: str) -> list[str]:
        """Return the names in ``trainval.txt`` or ``test.txt``."""
        return image_set(self.folders[FOLDER] / "annotations" / f"{name}.txt")

    @functools.cached_property
    def polygons(self) -> dict[str, list[list[float]]]:
        path = self.folders[FOLDER] / "annotations" / POLYGONS
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise DataError(f"{path} is no JSON ({error}): {AGAIN}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path} must hold the polygon of each picture by name: {AGAIN}")
        return found


def _listed(target: str, split: str, scheme: str, kind: str, places: _Places) -> list[str]:
    """Return the keys of a split, whether or not the pictures are there."""
    if kind == "real" and scheme == "course":
        return names_of_split(f"{target}_{split}")
    if target == "animal":
        lists = places.folders["VOC2012"] / "ImageSets" / "SegmentationAug"
        names = {part: image_set(lists / f"{part}.txt") for part in ("train_aug", "val")}
        return [f"VOC2012/{name}" for name in _held_out(names["train_aug"], names["val"], split)]
    everything = [name for part in ("trainval", "test") for name in places.list(part)]
    if scheme == "stratified":
        test = share_by_group(everything, TEST_SHARE, SEED)
    elif scheme == "paper" and kind == "real":
        test = [key.split("/")[1] for key in names_of_split("pets_paper_test")]
    else:
        test = places.list("test")
    tested = set(test)
    names = _held_out([name for name in everything if name not in tested], test, split)
    return [f"{FOLDER}/{name}" for name in names]


def _held_out(train: list[str], test: list[str], split: str) -> list[str]:
    """Return one split of a set that has lists for training and testing only, sorted."""
    if split == "test":
        return sorted(test)
    validation = set(share_by_group(train, VALIDATION_SHARE, SEED + 1))
    return sorted(name for name in train if (name in validation) == (split == "validation"))


def _read(key: str, *, target: str, border: bool, places: _Places) -> Boxed:
    source, name = key.split("/")
    if source != FOLDER:
        return read_single(places.folders[source], name, ANIMALS)
    picture = places.picture(key)
    if target == "head":
        annotated = places.head(name)
        box, size = _head(annotated)
        made_from = "head"
    elif not places.trimap(name).exists() and name in places.polygons:
        annotated = places.trimap(name).parent.with_name(POLYGONS)
        box, size = _polygon_box(annotated, name, places.polygons[name]), None
        made_from = "polygon"
    else:
        annotated = places.trimap(name)
        mask = _mask(annotated)
        box, size = _trimap_box(annotated, mask, border), mask.shape
        made_from = "trimap"
    shown = require_same_size(picture, annotated, size)
    return Boxed(picture, name, box, shown, breed(name), f"{FOLDER} {made_from}")


def _mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image)
    except FileNotFoundError:
        raise PictureError(f"{path} is missing: {AGAIN}", "trimap missing") from None
    except BROKEN as error:
        raise PictureError(f"{path} is no whole picture ({error}): {AGAIN}", "damaged trimap") from error


def _trimap_box(path: Path, mask: np.ndarray, border: bool) -> tuple[float, ...]:
    try:
        return tuple(box_from_trimap(mask, border).tolist())
    except ValueError as error:
        reason = "mask without a pet" if "no pixel is 1" in str(error) else "damaged trimap"
        raise PictureError(f"{path}: {error}: correct the file, or {AGAIN}", reason) from None


def _polygon_box(path: Path, name: str, corners: object) -> tuple[float, ...]:
    try:
        points = np.array(corners, dtype=np.float64).reshape(-1, 2)
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
    except (TypeError, ValueError) as error:
        raise PictureError(f"{path}: {name} is no list of [x, y] ({error}): {AGAIN}", "damaged polygon") from None
    told = f"{path}: the polygon of {name} spans x {x0:g} to {x1:g} and y {y0:g} to {y1:g}"
    if min(x0, y0) < 0 or max(x1, y1) > 1:
        raise PictureError(f"{told}, beyond the picture (0 to 1): correct the file", "box outside the picture")
    if x0 == x1 or y0 == y1:
        raise PictureError(f"{told}, which has no area: correct the file", "box without area")
    return float(x0), float(y0), float(x1), float(y1)


def _head(path: Path) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return a head's box and (H, W) of the picture that it was drawn on."""
    annotation = read_annotation(path)
    if len(annotation.things) != 1:
        raise PictureError(
            f"{path} must hold one box, that of the head, but holds {len(annotation.things)}: {AGAIN}", "several boxes"
        )
    return annotation.things[0].box, annotation.size


def _synthetic(root: str | os.PathLike | None) -> Path:
    """Return the folder of the stand-in, which is drawn in the cache folder if it is not there."""
    found = find_folder(SYNTHETIC, root)
    if found is not None and found.parent != cache_folder() and (found / "MANIFEST.json").is_file():
        return found
    from spikelab.datasets.pets_synthetic import make_synthetic_pets

    return make_synthetic_pets()


def _title(target: str, kind: str, items: list[Boxed]) -> str:
    if kind == "synthetic":
        return f"synthetic stand-in: drawn animals ({_THINGS[target]})"
    sources = {item.source.split()[0] for item in items}
    *others, last = [title for source, title in _TITLES.items() if source in sources]
    return f"real {_THINGS[target]} of {', '.join(others)}{' and ' if others else ''}{last}"


def _nothing(target: str, split: str, scheme: str, listed: list[str], skipped: dict[str, int]) -> str:
    if skipped:
        faults = ", ".join(f"{count} with {reason}" for reason, count in skipped.items())
        return f"all {len(listed):,} pictures of the split {split!r} were left out ({faults}): {AGAIN}"
    return (
        f"none of the {len(listed):,} pictures that scheme {scheme!r} lists for {split!r} has a {target} box here "
        f"(head boxes were published for the official trainval pictures only): take scheme='course'"
    )
