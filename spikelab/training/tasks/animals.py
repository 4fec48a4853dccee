"""Animals: which one is in the picture, and where?

The capstone's task. A picture with exactly one animal; an answer is a class and a box, and right if both are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from spikelab import detection, energy
from spikelab.datasets.coco import ANIMALS
from spikelab.detection import Estimate, iou
from spikelab.leaderboard import TrivialBaseline, joint_hits, macro_mean, trivial_baseline
from spikelab.models.animals import AnimalOutput
from spikelab.statistics import confusion_matrix, wilson_interval
from spikelab.training.config import Configuration, ConfigurationError
from spikelab.training.contact_sheet import plot_contact_sheet, ranked
from spikelab.training.tasks import Data, Task
from spikelab.validation import require_between, require_choice, require_count

CLASSES = {"coco": ANIMALS, "voc": ANIMALS[:6]}
SHIFT = "coco-shift"
KINDS = ("auto", "real", "synthetic", SHIFT)
FITS = ("letterbox", "stretch")
BOX_LOSSES = {"giou": detection.giou_loss, "diou": detection.diou_loss, "ciou": detection.ciou_loss}
BASELINE = "the commonest class and the constant box with the highest mIoU, both of the training pictures"
DRAWS, SEED = 2000, 0  # of the bootstrap
COUNTED = 64
_OPTIONS = {  # of the task, with what they are if nothing is said
    "source": "voc",
    "split_seed": 0,
    "size": (64, 64),
    "fit": "letterbox",
    "balance": 0.5,
    "keep": 0.8,
    "augment": {},
}


@dataclass(frozen=True)
class AnimalSet:
    """Pictures with one animal each.

    Attributes:
        images: ``[N, C, H, W]`` uint8, as the network sees them.
        boxes: ``[N, 4]`` float32, corners in shares of the picture as it is here, with its bars.
        labels: ``[N]`` int64.
        windows: ``[N, 4]`` float32, where in the picture the original is.
        weights: ``[C]``, what a picture of each class counts for in the loss.
        trivial: what the training pictures' commonest class and best constant box score here.
        constants: constant boxes of the training pictures, in shares of the original, by name.
        classes: the classes' names.
        names: of the pictures in their data set.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    windows: torch.Tensor
    weights: torch.Tensor
    trivial: TrivialBaseline
    constants: dict[str, torch.Tensor]
    classes: tuple[str, ...]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


class AnimalTargets(NamedTuple):
    """What is in B pictures.

    Attributes:
        boxes: ``[B, 4]``, corners in shares of the pictures as the network sees them.
        labels: ``[B]``.
        windows: ``[B, 4]``, where in them the originals are; None if they were augmented.
        weights: ``[B]``, what each counts for in the loss of its class.
        shares: ``[B]``, what each counts for in the mean over classes: 1 in the mean over the split.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    windows: torch.Tensor | None
    weights: torch.Tensor
    shares: torch.Tensor


class AnimalsTask(Task):
    """Name and find the one animal of a picture.

    The metric is the macro joint success: class right and IoU above a half, averaged inside each class first. Boxes are
    compared in the original picture, cut off at its edges; in training in the view that is seen of it.

    With ``data = "coco-shift"`` the test split is COCO's pictures of VOC's six animals, at any number of them: weights
    that were trained on VOC meet pictures from elsewhere.
    """

    name = "animals"
    metric = "macro_joint"

    def build(self, config: Configuration) -> nn.Module:
        from spikelab.models.pretrained import NAMERS, build

        require_choice("model", config.model, NAMERS)
        self.options(config)
        _loss_parts(config)
        if config.rule != "bptt":
            raise ConfigurationError(f"rule must be 'bptt' for animals, got {config.rule!r}")
        return build(config.as_dict())

    def options(self, config: Configuration) -> dict[str, Any]:
        """Return the task's options, checked, each with its default if it is not given."""
        unknown = sorted(set(config.task_options) - set(_OPTIONS))
        if unknown:
            raise ConfigurationError(f"animals have no option {unknown[0]!r}; they have {', '.join(_OPTIONS)}")
        options = {**_OPTIONS, **config.task_options}
        require_choice("data", config.data, KINDS)
        require_choice("source", options["source"], CLASSES)
        require_choice("fit", options["fit"], FITS)
        require_count("split_seed", options["split_seed"], minimum=0)
        require_between("balance", options["balance"], 0, 1, "0: every picture counts the same, 1: every class")
        if not isinstance(options["keep"], (int, float)) or not 0.5 < options["keep"] <= 1:
            raise ConfigurationError(f"keep must be above 0.5 and at most 1, got {options['keep']!r}")
        size = options["size"]
        if not isinstance(size, Sequence) or len(size) != 2:
            raise ConfigurationError(f"size must be rows and columns, such as [64, 64], got {size!r}")
        options["size"] = tuple(require_count("size", side, minimum=8) for side in size)
        self._views(options, 0, torch.Generator())
        return options

    def data(self, config: Configuration, splits: Sequence[str] = ("train", "validation", "test")) -> Data:
        from spikelab.datasets import load_scenes
        from spikelab.datasets.single_animals import coco_of_shared, single_animals

        options = self.options(config)
        shifted = config.data == SHIFT
        if shifted and (options["source"] != "voc" or tuple(splits) != ("test",)):
            raise ConfigurationError(f"data {SHIFT!r} is a test of weights trained on VOC, with no other split")
        kind = "auto" if shifted else config.data
        parts = single_animals(options["source"], kind=kind, seed=options["split_seed"])
        train_boxes, train_labels = _ones(parts.train)
        counts = torch.bincount(train_labels, minlength=len(parts.train.classes)).double()
        weights = class_weights(counts, options["balance"])
        constants = detection.constant_boxes(train_boxes)
        found, sets = {}, []
        for split in splits:
            scenes = coco_of_shared() if shifted else getattr(parts, split)
            sets.append(scenes)
            boxes, labels = _ones(scenes)
            trivial = trivial_baseline(train_labels, train_boxes, labels, boxes)
            pictures = load_scenes(scenes, options["size"], fit=options["fit"])
            images, windows = pictures.images, pictures.windows.float()
            inside = torch.stack([objects.boxes[0] for objects in pictures.objects])
            names = scenes.names
            if split == "train" and 0 < config.train_limit < len(labels):
                generator = torch.Generator().manual_seed(config.seed)
                chosen = torch.randperm(len(labels), generator=generator)[: config.train_limit]
                images, inside, labels, windows = images[chosen], inside[chosen], labels[chosen], windows[chosen]
                names = [names[place] for place in chosen.tolist()]
            found[split] = AnimalSet(
                images, inside, labels, windows, weights, trivial, constants, scenes.classes, names
            )
        return Data(
            *(found.get(split) for split in ("train", "validation", "test")),
            name=f"{self.name}-{SHIFT if shifted else options['source']}",
            label=sets[-1].title,
            hash=hashlib.sha256("".join(scenes.hash for scenes in sets).encode()).hexdigest()[:16],
        )

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        return self._views(self.options(config), count, generator)

    def batch(
        self,
        config: Configuration,
        split: AnimalSet,
        indices: torch.Tensor,
        draws: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, AnimalTargets]:
        from spikelab.datasets.augment import apply_views

        images, boxes = split.images[indices].to(device), split.boxes[indices].to(device)
        images, boxes = apply_views(images, boxes, draws, keep=self.options(config)["keep"])
        labels = split.labels[indices]
        counts = torch.bincount(split.labels, minlength=len(split.classes))
        shares = len(split) / (counts.clamp(min=1) * int((counts > 0).sum())).double()
        windows = split.windows[indices].to(device) if draws is None else None
        targets = AnimalTargets(
            boxes, labels.to(device), windows, split.weights[labels].float().to(device), shares[labels].to(device)
        )
        return images, targets

    def loss(self, config: Configuration, output: AnimalOutput, targets: AnimalTargets) -> torch.Tensor:
        """Return the class's cross-entropy, weighted by class, and so many times the box's loss."""
        box, weight, smoothing = _loss_parts(config)
        crossed = F.cross_entropy(output.classes.float(), targets.labels, reduction="none", label_smoothing=smoothing)
        return (crossed * targets.weights).mean() + weight * BOX_LOSSES[box](output.boxes.float(), targets.boxes)

    def evidence(self, config: Configuration, output: AnimalOutput, targets: AnimalTargets) -> dict[str, torch.Tensor]:
        """Return classes and boxes, predicted and true, in shares of the original; ``score`` averages to the metric."""
        boxes, truth = output.boxes.detach().float().nan_to_num(), targets.boxes.float()
        if targets.windows is not None:
            corner, last = targets.windows.split(2, 1)
            boxes, truth = ((b - corner.repeat(1, 2)) / (last - corner).repeat(1, 2) for b in (boxes, truth))
        boxes = detection.clip_boxes(detection.order_corners(boxes))
        predicted = output.classes.detach().argmax(1)
        hits = joint_hits(predicted, targets.labels, boxes, truth)
        return {
            "boxes": boxes,
            "truth": truth,
            "predicted": predicted,
            "target": targets.labels,
            "confidence": output.classes.detach().float().softmax(1).amax(1),
            "score": hits * targets.shares,
        }

    def metrics(self, evidence: Mapping[str, torch.Tensor], split: AnimalSet) -> dict[str, Any]:
        truth, target, predicted = evidence["truth"], evidence["target"], evidence["predicted"]
        ious = iou(evidence["boxes"], truth)
        named = predicted == target
        hits = joint_hits(predicted, target, evidence["boxes"], truth)
        constant = iou(split.constants["best"].to(truth), truth)
        miou, gain = detection.mean_iou(ious), detection.paired_gain(ious, constant)
        present = sorted(target.unique().tolist())
        inside = {split.classes[label]: target == label for label in present}
        details = {
            "classes": {
                name: {
                    "n": int(here.sum()),
                    "joint": float(hits[here].double().mean()),
                    "accuracy": float(named[here].double().mean()),
                    "miou": float(ious[here].double().mean()),
                }
                for name, here in inside.items()
            },
            "absent": [name for label, name in enumerate(split.classes) if label not in present],
            "mistakes": _mistakes(named, ious),
            "iou_histogram": detection.iou_histogram(ious).tolist(),
            "constants": {name: float(iou(box.to(truth), truth).mean()) for name, box in split.constants.items()},
            "trivial": {
                **{key: value for key, value in split.trivial._asdict().items() if key not in ("label", "box")},
                "class": split.classes[split.trivial.label],
                "box": split.trivial.box.tolist(),
            },
        }
        details["contact_sheet"] = {
            row: [
                {
                    "name": split.names[place],
                    "iou": float(ious[place]),
                    "true": split.classes[int(target[place])],
                    "predicted": split.classes[int(predicted[place])],
                }
                for place in places
            ]
            for row, places in ranked(ious).items()
        }
        if len(ious) >= 4:
            size = detection.area(truth)
            details["miou_by_area"] = [_kept(e) for e in detection.by_quartile(size, ious)]
            details["joint_by_area"] = [_kept(e) for e in detection.by_quartile(size, hits.double())]
        return {
            "macro_joint": _kept(_macro(hits, target), "bootstrap 95 %, inside each class"),
            "macro_accuracy": _kept(_macro(named, target), "bootstrap 95 %, inside each class"),
            "joint": _share(hits),
            "accuracy": _share(named),
            "miou": _kept(miou, "bootstrap 95 %"),
            "success50": _kept(detection.success(ious, 0.5), "Wilson 95 %"),
            "gain": _kept(gain, "paired bootstrap 95 %"),
            "confusion": confusion_matrix(target, predicted, len(split.classes)).tolist(),
            "details": details,
        }

    def baseline(self, data: Data) -> dict[str, Any] | None:
        return None if data.test is None else {"name": BASELINE, "value": data.test.trivial.macro_joint}

    def cost(self, config: Configuration, model: nn.Module, split: AnimalSet, device: torch.device) -> dict[str, Any]:
        """Return operations and energy of a picture, means over the first ``COUNTED`` ones.

        ``energy_pj`` is that of a table of prices; ``chip_energy_j`` what a neuromorphic chip's best efficiency would
        make of the spikes' additions, 0 for a network without spikes.
        """
        indices = torch.arange(min(COUNTED, len(split)))
        inputs, _ = self.batch(config, split, indices, None, device)
        found = energy.count_operations(model, inputs, samples=len(indices))
        return {
            **found.as_dict(),
            "energy_pj": energy.energy_pj(found),
            "chip_energy_j": energy.chip_energy_j(found.acs, 1),
            "counted": len(indices),
        }

    def pictures(self, config: Configuration, split: AnimalSet, evidence: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return the contact sheet, ranked by IoU; boxes are drawn into the pictures as the network saw them."""
        boxes, truth = (
            _into_windows(evidence[name], split.windows[: len(evidence[name])]) for name in ("boxes", "truth")
        )
        ious = iou(evidence["boxes"], evidence["truth"])
        titles = []
        for overlap, *answer in zip(
            ious.tolist(), evidence["target"].tolist(), evidence["predicted"].tolist(), strict=True
        ):
            true, said = (split.classes[label] for label in answer)
            titles.append(f"{overlap:.2f} {true}" + ("" if true == said else f", not {said}"))
        figure = plot_contact_sheet(split.images, truth, boxes, ious, titles=titles)
        return {"contact_sheet.png": figure}

    @staticmethod
    def _views(options: Mapping[str, Any], count: int, generator: torch.Generator) -> torch.Tensor | None:
        from spikelab.datasets.augment import draw_views

        if not options["augment"]:
            return None
        try:
            return draw_views(count, generator, **options["augment"])
        except TypeError as error:  # an unknown argument: Python's message names it
            raise ConfigurationError(f"augment has an option that pictures cannot be changed by: {error}") from error


def class_weights(counts: torch.Tensor, balance: float) -> torch.Tensor:
    r"""Return what a picture of each class counts for, 1 in the mean over the training pictures.

    .. math:: w_k \propto n_k^{-b}

    Args:
        counts: training pictures of each class ``[C]``.
        balance: b; 0: every picture counts the same, 1: every class does, 1/2: between the two.
    Returns:
        ``[C]`` float64; a class without a picture counts as one with a single picture.

    Explained in chapter 14.
    """
    weights = counts.double().clamp(min=1) ** -balance
    return weights * counts.sum() / (weights * counts).sum()


def _loss_parts(config: Configuration) -> tuple[str, float, float]:
    """Return the loss of the box, its weight, and the smoothing of labels."""
    name, plus, box = config.loss.partition("+")
    if name != "ce" or not plus or box not in BOX_LOSSES:
        allowed = ", ".join(f"ce+{name}" for name in BOX_LOSSES)
        raise ConfigurationError(f"loss must be one of {allowed}, got {config.loss!r}")
    unknown = sorted(set(config.loss_options) - {box, "smoothing"})
    if unknown:
        raise ConfigurationError(f"loss {config.loss!r} has no option {unknown[0]!r}; it has {box}, smoothing")
    smoothing = require_between("smoothing", config.loss_options.get("smoothing", 0.0), 0, 0.9)
    return box, float(config.loss_options.get(box, 2.0)), smoothing


def _ones(scenes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the one box ``[N, 4]`` of each picture, in shares of the original, and its class ``[N]``."""
    return torch.cat(scenes.boxes).reshape(-1, 4), torch.cat(scenes.labels)


def _into_windows(boxes: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    corner, last = windows.to(boxes).split(2, 1)
    return boxes * (last - corner).repeat(1, 2) + corner.repeat(1, 2)


def _mistakes(named: torch.Tensor, ious: torch.Tensor) -> dict[str, int]:
    """Count pictures by what is wrong with the answer."""
    found = ious > 0.5
    kinds = {"none": named & found, "class": ~named & found, "box": named & ~found, "both": ~named & ~found}
    return {kind: int(which.sum()) for kind, which in kinds.items()}


def _macro(values: torch.Tensor, target: torch.Tensor) -> Estimate:
    """Mean of yes and no inside each class and then over classes; its interval by drawing anew inside each class.

    So many of n drawn with replacement are yes as n throws of a coin with their share.
    """
    means = torch.zeros(DRAWS, dtype=torch.float64)
    generator, labels = torch.Generator().manual_seed(SEED), target.unique()
    for label in labels:
        here = values[target == label].double()
        drawn = torch.binomial(torch.full((DRAWS,), float(len(here))), here.mean().float().expand(DRAWS), generator)
        means += drawn.double() / len(here)
    low, high = (means / len(labels)).quantile(means.new_tensor([0.025, 0.975])).tolist()
    return Estimate(macro_mean(values, target), low, high, len(target))


def _share(values: torch.Tensor) -> dict[str, Any]:
    right, n = int(values.sum()), len(values)
    return _kept(Estimate(right / n, *wilson_interval(right, n), n), "Wilson 95 %")


def _kept(estimate: Estimate, interval: str = "") -> dict[str, Any]:
    value, low, high, n = estimate
    # The mean of few pictures may round to just outside of its resampled means.
    kept = {"value": value, "low": min(low, value), "high": max(high, value), "n": n}
    return {**kept, "interval": interval} if interval else kept
