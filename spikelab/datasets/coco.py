"""COCO's annotations: one JSON file for all pictures of a split."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spikelab.datasets.errors import DataError
from spikelab.datasets.pictures import AGAIN, PictureError
from spikelab.datasets.voc import Thing
from spikelab.detection.boxes import from_coco

FOLDER = "coco"
SPLITS = ("train", "val")
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
BEYOND_PX = 1.0  # how far beyond the picture COCO's rounding may put a box


class Instances(NamedTuple):
    """What a JSON file holds, as it holds it: objects by the number of their picture.

    Attributes:
        file: the JSON file.
        pictures: file name and (H, W) of each picture, by its number.
        found: the objects of each picture, by its number; none if it has none.
        classes: names of the categories, by their numbers.
    """

    file: Path
    pictures: dict[int, tuple[str, tuple[int, int]]]
    found: dict[int, list[dict[str, Any]]]
    classes: dict[int, str]

    def things(self, picture: int) -> tuple[Thing, ...]:
        """Return the objects of a picture, boxes half-open, in shares of its width and height.

        COCO counts pixels from 0, and gives x, y, width and height; what reaches up to a pixel beyond the picture is
        cut off. A crowd (``iscrowd``) counts as difficult: COCO's scores leave it out.

        Raises:
            PictureError: for a box that is none, has no area or reaches beyond the picture.
        """
        name, size = self.pictures[picture]
        return tuple(self._thing(name, size, entry) for entry in self.found.get(picture, ()))

    def _thing(self, picture: str, size: tuple[int, int], entry: dict[str, Any]) -> Thing:
        height, width = size
        told = f"{self.file}: object {entry.get('id', '?')} of {picture}"
        name = self.classes[entry["category_id"]]
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
            raise PictureError(
                f"{told}, a {name}, must have a bbox of four numbers, got {box!r}: {AGAIN}", "damaged annotation"
            )
        told = f"{told}: the box of the {name}, x {box[0]:g}, y {box[1]:g}, width {box[2]:g}, height {box[3]:g},"
        if min(box[2:]) <= 0:
            raise PictureError(f"{told} has no area: correct the file", "box without area")
        sides = torch.tensor([width, height, width, height], dtype=torch.float64)
        corners = from_coco(torch.tensor(box, dtype=torch.float64))
        inside = torch.minimum(corners.clamp(min=0), sides)
        if (corners - inside).abs().max() > BEYOND_PX or (inside[:2] >= inside[2:]).any():
            raise PictureError(
                f"{told} reaches beyond the picture of {width} x {height} pixels: correct the file",
                "box outside the picture",
            )
        return Thing(name, tuple((inside / sides).tolist()), bool(entry.get("iscrowd", 0)))


def read_instances(path: str | os.PathLike) -> Instances:
    """Read one of COCO's ``instances_*.json``.

    Raises:
        DataError: if the file is missing, no JSON, or none of COCO's: without pictures, objects or categories, or with
            an object of a picture or category that it does not list. The message names the file and the mend.

    Explained in chapter 10. Source: Lin et al., "Microsoft COCO: common objects in context", ECCV 2014.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: {AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no whole JSON file ({error}): {AGAIN}") from error
    parts = {}
    for part in ("images", "annotations", "categories"):
        parts[part] = content.get(part) if isinstance(content, dict) else None
        if not isinstance(parts[part], list) or not all(isinstance(entry, dict) for entry in parts[part]):
            raise DataError(f"{path} is none of COCO's files of instances: it has no list of {part}: {AGAIN}")
    classes = {_key(path, entry, "categories", "id"): str(entry.get("name", "")) for entry in parts["categories"]}
    pictures = {_key(path, entry, "images", "id"): _picture(path, entry) for entry in parts["images"]}
    found: dict[int, list[dict[str, Any]]] = {}
    for entry in parts["annotations"]:
        picture = _key(path, entry, "annotations", "image_id")
        if picture not in pictures:
            raise DataError(
                f"{path}: object {entry.get('id', '?')} is in picture {picture}, which is not listed: {AGAIN}"
            )
        if _key(path, entry, "annotations", "category_id") not in classes:
            raise DataError(
                f"{path}: object {entry.get('id', '?')} of {pictures[picture][0]} is of category "
                f"{entry['category_id']}, which is not listed: correct the file"
            )
        found.setdefault(picture, []).append(entry)
    return Instances(path, pictures, found, classes)


def _key(path: Path, entry: dict[str, Any], part: str, name: str) -> int:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{path}: an entry of {part} must have a whole number as {name}, got {value!r}: {AGAIN}")
    return value


def _picture(path: Path, entry: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    name, sides = entry.get("file_name"), (entry.get("height"), entry.get("width"))
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise DataError(f"{path}: picture {entry['id']} must have a file_name without folders, got {name!r}: {AGAIN}")
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in sides):
        raise DataError(
            f"{path}: {name} must have height and width in whole numbers of pixels, got {sides[0]!r} and "
            f"{sides[1]!r}: {AGAIN}"
        )
    return name, sides


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
