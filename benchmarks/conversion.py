"""How many steps does a converted network need? For chapter 11.

    python -m benchmarks.conversion [--ship]
    python -m benchmarks.conversion --voc WEIGHTS [--size 160] [--pictures 200] [--steps 128] [--device cuda]

The first trains a network with ReLU and one with leaky ReLU, for each of three seeds, to find a digit on a canvas
(``models.canvas``), turns each into spikes in several ways, and measures class and box after 4 to 256 steps. Training
canvases hold MNIST's digits and, so that the weights are of use without MNIST, some of scikit-learn's; tests hold
MNIST's test digits, others for each seed. Weights are kept in half precision, and what is measured is what was kept;
``--ship`` puts those of the first seed where the library finds them.

The second takes weights of ``spikelab train voc --neurons relu`` and measures AP50 on pictures of VOC2007 val, of the
network and of what it becomes, on the same pictures.

Every finished cell is written at once; the same command goes on where it was stopped. Result files have

``networks``
    each network before the conversion: what it scores, by ``metrics`` name;
``cells``
    for each conversion its ``steps``, and with as many entries the scores, ``spikes`` per picture, and what else is
    said at ``Canvas`` and ``Pictures``.
"""

from __future__ import annotations

import copy
import datetime
import functools
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from spikelab.datasets import VOC, load_scenes
from spikelab.datasets.digits import Canvases, digit_on_canvas, load_digits
from spikelab.datasets.files import read_json, write_json
from spikelab.detection import (
    Detections,
    Objects,
    detect,
    evaluate_detections,
    giou_loss,
    iou,
    mean_ap_interval,
    mean_iou,
)
from spikelab.energy import count_operations
from spikelab.models import pretrained
from spikelab.models.conversion import ConvertedNetwork, activation_scales, fold_network, if_rate, normalize
from spikelab.models.yolo import centred
from spikelab.statistics import wilson_interval
from spikelab.training.results import hardware, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
SHIPPED = ROOT / "spikelab" / "models" / "weights"
SEEDS = (0, 1, 2)
STEPS = (4, 8, 16, 32, 64, 128, 256)
CANVAS = {
    "mnist": 12_000,
    "scikit-learn": 4_000,
    "test": 300,
    "calibration": 500,
    "epochs": 8,
    "batch": 64,
    "lr": 4e-3,
    "weight_decay": 1e-2,
    "slope": 0.1,
}


class Way(NamedTuple):
    """One way to convert a network.

    Attributes:
        per: ``"channel"`` or ``"layer"``: what has a scale of its own.
        percentile: of the activations, that becomes the scale.
        charge: of the membrane before the first step, in thresholds.
        reset: ``"subtract"`` or ``"zero"``.
        signed: leaky ReLUs become signed neurons, otherwise plain ones.
        positive: scales look at positive activations only, which is a mistake for leaky ReLUs.
    """

    per: str = "channel"
    percentile: float = 99.9
    charge: float = 0.0
    reset: str = "subtract"
    signed: bool = True
    positive: bool = False


SCALES = (("layer", 100.0), ("layer", 99.9), ("channel", 100.0), ("channel", 99.9), ("channel", 99.0))
RELU_WAYS = (*(Way(*scale, charge) for charge in (0.0, 0.5) for scale in SCALES), Way(reset="zero"))
LEAKY_WAYS = (
    *(Way(charge=charge, signed=signed) for charge in (0.0, 0.5) for signed in (True, False)),
    Way(charge=0.5, positive=True),
)
WAYS = {"relu": RELU_WAYS, "leaky_relu": LEAKY_WAYS}
"""Of the first seed."""
MAIN_WAYS = {
    "relu": (*RELU_WAYS[:5], Way("layer", charge=0.5), Way(charge=0.5)),
    "leaky_relu": tuple(way for way in LEAKY_WAYS if way.charge),
}
"""Of the others."""
VOC_WAYS = (
    *(Way(*scale, 0.5) for scale in (SCALES[3], SCALES[1], SCALES[2], SCALES[0], SCALES[4])),
    Way(),
    Way("layer"),
)


class Progress:
    """A result file that grows by cells, each found again by what it was asked for."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.content = {"schema_version": 1, "kind": "conversion", **about, "networks": [], "cells": []}
        if path.exists():
            there = read_json(path)
            for key, value in about.items():
                if there.get(key) != value:
                    raise typer.BadParameter(f"{path} is of another trial: its {key} is another one; move it away")
            self.content = there

    def once(
        self, kind: str, asked: dict[str, Any], make: Callable[..., dict[str, Any]], *given: Any
    ) -> dict[str, Any]:
        """Return the entry of ``kind`` with the fields ``asked``; ``make`` and write it if it is not there."""
        for entry in self.content[kind]:
            if asked.items() <= entry.items():
                return entry
        started = time.perf_counter()
        entry = {**asked, **make(*given), "seconds": round(time.perf_counter() - started, 1)}
        self.content[kind].append(entry)
        self.content["hardware"], self.content["versions"] = hardware(), versions()
        self.content["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(self.path, self.content)
        return entry


def converted(model: nn.Module, images: torch.Tensor, way: Way) -> ConvertedNetwork:
    """Return a network in spikes, its scales measured on ``images``."""
    graph = fold_network(model)
    if way.positive:
        scales = positive_scales(graph, images, way.percentile)
    else:
        scales = activation_scales(graph, images, per=way.per, percentile=way.percentile)
    ready = normalize(graph, scales, images[:1])
    return ConvertedNetwork(ready, initial_charge=way.charge, reset=way.reset, signed=way.signed).eval()


@torch.no_grad()
def positive_scales(graph: nn.Module, images: torch.Tensor, percentile: float) -> dict[str, torch.Tensor]:
    """Scales of channels by their positive activations alone, at least a thousandth of their layer's largest."""
    values = graph.activations(images)
    scales = {}
    for name in graph.neurons:
        positive = values[name].clamp(min=0).transpose(0, 1).flatten(1)
        found = positive.quantile(percentile / 100, dim=1)
        scales[name] = found.clamp(min=1e-3 * float(found.max()))
    return scales


def second_halves(outputs: Sequence[Any]) -> list[Any]:
    """Mean currents from T / 2 to T, from those from the start on to 1, 2, 4, … times the same number of steps."""
    return [
        type(late)(2 * b - a for a, b in zip(early, late, strict=True))
        if type(late) is tuple
        else type(late)(*(2 * b - a for a, b in zip(early, late, strict=True)))
        for early, late in itertools.pairwise(outputs)
    ]


def curves(steps: Sequence[int], scores: Sequence[dict[str, Any]], late: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell's scores, each a list with an entry for every number of steps."""
    by_name = {name: [one[name] for one in scores] for name in scores[0]}
    return {"steps": list(steps), **by_name, "late": {name: [None, *(one[name] for one in late)] for name in scores[0]}}


# ---------------------------------------------------------------------------------------------------- digits


def canvases(split: str, counts: dict[str, int], seed: int) -> Canvases:
    """Draw canvases with digits of several kinds, each ``counts[kind]`` times."""
    generator = torch.Generator().manual_seed(seed)
    parts = [digit_on_canvas(load_digits(split, kind=kind), count, generator) for kind, count in counts.items()]
    return Canvases(*(torch.cat(part) for part in zip(*parts, strict=True)))


def train_canvas(neurons: str, seed: int, train: Canvases) -> nn.Module:
    """Train a network to find digits: cross-entropy, GIoU and smooth L1."""
    options = {"neurons": neurons, **({"slope": CANVAS["slope"]} if neurons == "leaky_relu" else {})}
    model = pretrained.build({"model": "canvas", "seed": seed, "model_options": options})
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=CANVAS["weight_decay"])
    updates = CANVAS["epochs"] * -(-len(train.labels) // CANVAS["batch"])
    fall = torch.optim.lr_scheduler.OneCycleLR(optimiser, CANVAS["lr"], updates)
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(CANVAS["epochs"]), desc=f"{neurons}, seed {seed}", unit="epoch", leave=False):
        for some in torch.randperm(len(train.labels), generator=generator).split(CANVAS["batch"]):
            said = model(train.images[some] / 255)
            apart = giou_loss(said.boxes, train.boxes[some]) + F.smooth_l1_loss(said.boxes, train.boxes[some])
            loss = F.cross_entropy(said.classes, train.labels[some]) + 2 * apart
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            fall.step()
    return model.eval()


class Canvas:
    """A network and the canvases it is tested on.

    A cell holds for every entry T of ``steps`` the ``accuracy``, ``miou``, ``same_class``, the share of pictures with
    the network's own answer, and ``box_error``, the mean distance of a corner's coordinate from the network's own. The
    answer is the mean current over all steps so far; ``late`` holds the same scores of the mean over the second half
    of the steps, from T / 2 on (``null`` for the first entry). ``spikes`` are per picture so far; ``rates`` spikes per
    neuron and step of each layer over all steps.
    """

    def __init__(self, model: nn.Module, test: Canvases, calibration: torch.Tensor) -> None:
        self.model, self.test, self.calibration = model, test, calibration
        with torch.no_grad():
            self.own = model(test.images / 255)

    def scores(self, said: Any) -> dict[str, float]:
        """What an output is worth."""
        return {
            "accuracy": round(float((said.classes.argmax(1) == self.test.labels).double().mean()), 5),
            "miou": round(float(iou(said.boxes.double(), self.test.boxes.double()).mean()), 5),
            "same_class": round(float((said.classes.argmax(1) == self.own.classes.argmax(1)).double().mean()), 5),
            "box_error": round(float((said.boxes - self.own.boxes).abs().mean()), 5),
        }

    def metrics(self) -> dict[str, Any]:
        """What the network scores without spikes, with intervals, as files of weights say it."""
        pictures = len(self.test.labels)
        right = int((self.own.classes.argmax(1) == self.test.labels).sum())
        box = mean_iou(iou(self.own.boxes.double(), self.test.boxes.double()))
        accuracy = {"value": right / pictures, **wilson_interval(right, pictures)._asdict(), "n": pictures}
        return {
            "test": {
                "accuracy": {**accuracy, "interval": "Wilson 95 %"},
                "miou": {**box._asdict(), "interval": "bootstrap 95 %"},
            }
        }

    def measure(self, way: Way) -> dict[str, Any]:
        """Convert and run."""
        network = converted(self.model, self.calibration, way)
        outputs: list[list[Any]] = [[] for _ in STEPS]
        spikes, rates = [0.0] * len(STEPS), {}
        pictures = len(self.test.labels)
        for some in (self.test.images / 255).split(50):
            found = network(some, STEPS[-1], STEPS)
            for place, (said, fired) in enumerate(zip(found.outputs, found.spikes, strict=True)):
                outputs[place].append(said)
                spikes[place] += sum(fired.values()) * len(some) / pictures
            for name, rate in found.rates.items():
                rates[name] = rates.get(name, 0.0) + rate * len(some) / pictures
        said = [type(self.own)(*(torch.cat(part) for part in zip(*parts, strict=True))) for parts in outputs]
        cell = curves(STEPS, [self.scores(one) for one in said], [self.scores(one) for one in second_halves(said)])
        return {
            **cell,
            "spikes": [round(count, 1) for count in spikes],
            "rates": {name: round(rate, 5) for name, rate in rates.items()},
            "neurons_per_layer": found.neurons,
        }

    @torch.no_grad()
    def without_spikes(self, way: Way) -> dict[str, Any]:
        """Box errors of the normalised network if its activations are cut off at 1, and if they are staircases."""
        graph = converted(self.model, self.calibration, way).graph

        def error(activation: Callable[[torch.Tensor], torch.Tensor]) -> float:
            changed = copy.deepcopy(graph)
            for name in changed.neurons:
                changed.layers[name].register_forward_hook(lambda layer, came, out: activation(came[0]))
            return self.scores(changed(self.test.images / 255))["box_error"]

        return {
            **way._asdict(),
            "clip": error(lambda z: z.clamp(0, 1)),
            "steps": list(STEPS),
            "staircase": [error(functools.partial(if_rate, num_steps=T, initial_charge=way.charge)) for T in STEPS],
        }


def run_canvas(out: Path, folder: Path, ship: bool) -> None:
    """Train and measure everything that the result file does not hold yet."""
    counts = {kind: CANVAS[kind] for kind in ("mnist", "scikit-learn")}
    learnt = "digits on a canvas of 40 × 40: {mnist:,} of MNIST and {scikit-learn:,} of scikit-learn's to learn from"
    learnt = learnt.format(**CANVAS)
    about = {
        "data": {
            "label": f"{learnt}, {CANVAS['test']} of MNIST's test digits to test on, others for each seed",
            "split": "train and test canvases hold train and test digits; calibration on training canvases of MNIST",
        },
        "configuration": {"task": "canvas", **CANVAS},
        "seeds": list(SEEDS),
    }
    progress = Progress(out, about)
    jobs = [(neurons, SEEDS[0]) for neurons in WAYS]
    jobs += [(neurons, seed) for neurons in WAYS for seed in SEEDS[1:]]
    for neurons, seed in jobs:
        name = {"relu": "canvas-relu", "leaky_relu": "canvas-leaky"}[neurons]
        path = folder / f"{name}-{seed}{pretrained.SUFFIX}"
        train = canvases("train", counts, seed)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            model = train_canvas(neurons, seed, train)
            options = {"neurons": neurons, "slope": CANVAS["slope"]}
            configuration = {"task": "canvas", "model": "canvas", "seed": seed, "model_options": options}
            pretrained.save(path, model, {"configuration": configuration, "data": learnt}, half=True)
        model, described = pretrained.load(path)
        test = canvases("test", {"mnist": CANVAS["test"]}, 1000 + seed)
        study = Canvas(model, test, train.images[: CANVAS["calibration"]] / 255)
        if ship and seed == SEEDS[0]:
            data = {"name": "canvas", "label": learnt, "sizes": {"train": len(train.labels), "test": CANVAS["test"]}}
            described |= {"task": "canvas", "data": data, "metrics": study.metrics(), "versions": versions()}
            pretrained.save(SHIPPED / f"{name}{pretrained.SUFFIX}", model, described, half=True)
        asked = {"neurons": neurons, "seed": seed}
        progress.once("networks", asked, _canvas_network, study, train.boxes, seed, neurons)
        for way in tqdm(
            (WAYS if seed == SEEDS[0] else MAIN_WAYS)[neurons], desc=f"{neurons}, seed {seed}", unit="cell"
        ):
            progress.once("cells", {**asked, **way._asdict()}, study.measure, way)


def _canvas_network(study: Canvas, boxes: torch.Tensor, seed: int, neurons: str) -> dict[str, Any]:
    """What a network scores, and what a box would that never looks."""
    constant = boxes.double().median(0).values
    small = canvases("test", {"scikit-learn": CANVAS["test"]}, 1000 + seed)
    other = Canvas(study.model, small, study.calibration)
    return {
        "parameters": sum(weight.numel() for weight in study.model.parameters()),
        "macs": count_operations(study.model, study.test.images[:8] / 255).macs,
        **_plain(study),
        "constant_miou": round(float(iou(constant, study.test.boxes.double()).mean()), 5),
        "on_scikit_learn": _plain(other),
        **({"without_spikes": study.without_spikes(Way(charge=0.5))} if neurons == "relu" else {}),
    }


def _plain(study: Canvas) -> dict[str, float]:
    return {name: value for name, value in study.scores(study.own).items() if name in ("accuracy", "miou")}


# ---------------------------------------------------------------------------------------------------- VOC


class Pictures:
    """A detector and the pictures it is tested on.

    A cell holds for every entry T of ``steps`` the ``ap50`` and ``ap50_voc07``, mean over the classes that have
    objects, and ``gain``, the difference in ``ap50`` to the network without spikes with its 95 % interval over pictures
    (value, low, high); ``late`` the same for the mean current over the second half of the steps, from T / 2 on
    (``null`` for the first entry); ``spikes`` per picture so far; ``rates`` of each layer over all steps; and
    ``operations``, the ``macs`` and ``acs`` per picture after so many ``steps``, over a few pictures.
    """

    def __init__(
        self,
        model: nn.Module,
        test: tuple[torch.Tensor, list[Objects]],
        calibration: torch.Tensor,
        classes: tuple[str, ...],
        batch: int,
    ) -> None:
        self.plain, self.layout = model.plain().eval(), model.layout
        self.images, self.objects = test
        self.calibration, self.classes, self.batch = calibration, classes, batch
        with torch.no_grad():
            self.own = [one for some in self._batches() for one in self._found(self.plain(some))]

    def _batches(self) -> list[torch.Tensor]:
        device = self.calibration.device
        return [centred(some.to(device).float() / 255) for some in self.images.split(self.batch)]

    def _found(self, heads: Any) -> list[Detections]:
        found = detect([head.float() for head in heads], self.layout)
        return [Detections(*(part.cpu() for part in one)) for one in found]

    def scores(self, found: list[Detections]) -> dict[str, float]:
        """AP50 in two flavours."""
        flavours = {"ap50": "area", "ap50_voc07": "voc07"}
        return {
            name: round(evaluate_detections(found, self.objects, self.classes, flavour=flavour).mean, 5)
            for name, flavour in flavours.items()
        }

    def judged(self, found: list[Detections]) -> dict[str, Any]:
        """The same, and the gain over the network without spikes."""
        gain = mean_ap_interval(found, self.objects, self.classes, base=self.own, flavour="area", num=200)
        return {**self.scores(found), "gain": [round(value, 5) for value in gain[:3]]}

    def network(self) -> dict[str, Any]:
        """The network without spikes."""
        interval = mean_ap_interval(self.own, self.objects, self.classes, flavour="area", num=200)
        operations = count_operations(self.plain, self._batches()[0][:1])
        return {
            "parameters": operations.parameters,
            "macs": operations.macs,
            **self.scores(self.own),
            "ap50_interval": [round(end, 5) for end in interval[1:3]],
        }

    def measure(self, way: Way, steps: Sequence[int]) -> dict[str, Any]:
        """Convert, run for the last of ``steps``, and score at each."""
        network = converted(self.plain, self.calibration, way)
        found: list[list[Detections]] = [[] for _ in steps]
        late: list[list[Detections]] = [[] for _ in steps[1:]]
        spikes, rates = [0.0] * len(steps), {}
        for some in tqdm(self._batches(), desc=str(way[:3]), unit="batch", leave=False):
            share = len(some) / len(self.images)
            out = network(some, steps[-1], steps)
            for place, heads in enumerate(out.outputs):
                found[place] += self._found(heads)
                spikes[place] += share * sum(out.spikes[place].values())
            for place, heads in enumerate(second_halves([tuple(heads) for heads in out.outputs])):
                late[place] += self._found(heads)
            for name, rate in out.rates.items():
                rates[name] = rates.get(name, 0.0) + share * rate
        cell = curves(steps, [self.judged(one) for one in found], [self.judged(one) for one in late])
        some = self._batches()[0][:4]
        operations = count_operations(network, some, steps[-1], samples=len(some))
        return {
            **cell,
            "spikes": [round(count, 1) for count in spikes],
            "rates": {name: round(rate, 5) for name, rate in rates.items()},
            "neurons_per_layer": out.neurons,
            "operations": {"steps": steps[-1], "macs": operations.macs, "acs": operations.acs},
        }


def run_voc(
    weights: Path, out: Path, *, size: int, pictures: int, calibration: int, steps: int, kind: str, device: str
) -> None:
    """Measure every way that the result file does not hold yet."""
    model, described = pretrained.load(weights)
    if not hasattr(model, "plain"):
        raise typer.BadParameter(f"{weights} is no detector: train one with `spikelab train voc --neurons relu`")
    size = size or _side(described["configuration"])
    train, val = VOC("VOC2007", "train", kind=kind), VOC("VOC2007", "val", kind=kind)
    generator = torch.Generator().manual_seed(0)
    chosen = [torch.randperm(len(some), generator=generator).tolist() for some in (train, val)]
    train, val = (
        some.select(sorted(order[:n]))
        for some, order, n in zip((train, val), chosen, (calibration, pictures), strict=True)
    )
    learnt, test = load_scenes(train, (size, size)), load_scenes(val, (size, size))
    report = _doubled(steps)
    about = {
        "data": {
            "label": val.label,
            "hash": val.hash,
            "split": f"calibration on {len(train)} pictures of VOC2007 train, test on {len(val)} of val, seeded choice",
        },
        "configuration": {"task": "voc", "size": size, "weights": Path(weights).name, "steps": report},
        "seeds": [described["configuration"].get("seed", 0)],
        "trained_on": described,
    }
    progress = Progress(out, about)
    place = torch.device(device)
    study = Pictures(
        model.to(place),
        (test.images, test.objects),
        centred(learnt.images.to(place).float() / 255),
        val.classes,
        batch=8 if place.type == "cpu" else 64,
    )
    asked = {"neurons": described["configuration"].get("model_options", {}).get("neurons", "relu")}
    entry = progress.once("networks", asked, study.network)
    typer.echo(f"{val.label}, {size} × {size}: AP50 {100 * entry['ap50']:.1f} without spikes")
    for way in tqdm(VOC_WAYS, unit="cell"):
        # A maximum wastes most of a neuron's range on one picture: follow those curves twice as far.
        followed = _doubled(2 * steps) if way.percentile == 100 else report
        cell = progress.once("cells", {**asked, **way._asdict(), "steps": followed}, study.measure, way, followed)
        curve = "  ".join(f"{100 * value:.1f}" for value in cell["ap50"])
        typer.echo(f"{way.per} {way.percentile:g} %, charge {way.charge:g}: AP50 {curve} at T = {cell['steps']}")


def _doubled(most: int) -> list[int]:
    return [steps for steps in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048) if steps <= most]


def _side(configuration: dict[str, Any]) -> int:
    size = configuration.get("task_options", {}).get("size", 160)
    return int(size if isinstance(size, int) else max(size))


def main(
    voc: Annotated[Path | None, typer.Option(help="weights of a detector with ReLUs, to convert instead")] = None,
    size: Annotated[int, typer.Option(help="side of the pictures; 0: that of the training")] = 0,
    pictures: Annotated[int, typer.Option(help="of VOC2007 val to test on")] = 200,
    calibration: Annotated[int, typer.Option(help="pictures of VOC2007 train to measure scales on")] = 200,
    steps: Annotated[int, typer.Option(help="largest T of the detector; twice that for scales by maxima")] = 128,
    kind: Annotated[str, typer.Option(help="real, synthetic or auto pictures of VOC")] = "auto",
    device: Annotated[str, typer.Option(help="cpu or cuda, for the detector")] = "cpu",
    ship: Annotated[bool, typer.Option(help="copy the canvas networks of the first seed into the library")] = False,
    folder: Annotated[Path, typer.Option(help="where canvas networks are kept")] = ROOT / "runs" / "conversion",
    out: Annotated[Path | None, typer.Option(help="result file, also where a stopped run goes on")] = None,
) -> None:
    """Train, convert and measure what the result file does not hold yet."""
    if voc is None:
        os.nice(10)
        torch.set_num_threads(1)
        run_canvas(out or RESULTS / "11_conversion.json", folder, ship)
        return
    name = voc.stem if voc.stem != "weights" else voc.parent.name
    out = out or RESULTS / f"11_convert_voc_{name.removeprefix('voc-').replace('-', '_')}.json"
    how = {"size": size, "pictures": pictures, "calibration": calibration, "steps": steps, "kind": kind}
    run_voc(voc, out, device=device, **how)


if __name__ == "__main__":
    try:
        typer.run(main)
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None
