"""Trained weights on anybody's pictures: what is where, drawn into a copy of the picture and written down.

A picture may have any size, shape and mode that Pillow reads; it is laid into what the network takes and the answer is
taken back, so that boxes are in pixels of the picture as it is shown.

Explained in chapters 09, 12 and 14.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from spikelab.datasets.pictures import PictureError, picture_size, read_picture
from spikelab.datasets.scenes import fit_picture, out_of_window
from spikelab.detection.boxes import clip_boxes, order_corners
from spikelab.detection.records import Detections, Objects
from spikelab.files import WriteError, make_folder, write_atomically
from spikelab.models import pretrained
from spikelab.models.pretrained import WeightsError
from spikelab.validation import require_between

if TYPE_CHECKING:
    from PIL import Image

PETS = {"head": "head", "body": "pet", "animal": "animal"}


class Found(NamedTuple):
    """What was found in one picture, N boxes, the surest first.

    Attributes:
        boxes: ``[N, 4]`` of float64, corners in pixels of the picture, half-open.
        scores: of each how sure it is, 0 to 1; ``None`` if the network does not say.
        classes: of each what it is.
    """

    boxes: torch.Tensor
    scores: list[float | None]
    classes: list[str]


class Detector:
    """Trained weights that find things in pictures.

    Args:
        weights: as ``pretrained.load``; of the tasks voc, pets or animals.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    Raises:
        WeightsError: if the file cannot be used, or its network finds nothing in pictures.

    Explained in chapters 09, 12 and 14.
    """

    def __init__(self, weights: str | os.PathLike, *, device: str = "auto") -> None:
        from spikelab.training.config import Configuration
        from spikelab.training.distributed import pick_device

        model, about = pretrained.load(weights)
        self.weights = str(weights)
        self.config = Configuration.from_dict(about["configuration"], self.weights)
        finders = {"voc": self._scene, "pets": self._pet, "animals": self._animal}
        if self.config.task not in finders:
            raise WeightsError(
                f"{weights} are weights of the task {self.config.task!r}, which finds nothing in pictures: "
                f"take weights of {', '.join(finders)}"
            )
        self._find = finders[self.config.task]
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, path: str | os.PathLike, *, score: float = 0.3) -> Found:
        """Return what is in a picture.

        Args:
            path: a file that Pillow can read.
            score: how sure a box must be. A network that answers with one box for one animal always gives it.
        Raises:
            ValueError: if ``score`` is no share.
            DataError: if the file is missing, truncated, or no picture; the message names it.
        """
        require_between("score", score, 0, 1)
        height, width = picture_size(path)[0]
        found, classes = self._find(Path(path), score)
        boxes = clip_boxes(order_corners(found.boxes.double().cpu()))
        boxes = boxes * boxes.new_tensor([width, height, width, height])
        seen = (boxes[:, 2:] > boxes[:, :2]).all(1)  # the others lie on the grey bars
        order = found.scores.cpu().argsort(descending=True, stable=True)
        order = order[seen[order]].tolist()
        scores = [None if self.config.task == "pets" else float(found.scores[i]) for i in order]
        return Found(boxes[order], scores, [classes[int(found.labels[i])] for i in order])

    def _scene(self, path: Path, score: float) -> tuple[Detections, Sequence[str]]:
        from spikelab.training.tasks import voc

        task = voc.VocTask()
        options = {**task.options(self.config), "score_threshold": score}
        picture, window = fit_picture(path, options["size"], colour=options["colour"])
        nothing = [Objects.none()], [path.name], tuple(options["classes"]), Detections.none()
        split = voc.SceneSplit(picture[None], *nothing)
        inputs, targets = task.batch(self.config, split, torch.tensor([0]), None, self.device)
        (found,) = voc.detect(self.model(inputs), targets.layout, options)
        return found._replace(boxes=out_of_window(found.boxes.double(), window)), options["classes"]

    def _pet(self, path: Path, _: float) -> tuple[Detections, Sequence[str]]:
        from spikelab.training.tasks import pets

        task = pets.PetsTask()
        options = task.options(self.config)
        picture = read_picture(path, colour=options["colour"], size=options["size"])
        split = pets.PictureSet(picture[None], torch.zeros(1, 4), {}, [path.name])
        inputs, targets = task.batch(self.config, split, torch.tensor([0]), None, self.device)
        boxes = task.evidence(self.config, self.model(inputs), targets)["boxes"]
        return Detections(boxes, torch.ones(1), torch.zeros(1, dtype=torch.int64)), [PETS[options["target"]]]

    def _animal(self, path: Path, _: float) -> tuple[Detections, Sequence[str]]:
        from spikelab.training.tasks import animals

        options = animals.AnimalsTask().options(self.config)
        picture, window = fit_picture(path, options["size"], fit=options["fit"])
        output = self.model(picture[None].to(self.device).float() / 255)
        scores, labels = output.classes.float().softmax(1).max(1)
        boxes = out_of_window(output.boxes.double().nan_to_num().cpu(), window)
        return Detections(boxes, scores, labels), animals.CLASSES[options["source"]]


def default_weights() -> str:
    """Return the weights that are taken if none are named: of VOC, the longest trained first; without any, of pets."""
    there = pretrained.shipped()
    for begins in ("voc-long-", "voc-", "pets-ours", ""):
        found = [name for name in there if name.startswith(begins)]
        if found:
            return found[0]
    raise WeightsError("no weights come with this copy of spikelab: name a .safetensors file")


def draw(path: str | os.PathLike, found: Found) -> Image.Image:
    """Return a copy of a picture, in its own size and colours, with what was found drawn into it.

    Explained in chapter 12.
    """
    from PIL import Image, ImageColor, ImageDraw, ImageFont

    from spikelab.plotting import PALETTE

    picture = Image.fromarray(read_picture(path).permute(1, 2, 0).numpy())
    canvas = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    thick = max(1, round(shorter / 120))
    font = ImageFont.load_default(min(max(shorter / 18, 9), 64))
    colours = dict(zip(dict.fromkeys(sorted(found.classes)), PALETTE[:5] * 20, strict=False))
    for box, score, name in reversed(list(zip(found.boxes.tolist(), found.scores, found.classes, strict=True))):
        # Pillow draws both ends of a side, and refuses reversed ones.
        x0, y0 = (min(round(low), side - 1) for low, side in zip(box[:2], picture.size, strict=True))
        x1, y1 = (max(round(high) - 1, low) for high, low in zip(box[2:], (x0, y0), strict=True))
        colour = colours[name]
        canvas.rectangle((x0, y0, x1, y1), outline="white", width=thick + 1)
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=thick)
        text = name if score is None else f"{name} {score:.2f}"
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        wide, high = right - left + 2 * thick + 2, bottom - top + 2 * thick + 2
        x = max(min(x0, picture.width - wide), 0)
        y = y0 - high if y0 >= high else y0
        canvas.rectangle((x, y, x + wide, y + high), fill=colour)
        light = sum(
            weight * part for weight, part in zip((0.299, 0.587, 0.114), ImageColor.getrgb(colour), strict=True)
        )
        start = (x + thick + 1 - left, y + thick + 1 - top)
        canvas.text(start, text, font=font, fill="black" if light > 140 else "white")
    return picture


def detect_pictures(
    paths: Iterable[str | os.PathLike],
    detector: Detector,
    *,
    score: float = 0.3,
    out: str | os.PathLike | None = None,
) -> Iterator[dict[str, Any]]:
    """Find things in pictures, one after the other; a bad file is told of, and the others go on.

    Args:
        paths: files.
        detector: what finds.
        score: how sure a box must be.
        out: folder for a PNG of each picture with what was found, ``NAME-found.png``; nothing is drawn if not given.
    Yields:
        Of each file a record as JSON keeps it: ``file``, ``width`` and ``height`` in pixels, ``objects``, the surest
        first, with ``class``, ``score`` and ``box`` (x0, y0, x1, y1 in pixels), ``seconds`` and, if drawn, ``drawn``;
        or ``file`` and ``error``.
    Raises:
        ValueError: if ``score`` is no share.
        WriteError: if a picture cannot be written.

    Explained in chapter 12.
    """
    require_between("score", score, 0, 1)
    paths = [Path(path) for path in paths]
    taken = {path.resolve() for path in paths}
    for path in paths:
        began = time.perf_counter()
        try:
            found = detector(path, score=score)
        except PictureError as error:
            yield {"file": str(path), "error": _told(path, error)}
            continue
        except ValueError as error:
            yield {"file": str(path), "error": str(error)}
            continue
        seconds = time.perf_counter() - began
        height, width = picture_size(path)[0]
        answers = zip(found.classes, found.scores, found.boxes.tolist(), strict=True)
        objects = [
            {
                "class": name,
                "score": sure if sure is None else round(sure, 4),
                "box": [round(side, 2) for side in box],
            }
            for name, sure, box in answers
        ]
        record = {"file": str(path), "width": width, "height": height, "objects": objects, "seconds": round(seconds, 4)}
        if out is not None:
            target = _free_name(Path(out), path, taken)
            picture = draw(path, found)
            write_atomically(target, lambda part, picture=picture: picture.save(part, format="PNG"))
            record["drawn"] = str(target)
        yield record


def write_records(
    path: str | os.PathLike, detector: Detector, records: Sequence[dict[str, Any]], *, score: float
) -> Path:
    """Write what was found in pictures, and with which weights, as JSON.

    Raises:
        WriteError: if it cannot be written.
    """
    about = {"weights": detector.weights, "task": detector.config.task, "score": score}
    head = _as_json({**about, "boxes": "x0, y0, x1, y1 in pixels"})[1:-1]
    lines = ",\n".join("  " + _as_json(record) for record in records)
    return write_atomically(path, f'{{\n {head},\n "pictures": [\n{lines}\n ]\n}}\n')


def require_targets(out: Path, found: Path) -> None:
    """Make the folders that will be written to, so that what is wrong with them is said before any work is done.

    Args:
        out: folder for pictures.
        found: JSON file.
    Raises:
        ValueError: if ``found`` is no name of a JSON file.
        WriteError: if a folder cannot be made or written.
    """
    if found.suffix != ".json":
        raise ValueError(f"the file for boxes (--json) must end in .json, got {str(found)!r}")
    if found.is_dir():
        raise ValueError(f"the file for boxes (--json) must not be a folder, got {str(found)!r}")
    for folder in (out, found.parent):
        make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WriteError(
                errno.EACCES, f"{folder} may not be written to. Give another folder, or change its rights."
            )


def _told(path: Path, error: PictureError) -> str:
    """Say what is wrong with a picture that belongs to no data set, and the mend."""
    from PIL import Image

    cause = error.__cause__
    if isinstance(cause, PermissionError):
        return f"may not be read ({cause.strerror}): change its rights"
    if not os.path.exists(path):
        return "there is no such file: check the name and the folder"
    if path.is_dir():
        return f"is a folder: name the pictures in it, such as {path / '*.jpg'}"
    if not path.stat().st_size:
        return "is an empty file: copy or download it again"
    if isinstance(cause, Image.UnidentifiedImageError):
        return "is no picture in a format that can be read: save it as JPEG or PNG"
    if isinstance(cause, Image.DecompressionBombError):
        return f"has too many pixels, more than {2 * Image.MAX_IMAGE_PIXELS:,}: make it smaller"
    return f"is damaged ({cause or error}): copy or download it again"


def _as_json(value: Any) -> str:
    """JSON in one line; letters as they are, unless a file's name cannot be written in UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or _is_unicode(text) else json.dumps(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _free_name(folder: Path, path: Path, taken: set[Path]) -> Path:
    """Name of a PNG that is neither another one's of this run nor one of its pictures; from now on it is taken."""
    number, target = 1, folder / f"{path.stem}-found.png"
    while any(str(target.resolve()).lower() == str(other).lower() for other in taken):
        number += 1
        target = folder / f"{path.stem}-found-{number}.png"
    taken.add(target.resolve())
    return target
