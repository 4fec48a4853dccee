"""Pictures with any number of objects in each: their record, and how they are laid into pictures of one size.

A picture of any shape gets into one of a fixed size in two ways. ``"stretch"`` changes its proportions. ``"letterbox"``
keeps them and fills the rest with grey bars. Either way it fills a window of the new picture, and boxes go in and out
through that window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from spikelab.datasets.errors import DataError
from spikelab.datasets.pictures import (
    COLOURS,
    PictureError,
    checked_size,
    hash_of_pictures,
    kept_pictures,
    picture_size,
    read_picture,
)
from spikelab.datasets.voc import Thing
from spikelab.detection.boxes import order_corners
from spikelab.detection.records import Objects
from spikelab.validation import require_choice

FITS = ("letterbox", "stretch")
GREY = 128  # of the bars


class Scene(NamedTuple):
    """A picture and what is in it.

    Attributes:
        file: the picture.
        name: its name in its data set, without suffix.
        photo: names the photograph; a second copy of it, in another year of VOC, has the same.
        size: (H, W) in pixels, as it is shown.
        things: the objects, boxes in shares of width and height; may be empty.
        source: the data set.
    """

    file: Path
    name: str
    photo: str
    size: tuple[int, int]
    things: tuple[Thing, ...]
    source: str


class SceneSet:
    """Pictures, each with any number of objects to be found.

    Attributes:
        files: the pictures' paths, in order.
        names: the pictures' names, without suffix.
        photos: names of the photographs, by which to split; see :class:`Scene`.
        sizes: ``[N, 2]`` of int64, the pictures' (H, W) in pixels.
        boxes: of each picture ``[n, 4]`` of float64, (x0, y0, x1, y1), half-open, in shares of width and height.
        labels: of each picture ``[n]`` of int64, numbers of ``classes``.
        difficult: of each picture ``[n]`` of bool; VOC's scores leave such objects out.
        classes: the classes' names.
        sources: the data set of each picture.
        kind: ``"real"`` or ``"synthetic"``.
        label: a phrase that says what the data is; print it with every result and figure.
        skipped: how many pictures were left out, by reason.
        scenes: the same picture by picture, as :class:`Scene`.

    ``dataset[i]`` gives the picture ``[3, H, W]`` of uint8 and its objects; :func:`load_scenes` gives all at one size.

    Args:
        scenes: the pictures; objects of other classes are an error, unless they are ``ignored``.
        classes: the classes' names, in the order of their numbers.
        kind, title: what the data is.
        listed: how many pictures the split lists, if more than there are.
        skipped: see above.

    Raises:
        ValueError: if a class is named twice, or none is named.
        DataError: for an object of an unknown class; the message names the file.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        classes: Sequence[str],
        *,
        kind: str,
        title: str,
        listed: int | None = None,
        skipped: dict[str, int] | None = None,
    ) -> None:
        self.classes = tuple(classes)
        number = {name: place for place, name in enumerate(self.classes)}
        if not number or len(number) != len(self.classes):
            raise ValueError(f"classes must be different names, at least one, got {self.classes}")
        self.scenes, self.kind, self.title = list(scenes), kind, title
        self.listed, self.skipped = len(self.scenes) if listed is None else listed, dict(skipped or {})
        self.files = [scene.file for scene in self.scenes]
        self.names = [scene.name for scene in self.scenes]
        self.photos = [scene.photo for scene in self.scenes]
        self.sources = [scene.source for scene in self.scenes]
        self.sizes = torch.tensor([scene.size for scene in self.scenes], dtype=torch.int64).reshape(-1, 2)
        self.boxes, self.labels, self.difficult = [], [], []
        for scene in self.scenes:
            strange = [thing.name for thing in scene.things if thing.name not in number]
            if strange:
                raise unknown_class(scene.file, strange[0], self.classes)
            things = scene.things
            self.boxes.append(torch.tensor([thing.box for thing in things], dtype=torch.float64).reshape(-1, 4))
            self.labels.append(torch.tensor([number[thing.name] for thing in things], dtype=torch.int64))
            self.difficult.append(torch.tensor([thing.difficult for thing in things], dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Objects]:
        """Return one picture ``[3, H, W]`` (uint8) and its objects (boxes of float64).

        Raises:
            IndexError: if there is no such picture.
            DataError: if the file is damaged; the message names it.
        """
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)} ({self.label})")
        return read_picture(self.files[index]), self.objects(index)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Objects]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.label}"

    @property
    def label(self) -> str:
        of = f"{len(self):,} of {self.listed:,}" if len(self) != self.listed else f"{len(self):,}"
        objects, kinds = sum(map(len, self.labels)), len(self.classes)
        return (
            f"{self.title}, {of} picture{'s' * (self.listed != 1)}, {objects:,} object{'s' * (objects != 1)} "
            f"of {kinds} class{'es' * (kinds != 1)}"
        )

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change with any picture, name, object, class or the order; the same elsewhere."""
        things = [
            [[thing.name, [round(value, 6) for value in thing.box], bool(thing.difficult)] for thing in scene.things]
            for scene in self.scenes
        ]
        return hash_of_pictures(self.files, [self.sources, self.names, self.classes, things])

    def objects(self, index: int) -> Objects:
        """Return what is in one picture, boxes of float64 in shares of it."""
        return Objects(self.boxes[index].clone(), self.labels[index].clone(), self.difficult[index].clone())

    def count_by_class(self) -> dict[str, int]:
        """Return how many objects there are of each class, difficult ones included."""
        counts = Counter(int(label) for labels in self.labels for label in labels)
        return {name: counts[place] for place, name in enumerate(self.classes)}

    def select(self, chosen: Iterable[int], *, reason: str = "not selected") -> SceneSet:
        """Return a set of some of the pictures, by their numbers; the others are counted in ``skipped``."""
        scenes = [self.scenes[index] for index in chosen]
        skipped = Counter(self.skipped) + Counter({reason: len(self) - len(scenes)})
        return SceneSet(
            scenes, self.classes, kind=self.kind, title=self.title, listed=self.listed, skipped=dict(+skipped)
        )

    def without(self, other: SceneSet) -> SceneSet:
        """Return the pictures that are not, in any copy, in a set to be tested on."""
        shared = same_photos(self, other)
        return self.select((i for i, photo in enumerate(self.photos) if photo not in shared), reason="in the other set")


def same_photos(one: SceneSet, other: SceneSet) -> set[str]:
    """Return which of the first set's photographs are in the second too, in whatever copy."""
    return set(one.photos) & set(other.photos)


def split_by_photo(dataset: SceneSet, shares: Sequence[float], seed: int = 0) -> list[SceneSet]:
    """Split a set at random so that no photograph is in two parts.

    Args:
        dataset: the set.
        shares: of the photographs in each part, adding up to 1.
        seed: another seed gives another split. The order of the pictures in the set makes no difference.

    Raises:
        ValueError: if the shares are not positive or do not add up to 1.

    Explained in chapter 14.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be positive and add up to 1, got {list(shares)}")
    # Those of which the set has only another year's copy come first; the shares that seeds give depend on this order.
    own = {
        photo for photo, source in zip(dataset.photos, dataset.sources, strict=True) if photo.startswith(f"{source}/")
    }
    photos = sorted(set(dataset.photos), key=lambda photo: (photo in own, photo))
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(seed)).tolist()
    ends = [round(sum(shares[: i + 1]) * len(photos)) for i in range(len(shares))]
    part_of = {photos[place]: sum(rank >= end for end in ends) for rank, place in enumerate(order)}
    return [
        dataset.select((i for i, photo in enumerate(dataset.photos) if part_of[photo] == part), reason="in other parts")
        for part in range(len(shares))
    ]


def require_apart(train: SceneSet, test: SceneSet) -> None:
    """Raise :class:`DataError` if a photograph that is tested on is also, in any copy, trained on."""
    shared = sorted(same_photos(train, test))
    if shared:
        raise DataError(
            f"{len(shared):,} photographs of the test set ({test.label}) are in the training set ({train.label}) too, "
            f"such as {shared[0]}: train on train.without(test)"
        )


def unknown_class(file: Path, name: str, classes: Sequence[str]) -> PictureError:
    """Return the error for an object whose class is none of those expected."""
    return PictureError(
        f"{file} shows a {name!r}, which is none of the classes {', '.join(classes)}: correct the file", "unknown class"
    )


# --- pictures of one size --------------------------------------------------------------------------------------------


class Scenes(NamedTuple):
    """Pictures of one size in memory, and what is in them.

    Attributes:
        images: ``[N, C, H, W]`` of uint8.
        objects: of each picture, boxes of float32 in shares of it as it is here, with its bars.
        windows: ``[N, 4]`` of float64, where in it the original is; see :func:`into_window` and :func:`out_of_window`.
    """

    images: torch.Tensor
    objects: list[Objects]
    windows: torch.Tensor


def load_scenes(
    dataset: SceneSet,
    size: tuple[int, int],
    *,
    fit: str = "letterbox",
    colour: str = "rgb",
    cache: bool = True,
    progress: bool = True,
) -> Scenes:
    """Return all pictures of a set at one size, from the cache if they have been made before, and their objects.

    Args:
        dataset: a :class:`spikelab.datasets.VOC`, or another :class:`SceneSet`.
        size: (H, W) in pixels.
        fit: ``"letterbox"`` (proportions stay, grey bars) or ``"stretch"``.
        colour: ``"rgb"`` or ``"gray"``.
        cache: keep the pictures in the cache folder (N × C × H × W bytes), and look there first.
        progress: show a bar while they are made, on a terminal.

    Raises:
        ValueError: for a wrong size, fit or colour.
        DataError: if a picture is damaged; the message names it.

    Explained in chapter 10.
    """
    size = checked_size(size)
    require_choice("fit", fit, FITS)
    require_choice("colour", colour, tuple(COLOURS))
    windows = torch.stack([window_of(tuple(shape), size, fit) for shape in dataset.sizes.tolist()] or [WHOLE])
    windows = windows[: len(dataset)]

    def read(place: int) -> torch.Tensor:
        return fit_picture(dataset.files[place], size, fit=fit, colour=colour)[0]

    how = {"colour": colour} if fit == "stretch" else {"colour": colour, "fit": fit, "grey": GREY}
    images = kept_pictures(dataset, (COLOURS[colour], *size), read, how, cache=cache, progress=progress)
    objects = []
    for place, window in enumerate(windows):
        found = dataset.objects(place)
        objects.append(found._replace(boxes=into_window(found.boxes, window).float()))
    return Scenes(images, objects, windows)


def fit_picture(
    path: Path, size: tuple[int, int], *, fit: str = "letterbox", colour: str = "rgb"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a picture at a size, uint8 ``[C, H, W]``, and the window that it fills, ``[4]`` of float64.

    Raises:
        ValueError: for a wrong size, fit or colour.
        DataError: if the file is missing, truncated, or no picture; the message names it.

    Explained in chapter 10.
    """
    size = checked_size(size)
    require_choice("fit", fit, FITS)
    if fit == "stretch":
        return read_picture(path, colour=colour, size=size), WHOLE.clone()
    top, left, rows, columns = _placed(picture_size(path)[0], size)
    picture = read_picture(path, colour=colour, size=(rows, columns))
    framed = torch.full((len(picture), *size), GREY, dtype=torch.uint8)
    framed[:, top : top + rows, left : left + columns] = picture
    return framed, _window((top, left, rows, columns), size)


def window_of(shape: tuple[int, int], size: tuple[int, int], fit: str = "letterbox") -> torch.Tensor:
    """Return the window that a picture fills in one of another size, (x0, y0, x1, y1) in shares of the latter.

    Args:
        shape: the picture's (H, W) in pixels.
        size: (H, W) of what it is laid into.
        fit: ``"letterbox"``: as large as it fits, in whole pixels, in the middle; or ``"stretch"``: all of it.

    Returns:
        ``[4]`` of float64.

    Explained in chapter 10.
    """
    shape, size = checked_size(shape), checked_size(size)
    return WHOLE.clone() if require_choice("fit", fit, FITS) == "stretch" else _window(_placed(shape, size), size)


def into_window(boxes: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Turn boxes ``[..., 4]`` in shares of the original into shares of the picture in which it fills a window.

    Explained in chapter 10.
    """
    corner, side = _corner_and_side(boxes, window)
    return boxes * side + corner


def out_of_window(boxes: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Turn boxes ``[..., 4]`` found in a fitted picture into shares of the original, the inverse of ``into_window``.

    What was found on the grey bars lies beyond 0 to 1; ``clip_boxes`` cuts it off.

    Explained in chapter 10.
    """
    corner, side = _corner_and_side(boxes, window)
    return (boxes - corner) / side


WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def _placed(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return top, left, rows and columns of a letterboxed picture, in pixels."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    rows, columns = (max(1, round(side * scale)) for side in shape)
    return (size[0] - rows) // 2, (size[1] - columns) // 2, rows, columns


def _window(placed: tuple[int, int, int, int], size: tuple[int, int]) -> torch.Tensor:
    top, left, rows, columns = placed
    height, width = size
    corners = (left / width, top / height, (left + columns) / width, (top + rows) / height)
    return torch.tensor(corners, dtype=torch.float64)


def _corner_and_side(boxes: torch.Tensor, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if window.shape != (4,) or not torch.equal(order_corners(window), window):
        raise ValueError(f"window must be [4], x0 < x1 and y0 < y1 in shares, got {window.tolist()}")
    corner, last = window.to(boxes).split(2)
    return corner.repeat(2), (last - corner).repeat(2)
