"""VOC: what is in the picture, and where is each of it?"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from spikelab import detection, energy
from spikelab.datasets.detection_sets import VOC
from spikelab.datasets.errors import DataError
from spikelab.datasets.scene_views import SceneDraws, apply_mosaics, apply_scene_views, draw_scenes
from spikelab.datasets.scenes import SceneSet, into_window, load_scenes, require_apart, window_of
from spikelab.datasets.voc import CLASSES
from spikelab.detection import Detections, HeadLayout, LossOptions, LossWeights, Objects
from spikelab.models.yolo import STRIDES, YoloOutput
from spikelab.training.config import Configuration, ConfigurationError
from spikelab.training.detection_sheet import best_score, plot_detections, ranked_pictures
from spikelab.training.tasks import Data, Task
from spikelab.validation import require_between, require_choice, require_count

LOSSES = ("default", "public", "paper")
RESAMPLED = 200
COUNTED = 16
FOUND_IOU = 0.5
BASELINE = "the median box of each class on every picture"
_FIT = "letterbox"
_VIEWS = 8  # columns of ``draw_views``; those of ``draw_mosaics`` follow
_OPTIONS = {  # of the task, with what they are if nothing is said
    "years": ("VOC2007",),
    "image_set": "train",
    "test_years": ("VOC2007",),
    "test_set": "val",
    "classes": CLASSES,
    "held_out": 0.1,
    "split_seed": 0,
    "size": 160,
    "detail": 1.2,
    "colour": "rgb",
    "difficult": True,
    "augment": {},
    "score_threshold": 0.005,
    "nms": 0.5,
    "max_detections": 100,
}
METRICS = {
    "ap50": {"flavour": "area"},
    "ap50_voc07": {"flavour": "voc07"},
    "ap50_coco101": {"flavour": "coco101"},
    "ap75": {"flavour": "area", "threshold": 0.75},
}


@dataclass(frozen=True)
class SceneSplit:
    """Pictures with any number of objects in each, letterboxed.

    Attributes:
        images: ``[N, C, H, W]`` uint8.
        objects: what is in each, boxes in shares of the picture with its bars.
        names: of the pictures in their data set.
        classes: the classes' names.
        constant: what a detector says that never looks: of each class one box, as sure as the class is frequent.
    """

    images: torch.Tensor
    objects: list[Objects]
    names: list[str]
    classes: tuple[str, ...]
    constant: Detections

    def __len__(self) -> int:
        return len(self.objects)


class Targets(NamedTuple):
    """What a batch should have found, and what the numbers of the network's heads mean."""

    objects: list[Objects]
    layout: HeadLayout


class VocTask(Task):
    """Find the objects of a picture; the metric is the mean average precision at IoU .5, area under the curve.

    Trained on one official list, tested once on another; a seeded share of the first one's pictures, the same share of
    every class as far as possible, is held out to choose the epoch. The running metric ``found`` is the share of a
    batch's objects that a prediction of theirs boxes (IoU above .5) and names, however sure it is.

    Under ``torchrun`` each process's loss is that of its own pictures; that is the joint batch's loss where the
    reduction is ``"per_picture"``, and close to it otherwise; so is the running metric.
    """

    name = "voc"
    metric = "ap50"
    running = "found"

    def build(self, config: Configuration) -> nn.Module:
        from spikelab.models.pretrained import DETECTORS, build

        require_choice("model", config.model, DETECTORS)
        loss_options(config)
        options = self.options(config)
        model = build({**config.as_dict(), "task_options": options})
        model.keep_spikes = bool(config.rate_weight)  # a price on firing needs them, and nothing else does
        return model

    def options(self, config: Configuration) -> dict[str, Any]:
        """Return the task's options, checked, each with its default if it is not given."""
        unknown = sorted(set(config.task_options) - set(_OPTIONS))
        if unknown:
            raise ConfigurationError(f"voc has no option {unknown[0]!r}; it has {', '.join(_OPTIONS)}")
        options = {**_OPTIONS, **config.task_options}
        options["size"] = _sides(options["size"])
        require_choice("colour", options["colour"], ("rgb", "gray"))
        require_between("held_out", options["held_out"], 0, 0.9, "a share of the training pictures")
        require_count("split_seed", options["split_seed"], minimum=0)
        require_between("detail", options["detail"], 1, 4, "times the network's picture")
        require_between("score_threshold", options["score_threshold"], 0, 1)
        require_between("nms", options["nms"], 0, 1)
        require_count("max_detections", options["max_detections"])
        if not isinstance(options["difficult"], bool):
            raise ConfigurationError(f"difficult must be true or false, got {options['difficult']!r}")
        self._draws(options, 0, torch.Generator())
        return options

    def data(self, config: Configuration, splits: Sequence[str] = ("train", "validation", "test")) -> Data:
        options = self.options(config)
        which = {"kind": config.data, "classes": options["classes"], "empty": len(options["classes"]) == len(CLASSES)}
        everything = VOC(options["years"], options["image_set"], **which)
        tested = VOC(options["test_years"], options["test_set"], **which)
        if everything.years != tested.years:  # a photograph may be in both years
            everything = everything.without(tested)
        require_apart(everything, tested)
        train, validation = hold_out(everything, options["held_out"], options["split_seed"])
        constant = constant_detections(train, options["size"])
        if 0 < config.train_limit < len(train):
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(config.seed))
            train = train.select(order[: config.train_limit].tolist())
        sets = {"train": train, "validation": validation, "test": tested}
        found = {}
        for split in splits:
            if not len(sets[split]):
                if split == "validation" and len(splits) > 1:
                    continue
                raise DataError(f"the {split} split of {everything.label} is empty: give another list or held_out")
            # Training pictures are kept larger, so that a closer view of them has something to show.
            sides = [round(side * (options["detail"] if split == "train" else 1)) for side in options["size"]]
            scenes = load_scenes(sets[split], tuple(sides), fit=_FIT, colour=options["colour"])
            if split != "train" and all(bool(one.difficult.all()) for one in scenes.objects):
                raise DataError(
                    f"the {split} split of {sets[split].label} holds nothing to find (no object, or difficult ones "
                    "alone): give another list, other classes or another split_seed"
                )
            names = sets[split].names
            found[split] = SceneSplit(scenes.images, scenes.objects, names, tuple(options["classes"]), constant)
        return Data(
            *(found.get(split) for split in ("train", "validation", "test")),
            name=self.name,
            label=_label(everything, tested),  # without the numbers of the pictures
            hash=hashlib.sha256("".join(sets[split].hash for split in splits).encode()).hexdigest()[:16],
        )

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """Return the views and behind them the mosaics ``[count, 8 + 10]``."""
        draws = self._draws(self.options(config), count, generator)
        return None if draws is None else torch.cat((draws.views, draws.mosaics), 1)

    def batch(
        self,
        config: Configuration,
        split: SceneSplit,
        indices: torch.Tensor,
        draws: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, Targets]:
        options = self.options(config)
        images, objects = split.images[indices], [split.objects[i] for i in indices.tolist()]
        views = None
        if draws is not None and draws[:, _VIEWS].any():
            # Out of all pictures, so that it does not matter which process has which of the batch.
            pool = (split.images, split.objects)
            images, objects = apply_mosaics(images, objects, draws[:, _VIEWS:], pool=pool)
        if draws is not None:
            views = draws[:, :_VIEWS]
        images, objects = apply_scene_views(images.to(device), objects, views, size=options["size"])
        if not options["difficult"]:
            objects = [Objects(*(part[~one.difficult] for part in one)) for one in objects]
        return images, Targets(objects, _layout(options["size"], len(options["classes"])))

    def loss(self, config: Configuration, output: YoloOutput, targets: Targets) -> torch.Tensor:
        return detection.yolo_loss(output.heads, targets.objects, targets.layout, loss_options(config)).total

    def score(self, config: Configuration, output: YoloOutput, targets: Targets) -> torch.Tensor:
        """Return numbers ``[B]`` whose mean is the share of the batch's objects that are boxed and named."""
        objects, layout = [Objects(one.boxes, one.labels) for one in targets.objects], targets.layout
        rows, columns = (side * layout.strides[0] for side in output.heads[0].shape[-2:])
        assigned = detection.assign_targets(objects, layout, (rows, columns), rule=loss_options(config).rule)
        counts = torch.tensor([len(one.labels) for one in objects])
        found = torch.zeros(int(counts.sum()), dtype=torch.bool)
        depth = 5 + layout.num_classes
        for raw, anchors, stride, answers in zip(output.heads, layout.anchors, layout.strides, assigned, strict=True):
            raw = raw.unflatten(1, (len(anchors), depth)).float()
            place = tuple(index.to(raw.device) for index in answers.place)
            boxes = detection.decode_boxes(raw, anchors, stride).movedim(2, -1)[place].cpu()
            named = raw.movedim(2, -1)[place][:, 5:].argmax(1).cpu() == answers.labels
            found[answers.objects[named & (detection.iou(boxes, answers.boxes) > FOUND_IOU)]] = True
        picture = torch.repeat_interleave(torch.arange(len(counts)), counts)
        per_picture = torch.zeros(len(counts)).index_add_(0, picture, found.float())
        return per_picture * len(counts) / max(len(found), 1)

    def evidence(self, config: Configuration, output: YoloOutput, targets: Targets) -> dict[str, torch.Tensor]:
        """Return what was found, each picture's list filled up with boxes of label -1."""
        options = self.options(config)
        found = detect(output, targets.layout, options)
        boxes = torch.zeros(len(found), options["max_detections"], 4)
        scores, labels = boxes.new_zeros(boxes.shape[:2]), torch.full(boxes.shape[:2], -1)
        for place, one in enumerate(found):
            for kept, part in zip((boxes, scores, labels), one, strict=True):
                kept[place, : len(part)] = part
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def quick_metrics(self, evidence: Mapping[str, torch.Tensor], split: SceneSplit) -> dict[str, Any]:
        score = detection.evaluate_detections(detections_of(evidence), split.objects, split.classes, flavour="area")
        return {"ap50": {"value": score.mean, "low": None, "high": None, "n": len(split), "interval": None}}

    def metrics(self, evidence: Mapping[str, torch.Tensor], split: SceneSplit) -> dict[str, Any]:
        test = (detections_of(evidence), split.objects, split.classes)
        metrics = {name: _mean_ap(*test, **how) for name, how in METRICS.items()}
        scores = {name: detection.evaluate_detections(*test, **how) for name, how in METRICS.items()}
        mistakes = detection.sort_mistakes(*test, **METRICS["ap50"])
        counts = ("num_objects", "num_difficult", "num_detections", "num_hits")
        per_class = {one.name: {name: getattr(one, name) for name in counts} for one in scores["ap50"].classes}
        for name, score in scores.items():
            for one in score.classes:
                per_class[one.name][name] = one.ap
        least = best_score(*test[:2])
        rows = ranked_pictures(*test[:2], score=least)
        metrics["details"] = {
            "per_class": per_class,
            "left_out": list(scores["ap50"].left_out),
            "mistakes": {"counts": mistakes.counts, "gains": mistakes.gains},
            "found_by_area": _found_by_area(*test),
            "objects": sum(len(one.labels) for one in split.objects),
            "difficult": sum(int(one.difficult.sum()) for one in split.objects),
            "detections_per_picture": float((evidence["labels"] >= 0).sum()) / len(split),
            "best_score": least,
            "contact_sheet": {
                row: [{"name": split.names[place], "f": score} for place, score in places]
                for row, places in rows.items()
            },
        }
        metrics["confusion"] = detection.confusion_with_background(*test[:2], len(split.classes)).tolist()
        return metrics

    def baseline(self, data: Data) -> dict[str, Any] | None:
        if data.test is None:
            return None
        blind = [data.test.constant] * len(data.test)
        score = detection.evaluate_detections(blind, data.test.objects, data.test.classes, **METRICS["ap50"])
        return {"name": BASELINE, "value": score.mean}

    def cost(self, config: Configuration, model: nn.Module, split: SceneSplit, device: torch.device) -> dict[str, Any]:
        """Return operations and energy of a picture, means over the first ``COUNTED`` ones.

        Energy twice: the arithmetic in 45 nm, and every operation as a synaptic one of TrueNorth at its best.
        """
        indices = torch.arange(min(COUNTED, len(split)))
        inputs, _ = self.batch(config, split, indices, None, device)
        found = energy.count_operations(model, inputs, samples=len(indices))
        pj, chip = energy.energy_pj(found), energy.chip_energy_j(found.macs + found.acs, 1)
        return {
            **found.as_dict(),
            "energy_pj": pj,
            "energy_uj": {"45 nm, float32": pj / 1e6, "TrueNorth, 400 GSOPS/W": chip * 1e6},
            "counted": len(indices),
        }

    def pictures(
        self, config: Configuration, split: SceneSplit, evidence: Mapping[str, torch.Tensor]
    ) -> dict[str, Any]:
        found = detections_of(evidence)
        return {"contact_sheet.png": plot_detections(split.images, split.objects, found, split.classes)}

    @staticmethod
    def _draws(options: Mapping[str, Any], count: int, generator: torch.Generator) -> SceneDraws | None:
        if not options["augment"]:
            return None
        try:
            return draw_scenes(count, generator, **options["augment"])
        except TypeError as error:  # an unknown argument: Python's message names it
            raise ConfigurationError(f"augment has an option that pictures cannot be changed by: {error}") from error


def detect(output: YoloOutput, layout: HeadLayout, options: Mapping[str, Any]) -> list[Detections]:
    """Return what a network found in each picture, boxes in shares of the network's picture, on the processor.

    Args:
        output: of the network.
        layout: its heads' anchors and strides.
        options: of the task: ``score_threshold``, ``nms``, ``max_detections``.
    """
    heads = [head.detach().float().cpu() for head in output.heads]
    chosen = {"score_threshold": options["score_threshold"], "iou_threshold": options["nms"]}
    return detection.detect(heads, layout, **chosen, max_detections=options["max_detections"])


def detections_of(evidence: Mapping[str, torch.Tensor]) -> list[Detections]:
    """Return what ``VocTask.evidence`` keeps as one record for each picture."""
    lists = zip(evidence["boxes"], evidence["scores"], evidence["labels"], strict=True)
    return [Detections(boxes[labels >= 0], scores[labels >= 0], labels[labels >= 0]) for boxes, scores, labels in lists]


def loss_options(config: Configuration) -> LossOptions:
    """Return the YOLO loss that a configuration means.

    ``loss`` names it: ``"default"``, that of ``detection.yolo_loss``, ``"public"``, that of SNN-YOLOv3's public code,
    both with weights in proportion to the picture's side and the number of classes; or ``"paper"``, YOLOv3's. Each of
    ``rule``, ``box``, ``object_target``, ``ignore_above``, ``reduction`` and the weights ``box_weight``,
    ``object_weight``, ``class_weight`` in ``loss_options`` changes one thing.

    Raises:
        ConfigurationError: if there is no such loss or option.
    """
    if config.loss not in LOSSES:
        raise ConfigurationError(f"loss must be one of {', '.join(LOSSES)}, got {config.loss!r}")
    options = {**_OPTIONS, **config.task_options}
    chosen = detection.public_code_options(max(_sides(options["size"])), len(options["classes"]))
    if config.loss == "default":
        chosen = chosen._replace(object_target=LossOptions().object_target)
    elif config.loss == "paper":
        chosen = detection.YOLOV3_PAPER
    changes = dict(config.loss_options)
    names = zip(("box_weight", "object_weight", "class_weight"), chosen.weights, strict=True)
    weights = LossWeights(*(float(changes.pop(name, value)) for name, value in names))
    unknown = sorted(set(changes) - set(LossOptions._fields) | set(changes) & {"weights"})
    if unknown:
        raise ConfigurationError(
            f"the loss has no option {unknown[0]!r}; it has rule, box, object_target, ignore_above, reduction, "
            "box_weight, object_weight and class_weight"
        )
    return chosen._replace(weights=weights, **changes)


def hold_out(dataset: SceneSet, share: float, seed: int) -> tuple[SceneSet, SceneSet]:
    """Split a share of a set's pictures off, with about the same share of every class.

    From the rarest class to the commonest, pictures that show it are taken in a random order until the share of its
    pictures is reached; what is missing then comes from the pictures without an object, and from all.

    Args:
        dataset: pictures, each of another photograph.
        share: of the pictures.
        seed: another seed gives another split.
    Returns:
        The larger part and the smaller one.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    shown = [set(labels.tolist()) for labels in dataset.labels]
    showing = [[i for i in order if label in shown[i]] for label in range(len(dataset.classes))]
    wanted, held = round(share * len(dataset)), set()
    for those in sorted(showing, key=len):
        need = min(round(share * len(those)) - sum(i in held for i in those), wanted - len(held))
        held.update([i for i in those if i not in held][: max(need, 0)])
    rest = sorted((i for i in order if i not in held), key=lambda i: len(shown[i]))  # stable: random among equals
    held.update(rest[: wanted - len(held)])
    parts = ([i for i in range(len(dataset)) if (i in held) == which] for which in (False, True))
    return tuple(dataset.select(part, reason="in the other part") for part in parts)


def constant_detections(train: SceneSet, size: tuple[int, int]) -> Detections:
    """Return what a detector says that never looks: of each class that it has seen its median box.

    Args:
        train: what it has seen.
        size: rows and columns that the pictures are letterboxed to.
    Returns:
        A box for each class, in shares of the letterboxed picture, as sure as its class is frequent.
    """
    windows = [window_of(tuple(shape), size, _FIT) for shape in train.sizes.tolist()]
    boxes = [into_window(boxes, window) for boxes, window in zip(train.boxes, windows, strict=True)]
    boxes, labels = torch.cat([torch.zeros(0, 4, dtype=torch.float64), *boxes]), torch.cat(train.labels)
    seen = labels.unique()
    middle = [boxes[labels == label].quantile(0.5, 0) for label in seen]
    count = torch.bincount(labels)[seen] / max(len(labels), 1)
    return Detections(torch.stack(middle).float(), count, seen)


def _mean_ap(found: list[Detections], objects: list[Objects], classes: Sequence[str], **how: Any) -> dict[str, Any]:
    value, low, high, n = detection.mean_ap_interval(found, objects, classes, num=RESAMPLED, **how)
    if math.isnan(low):  # hardly any draw held something to find
        return {"value": value, "low": None, "high": None, "n": n, "interval": None}
    kept = {"value": value, "low": max(low, 0.0), "high": min(high, 1.0), "n": n}
    return {**kept, "interval": f"bootstrap over pictures, {RESAMPLED} draws, 1.96 standard deviations"}


def _found_by_area(found: list[Detections], objects: list[Objects], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Share of the objects that any detection finds, however unsure, in quarters by their share of the picture."""
    hit, areas = [], []
    for one, true in zip(found, objects, strict=True):
        easy = ~true.difficult
        shared = detection.iou_matrix(true.boxes[easy], one.boxes)
        same = true.labels[easy][:, None] == one.labels
        hit.append(((shared > FOUND_IOU) & same).any(1))
        areas.append(detection.area(true.boxes[easy]))
    hit, areas = torch.cat(hit).float(), torch.cat(areas)
    parts = [part for part in areas.argsort().tensor_split(4) if len(part)]
    ends = [{"from": float(areas[part[0]]), "to": float(areas[part[-1]])} for part in parts]
    return [{**end, **detection.success(hit[part], 0.5)._asdict()} for end, part in zip(ends, parts, strict=True)]


def _label(train: SceneSet, test: SceneSet) -> str:
    said = f"{train.title}, tested on {test.image_set} of {' and '.join(test.years)}"
    sources = _annotators(test) if test.kind == "real" else []
    return f"{said}; annotations: {', '.join(sources)}" if sources else said


def _annotators(dataset: SceneSet) -> list[str]:
    """What a set's annotations say of where they come from: flags may be somebody's guess."""
    said = set()
    for file in dataset.files:
        text = (file.parent.parent / "Annotations" / f"{file.stem}.xml").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"<source>.*?<annotation>\s*(.*?)\s*</annotation>", text, re.DOTALL)
        said.update([found[1]] if found else [])
    return sorted(said)[:3]


@functools.lru_cache(maxsize=8)
def _layout(size: tuple[int, int], num_classes: int) -> HeadLayout:
    return detection.head_layout(detection.VOC_ANCHORS.at(size), num_classes, STRIDES)


def _sides(size: Any) -> tuple[int, int]:
    """Rows and columns of the network's picture."""
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, Sequence) or isinstance(sides, str) or len(sides) != 2:
        raise ConfigurationError(f"size must be one side or rows and columns in pixels, got {size!r}")
    for side in sides:
        if require_count("size", side) % STRIDES[0]:
            raise ConfigurationError(f"size must be a multiple of {STRIDES[0]}, got {side}")
    return tuple(sides)
