"""Pictures and the box of the one thing in each: reading them, and keeping them ready at one size."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps

from spikelab.datasets.errors import DataError
from spikelab.datasets.kept import kept_array, with_bar
from spikelab.datasets.nmnist import hash_of_files
from spikelab.validation import require_choice, require_count

COLOURS = {"rgb": 3, "gray": 1}
FORMAT = 1  # of the pictures in the cache; another number makes them anew
ORIENTATION = 0x0112  # the EXIF tag that says how a viewer has to turn the picture
AGAIN = "fetch the data set again"
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

Key = TypeVar("Key")
Item = TypeVar("Item")  # has the picture's path as ``file``


class PictureError(DataError):
    """A picture or its annotation is missing or wrong.

    Attributes:
        reason: the fault in a few words, the same for every file that has it.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Boxed(NamedTuple):
    """A picture with the box of the one thing in it.

    Attributes:
        file: the picture.
        name: its name in its data set, without suffix.
        box: (x0, y0, x1, y1), half-open, in shares of width and height.
        size: (H, W) in pixels, as it is shown.
        group: breed or class.
        source: the data set, and what the box was made from.
    """

    file: Path
    name: str
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    group: str
    source: str


class LocalizationSet:
    """Pictures, each with one box to be found.

    Attributes:
        files: the pictures' paths, in order.
        boxes: ``[N, 4]`` of float64, (x0, y0, x1, y1), half-open, in shares of the picture's width and height.
        sizes: ``[N, 2]`` of int64, the pictures' (H, W) in pixels.
        names: the pictures' names, without suffix.
        groups: breed or class of each.
        sources: the data set of each, and what its box was made from.
        kind: ``"real"`` or ``"synthetic"``.
        label: a phrase that says what the data is; print it with every result and figure.
        skipped: how many pictures were left out, by reason.

    ``dataset[i]`` gives the picture ``[3, H, W]`` of uint8 and its box; :func:`load_pictures` gives all at one size.
    """

    def __init__(self, items: Sequence[Boxed], *, kind: str, label: str, skipped: dict[str, int] | None = None) -> None:
        self.files = [item.file for item in items]
        self.boxes = torch.tensor([item.box for item in items], dtype=torch.float64).reshape(-1, 4)
        self.sizes = torch.tensor([item.size for item in items], dtype=torch.int64).reshape(-1, 2)
        self.names = [item.name for item in items]
        self.groups = [item.group for item in items]
        self.sources = [item.source for item in items]
        self.kind, self.label, self.skipped = kind, label, dict(skipped or {})

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one picture ``[3, H, W]`` (uint8) and its box ``[4]`` (float64).

        Raises:
            IndexError: if there is no such picture.
            DataError: if the file is damaged; the message names it.
        """
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)} ({self.label})")
        return read_picture(self.files[index]), self.boxes[index].clone()

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.label}"

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change with any picture, name, box or the order; the same for a copy elsewhere."""
        boxes = [[round(value, 6) for value in box] for box in self.boxes.tolist()]
        return hash_of_pictures(self.files, [self.sources, self.names, boxes])


def hash_of_pictures(files: Sequence[Path], annotated: Any) -> str:
    """Return 16 hexadecimal digits that change with any picture or what JSON can hold of its annotation."""
    digest = hashlib.sha256()
    for folder in dict.fromkeys(file.parent for file in files):
        inside = [file for file in files if file.parent == folder]
        digest.update(hash_of_files(inside, folder).encode())
    digest.update(json.dumps(annotated).encode())
    return digest.hexdigest()[:16]


def read_picture(path: str | os.PathLike, *, colour: str = "rgb", size: tuple[int, int] | None = None) -> torch.Tensor:
    """Return a picture as bytes, whatever its file holds.

    A picture that its EXIF tag says to turn is turned. Gray, palette, CMYK and 16-bit pictures are converted, and
    transparent ones are laid on white. Of an animation it is the first frame.

    Args:
        path: a file that Pillow can read.
        colour: ``"rgb"`` or ``"gray"`` (the luma .299 R + .587 G + .114 B).
        size: (H, W) in pixels to stretch it to; its own size if not given.

    Returns:
        ``[C, H, W]`` of uint8, C = 3 or 1.

    Raises:
        ValueError: for an unknown colour or a wrong size.
        DataError: if the file is missing, truncated, or no picture; the message names it.

    Explained in chapter 09.
    """
    require_choice("colour", colour, tuple(COLOURS))
    if size is not None:
        size = checked_size(size)
    path = Path(path)
    with _opened(path) as image:
        try:
            image.load()
            image = _eight_bits(ImageOps.exif_transpose(image), "RGB" if colour == "rgb" else "L")
        except BROKEN as error:
            raise _damaged(path, error) from error
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.array(image)  # a copy that torch may write to
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def picture_size(path: str | os.PathLike) -> tuple[tuple[int, int], int]:
    """Return (H, W) of a picture as it is shown, and its EXIF orientation (1 if it is not to be turned).

    Only the head of the file is read.

    Raises:
        DataError: if the file is missing or no picture.
    """
    path = Path(path)
    with _opened(path) as image:
        width, height = image.size
        try:
            orientation = image.getexif().get(ORIENTATION, 1)
        except BROKEN as error:
            raise _damaged(path, error) from error
    orientation = orientation if orientation in range(2, 9) else 1
    return ((width, height) if orientation >= 5 else (height, width)), orientation


def load_pictures(
    dataset: LocalizationSet,
    size: tuple[int, int],
    *,
    colour: str = "rgb",
    cache: bool = True,
    progress: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all pictures of a set, stretched to one size, from the cache if they have been made before.

    The boxes are in shares of width and height, so stretching does not change them.

    Args:
        dataset: a :class:`spikelab.datasets.Pets`, or another :class:`LocalizationSet`.
        size: (H, W) in pixels.
        colour: ``"rgb"`` or ``"gray"``.
        cache: keep the pictures in the cache folder (N × C × H × W bytes), and look there first.
        progress: show a bar while they are made, on a terminal.

    Returns:
        ``(images, boxes)``: ``[N, C, H, W]`` of uint8 and ``[N, 4]`` of float32, half-open shares (x0, y0, x1, y1).

    Raises:
        ValueError: for a wrong size or colour.
        DataError: if a picture is damaged; the message names it.

    Explained in chapter 09.
    """
    size = checked_size(size)
    require_choice("colour", colour, tuple(COLOURS))

    def read(place: int) -> torch.Tensor:
        return read_picture(dataset.files[place], colour=colour, size=size)

    images = kept_pictures(dataset, (COLOURS[colour], *size), read, {"colour": colour}, cache=cache, progress=progress)
    return images, dataset.boxes.float()


def kept_pictures(
    dataset: Any,
    shape: tuple[int, int, int],
    read: Callable[[int], torch.Tensor],
    how: dict[str, Any],
    *,
    cache: bool,
    progress: bool,
) -> torch.Tensor:
    """Return all pictures of a set as uint8 ``[N, *shape]``, from the cache if they have been made before.

    Args:
        dataset: has a length, ``files`` and ``hash``.
        shape: (C, H, W).
        read: gives a picture by its number.
        how: what else the pixels depend on.
        cache, progress: as for :func:`load_pictures`.
    """
    whole = (len(dataset), *shape)

    def fill(images: np.ndarray) -> None:
        for place in with_bar(range(len(dataset)), progress, desc="pictures", unit="picture"):
            images[place] = read(place).numpy()

    about = {"format": FORMAT, "data": dataset.hash if cache else "", "shape": list(whole), **how}
    what = f"the cache of {len(dataset):,} pictures"
    return torch.from_numpy(kept_array("pictures", about, whole, fill, what=what, cache=cache, mode="c"))


def gather(keys: Iterable[Key], read: Callable[[Key], Item], *, lenient: bool) -> tuple[list[Item], dict[str, int]]:
    """Read the annotation of many pictures, and count those that have to be left out.

    Args:
        keys: what ``read`` is called with, one for each picture.
        read: gives a picture with its box, or raises :class:`PictureError`.
        lenient: leave faulty pictures out. Then each picture is also read to its end, which takes some ms for each.

    Returns:
        The pictures, and how many were left out for which reason.

    Raises:
        PictureError: the first fault, if not lenient.
    """
    found, skipped = [], Counter()
    for key in keys:
        try:
            item = read(key)
            if lenient:
                read_picture(item.file)
            found.append(item)
        except PictureError as error:
            if not lenient:
                raise PictureError(f"{error}, or leave such pictures out with lenient=True", error.reason) from None
            skipped[error.reason] += 1
    return found, dict(skipped)


def require_same_size(picture: Path, annotation: Path, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the picture's (H, W), or raise if its annotation was not drawn on what the picture shows.

    A picture with an EXIF tag that turns it passes only if the size proves that the box was drawn on the turned one.

    Args:
        picture, annotation: the two files.
        size: (H, W) of the picture that the annotation was drawn on; ``None`` if it does not tell.

    Raises:
        PictureError: naming both files.
    """
    shown, orientation = picture_size(picture)
    if orientation != 1 and (orientation < 5 or shown == shown[::-1] or size != shown):
        raise PictureError(
            f"{picture} is turned by its EXIF tag (orientation {orientation}), and {annotation.name} does not tell "
            f"whether its box was drawn before or after turning: turn the pixels to match it and remove the tag",
            "turned by EXIF",
        )
    if size is not None and size != shown:
        raise PictureError(
            f"{annotation} was made for a picture of {size[1]} x {size[0]} pixels, but {picture.name} has "
            f"{shown[1]} x {shown[0]}: {AGAIN}",
            "annotation of another size",
        )
    return shown


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W), or raise :class:`ValueError` if these are not two whole numbers of pixels."""
    if isinstance(size, str | int) or len(size) != 2:
        raise ValueError(f"size must be (H, W) in pixels, got {size!r}")
    return require_count("size[0]", size[0]), require_count("size[1]", size[1])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # Pillow refuses what is too large for it; of half as large a picture it only warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except FileNotFoundError:
        raise PictureError(f"{path} is missing: {AGAIN}", "picture missing") from None
    except BROKEN as error:
        raise _damaged(path, error) from error
    with image:
        yield image


def _damaged(path: Path, error: Exception) -> PictureError:
    said = "no format that Pillow knows" if isinstance(error, Image.UnidentifiedImageError) else error
    return PictureError(f"{path} is no whole picture ({said}): {AGAIN}", "damaged picture")


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """Return the picture in mode ``"RGB"`` or ``"L"``."""
    if image.mode.startswith("I") or image.mode == "F":  # more than 8 bits in one channel; convert() would clip
        values = np.asarray(image).astype(np.float64)
        top = 65535 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255
        image = Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if mode == "L" and image.mode in ("CMYK", "P"):
        image = image.convert("RGB")
    return image.convert(mode)
