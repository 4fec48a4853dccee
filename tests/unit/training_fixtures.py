"""A task that a laptop learns in a second, and a process that trains it and can be killed at any batch."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikelab.losses import count_cross_entropy, decide
from spikelab.models.nmnist import ClassifierOutput
from spikelab.neurons import lif
from spikelab.statistics import wilson_interval
from spikelab.training import loop
from spikelab.training.config import Configuration
from spikelab.training.tasks import Data, Task

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


def main() -> None:
    """Train as ordered: {"out", "config", "task", "signal": [name, training?, batch], "report", "resume"}.

    The signal goes to the first process only.
    """
    order = json.loads(sys.argv[1])

    def sabotage(training, number):
        name, in_training, at = order["signal"]
        if training == in_training and number == at and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), getattr(signal, name))

    options = dict(order.get("task", {}))
    options["dtype"] = getattr(torch, options.get("dtype", "float32"))
    task = ThreeTrains(**options, sabotage=sabotage if "signal" in order else None)
    outcome = loop.train(
        task,
        configuration(**order.get("config", {})),
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
