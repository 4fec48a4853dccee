"""The stand-in for the pets: drawn animals in the files of the Oxford-IIIT-Pet set and of PASCAL VOC.

Each picture has a random generator of its own, seeded from (seed, list, number of the picture). So any part of a set is
the same as in the whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from spikelab import __version__
from spikelab.datasets.drawn_animals import FARM, PETS, Breed, Drawn, Picture, Place, draw, draw_place, draw_wild_place
from spikelab.datasets.files import disk_errors, locked, read_json, require_room, whole_folder, write_atomic, write_json
from spikelab.datasets.kept import with_bar
from spikelab.datasets.places import cache_folder
from spikelab.validation import require_choice, require_count

FOLDER = "pets-synthetic"
PETS_FOLDER, VOC_FOLDER = "oxford-iiit-pet", "VOCdevkit/VOC2012"
MANIFEST = "MANIFEST.json"
FORMAT = 2  # another number makes the set anew: raise it whenever a drawing changes
COUNTS = {"trainval": 720, "test": 180, "train_aug": 240, "val": 60}  # pictures in each list
TEST_FROM = 1001  # numbers of the test pictures of a breed, so that they do not depend on how many train
BYTES_PER_PICTURE = 40_000
LONG_SIDE = (200, 256)  # px, shortest and longest
ASPECTS = (1.33, 1.5, 1.0, 0.75, 0.67)  # width to height, and how often
ASPECT_SHARES = (0.36, 0.3, 0.1, 0.14, 0.1)
QUALITY = 88
PET, BACKGROUND, BORDER = 1, 2, 3
BORDER_OUT, BORDER_IN = 2, 3  # px of the border outside and inside the outline
SMALLEST_HEAD = 30  # px: a picture that shows less of a head is drawn again
VOC_CLASSES = {"bird": 3, "cat": 8, "cow": 10, "dog": 12, "horse": 13, "sheep": 17}
VOC_VOID = 255
_VOC_BREEDS = (*FARM, *PETS[::2])


class PetPicture(NamedTuple):
    """A drawn pet and its annotation.

    Attributes:
        name: the picture's name, breed and number.
        image: uint8 ``[H, W, 3]``.
        trimap: uint8 ``[H, W]``: 1 = pet, 2 = background, 3 = border.
        head: (xmin, ymin, xmax, ymax) of head and ears in pixels from 1, both ends inside, as in the XML file.
        species: ``"cat"`` or ``"dog"``.
    """

    name: str
    image: np.ndarray
    trimap: np.ndarray
    head: tuple[int, int, int, int]
    species: str


def make_synthetic_pets(
    target: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    progress: bool = True,
) -> Path:
    """Write drawn pets in the layout of the Oxford-IIIT-Pet set, and a few more animals in that of VOC2012.

    ``target/oxford-iiit-pet`` holds ``images/*.jpg``, ``annotations/trimaps/*.png``, ``annotations/xmls/*.xml`` (the
    head, of every picture) and ``annotations/{list,trainval,test}.txt``. ``target/VOCdevkit/VOC2012`` holds
    ``JPEGImages``, ``Annotations``, ``SegmentationClassAug`` and the lists below ``ImageSets``; each picture shows one
    animal.

    Several processes may ask at once: one draws the set, the others wait. A finished set with these settings is left as
    it is; another one, or one that broke off, is made anew.

    Args:
        target: folder to write; if not given, ``pets-synthetic`` in the cache folder.
        seed: another seed gives other pictures.
        train, test: how many pets are on the lists for training and testing; if not given, 720 and 180. VOC's lists
            have a third as many.
        progress: show a bar while they are drawn, on a terminal.

    Returns:
        ``target``.

    Raises:
        ValueError: for a wrong argument.
        DataError: if the folder cannot be written, or the disk is too full.

    Explained in chapter 09.
    """
    target = Path(target) if target is not None else cache_folder() / FOLDER
    counts = dict(COUNTS)
    if train is not None:
        counts |= {"trainval": require_count("train", train), "train_aug": max(train // 3, 1)}
    if test is not None:
        counts |= {"test": require_count("test", test), "val": max(test // 3, 1)}
    settings = {"format": FORMAT, "seed": require_count("seed", seed, 0), "counts": counts}
    if finished(target, settings):
        return target
    with disk_errors(target.parent), locked(target):
        if finished(target, settings):
            return target
        total = sum(counts.values())
        require_room(
            target.parent, total * BYTES_PER_PICTURE, f"the synthetic stand-in for the pets ({total:,} pictures)"
        )
        with whole_folder(target) as part:
            jobs = [(name, number) for name, count in counts.items() for number in range(count)]
            for name, number in with_bar(jobs, progress, desc="drawing animals", unit="picture"):
                if name in ("trainval", "test"):
                    _write_pet(part / PETS_FOLDER, draw_pet(number, name, seed=seed))
                else:
                    _write_animal(part / VOC_FOLDER, number, name, seed)
            _write_lists(part, counts)
            write_json(part / MANIFEST, settings | {"hash": settings_hash(settings), "spikelab": __version__})
    return target


def settings_hash(settings: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with what a set was made with.

    Unlike a hash of the files they are the same whatever library compressed the pictures.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def draw_pet(number: int, split: str = "trainval", *, seed: int = 0) -> PetPicture:
    """Draw one picture of the stand-in, without writing it.

    Args:
        number: the picture's number on its list, from 0.
        split: ``"trainval"`` or ``"test"``.
        seed: the set's seed.

    Returns:
        The picture and its annotation.

    Explained in chapter 09.
    """
    require_count("number", number, 0)
    require_choice("split", split, ("trainval", "test"))
    generator = generator_of(seed, split, number)
    breed = PETS[number % len(PETS)]
    picture, drawn = _one(breed, generator, draw_place)
    trimap = trimap_of(drawn.mask)
    first = 1 if split == "trainval" else TEST_FROM
    name = f"{breed.name}_{first + number // len(PETS)}"
    return PetPicture(name, picture.image, trimap, inclusive_box(drawn.head), breed.species)


def trimap_of(mask: np.ndarray) -> np.ndarray:
    """Return the trimap of a pet, uint8 ``[H, W]``, from bool ``[H, W]`` of the pixels that show it."""
    trimap = np.full(mask.shape, BACKGROUND, dtype=np.uint8)
    trimap[_grow(mask, BORDER_OUT)] = BORDER
    inner = ~_grow(~mask, BORDER_IN)
    trimap[inner if inner.any() else mask] = PET
    return trimap


def inclusive_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return (xmin, ymin, xmax, ymax) of the pixels of a mask, counted from 1, both ends inside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]) + 1, int(rows[0]) + 1, int(columns[-1]) + 1, int(rows[-1]) + 1


def generator_of(seed: int, split: str, number: int) -> np.random.Generator:
    """Return the random generator of one picture of a set."""
    digest = hashlib.sha256(f"{seed}/{split}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def _one(
    breed: Breed, generator: np.random.Generator, where: Callable[[np.random.Generator], Place]
) -> tuple[Picture, Drawn]:
    """Draw pictures of one animal until one shows it."""
    while True:
        long, aspect = int(generator.integers(*LONG_SIDE, endpoint=True)), generator.choice(ASPECTS, p=ASPECT_SHARES)
        size = (round(long / aspect), long) if aspect >= 1 else (long, round(long * aspect))
        picture = draw([breed], size, generator, places=[where(generator)])
        drawn = picture.animals[0]
        if drawn.head.sum() >= SMALLEST_HEAD and (~_grow(~drawn.mask, BORDER_IN)).any():
            return picture, drawn


def _grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Return a mask that reaches some pixels further, by turns along the axes and to the corners too."""
    for step in range(pixels):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        base = grown if step % 2 else mask
        wide = grown.copy()
        wide[:, 1:] |= base[:, :-1]
        wide[:, :-1] |= base[:, 1:]
        mask = wide
    return mask


def _write_pet(folder: Path, pet: PetPicture) -> None:
    write_atomic(folder / "images" / f"{pet.name}.jpg", jpeg(pet.image))
    write_atomic(folder / "annotations" / "trimaps" / f"{pet.name}.png", _png(pet.trimap))
    xml = voc_xml("OXIIIT", pet.name, pet.trimap.shape, [(pet.species, pet.head, False)])
    write_atomic(folder / "annotations" / "xmls" / f"{pet.name}.xml", xml)


def _write_animal(folder: Path, number: int, split: str, seed: int) -> None:
    breed = _VOC_BREEDS[number % len(_VOC_BREEDS)]
    picture, drawn = _one(breed, generator_of(seed, split, number), draw_wild_place)
    name = _voc_name(number, split)
    classes = np.where(drawn.mask, VOC_CLASSES[breed.species], 0).astype(np.uint8)
    classes[trimap_of(drawn.mask) == BORDER] = VOC_VOID
    write_atomic(folder / "JPEGImages" / f"{name}.jpg", jpeg(picture.image))
    write_atomic(folder / "SegmentationClassAug" / f"{name}.png", _png(classes))
    xml = voc_xml("VOC2012", name, drawn.mask.shape, [(breed.species, inclusive_box(drawn.mask), False)])
    write_atomic(folder / "Annotations" / f"{name}.xml", xml)


def _voc_name(number: int, split: str) -> str:
    return f"2012_{number + 1 + (500_000 if split == 'val' else 0):06}"


def _write_lists(part: Path, counts: dict[str, int]) -> None:
    species = {breed.name: 1 if breed.species == "cat" else 2 for breed in PETS}
    within = {name: [b.name for b in PETS if species[b.name] == kind].index(name) + 1 for name, kind in species.items()}
    breeds = sorted(species, key=str.lower)

    def rows(split: str) -> list[str]:
        names = []
        for number in range(counts[split]):
            breed = PETS[number % len(PETS)].name
            first = 1 if split == "trainval" else TEST_FROM
            ids = f"{breeds.index(breed) + 1} {species[breed]} {within[breed]}"
            names.append(f"{breed}_{first + number // len(PETS)} {ids}")
        return sorted(names)

    lists = part / PETS_FOLDER / "annotations"
    trainval, test = rows("trainval"), rows("test")
    write_lines(lists / "trainval.txt", trainval)
    write_lines(lists / "test.txt", test)
    about = ["#Image CLASS-ID SPECIES BREED ID", "#SPECIES: 1:Cat 2:Dog", "#Drawn, not photographed"]
    write_lines(lists / "list.txt", about + sorted(trainval + test))
    train, val = ([_voc_name(number, split) for number in range(counts[split])] for split in ("train_aug", "val"))
    sets = part / VOC_FOLDER / "ImageSets"
    write_lines(sets / "SegmentationAug" / "train_aug.txt", train)
    write_lines(sets / "SegmentationAug" / "val.txt", val)
    for name, names in (("train", train), ("val", val), ("trainval", train + val)):
        write_lines(sets / "Main" / f"{name}.txt", names)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list of names."""
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode())


def jpeg(image: np.ndarray) -> bytes:
    """Return a JPEG file of uint8 ``[H, W, 3]``."""
    return _packed(lambda file: Image.fromarray(image).save(file, "JPEG", quality=QUALITY))


def _png(values: np.ndarray) -> bytes:
    return _packed(lambda file: Image.fromarray(values).save(file, "PNG"))


def _packed(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def voc_xml(
    folder: str, name: str, size: tuple[int, int], things: Iterable[tuple[str, tuple[int, ...], bool]]
) -> bytes:
    """Return an annotation in VOC's XML.

    Args:
        folder, name: what it says of the picture.
        size: (H, W).
        things: class, (xmin, ymin, xmax, ymax) in pixels from 1, and whether it is difficult, of each object.
    """
    height, width = size
    objects = ""
    for thing, (xmin, ymin, xmax, ymax), difficult in things:
        cut = int(xmin == 1 or ymin == 1 or xmax == width or ymax == height)
        objects += f"""  <object>
    <name>{thing}</name>
    <pose>Unspecified</pose>
    <truncated>{cut}</truncated>
    <occluded>0</occluded>
    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
    <difficult>{int(difficult)}</difficult>
  </object>
"""
    return f"""<annotation>
  <folder>{folder}</folder>
  <filename>{name}.jpg</filename>
  <source><database>drawn by spikelab</database><annotation>spikelab</annotation><image>drawn</image></source>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>1</segmented>
{objects}</annotation>
""".encode()


def finished(target: Path, settings: dict[str, Any]) -> bool:
    """Return whether the folder holds a finished set with these settings."""
    path = target / MANIFEST
    if not path.is_file():
        return False
    manifest = read_json(path)
    return isinstance(manifest, dict) and all(manifest.get(name) == value for name, value in settings.items())
