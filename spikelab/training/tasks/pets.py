"""Pets: where in the picture is the animal?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from spikelab import detection, energy
from spikelab.detection import Estimate, iou
from spikelab.models.localizer import LocalizerOutput
from spikelab.training.config import Configuration, ConfigurationError
from spikelab.training.contact_sheet import plot_contact_sheet, ranked
from spikelab.training.frames import CODINGS, CodedFrames, spike_probability
from spikelab.training.tasks import Data, Task
from spikelab.validation import require_choice, require_count

TARGETS = ("head", "body", "animal")
SCHEMES = ("course", "official", "paper", "stratified")
CHANNELS = {"rgb": 3, "gray": 1}
LOSSES = {
    "smooth_l1": F.smooth_l1_loss,
    "giou": detection.giou_loss,
    "diou": detection.diou_loss,
    "ciou": detection.ciou_loss,
}
DECISIONS = ("last", "mean")
COUNTED = 64
BASELINE = "the constant box with the highest mIoU on those training boxes that are of the test's kind"
_PICTURE_MODELS = ("ours", "ann")  # they see the picture itself, every other model sees frames
_OPTIONS = {  # of the task, with what they are if nothing is said
    "target": "head",
    "scheme": "course",
    "border": True,
    "size": (88, 120),
    "colour": "rgb",
    "coding": "direct",
    "max_rate_hz": 1000.0,
    "step_ms": 1.0,
    "augment": {},
}


@dataclass(frozen=True)
class PictureSet:
    """Pictures with a box each.

    Attributes:
        images: ``[N, C, H, W]`` uint8.
        boxes: ``[N, 4]`` float32, corners in shares of width and height.
        constants: boxes that never look; see ``fitted_constants``.
        names: of the pictures in their data set.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    constants: dict[str, torch.Tensor]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.boxes)


def fitted_constants(train: Any, validation: Any) -> dict[str, torch.Tensor]:
    """Return the constant boxes of ``detection.constant_boxes``, as strong as the training boxes can make them.

    Such a box is strongest if it is fitted to boxes of the kind that it is scored on. Bodies are trained on outlines
    and on VOC's boxes as well, but validated and tested on masks alone.

    Args:
        train, validation: ``datasets.Pets`` of both splits; validation and test are of one kind.

    Explained in chapter 09.
    """
    kind = set(validation.sources)
    alike = torch.tensor([source in kind for source in train.sources])
    return detection.constant_boxes(torch.as_tensor(train.boxes)[alike])


class PetsTask(Task):
    """Find the one animal of a picture; the metric is the mean intersection over union with the true box."""

    name = "pets"
    metric = "miou"

    def build(self, config: Configuration) -> nn.Module:
        from spikelab.models.pretrained import LOCALIZERS, build

        require_choice("model", config.model, LOCALIZERS)
        options = self.options(config)
        _weights_of_losses(config)
        if config.model in _PICTURE_MODELS and options["coding"] != "direct":
            raise ConfigurationError(f"model {config.model!r} takes the picture itself: coding must be 'direct'")
        model = build(config.as_dict())
        if config.decision:
            require_choice("decision", config.decision, DECISIONS)
            if not _online(model):
                raise ConfigurationError(f"decision {config.decision!r} is for networks with a readout in each layer")
        if _online(model):
            if model.burn_in >= config.num_steps:
                raise ConfigurationError(
                    f"num_steps must be above the {model.burn_in} steps of burn-in, got {config.num_steps}: "
                    "nothing would be learned"
                )
            if config.rate_weight:
                raise ConfigurationError("rate_weight must be 0 for a network that learns online: it keeps no rates")
        if (config.rule == "decolle") != _online(model):
            raise ConfigurationError(f"rule {config.rule!r} does not fit model {config.model!r}")
        return model

    def prepare(self, config: Configuration, model: nn.Module, data: Data, device: torch.device) -> None:
        if config.model_options.get("init") != "lsuv":
            return
        from spikelab.plasticity import initialise_decolle

        indices = torch.arange(min(config.batch, len(data.train)))
        frames, _ = self.batch(config, data.train, indices, None, device)
        generator = torch.Generator(device).manual_seed(config.seed)
        initialise_decolle(model, "lsuv", generator=generator, frames=tuple(frames))

    def options(self, config: Configuration) -> dict[str, Any]:
        """Return the task's options, checked, each with its default if it is not given."""
        unknown = sorted(set(config.task_options) - set(_OPTIONS))
        if unknown:
            raise ConfigurationError(f"pets have no option {unknown[0]!r}; they have {', '.join(_OPTIONS)}")
        options = {**_OPTIONS, **config.task_options}
        require_choice("target", options["target"], TARGETS)
        require_choice("scheme", options["scheme"], SCHEMES)
        require_choice("colour", options["colour"], CHANNELS)
        require_choice("coding", options["coding"], CODINGS)
        spike_probability(options["max_rate_hz"], options["step_ms"])
        size = options["size"]
        if not isinstance(size, Sequence) or len(size) != 2:
            raise ConfigurationError(f"size must be rows and columns, such as [88, 120], got {size!r}")
        options["size"] = tuple(require_count("size", side, minimum=8) for side in size)
        self._views(options, 0, torch.Generator())
        return options

    def data(self, config: Configuration, splits: Sequence[str] = ("train", "validation", "test")) -> Data:
        from spikelab.datasets.pets import Pets
        from spikelab.datasets.pictures import load_pictures

        options = self.options(config)
        which = {"scheme": options["scheme"], "kind": config.data, "border": options["border"]}
        wanted = dict.fromkeys(("train", "validation", *splits))
        sets = {split: Pets(options["target"], split, **which) for split in wanted}
        constants = fitted_constants(sets["train"], sets["validation"])
        found = {}
        for split in splits:
            images, boxes = load_pictures(sets[split], options["size"], colour=options["colour"])
            names = sets[split].names
            if split == "train" and 0 < config.train_limit < len(boxes):
                generator = torch.Generator().manual_seed(config.seed)
                chosen = torch.randperm(len(boxes), generator=generator)[: config.train_limit]
                images, boxes, names = images[chosen], boxes[chosen], [names[i] for i in chosen.tolist()]
            found[split] = PictureSet(images, boxes, constants, names)
        return Data(
            *(found.get(split) for split in ("train", "validation", "test")),
            name=f"{self.name}-{options['target']}",
            label=sets[splits[-1]].label.rpartition(", ")[0],  # without the number of pictures of the split
            hash=hashlib.sha256("".join(sets[split].hash for split in splits).encode()).hexdigest()[:16],
        )

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """Return the views ``[count, 8]``, and in a ninth column the seeds of the pictures' spikes."""
        options = self.options(config)
        views = self._views(options, count, generator)
        if options["coding"] != "poisson":
            return views
        seeds = torch.randint(2**24, (count, 1), generator=generator).float()  # whole numbers that float32 can hold
        return seeds if views is None else torch.cat([views, seeds], 1)

    def batch(
        self,
        config: Configuration,
        split: PictureSet,
        indices: torch.Tensor,
        draws: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor | CodedFrames, torch.Tensor]:
        from spikelab.datasets.augment import apply_views

        options = self.options(config)
        images, boxes = split.images[indices].to(device), split.boxes[indices].to(device)
        seeds = indices
        if draws is not None and options["coding"] == "poisson":
            draws, seeds = draws[:, :-1], draws[:, -1]
        images, boxes = apply_views(images, boxes, draws if options["augment"] else None)
        if config.model in _PICTURE_MODELS:
            return images, boxes
        frames = CodedFrames(
            images,
            options["coding"],
            config.num_steps,
            max_rate_hz=options["max_rate_hz"],
            step_ms=options["step_ms"],
            seeds=[int(seed) for seed in seeds],
        )
        return (frames if config.rule == "decolle" else frames.all()), boxes

    def loss(self, config: Configuration, output: LocalizerOutput, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of the box, or with a readout in each layer the sum of theirs."""
        weights = _weights_of_losses(config)
        answers = [output.boxes] if output.readouts is None else output.readouts
        parts = [weight * LOSSES[name](a.float(), targets) for a in answers for name, weight in weights.items()]
        return torch.stack(parts).sum()

    def answer(self, readouts: Sequence[torch.Tensor]) -> LocalizerOutput:
        return LocalizerOutput(readouts[-1], readouts=torch.stack(tuple(readouts)))

    def evidence(
        self, config: Configuration, output: LocalizerOutput, targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        mean = output.mean_readouts
        boxes = mean[-1] if config.decision == "mean" and mean is not None else output.boxes
        found = {"boxes": _within(boxes), "truth": targets}
        found["score"] = iou(found["boxes"], targets)
        for name, readouts in (("last step", output.readouts), ("mean over steps", mean)):
            if readouts is not None:
                found[name] = iou(_within(readouts), targets).T  # [B, L]
        return found

    def metrics(self, evidence: Mapping[str, torch.Tensor], split: PictureSet) -> dict[str, Any]:
        boxes, truth, ious = evidence["boxes"], evidence["truth"], evidence["score"]
        constants = {name: iou(box.to(truth), truth) for name, box in split.constants.items()}
        size = tuple(split.images.shape[-2:])
        pixels = iou(detection.to_pixels(boxes, size), detection.to_pixels(truth, size), inclusive=True)
        miou, gain = detection.mean_iou(ious), detection.paired_gain(ious, constants["best"])
        rank = {"area": detection.area(truth), "offset": detection.centre_offset(truth)}
        centres = {"predicted": boxes, "true": truth}
        details = {
            "iou_histogram": detection.iou_histogram(ious).tolist(),
            "centre_spread": {name: _centres(b).std(0, correction=0).tolist() for name, b in centres.items()},
            "constants": {
                name: {"box": split.constants[name].tolist(), "miou": float(values.double().mean())}
                for name, values in constants.items()
            },
        }
        details["contact_sheet"] = {
            row: [{"name": split.names[place], "iou": float(ious[place])} for place in places]
            for row, places in ranked(ious).items()
        }
        if len(ious) >= 4:
            for name, values in rank.items():
                details[f"miou_by_{name}"] = [_kept(e) for e in detection.by_quartile(values, ious)]
                gains = detection.by_quartile(values, ious, constants["best"])
                details[f"gain_by_{name}"] = [_kept(e) for e in gains]
        readouts = {name: evidence[name] for name in ("last step", "mean over steps") if name in evidence}
        if readouts:
            details["miou_by_layer"] = {
                name: [_kept(detection.mean_iou(layer)) for layer in values.unbind(1)]
                for name, values in readouts.items()
            }
        skill = detection.skill(miou.value, miou.value - gain.value)
        return {
            "miou": _kept(miou, "bootstrap 95 %"),
            "miou_inclusive": _kept(detection.mean_iou(pixels), "bootstrap 95 %"),
            "success50": _kept(detection.success(ious, 0.5), "Wilson 95 %"),
            "success75": _kept(detection.success(ious, 0.75), "Wilson 95 %"),
            "gain": _kept(gain, "paired bootstrap 95 %"),
            "skill": {"value": skill, "low": None, "high": None, "n": len(ious), "interval": None},
            "details": details,
        }

    def baseline(self, data: Data) -> dict[str, Any] | None:
        if data.test is None:
            return None
        ious = iou(data.test.constants["best"].to(data.test.boxes), data.test.boxes)
        return {"name": BASELINE, "value": float(ious.double().mean())}

    def cost(self, config: Configuration, model: nn.Module, split: PictureSet, device: torch.device) -> dict[str, Any]:
        """Return operations and energy of a picture, means over the first ``COUNTED`` ones, or fewer as frames."""
        online = _online(model)
        indices = torch.arange(min(COUNTED // 8 if online else COUNTED, len(split)))
        inputs, _ = self.batch(config, split, indices, None, device)
        found = energy.count_operations(model, inputs, samples=len(indices))
        if online:  # only the last layer's readout is needed for an answer
            found = found.without(*(f"readouts.{layer}" for layer in range(len(model.readouts) - 1)))
        return {**found.as_dict(), "energy_pj": energy.energy_pj(found), "counted": len(indices)}

    def pictures(
        self, config: Configuration, split: PictureSet, evidence: Mapping[str, torch.Tensor]
    ) -> dict[str, Any]:
        figure = plot_contact_sheet(split.images, split.boxes, evidence["boxes"], evidence["score"])
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


def _weights_of_losses(config: Configuration) -> dict[str, float]:
    """Return the weight of each part of a loss such as ``"smooth_l1+giou"``; 1 if the options do not name it."""
    parts = config.loss.split("+")
    for part in parts:
        if part not in LOSSES:
            raise ConfigurationError(f"loss must be made of {', '.join(LOSSES)}, joined by +, got {config.loss!r}")
    unknown = sorted(set(config.loss_options) - set(parts))
    if unknown:
        raise ConfigurationError(f"loss {config.loss!r} has no option {unknown[0]!r}; it has {', '.join(parts)}")
    return {part: float(config.loss_options.get(part, 1.0)) for part in parts}


def _online(model: nn.Module) -> bool:
    return getattr(model, "online", False)


def _within(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes as they are scored: corners in order, cut off at the edge of the picture."""
    return detection.clip_boxes(detection.order_corners(boxes.detach().float().nan_to_num()))


def _centres(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, :2] + boxes[:, 2:]).double() / 2


def _kept(estimate: Estimate, interval: str = "") -> dict[str, Any]:
    value, low, high, n = estimate
    # The mean of few pictures may round to just outside of its resampled means.
    kept = {"value": value, "low": min(low, value), "high": max(high, value), "n": n}
    return {**kept, "interval": interval} if interval else kept
