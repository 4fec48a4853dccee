"""The experiments of chapter 07 that are too long for its lesson, on N-MNIST: ``python -m benchmarks.classifiers all``.

    python -m benchmarks.classifiers losses     what the loss changes, and what the moment of the decision changes
    python -m benchmarks.classifiers penalty    a price on spikes, from free to too dear
    python -m benchmarks.classifiers targets    spike counts as targets: reachable or not, with and without false spikes
    python -m benchmarks.classifiers networks   the same digits without spikes, without depth, without timing

All of them share the recordings that are there for training (train and validation split) out to five folds: each is
judged once, by a network that has not seen it, so that two networks can be compared item by item. The test recordings
are read by ``networks`` only, once for each trained network. Each finished network is one cell of
``book/results/07_<name>.json``; a run that was stopped goes on with the next cell. The folds give the seeds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import typer
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from spikelab.datasets import NMNIST, load_frames
from spikelab.events import frames as events_to_frames
from spikelab.losses import (
    count_cross_entropy,
    decide,
    latency_cross_entropy,
    membrane_cross_entropy,
    rate_penalty,
)
from spikelab.models.nmnist import SCNN, SMLP, ClassifierOutput
from spikelab.plasticity import spike_count_loss
from spikelab.training import results

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
FOLDS = 5
DURATION_US = 300_000
TRUE_RATE, FALSE_RATE = 60 / 300, 10 / 300  # SLAYER's targets as spikes per step
PRICES = (0.0, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 100.0)
PRICES_WITH_FLOOR = (3.0, 10.0, 30.0, 100.0)
FLOOR = 0.02  # rate below which a neuron is pushed up, in spikes per step
FLOOR_WEIGHT = 50.0  # per unit of price: the two pushes balance at half the floor
DEEP = (200, 100, 100, 50)
GAINS = (0.5, 5.0)  # of the initial weights
RATE_BINS = 20  # of the histogram of hidden rates, over 0 to 1 spike per step

Loss = Callable[[ClassifierOutput, torch.Tensor], torch.Tensor]
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


class Recordings(NamedTuple):
    """Frames ``[N, T, 2, 34, 34]`` (uint8), digits ``[N]``, and what they are."""

    frames: torch.Tensor
    labels: torch.Tensor
    about: dict[str, Any]


class Settings(NamedTuple):
    """How one network is trained."""

    epochs: int = 10
    batch: int = 32
    rate: float = 2e-3
    cosine: bool = False  # lets the learning rate fall to zero: batch normalisation is unsteady at a high one


class Book:
    """One result file: written whole after every cell, read back by the next run."""

    def __init__(self, name: str, header: dict[str, Any]) -> None:
        self.path = RESULTS / f"07_{name}.json"
        self.content = {**header, "cells": []}
        if self.path.is_file():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            differ = [key for key in ("experiment", "data", "split", "settings") if found.get(key) != header[key]]
            if differ:
                raise typer.BadParameter(f"{self.path} was made with other {' and '.join(differ)}: move it away first")
            self.content = found

    def cell(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """Return the finished cell of this key, or None."""
        return next((cell for cell in self.content["cells"] if key.items() <= cell.items()), None)

    def add(self, cell: dict[str, Any]) -> None:
        """Keep a cell and write the file."""
        self.content["cells"].append(cell)
        self.content["seconds"] = round(sum(c["seconds"] for c in self.content["cells"]), 1)
        self.content["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, self.path)


def recordings(num_steps: int, kind: str, *, shuffled: bool = False) -> Recordings:
    """Return train and validation recordings together; ``shuffled`` deals their times out anew within a recording."""
    splits = [NMNIST(split, kind=kind) for split in ("train", "validation")]
    window = DURATION_US / num_steps
    parts = [
        _shuffled(split, num_steps, window) if shuffled else load_frames(split, num_steps, window) for split in splits
    ]
    about = {"label": f"{splits[0].label} + {len(splits[1])} for validation", "hash": [s.hash for s in splits]}
    return Recordings(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), about)


def _shuffled(dataset: NMNIST, num_steps: int, window_us: float) -> tuple[torch.Tensor, torch.Tensor]:
    stack = []
    for index in range(len(dataset)):
        events = dataset[index][0]
        mixed = events[torch.randperm(len(events), generator=torch.Generator().manual_seed(index)).numpy()]
        mixed["t"] = events["t"]  # the same times and the same addresses, dealt out anew
        stack.append(events_to_frames(mixed, num_steps, window_us, size=dataset.size, mode="binary").to(torch.uint8))
    return torch.stack(stack), dataset.labels


def folds(count: int) -> list[torch.Tensor]:
    """Share ``count`` recordings out; returns the indices of each fold."""
    return list(torch.randperm(count, generator=torch.Generator().manual_seed(7)).chunk(FOLDS))


def fit(
    model: nn.Module, frames: torch.Tensor, labels: torch.Tensor, loss: Loss, settings: Settings, seed: int
) -> None:
    """Train on frames ``[N, T, 2, 34, 34]`` with Adam; the seed shuffles the batches."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    model.train()
    for _ in range(settings.epochs):
        for part in torch.randperm(len(labels), generator=generator).split(settings.batch):
            optimiser.zero_grad()
            loss(model(frames[part].movedim(1, 0).float()), labels[part]).backward()
            optimiser.step()
        if settings.cosine:
            fall.step()


@torch.no_grad()
def classify(model: nn.Module, frames: torch.Tensor) -> ClassifierOutput:
    """Return what the trained network says to frames ``[N, T, 2, 34, 34]``."""
    model.eval()
    parts = [model(part.movedim(1, 0).float()) for part in frames.split(100)]
    hidden = tuple(torch.cat(layer, 1) for layer in zip(*(p.hidden for p in parts), strict=True))
    return ClassifierOutput(torch.cat([p.spikes for p in parts], 1), torch.cat([p.membrane for p in parts], 1), hidden)


def digits(classes: torch.Tensor) -> str:
    """Classes ``[N]`` as a text of N digits, which keeps a result file small."""
    return "".join(str(int(c)) for c in classes)


def measured(out: ClassifierOutput) -> dict[str, Any]:
    """Decisions by count, by the first spike and by the count so far, and how much firing they took.

    Ties of first spikes go to the membrane up to that step; ``first_with_hindsight`` lets later steps settle them, too.
    """
    steps, count = out.spikes.shape[:2]
    first = torch.where(out.spikes.any(0), out.spikes.argmax(0), steps).amin(1)
    later = torch.arange(steps).view(-1, 1, 1) > first.view(1, -1, 1)
    rates = torch.cat([layer.mean((0, 1)).flatten() for layer in out.hidden])
    so_far = [digits(decide(out.spikes[:k], out.membrane[:k])) for k in range(1, steps + 1)]
    return {
        "count": so_far[-1],
        "first": digits(decide(out.spikes, out.membrane.masked_fill(later, -torch.inf), by="first")),
        "first_with_hindsight": digits(decide(out.spikes, out.membrane, by="first")),
        "count_so_far": so_far,
        "first_step": round(first.float().mean().item(), 3),
        "hidden_spikes": round(sum(layer.sum().item() for layer in out.hidden) / count, 2),
        "hidden_rate": round(rates.mean().item(), 5),
        "dead_share": round((rates == 0).float().mean().item(), 4),
        "rate_histogram": torch.histc(rates, RATE_BINS, 0.0, 1.0).int().tolist(),
        "output_spikes": round(out.spikes.sum().item() / count, 3),
    }


def smlp(gain: float = GAINS[0], hidden: tuple[int, ...] = (100,)) -> Callable[[torch.Generator], nn.Module]:
    """The perceptron of these experiments, 2312-100-10 unless told otherwise."""
    return lambda generator: SMLP(hidden, gain=gain, generator=generator)


def scnn(generator: torch.Generator) -> nn.Module:
    """The small convolutional network of these experiments, 12c5-AP-16c3-AP-10."""
    return SCNN((12, 16), (5, 3), hidden=(), gain=GAINS[0], dropout=0.0, generator=generator)


def counts(frames: torch.Tensor) -> torch.Tensor:
    """Log counts ``[B, 2, 34, 34]``, about 0 to 1: what is left of frames ``[T, B, 2, 34, 34]`` without time."""
    return torch.log1p(frames.sum(0)) / 2


class OrdinaryCNN(nn.Module):
    """The shapes of ``scnn`` with rectified units instead of neurons, on the counts."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Conv2d(2, 12, 5, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(12), nn.ReLU()]
        blocks += [nn.Conv2d(12, 16, 3, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(16), nn.ReLU()]
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(576, 10))

    def forward(self, frames: torch.Tensor) -> ClassifierOutput:
        """Logits as an output of one step ``[1, B, 10]``."""
        logits = self.layers(counts(frames)).unsqueeze(0)
        return ClassifierOutput(torch.zeros_like(logits), logits, ())


class LinearReader(nn.Module):
    """One weight for each pixel, polarity and class, on the counts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2312, 10)
        nn.init.zeros_(self.layer.weight)

    def forward(self, frames: torch.Tensor) -> ClassifierOutput:
        """Logits as an output of one step ``[1, B, 10]``."""
        logits = self.layer(counts(frames).flatten(1)).unsqueeze(0)
        return ClassifierOutput(torch.zeros_like(logits), logits, ())


def logits_cross_entropy(out: ClassifierOutput, target: torch.Tensor) -> torch.Tensor:
    """The loss of the two networks without spikes."""
    return F.cross_entropy(out.membrane[0], target)


def count_loss(out: ClassifierOutput, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the output counts, the loss of all experiments that do not compare losses."""
    return count_cross_entropy(out.spikes, target)


def target_loss(true_rate: float, false_rate: float) -> Loss:
    """SLAYER's loss with targets in spikes per step, averaged over the batch."""

    def loss(out: ClassifierOutput, target: torch.Tensor) -> torch.Tensor:
        steps, batch = out.spikes.shape[:2]
        return spike_count_loss(out.spikes, target, true=true_rate * steps, false=false_rate * steps) / batch

    return loss


def priced(price: float, floor: float = 0.0) -> Loss:
    """``count_loss`` plus a price times the mean rate of the hidden layer, and a cost of rates below ``floor``."""

    def loss(out: ClassifierOutput, target: torch.Tensor) -> torch.Tensor:
        (hidden,) = out.hidden
        cost = price * (hidden.mean() + FLOOR_WEIGHT * rate_penalty(hidden, floor, 1.0))
        return count_loss(out, target) + cost

    return loss


def run(
    name: str,
    grid: list[tuple[dict[str, Any], Callable[[torch.Generator], nn.Module], Loss]],
    data: Recordings,
    settings: Settings,
    *,
    about: dict[str, Any],
    only: int = FOLDS,
    others: dict[str, Recordings] | None = None,
    test: dict[str, torch.Tensor] | None = None,
) -> Book:
    """Train every entry ``(key, build, loss)`` of the grid on every fold and keep what was measured."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    parts = folds(len(data.labels))
    header = {
        "experiment": name,
        "data": data.about,
        "split": f"{FOLDS} folds of the recordings for training, permuted with seed 7; the fold's number is the seed",
        "settings": {**settings._asdict(), "num_steps": data.frames.shape[1], **about},
        "labels": [digits(data.labels[part]) for part in parts],
        "hardware": results.hardware(),
        "versions": results.versions(),
        "note": "seconds are wall time of the training, on a machine that others may have used at the same time",
    }
    book = Book(name, header)
    todo = [(fold, *entry) for fold in range(only) for entry in grid if book.cell({**entry[0], "fold": fold}) is None]
    for fold, key, build, loss in tqdm(todo, desc=name, unit="network"):
        source = (others or {}).get(key.get("input", ""), data)
        held_out = parts[fold]
        training = torch.cat([part for i, part in enumerate(parts) if i != fold])
        model = build(torch.Generator().manual_seed(fold))
        start = time.perf_counter()
        fit(model, source.frames[training], source.labels[training], loss, settings, fold)
        seconds = round(time.perf_counter() - start, 2)
        out = classify(model, source.frames[held_out])
        cell = {**key, "fold": fold, "seconds": seconds, **(measured(out) if out.hidden else {})}
        if name != "losses":  # the only experiment about the moment of the decision
            cell = {what: value for what, value in cell.items() if not what.startswith(("first", "count_so"))}
        cell["count"] = digits(decide(out.spikes, out.membrane))
        cell["held_out_loss"] = round(loss(out, source.labels[held_out]).item(), 4)
        if test is not None:
            cell["parameters"] = sum(p.numel() for p in model.parameters())
            answer = classify(model, test[key.get("input", "counts")])
            cell["test"] = digits(decide(answer.spikes, answer.membrane))
        book.add(cell)
    return book


def accuracy(book: Book, key: dict[str, Any], what: str = "count") -> float:
    """Percentage of right answers over all folds of one key."""
    cells = [cell for cell in book.content["cells"] if key.items() <= cell.items()]
    right = [a == b for cell in cells for a, b in zip(cell[what], book.content["labels"][cell["fold"]], strict=True)]
    return 100 * sum(right) / len(right)


def mean(book: Book, key: dict[str, Any], what: str) -> float:
    """Mean of a measured number over the folds of one key."""
    found = [cell[what] for cell in book.content["cells"] if key.items() <= cell.items()]
    return sum(found) / len(found)


KIND = typer.Option("real", help="real, simulated or synthetic N-MNIST")
ONLY = typer.Option(FOLDS, help="number of folds to run, from the first on")


@app.command()
def losses(kind: str = KIND, only: int = ONLY) -> None:
    """Four losses on the same perceptron: decided by count, by first spike, and step by step."""
    grid = [
        ({"loss": "count"}, smlp(), count_loss),
        ({"loss": "membrane"}, smlp(), lambda out, target: membrane_cross_entropy(out.membrane, target)),
        ({"loss": "latency"}, smlp(), lambda out, target: latency_cross_entropy(out.spikes, target, decay=0.8)),
        ({"loss": "targets"}, smlp(), target_loss(4 * TRUE_RATE, 4 * FALSE_RATE)),
    ]
    data = recordings(15, kind)
    step = data.frames.float().sum((2, 3, 4)).mean(0)
    about = {
        "model": "SMLP 2312-100-10, gain 0.5",
        "events_so_far": [round(x, 4) for x in (step.cumsum(0) / step.sum()).tolist()],
    }
    book = run("losses", grid, data, Settings(), about=about, only=only)
    for key, *_ in grid:
        print(
            f"{key['loss']:10s} count {accuracy(book, key):5.1f} %  first spike {accuracy(book, key, 'first'):5.1f} %  "
            f"hidden spikes {mean(book, key, 'hidden_spikes'):6.0f}  decision step {mean(book, key, 'first_step'):.1f}"
        )


@app.command()
def penalty(kind: str = KIND, only: int = ONLY) -> None:
    """A price on the mean rate of the hidden layer, for small and for large initial weights."""
    rows = [(gain, price, 0.0) for gain in GAINS for price in PRICES]
    rows += [(GAINS[0], price, FLOOR) for price in PRICES_WITH_FLOOR]
    grid = [({"gain": g, "price": p, "floor": f}, smlp(g), priced(p, f)) for g, p, f in rows]
    about = {"model": "SMLP 2312-100-10", "floor_weight": FLOOR_WEIGHT}
    book = run("penalty", grid, recordings(15, kind), Settings(), about=about, only=only)
    for key, *_ in grid:
        print(
            f"gain {key['gain']:g} price {key['price']:4g} floor {key['floor']:4g}  {accuracy(book, key):5.1f} %  "
            f"hidden spikes {mean(book, key, 'hidden_spikes'):6.1f}  dead {100 * mean(book, key, 'dead_share'):5.1f} %"
        )


@app.command()
def targets(kind: str = KIND, only: int = ONLY) -> None:
    """Paper 3's 60 and 10 spikes, as counts and as rates, in 30 steps; and what a false target of 0 does."""
    pairs = {
        "60 and 10 spikes": (2.0, 1 / 3),
        "rates .2 and .033": (TRUE_RATE, FALSE_RATE),
        "rates .2 and 0": (TRUE_RATE, 0.0),
    }
    grid = [({"targets": name, "hidden": "100"}, smlp(), target_loss(*pair)) for name, pair in pairs.items()]
    grid += [
        ({"targets": name, "hidden": "-".join(map(str, DEEP))}, smlp(1.0, DEEP), target_loss(*pairs[name]))
        for name in list(pairs)[1:]
    ]
    about = {"model": "SMLP, gain 0.5 with one hidden layer, 1 with four"}
    book = run("targets", grid, recordings(30, kind), Settings(), about=about, only=only)
    for key, *_ in grid:
        print(
            f"{key['targets']:18s} {key['hidden']:15s} {accuracy(book, key):5.1f} %  "
            f"loss {mean(book, key, 'held_out_loss'):6.2f}  hidden rate {mean(book, key, 'hidden_rate'):.4f}  "
            f"dead {100 * mean(book, key, 'dead_share'):5.1f} %  output spikes {mean(book, key, 'output_spikes'):.1f}"
        )


@app.command()
def networks(kind: str = KIND, only: int = ONLY) -> None:
    """Spiking and ordinary networks on the same folds; the only experiment that reads the test recordings."""
    grid = [
        ({"network": "linear reader", "input": "counts"}, lambda g: LinearReader(), logits_cross_entropy),
        ({"network": "ordinary CNN", "input": "counts"}, _seeded(OrdinaryCNN), logits_cross_entropy),
        ({"network": "SMLP", "input": "frames"}, smlp(), count_loss),
        ({"network": "SCNN", "input": "frames"}, scnn, count_loss),
        ({"network": "SCNN", "input": "shuffled"}, scnn, count_loss),
    ]
    data = recordings(10, kind)
    others = {"shuffled": recordings(10, kind, shuffled=True)}
    held = NMNIST("test", kind=kind)
    test = dict.fromkeys(("frames", "counts"), load_frames(held, 10, DURATION_US / 10)[0])
    test["shuffled"] = _shuffled(held, 10, DURATION_US / 10)[0]
    about = {"test": {"label": held.label, "hash": held.hash, "labels": digits(held.labels)}}
    book = run(
        "networks", grid, data, Settings(20, 16, 5e-3, cosine=True), about=about, only=only, others=others, test=test
    )
    for key, *_ in grid:
        cells = [cell["test"] for cell in book.content["cells"] if key.items() <= cell.items()]
        right = [sum(a == b for a, b in zip(cell, about["test"]["labels"], strict=True)) for cell in cells]
        print(
            f"{key['network']:14s} {key['input']:9s} folds {accuracy(book, key):5.1f} %  test of {len(held)}: {right}"
        )


def _seeded(build: Callable[[], nn.Module]) -> Callable[[torch.Generator], nn.Module]:
    """Give a network that draws its weights from torch's own generator a seed, and leave that generator as it was."""

    def seeded(generator: torch.Generator) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            return build()

    return seeded


@app.command("all")
def everything(kind: str = KIND, only: int = ONLY) -> None:
    """Run all four, one after the other."""
    for experiment in (losses, penalty, targets, networks):
        experiment(kind, only)


if __name__ == "__main__":
    app()
