"""Tasks that a laptop learns in a second, and a process that trains one and can be killed at any batch."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dataset_files import write_voc
from PIL import Image, ImageDraw
from torch import nn

from spikelab.datasets.pets import names_of_split
from spikelab.losses import count_cross_entropy, decide
from spikelab.models.nmnist import ClassifierOutput
from spikelab.neurons import lif
from spikelab.statistics import wilson_interval
from spikelab.training import loop
from spikelab.training.config import Configuration
from spikelab.training.tasks import Data, Task
from spikelab.training.tasks.pets import PetsTask
from spikelab.training.tasks.voc import VocTask

STEPS, INPUTS, CLASSES = 5, 12, 3


@dataclass(frozen=True)
class Trains:
    spikes: torch.Tensor  # [N, T, inputs] uint8
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)


class TinyNet(nn.Module):
    def __init__(self, dropout, beta):
        super().__init__()
        self.first, self.last = nn.Linear(INPUTS, 16), nn.Linear(16, CLASSES)
        self.dropout, self.beta = nn.Dropout(dropout), beta

    def forward(self, spikes):
        hidden = lif(3 * self.first(spikes), beta=self.beta).spikes
        out = lif(3 * self.last(self.dropout(hidden)), beta=self.beta)
        return ClassifierOutput(out.spikes, out.membrane, (hidden,))


class ThreeTrains(Task):
    """Which third of the inputs fires more? ``sabotage`` is called before each batch with (training?, its number)."""

    name = "three-trains"
    metric = "accuracy"

    def __init__(self, *, train=45, seed=0, dtype=torch.float32, sabotage=None, validation=20):
        self.train, self.seed, self.dtype, self.validation = train, seed, dtype, validation
        self.sabotage = sabotage or (lambda training, number: None)
        self.batches = {True: 0, False: 0}

    def build(self, config):
        return TinyNet(config.dropout, config.beta).to(self.dtype)

    def data(self, config, splits=()):
        splits = [self._trains(n, self.seed + k) for k, n in enumerate((self.train, self.validation, 21))]
        return Data(splits[0], splits[1] if self.validation else None, splits[2], "three", "made up", f"s{self.seed}")

    def _trains(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % CLASSES
        busy = torch.arange(INPUTS) // (INPUTS // CLASSES) == labels[:, None]
        rate = torch.where(busy, 0.6, 0.3)[:, None].expand(-1, STEPS, -1)
        return Trains(torch.bernoulli(rate, generator=generator).to(torch.uint8), labels)

    def draw(self, config, count, generator):
        return torch.rand(count, 1, 1, generator=generator) if config.shift else None

    def batch(self, config, split, indices, draws, device):
        training = draws is not None or len(split) == self.train
        self.batches[training] += 1
        self.sabotage(training, self.batches[training])
        spikes = split.spikes[indices].to(self.dtype)
        if draws is not None:
            spikes = spikes * (draws > 0.2)  # now and then an empty sample
        return spikes.transpose(0, 1).contiguous(), split.labels[indices]

    def loss(self, config, output, targets):
        return count_cross_entropy(output.spikes, targets)

    def evidence(self, config, output, targets):
        predicted = decide(output.spikes, output.membrane)
        return {"predicted": predicted, "target": targets, "score": (predicted == targets).float()}

    def metrics(self, evidence, split):
        right, n = int((evidence["predicted"] == evidence["target"]).sum()), len(evidence["target"])
        low, high = wilson_interval(right, n)
        return {"accuracy": {"value": right / n, "low": low, "high": high, "n": n, "interval": "Wilson 95 %"}}

    def baseline(self, data):
        return {"name": "chance", "value": 1 / CLASSES}


def write_pets(folder: Path, train: int = 14, validation: int = 5, test: int = 6) -> None:
    """Write pictures with a bright head on them, and its box, where the Oxford-IIIT-Pet set has them."""
    folder = folder / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "xmls").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for key in names_of_split(f"head_{split}")[:count]:
            name = key.split("/")[1]
            x, y = torch.randint(1, 20, (2,), generator=generator).tolist()
            head = [x, y, x + 15, y + 12]
            picture = Image.effect_noise((48, 36), 40).convert("RGB")
            ImageDraw.Draw(picture).rectangle(head, fill="white")
            picture.save(folder / "images" / f"{name}.jpg")
            sides = ("xmin", "ymin", "xmax", "ymax")
            corners = "".join(f"<{side}>{value + 1}</{side}>" for side, value in zip(sides, head, strict=True))
            (folder / "annotations" / "xmls" / f"{name}.xml").write_text(
                "<annotation><size><width>48</width><height>36</height><depth>3</depth></size><object>"
                f"<name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
            )


def write_scenes(folder: Path, train: int = 14, validation: int = 6, test: int = 0) -> None:
    """Write pictures of bright cats and dark dogs where VOC2007 has them, each list with some of both in a picture.

    In every third picture there is a difficult bird as well. With a test list the pictures of both archives of VOC2007
    are there.
    """
    for split, count, first in (("train", train, 1), ("val", validation, 501), ("test", test, 701)):
        if not count:
            continue
        things = {}
        for number in range(count):
            x, y = 2 + 3 * (number % 5), 3 + 2 * (number % 4)
            found = [("cat", x, y, x + 16, y + 14)] if number % 3 != 1 else []
            found += [("dog", 24, 20, 44, 34)] if number % 3 else []
            found += [("bird", 40, 2, 46, 8, 1)] if number % 3 == 0 else []
            things[f"{first + number:06}"] = found
        voc = write_voc(folder, "VOC2007", things, size=(36, 48))
        for name, found in things.items():
            path = voc / "JPEGImages" / f"{name}.jpg"
            with Image.open(path) as picture:
                picture.load()
            for kind, *box in found:
                fill = {"cat": "white", "dog": "black", "bird": "red"}[kind]
                ImageDraw.Draw(picture).rectangle([side - 1 for side in box[:4]], fill=fill)
            picture.save(path)
        lists = voc / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in things))


class Watched:
    """A task whose ``sabotage`` is called before each batch with (training?, its number); training is augmented."""

    def __init__(self, *, dtype=torch.float32, sabotage=None):
        self.dtype = dtype
        self.sabotage = sabotage or (lambda training, number: None)
        self.batches = {True: 0, False: 0}

    def build(self, config):
        return super().build(config).to(self.dtype)

    def batch(self, config, split, indices, draws, device):
        training = draws is not None
        self.batches[training] += 1
        self.sabotage(training, self.batches[training])
        inputs, targets = super().batch(config, split, indices, draws, device)
        return inputs.to(self.dtype) if isinstance(inputs, torch.Tensor) else inputs, targets


class WatchedPets(Watched, PetsTask):
    """Pets that can be stopped."""


class WatchedVoc(Watched, VocTask):
    """VOC that can be stopped."""


def voc_configuration(model="yolo", **changes) -> Configuration:
    """Three batches an epoch of the smallest network that is one, the last batch of three pictures."""
    augment = {"flip": 0.5, "zoom": 0.3, "brightness": 0.2, "mosaic": 0.5}
    task = {"size": (32, 32), "classes": ("cat", "dog", "bird"), "held_out": 0.2, "augment": augment}
    settings: dict[str, Any] = {"loss": "default", "num_steps": 2 if model == "yolo" else 1, "beta": 1.0}
    settings["model_options"] = {"size": (0.05, (0, 1, 0, 0, 0), 0)}
    settings |= {"epochs": 2, "batch": 4, "lr": 0.01, "threads": 1, **changes}
    settings["task_options"] = {**task, **changes.get("task_options", {})}
    return Configuration(task="voc", model=model, data="real", **settings)


def pets_configuration(model="ours", **changes) -> Configuration:
    """Three batches an epoch, the last one of two pictures."""
    task = {"size": (24, 32), "augment": {"flip": 0.5, "zoom": 0.3, "brightness": 0.2}}
    settings: dict[str, Any] = {"loss": "smooth_l1+giou", "num_steps": 2, "beta": 1.0}
    settings["model_options"] = {"channels": (6, 8, 8)}
    if model in ("decolle", "bptt"):
        task |= {"colour": "gray", "coding": "poisson", "max_rate_hz": 100.0, "step_ms": 10.0}
        settings |= {"loss": "smooth_l1", "num_steps": 8, "beta": 0.9}
        settings["model_options"] = {"channels": (4, 6, 8, 6, 4, 4)}
    if model == "decolle":
        settings |= {"rule": "decolle", "optimiser": "adamax", "betas": (0.0, 0.95)}
        settings["model_options"] |= {"burn_in": 3}
    settings |= {"epochs": 2, "batch": 6, "lr": 0.01, "threads": 1, **changes}
    settings["task_options"] = {**task, **changes.get("task_options", {})}
    return Configuration(task="pets", model=model, data="real", **settings)


def configuration(**changes) -> Configuration:
    """Six batches an epoch, the last one of five samples; every source of randomness in use."""
    settings = {"epochs": 3, "batch": 8, "lr": 0.02, "dropout": 0.2, "shift": 1, "threads": 1, "scheduler": "onecycle"}
    return Configuration(**{"task": "three-trains", "model": "tiny", **settings, **changes})


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in two runs of the same configuration: all but times and the machine."""
    timeless = [{key: value for key, value in record.items() if key != "seconds"} for record in result["history"]]
    kept = ("metrics", "spikes", "confusion", "epochs_run", "best_epoch", "stopped", "data", "parameters", "baseline")
    return {"history": timeless, **{key: result[key] for key in kept}}


def weights_of(model) -> dict[str, list]:
    return {name: value.tolist() for name, value in model.state_dict().items()}


def start(order: dict[str, Any], **environment: str) -> subprocess.Popen:
    """Run this file as a process of its own; ``order`` says what it does (see ``main``)."""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(order)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def two_processes(order: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Run two connected processes; return status, output and errors of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [start(order, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:  # one that waits for another that failed
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def main() -> None:
    """Train as ordered: {"out", "config", "task", "signal": [name, training?, batch], "report", "resume"}.

    With "pets" or "voc", a model, it is those that are trained. The signal goes to the first process only.
    """
    order = json.loads(sys.argv[1])

    def sabotage(training, number):
        name, in_training, at = order["signal"]
        if training == in_training and number == at and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), getattr(signal, name))

    options = dict(order.get("task", {}))
    options["dtype"] = getattr(torch, options.get("dtype", "float32"))
    options["sabotage"] = sabotage if "signal" in order else None
    if "pets" in order:
        task, config = WatchedPets(**options), pets_configuration(order["pets"], **order.get("config", {}))
    elif "voc" in order:
        task, config = WatchedVoc(**options), voc_configuration(order["voc"], **order.get("config", {}))
    else:
        task, config = ThreeTrains(**options), configuration(**order.get("config", {}))
    outcome = loop.train(
        task,
        config,
        out=order.get("out"),
        resume=order.get("resume", False),
        checkpoint_s=order.get("checkpoint_s", 0.0),
    )
    if order.get("report"):
        rank = os.environ.get("RANK", "0")
        content = {"result": outcome.result, "weights": weights_of(outcome.model)}
        Path(f"{order['report']}.{rank}").write_text(json.dumps(content))


if __name__ == "__main__":
    main()
