"""PASCAL VOC's files: annotations, lists of names, and the pictures that show one animal and nothing else."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from spikelab.datasets.errors import DataError
from spikelab.datasets.pictures import AGAIN, Boxed, PictureError, require_same_size
from spikelab.datasets.places import find_folder
from spikelab.validation import require_choice

FOLDER = "VOCdevkit"
YEARS = ("VOC2007", "VOC2012")
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
ANIMALS = ("bird", "cat", "cow", "dog", "horse", "sheep")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Thing(NamedTuple):
    """One object of an annotation.

    Attributes:
        name: its class.
        box: (x0, y0, x1, y1), half-open, in shares of the picture's width and height.
        difficult: marked as hard to see; VOC's own evaluation leaves such objects out.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class Annotation(NamedTuple):
    """What is in a picture.

    Attributes:
        file: the annotation.
        size: (H, W) in pixels of the picture that it was drawn on.
        things: the objects, in the file's order.
    """

    file: Path
    size: tuple[int, int]
    things: tuple[Thing, ...]


def read_annotation(path: str | os.PathLike, *, empty: bool = False) -> Annotation:
    """Read an annotation in VOC's XML, as the Oxford-IIIT-Pet set uses it too.

    The file counts pixels from 1, and both ends of a side belong to the box; here a box is half-open and in shares:
    x0 = (xmin - 1) / W, x1 = xmax / W.

    Args:
        path: the XML file.
        empty: whether it may name no object.

    Raises:
        DataError: if the file is missing, cut off or no annotation, names no object though it must, or a box has no
            area or reaches beyond the picture; the message names the file.

    Explained in chapter 09.
    """
    path = Path(path)
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise PictureError(f"{path} is missing: {AGAIN}", "annotation missing") from None
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise PictureError(f"{path} is no whole XML file ({error}): {AGAIN}", "damaged annotation") from error
    width, height = (_number(path, root, f"size/{side}") for side in ("width", "height"))
    if width < 1 or height < 1 or width % 1 or height % 1:
        raise PictureError(
            f"{path}: the picture's size must be whole numbers of pixels, got {width:g} x {height:g}: {AGAIN}",
            "damaged annotation",
        )
    size = int(height), int(width)
    things = tuple(_thing(path, element, size) for element in root.findall("object"))
    if not things and not empty:
        raise PictureError(f"{path} names no object: {AGAIN}", "nothing annotated")
    return Annotation(path, size, things)


def image_set(path: str | os.PathLike) -> list[str]:
    """Return the pictures' names in a list such as those below ``ImageSets``, the first word of each line.

    What follows (a class's -1, 0 or 1, a breed) is left out, and so are comments, which begin with ``#``.

    Raises:
        DataError: if the file is missing, empty or no list of names.
    """
    path = Path(path)
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path} is missing: {AGAIN}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no list of names ({error}): {AGAIN}") from error
    names = [row[0] for row in rows if row and not row[0].startswith("#")]
    wrong = next((name for name in names if "/" in name or "\\" in name or name.startswith(".")), None)
    if not names or wrong is not None:
        raise DataError(f"{path} is no list of names ({wrong or 'it is empty'}): {AGAIN}")
    return names


def year_folder(year: str, root: str | os.PathLike | None = None) -> Path | None:
    """Return the folder of ``"VOC2007"`` or ``"VOC2012"`` in ``VOCdevkit``, or ``None`` if it is not there.

    Raises:
        DataError: if a folder of that name is not VOC's.
    """
    require_choice("year", year, YEARS)
    found = find_folder(f"{FOLDER}/{year}", root)
    if found is not None:
        require_parts(found, ("JPEGImages", "Annotations"), "PASCAL VOC")
    return found


def require_parts(folder: Path, parts: Collection[str], title: str) -> None:
    """Raise :class:`DataError` if a folder lacks what a data set has."""
    absent = [part for part in parts if not (folder / part).exists()]
    if absent:
        raise DataError(
            f"{folder} is not {title}: it holds no {' and no '.join(absent)}. Name the folder above it with "
            f"SPIKELAB_DATA or root, or {AGAIN}"
        )


def read_single(folder: Path, name: str, classes: Collection[str] = ANIMALS) -> Boxed:
    """Return a picture of VOC whose only object, not counting difficult ones, is of one of some classes.

    Args:
        folder: ``VOC2007`` or ``VOC2012``.
        name: the picture's name, without suffix.
        classes: which classes.

    Raises:
        PictureError: if the picture or its annotation is missing or damaged, or shows something else.
    """
    picture, annotated = folder / "JPEGImages" / f"{name}.jpg", folder / "Annotations" / f"{name}.xml"
    annotation = read_annotation(annotated)
    clear = [thing for thing in annotation.things if not thing.difficult]
    if len(clear) != 1 or clear[0].name not in classes:
        shows = ", ".join(thing.name for thing in clear) or "only difficult objects"
        raise PictureError(
            f"{annotated} must name one object, one of {', '.join(classes)}, but names {shows}: {AGAIN}",
            "not one animal",
        )
    size = require_same_size(picture, annotated, annotation.size)
    return Boxed(picture, name, clear[0].box, size, clear[0].name, folder.name)


def single_animals(folder: Path, classes: Collection[str] = ANIMALS) -> dict[str, str]:
    """Return the names of a year's pictures that show one animal and no other object, not even a difficult one.

    Args:
        folder: ``VOC2007`` or ``VOC2012``.
        classes: which classes count as animals.

    Returns:
        The class of each, by name, sorted by name.
    """
    found = {}
    for file in _annotations(folder):
        things = read_annotation(file).things
        if len(things) == 1 and things[0].name in classes:
            found[file.stem] = things[0].name
    return found


def photograph(year: str, name: str) -> str:
    """Return the name of the photograph that a picture shows, the same for its copy in the other year.

    VOC2012 took over pictures of VOC2007 and kept their numbers: its ``2007_000063`` is VOC2007's ``000063``. Its
    official lists name 756 of them, 469 from VOC2007's trainval and 287 from its test list.

    Args:
        year: ``"VOC2007"`` or ``"VOC2012"``.
        name: the picture's name, without suffix.
    """
    if year == "VOC2012" and name.startswith("2007_"):
        return f"VOC2007/{name.removeprefix('2007_')}"
    return f"{year}/{name}"


def pictures_in_both_years(folder: Path) -> dict[str, str]:
    """Return which pictures of VOC2012 are here as VOC2007's too: {name in VOC2012: name in VOC2007}.

    Train on neither copy of a picture that the other year is tested on.

    Args:
        folder: ``VOCdevkit``, with both years in it.

    Raises:
        DataError: if a year is not there.
    """
    first, later = ({file.stem for file in _annotations(folder / year)} for year in YEARS)
    names = {name: photograph("VOC2012", name).removeprefix("VOC2007/") for name in sorted(later)}
    return {name: earlier for name, earlier in names.items() if earlier in first}


def _annotations(folder: Path) -> list[Path]:
    require_parts(folder, ("Annotations",), "PASCAL VOC")
    return sorted((folder / "Annotations").glob("[!.]*.xml"))


def _thing(path: Path, element: ElementTree.Element, size: tuple[int, int]) -> Thing:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise PictureError(f"{path} holds an object without a name: {AGAIN}", "damaged annotation")
    xmin, ymin, xmax, ymax = corners = [_number(path, element, f"bndbox/{corner}") for corner in _CORNERS]
    told = f"{path}: the box of the {name}, " + ", ".join(
        f"{corner} {value:g}" for corner, value in zip(_CORNERS, corners, strict=True)
    )
    if xmax <= xmin or ymax <= ymin:
        raise PictureError(f"{told}, has no area: correct the file", "box without area")
    height, width = size
    if xmin < 1 or ymin < 1 or xmax > width or ymax > height:
        raise PictureError(
            f"{told}, reaches beyond the picture of {width} x {height} pixels (they count from 1): correct the file",
            "box outside the picture",
        )
    box = ((xmin - 1) / width, (ymin - 1) / height, xmax / width, ymax / height)
    return Thing(name, box, (element.findtext("difficult") or "0").strip() == "1")


def _number(path: Path, element: ElementTree.Element, place: str) -> float:
    text = element.findtext(place)
    try:
        number = float(text if text is not None else "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        found = "it is missing" if text is None else f"got {text.strip()!r}"
        raise PictureError(f"{path}: {place} must be a number, {found}: {AGAIN}", "damaged annotation")
    return number
