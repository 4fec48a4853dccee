"""How should a spiking detector's outputs be read? Decoders on digit scenes at equal budget, for chapter 12.

    python -m benchmarks.decoders [--kind mnist|scikit-learn|auto] [--json FILE]

One small detector (four convolutions with batch normalisation, one head of 7 x 7 cells and one anchor) is trained on
the same scenes, for the same epochs, from the same weights and with the same batches, once for each reading of its
outputs and each seed; a seed is of weights and batches. (One thing differs: the biases with which a head begins are cut
off to the range of its outputs.) After every epoch it finds digits in test scenes that no
training reads; the last epoch counts, none is chosen. The trained networks are then read in other ways: at other
numbers of steps, and with outputs cut off and rounded to the levels that a rate would have.

Every finished network is written at once; the same command goes on where it was stopped, or
with the variants that were added since.
"""

from __future__ import annotations

import datetime
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import nn

from spikelab.datasets.digits import CLASSES, Digits, digit_scenes, load_digits
from spikelab.datasets.files import read_json, write_json
from spikelab.datasets.scenes import Scenes
from spikelab.detection import (
    HeadLayout,
    LossOptions,
    LossWeights,
    YoloLoss,
    detect,
    evaluate_detections,
    head_layout,
    yolo_loss,
)
from spikelab.neurons import integrate_and_fire
from spikelab.surrogate import atan
from spikelab.training.results import hardware, versions

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "12_decoders.json"
SEEDS = (0, 1, 2)
SCENES = {"train": 3000, "test": 1000}
CHANNELS, STRIDES = (1, 16, 32, 64, 64), (2, 2, 2, 1)
ANCHOR = (14.0, 22.0)  # about the middle of the digits' widths and heights, in pixels of 56
OBJECT_BIAS, CLASS_BIAS = -4.5, math.log(0.6 / (len(CLASSES) - 0.99))  # at the start hardly anything is an object
SETTINGS = {"epochs": 8, "batch": 32, "optimiser": "AdamW", "lr": 5e-3, "weight_decay": 5e-4, "schedule": "one cycle"}
# The public code's weights of the parts, at 56 pixels and 10 classes.
LOSS = LossOptions("best", "giou", "giou", None, "per_head", LossWeights(3.54, 64.3 * 56 / 320, 37.4 * 10 / 80))
READ_AT = (1, 2, 3, 4, 6, 8, 16)
LEVELS = (6, 16, 64)


class Variant(NamedTuple):
    """One way to build, train and read the detector.

    Attributes:
        decode: ``"mean"``, ``"sum"`` or ``"last"`` of the head's current, ``"membrane"`` of a leaky unit that never
            fires, ``"rate"`` of a spiking one; ``"levels"``, the mean cut off and rounded to what a rate can say, with
            a gradient as if it were not; ``"relu"``, ``"clamped"`` and ``"clamped-arctan"`` are twins without spikes,
            see ``TWINS``.
        num_steps: T.
        rate_range: outputs at no spike and at a spike in every step; of ``"rate"`` and ``"levels"``.
        reset: of the hidden neurons.
        squared: objectness and classes of the loss are multiplied by themselves once more.
    """

    decode: str
    num_steps: int = 1
    rate_range: tuple[float, float] = (0.0, 1.0)
    reset: str = "subtract"
    squared: bool = False


WIDE = (-4.0, 4.0)
VARIANTS = {
    "relu": Variant("relu"),
    "clamped": Variant("clamped"),
    "clamped-arctan": Variant("clamped-arctan"),
    "mean-6": Variant("mean", 6),
    "mean-4": Variant("mean", 4),
    "rate-raw-6": Variant("rate", 6),
    "rate-wide-6": Variant("rate", 6, WIDE),
    "levels-wide-6": Variant("levels", 6, WIDE),
    "levels-raw-6": Variant("levels", 6),
    "mean-4-squared": Variant("mean", 4, squared=True),
    "sum-4": Variant("sum", 4),
    "last-4": Variant("last", 4),
    "mean-1": Variant("mean", 1),
    "mean-4-hard": Variant("mean", 4, reset="zero"),
    "membrane-4": Variant("membrane", 4),
    "mean-2": Variant("mean", 2),
}
LAST = ("levels-raw-6", "clamped", "clamped-arctan", "membrane-4", "mean-2")  # come after all others


def clamp_with_tails(current: torch.Tensor) -> torch.Tensor:
    """Clamp at 0 and 1 as a twin without spikes does, with a gradient that the ends do not cut off.

    Between 0 and 1 the gradient is the clamp's own, 1. Beyond an end, where the clamp's is 0, it is what the spiking
    neurons' surrogate has at that distance from their threshold: ``atan()``, whose peak is 1, so the gradient has no
    jump. An arctan centred at 1/2 or at the threshold would weaken the gradient within the range, too, and the twin
    would differ from the clamp in two things; with this one it differs only where the clamp is deaf.
    """
    said = current.detach().clamp(0, 1)
    sloped = atan().derivative(current.detach() - said) * current
    return said + (sloped - sloped.detach())


TWINS = {
    "relu": partial(torch.clamp, min=0),
    "clamped": partial(torch.clamp, min=0, max=1),  # what the rate of an integrate-and-fire neuron tends to
    "clamped-arctan": clamp_with_tails,
}


class DigitDetector(nn.Module):
    """Four convolutions with batch normalisation and neurons, and one head of 7 x 7 cells."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b))
            for a, b, stride in zip(CHANNELS, CHANNELS[1:], STRIDES, strict=False)
        )
        self.head = nn.Conv2d(CHANNELS[-1], 5 + len(CLASSES), 1)
        begin = torch.tensor([0.0, 0.0, 0.0, 0.0, OBJECT_BIAS, *[CLASS_BIAS] * len(CLASSES)])
        if variant.decode in ("rate", "levels"):  # further down output neurons would be silent, and deaf to their error
            begin = begin.clamp(*variant.rate_range)
        with torch.no_grad():
            self.head.bias.copy_(begin)

    def hidden(self, images: torch.Tensor, num_steps: int | None = None) -> list[torch.Tensor]:
        """Return the output of each layer's neurons, ``[T, B, ...]``; the first convolution runs once."""
        signal, found = images, []
        for layer in self.layers:
            if self.variant.decode in TWINS:
                signal = TWINS[self.variant.decode](layer(signal))
                found.append(signal[None])
                continue
            if found:
                current = layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])
            else:
                current = layer(signal).expand(num_steps or self.variant.num_steps, -1, -1, -1, -1)
            signal = integrate_and_fire(current, reset=self.variant.reset).spikes
            found.append(signal)
        return found

    def forward(self, images: torch.Tensor, num_steps: int | None = None) -> torch.Tensor:
        """Return what the head says ``[B, 15, 7, 7]``."""
        return self.read(self.hidden(images, num_steps)[-1])

    def read(self, spikes: torch.Tensor) -> torch.Tensor:
        """Turn the last layer's output ``[T, B, ...]`` into the head's ``[B, 15, 7, 7]``."""
        decode, (low, high) = self.variant.decode, self.variant.rate_range
        if decode == "sum":
            return self.head(spikes.mean(0)) * len(spikes)
        if decode == "last":
            return self.head(spikes[-1])
        if decode == "membrane":
            keep = 0.9 ** torch.arange(len(spikes) - 1, -1, -1.0)
            return self.head(torch.einsum("t,t...->...", keep / keep.sum(), spikes)) * keep.sum()
        if decode == "rate":
            current = self.head(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])
            return low + (high - low) * integrate_and_fire((current - low) / (high - low)).spikes.mean(0)
        mean = self.head(spikes.mean(0))
        if decode == "levels":
            return mean + (said_by_rate(mean, len(spikes), (low, high)) - mean).detach()
        return mean


def said_by_rate(wanted: torch.Tensor, num_steps: int, rate_range: tuple[float, float]) -> torch.Tensor:
    """Return the nearest numbers that a rate of so many steps, spread over a range, can say."""
    low, high = rate_range
    return low + (high - low) * ((wanted - low) / (high - low) * num_steps).round().clamp(0, num_steps) / num_steps


def what_is_minimised(loss: YoloLoss, squared: bool) -> torch.Tensor:
    """Return the loss, or what ``l *= l.clone() * h`` makes of it: h l² for objectness and classes, l unweighted."""
    if not squared:
        return loss.total
    h = LOSS.weights
    return loss.box + loss.objectness.square() / h.objectness + loss.classes.square() / h.classes


def train(
    variant: Variant, scenes: Scenes, test: Scenes, layout: HeadLayout, seed: int, epochs: int
) -> tuple[DigitDetector, dict[str, Any]]:
    """Train one detector and test it after every epoch.

    Args:
        variant: how it is built, trained and read.
        scenes: to learn from.
        test: to be judged on.
        layout: of the head.
        seed: of weights and batches.
        epochs: passes over the scenes.
    Returns:
        The detector in evaluation mode, and the cell of the result. Seconds are the processor's, of training alone.
    """
    torch.manual_seed(seed)
    model, pictures = DigitDetector(variant), as_input(scenes)
    batches = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"])
    per_epoch = math.ceil(len(pictures) / SETTINGS["batch"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, SETTINGS["lr"], total_steps=epochs * per_epoch)
    history, seconds = [], 0.0
    for _ in range(epochs):
        started, parts = time.process_time(), torch.zeros(3)
        model.train()
        for batch in torch.randperm(len(pictures), generator=batches).split(SETTINGS["batch"]):
            optimiser.zero_grad()
            loss = yolo_loss([model(pictures[batch])], [scenes.objects[i] for i in batch.tolist()], layout, LOSS)
            what_is_minimised(loss, variant.squared).backward()
            optimiser.step()
            schedule.step()
            parts += torch.stack(loss[1:4]).detach() / per_epoch
        seconds += time.process_time() - started
        model.eval()
        history.append(
            {"loss": [round(part, 4) for part in parts.tolist()], **judge(outputs(model, test), test, layout)}
        )
    with torch.no_grad():
        rates = [round(float(layer.mean()), 4) for layer in model.hidden(as_input(test)[:200])]
    return model, {"history": history, **history[-1], "rates": rates, "cpu_seconds": round(seconds, 2)}


@torch.no_grad()
def outputs(model: DigitDetector, test: Scenes, num_steps: int | None = None) -> torch.Tensor:
    """Return what the head says of every test scene."""
    return torch.cat([model(part, num_steps) for part in as_input(test).split(250)])


def judge(raw: torch.Tensor, test: Scenes, layout: HeadLayout) -> dict[str, Any]:
    """Return average precisions of the head's outputs, and how many boxes they are."""
    found = detect([raw], layout, score_threshold=0.01)
    scores = {
        name: evaluate_detections(found, test.objects, CLASSES, flavour="area", threshold=threshold).mean
        for name, threshold in (("ap50", 0.5), ("ap75", 0.75))
    }
    told = {name: round(value, 5) for name, value in scores.items()}
    sure = torch.sigmoid(raw[:, 4])
    return {**told, "detections": sum(len(one.scores) for one in found), "objectness": round(float(sure.min()), 4)}


@torch.no_grad()
def read_otherwise(model: DigitDetector, test: Scenes, layout: HeadLayout) -> dict[str, Any]:
    """Read one trained detector in other ways than it was trained for."""
    variant = model.variant
    read = {}
    if variant.decode in ("mean", "sum", "last", "membrane"):
        read["ap50_at"] = {str(t): judge(outputs(model, test, t), test, layout)["ap50"] for t in READ_AT}
        deepest = model.hidden(as_input(test)[:200], max(READ_AT))[-1]
        read["rate_by_step"] = [round(float(step.mean()), 4) for step in deepest]
    if variant.decode == "mean":
        raw = outputs(model, test)
        for name, (low, high) in {"raw": (0.0, 1.0), "wide": WIDE}.items():
            said = {str(steps): said_by_rate(raw, steps, (low, high)) for steps in LEVELS}
            said["cut"] = raw.clamp(low, high)
            read[f"said_{name}"] = {steps: judge(some, test, layout)["ap50"] for steps, some in said.items()}
    return read


def as_input(scenes: Scenes) -> torch.Tensor:
    """Return a set's pictures as the network gets them, 0 to 1."""
    return scenes.images.float() / 255


def draw(kind: str) -> tuple[dict[str, Scenes], dict[str, Digits]]:
    """Draw the scenes, always the same."""
    digits = {split: load_digits(split, kind=kind) for split in SCENES}
    seeds = {"train": 0, "test": 1}
    drawn = {
        split: digit_scenes(digits[split], count, torch.Generator().manual_seed(seeds[split]))
        for split, count in SCENES.items()
    }
    return drawn, digits


def what_differs(result: dict[str, Any], about: dict[str, Any]) -> str | None:
    """Return what keeps a result file from being gone on with, if anything does; variants may have been added."""
    for key, value in about.items():
        found = result.get(key)
        if key == "variants" and found:
            found = {**value, **found}
        if found != value:
            return key
    return None


def main(
    kind: Annotated[str, typer.Option(help="digits to draw with: mnist, scikit-learn or auto")] = "auto",
    epochs: Annotated[int, typer.Option(help="passes over the training scenes")] = SETTINGS["epochs"],
    only: Annotated[list[str] | None, typer.Option(help="train these variants only")] = None,
    out: Annotated[Path, typer.Option("--json", help="result file, also where a stopped run goes on")] = OUT,
) -> None:
    """Train all detectors that the result file does not hold yet."""
    os.nice(10)
    torch.set_num_threads(1)
    if unknown := set(only or ()) - set(VARIANTS):
        raise typer.BadParameter(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    scenes, digits = draw(kind)
    about = {
        "data": {
            **{split: f"{count:,} scenes of {digits[split].label}" for split, count in SCENES.items()},
            "objects": {split: sum(len(one.labels) for one in some.objects) for split, some in scenes.items()},
            "picture": list(scenes["test"].images.shape[1:]),
        },
        "configuration": {
            **SETTINGS,
            "epochs": epochs,
            "loss": {**LOSS._asdict(), "weights": list(LOSS.weights)},
            "network": {"channels": list(CHANNELS), "strides": list(STRIDES), "anchor": list(ANCHOR)},
            "metric": "AP50 and AP75 of the test scenes, area flavour, VOC matching, last epoch",
        },
        "variants": {name: {**v._asdict(), "rate_range": list(v.rate_range)} for name, v in VARIANTS.items()},
        "seeds": list(SEEDS),
    }
    result: dict[str, Any] = {"schema_version": 1, "kind": "decoders", **about, "cells": []}
    if out.exists():
        result = read_json(out)
        if differs := what_differs(result, about):
            raise SystemExit(f"{out} is of another trial: its {differs} differs; move it away")
        result["variants"] = about["variants"]
    done = {(cell["variant"], cell["seed"]) for cell in result["cells"]}
    jobs = [(name, seed) for seed in SEEDS for name in only or VARIANTS if (name, seed) not in done]
    jobs.sort(key=lambda job: job[0] in LAST)
    layout = head_layout(torch.tensor([ANCHOR]), len(CLASSES), strides=(8,))
    try:
        for name, seed in jobs:
            model, cell = train(VARIANTS[name], scenes["train"], scenes["test"], layout, seed, epochs)
            cell = {"variant": name, "seed": seed, **cell, **read_otherwise(model, scenes["test"], layout)}
            result["cells"].append(cell)
            result["cpu_seconds"] = round(sum(cell["cpu_seconds"] for cell in result["cells"]), 1)
            result["hardware"], result["versions"] = hardware(), versions()
            result["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            write_json(out, result)
            typer.echo(f"{name:15s} seed {seed}: {_told(cell)}")
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; {len(result['cells'])} cells are in {out}, the same command goes on") from None


def _told(cell: dict[str, Any]) -> str:
    curve = " ".join(f"{100 * epoch['ap50']:.1f}" for epoch in cell["history"])
    return f"AP50 {100 * cell['ap50']:.1f} ({curve}), AP75 {100 * cell['ap75']:.1f}, {cell['cpu_seconds']:.0f} s"


if __name__ == "__main__":
    typer.run(main)
