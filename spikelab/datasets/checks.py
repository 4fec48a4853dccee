"""Looking through a data set on disk, file by file: ``spikelab data check``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spikelab.datasets.errors import DataError
from spikelab.datasets.files import data_hash, read_json
from spikelab.datasets.manifest import DATA_SETS, data_set
from spikelab.datasets.places import require_folder
from spikelab.validation import require_choice

MOST_FAULTS = 20  # told one by one


class Report(NamedTuple):
    """What a check found: lines to print, and the faults among the files."""

    folder: Path
    found: list[str]
    faults: list[str]


def check(name: str, root: Path | None = None) -> Report:
    """Read every recording or picture of a data set.

    Args:
        name: as ``spikelab data list`` gives it.
        root: folder that holds the data set's folder; if not given, the data folder.

    Returns:
        A :class:`Report`; the set is whole if it has no faults.

    Raises:
        ValueError: if there is no such data set.
        DataError: if its folder is not there.
    """
    require_choice("data set", name, tuple(DATA_SETS))
    entry = data_set(name)
    folder = require_folder(name, f"spikelab data {'make' if entry.make else 'fetch'} {name}", root)
    reader = _READERS[name.split("-")[0]]
    report = Report(folder, [], [])
    for line, fault in reader(name, folder):
        (report.faults if fault else report.found).append(line)
    more = len(report.faults) - MOST_FAULTS
    if more > 0:
        del report.faults[MOST_FAULTS:]
        report.faults.append(f"and {more:,} more")
    return report


def _nmnist(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.nmnist import MANIFEST, NMNIST, SUBFOLDERS, recordings
    from spikelab.events import read_events

    made = read_json(folder / MANIFEST)["splits"] if (folder / MANIFEST).is_file() else None
    if made is None and name != "nmnist":
        yield f"not finished (no {MANIFEST}): run spikelab data make {name} again", True
    for split in dict.fromkeys(SUBFOLDERS.values()):
        try:
            found = recordings(folder / split)
        except DataError as error:
            yield str(error), True
            continue
        events = 0
        for recording in found:
            fault = _fault(lambda path=recording.path: read_events(path, size=NMNIST.size))
            if fault:
                yield fault, True
            events += recording.path.stat().st_size // 5
        yield f"{split}: {len(found):,} recordings, {events / len(found):,.0f} events each", False
        if made is not None:
            whole = data_hash([recording.path for recording in found], root=folder) == made[split]["hash"]
            yield f"{split}: {'as it was made' if whole else 'changed since it was made: make it again'}", not whole


def _mnist(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.idx import MNIST_FILES, read_mnist

    for split in MNIST_FILES:
        try:
            images, _ = read_mnist(folder, split)
            yield f"{split}: {len(images):,} images of {images.shape[1]} x {images.shape[2]}", False
        except DataError as error:
            yield str(error), True


def _gestures(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.dvs_gesture import TRIALS, DVSGesture, read_aedat

    for split in TRIALS:
        try:
            found = DVSGesture(split, root=folder.parent)
        except DataError as error:
            yield str(error), True
            continue
        paths = list(dict.fromkeys(gesture.path for gesture in found.gestures))
        for path in paths:
            fault = _fault(lambda path=path: read_aedat(path))
            if fault:
                yield fault, True
        yield f"{split}: {len(found):,} gestures in {len(paths)} recordings", False


def _heidelberg(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.heidelberg import SHD, SSC

    kind = {"shd": SHD, "ssc": SSC}[name]
    for split in kind.files:
        try:
            found = kind(split, root=folder.parent)
        except DataError as error:
            yield str(error), True
            continue
        for index in range(len(found)):
            fault = _fault(lambda found=found, index=index: found[index])
            if fault:
                yield fault, True
        yield f"{split}: {len(found):,} recordings", False


def _pets(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.pets import FOLDER, read_head_box, read_trimap

    place = folder if name == FOLDER else folder / FOLDER
    yield from _annotated(
        place, {"images/*.jpg": None, "annotations/xmls/*.xml": read_head_box, "annotations/trimaps/*.png": read_trimap}
    )
    if name != FOLDER:
        yield from _voc(name, folder / "VOCdevkit")


def _voc(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.voc import YEARS, image_set, read_annotation

    years = [year for year in YEARS if (folder / year).is_dir()]
    if not years:
        yield f"{folder} holds neither {' nor '.join(YEARS)}: fetch the data set again", True
    for year in years:
        yield from _annotated(folder / year, {"JPEGImages/*.jpg": None, "Annotations/*.xml": read_annotation})
        here = {file.stem for file in (folder / year / "JPEGImages").glob("[!.]*.jpg")}
        for path in (folder / year / "ImageSets" / "Main" / f"{split}.txt" for split in ("train", "val", "test")):
            if path.is_file():
                names = image_set(path)
                found = len(here.intersection(names))
                told = f"{found:,} of {len(names):,} pictures"
                yield f"{year} {path.stem}: {told if found < len(names) else told.split(' of ')[1]}", False


def _coco(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    from spikelab.datasets.coco import SPLITS

    if not any((folder / f"{split}2017").is_dir() for split in SPLITS):
        yield f"{folder} holds neither train2017 nor val2017: fetch the data set again", True
    for split in SPLITS:
        if (folder / f"{split}2017").is_dir():
            yield from _coco_split(folder, split)
        else:
            yield f"{split}2017: not here", False


def _coco_split(folder: Path, split: str) -> Iterator[tuple[str, bool]]:
    """Read every picture of a split, and the boxes of animals.

    The course reads no others, and of those COCO's own file has some without area.
    """
    from spikelab.datasets.coco import ANIMALS, read_instances
    from spikelab.datasets.pictures import read_picture, require_same_size

    try:
        instances = read_instances(folder / "annotations" / f"instances_{split}2017.json")
    except DataError as error:
        yield str(error), True
        return
    animals = {number for number, name in instances.classes.items() if name in ANIMALS}
    count = 0
    for picture, (name, size) in instances.pictures.items():
        found = instances.found[picture] = [
            entry for entry in instances.found.get(picture, ()) if entry["category_id"] in animals
        ]
        path = folder / f"{split}2017" / name
        reads = [functools.partial(read_picture, path)]
        if found:
            reads.append(functools.partial(instances.things, picture))
            reads.append(functools.partial(require_same_size, path, instances.file, size))
        faults = dict.fromkeys(fault for fault in map(_fault, reads) if fault)
        yield from ((fault, True) for fault in faults)
        count += len(found)
    yield f"{split}2017: {count:,} animals in {len(instances.pictures):,} pictures", False


def _scenes(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    if not (folder / "MANIFEST.json").is_file():
        yield f"not finished (no MANIFEST.json): run spikelab data make {name} again", True
    yield from _voc(name, folder / "VOCdevkit")
    yield from _coco(name, folder / "coco")


def _annotated(folder: Path, readers: dict[str, Callable[[Path], object] | None]) -> Iterator[tuple[str, bool]]:
    """Read the files that fit each pattern; those without a reader are pictures."""
    from spikelab.datasets.pictures import read_picture

    for pattern, read in readers.items():
        files = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        if not files:
            yield f"no file {folder / pattern}: fetch the data set again", True
            continue
        for path in files:
            fault = _fault(lambda path=path, read=read or read_picture: read(path))
            if fault:
                yield fault, True
        yield f"{folder.name}/{pattern}: {len(files):,} files", False


def _fault(read: Callable[[], object]) -> str:
    try:
        read()
    except (ValueError, OSError) as error:
        return str(error)
    return ""


_READERS = {
    "nmnist": _nmnist,
    "mnist": _mnist,
    "dvs": _gestures,
    "shd": _heidelberg,
    "ssc": _heidelberg,
    "oxford": _pets,
    "pets": _pets,
    "VOCdevkit": _voc,
    "coco": _coco,
    "scenes": _scenes,
}
