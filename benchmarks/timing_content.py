"""Is N-MNIST neuromorphic? What plain readers score with and without time, on recordings of 1,100 digits.

    python -m benchmarks.timing_content [--kind real|simulated|synthetic] [--json book/results/04_timing_content.json]

Each *view* shows a reader some of what is in the recordings: only how many events there are, only when they come, only
the picture they add up to, and so on. Two readers look at each view: a linear one (softmax regression, its penalty
chosen inside each training fold) and a small convolutional one. Five folds, so that every recording is tested once.

``real`` are the 1,000 + 100 recordings, ``simulated`` the same 1,100 digits of MNIST through the DVS simulator,
``synthetic`` 1,100 of scikit-learn's digits through it. The file is written after each view, so that an interrupted run
goes on where it stopped. It holds which recordings were right, so that any two views can be compared item by item.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional as F

from spikelab.datasets import NMNIST, data_root, read_mnist
from spikelab.events import encode_aer, frames, make_events
from spikelab.probe import fold_indices, linear_probe, paired_difference
from spikelab.statistics import wilson_interval
from spikelab.training.results import hardware, versions

KINDS = ("real", "simulated", "synthetic")
READERS = ("linear", "conv")
RECORDINGS = 1_100
FOLDS = 5
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
WINDOW_US = 320_000  # longer than any recording
SACCADE_US = 105_000
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "04_timing_content.json"


class Digits(NamedTuple):
    """Recordings of digits."""

    events: list[np.ndarray]
    labels: torch.Tensor
    label: str
    hash: str


class View(NamedTuple):
    """A part of what is in a recording."""

    text: str
    features: Callable[[np.ndarray], torch.Tensor]
    is_picture: bool = True
    shuffled: bool = False


def load_digits(kind: str, count: int = RECORDINGS) -> Digits:
    """Return the first ``count`` recordings of a kind: train, validation and test files together."""
    if kind == "simulated":
        return _simulated(load_numbers(count), count)
    splits = [NMNIST(split, kind=kind) for split in ("train", "validation", "test")]
    files = [(files, i) for files in splits for i in range(len(files))][:count]
    events = [files[i][0] for files, i in files]
    labels = torch.tensor([int(files.labels[i]) for files, i in files])
    return Digits(events, labels, splits[0].label.split(",")[0] + f", {len(events):,} recordings", _hash(events))


def load_numbers(count: int) -> dict[str, list[int]]:
    """Return which images of MNIST (from 0) the real recordings show, in the order of ``load_digits``."""
    found: dict[str, list[int]] = {"train": [], "test": []}
    for split in ("train", "validation", "test"):
        files = NMNIST(split, kind="real").files
        found["test" if split == "test" else "train"] += [int(file.stem) - 1 for file in files]
    found["test"] = found["test"][: max(0, count - len(found["train"]))]
    found["train"] = found["train"][:count]
    return found


def _simulated(numbers: dict[str, list[int]], count: int) -> Digits:
    from spikelab.datasets.simulated import simulate

    events, labels = [], []
    for split, chosen in numbers.items():
        if chosen:
            images, digits = read_mnist(data_root() / "mnist", split)
            events += simulate(images[chosen], chosen, split)
            labels += [int(digits[i]) for i in chosen]
    label = f"simulated N-MNIST: the same digits of MNIST through the DVS simulator, {len(events):,} recordings"
    return Digits(events, torch.tensor(labels), label, _hash(events))


def _hash(events: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for recording in events:
        digest.update(encode_aer(recording))
    return digest.hexdigest()[:16]


def shuffle_time(events: np.ndarray, seed: int) -> np.ndarray:
    """Deal the times of a recording out at random among its addresses."""
    t = np.random.default_rng(seed).permutation(events["t"])
    order = np.argsort(t, kind="stable")
    return make_events(events["x"][order], events["y"][order], events["p"][order], t[order])


def _times(events: np.ndarray, polarity: bool) -> torch.Tensor:
    bin_ = np.minimum(events["t"] // 5_000, 63)
    cell = 2 * bin_ + events["p"] if polarity else bin_
    return torch.from_numpy(np.bincount(cell, minlength=128 if polarity else 64)).float()


def _first(events: np.ndarray) -> torch.Tensor:
    earliest = np.full((2, 34, 34), WINDOW_US)
    np.minimum.at(earliest, (events["p"], events["y"], events["x"]), events["t"])
    return torch.from_numpy(earliest / WINDOW_US).float()


def _counts(steps: int, window_us: int, polarity: str = "split") -> Callable[[np.ndarray], torch.Tensor]:
    return lambda events: frames(events, steps, window_us, polarity=polarity)


def _only(sign: int, view: Callable[[np.ndarray], torch.Tensor]) -> Callable[[np.ndarray], torch.Tensor]:
    return lambda events: view(events[events["p"] == sign])


VIEWS = {
    "number": View("number of events, nothing else", lambda events: torch.tensor([float(len(events))]), False),
    "times": View("times of events, no pixel (64 bins)", lambda events: _times(events, False), False),
    "times-polarity": View("times and polarities, no pixel", lambda events: _times(events, True), False),
    "picture-merged": View("events per pixel, no polarity", _counts(1, WINDOW_US, "merge")),
    "picture": View("events per pixel and polarity", _counts(1, WINDOW_US)),
    "off": View("the same, OFF events only", _only(0, _counts(1, WINDOW_US))),
    "first-saccade": View("the same, first saccade only", _counts(1, SACCADE_US)),
    "first-time": View("time of the first event per pixel", _first),
    "saccades": View("3 time bins, one per saccade", _counts(3, SACCADE_US)),
    "off-saccades": View("3 time bins, OFF events only", _only(0, _counts(3, SACCADE_US))),
    "saccades-shuffled": View("3 time bins, times shuffled", _counts(3, SACCADE_US), shuffled=True),
    "bins": View("10 time bins", _counts(10, WINDOW_US // 10)),
    "bins-shuffled": View("10 time bins, times shuffled", _counts(10, WINDOW_US // 10), shuffled=True),
}
COMPARISONS = (
    ("picture", "saccades"),
    ("saccades", "saccades-shuffled"),
    ("saccades", "bins"),
    ("bins", "bins-shuffled"),
    ("picture", "first-saccade"),
    ("picture", "off"),
    ("saccades", "off-saccades"),
)


def features(view: View, events: list[np.ndarray], seed: int = 0) -> torch.Tensor:
    """Return what a reader sees of each recording, ``[N, C, 34, 34]`` or ``[N, F]``."""
    seen = events
    if view.shuffled:
        seen = [shuffle_time(recording, 100_003 * seed + i) for i, recording in enumerate(events)]
    found = torch.stack([view.features(recording) for recording in seen])
    return found.flatten(1, 2) if view.is_picture and found.dim() == 5 else found


def read_conv(seen: torch.Tensor, labels: torch.Tensor, seed: int, epochs: int = 30, batch: int = 44) -> torch.Tensor:
    """Return which recordings a small convolutional reader names rightly ``[N]``; it trains on shifted copies."""
    seen = seen.sqrt()
    right = torch.zeros(len(labels), dtype=torch.bool)
    for number, (train, test) in enumerate(fold_indices(len(labels), FOLDS, seed)):
        with torch.random.fork_rng():
            torch.manual_seed(1_000 * seed + number)
            net = _conv_net(seen.shape[1])
            per_epoch = len(train) // batch
            optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * per_epoch)
            for _ in range(epochs):
                for some in train[torch.randperm(len(train))][: per_epoch * batch].view(per_epoch, batch):
                    shift = torch.randint(-2, 3, (2,)).tolist()
                    optimizer.zero_grad()
                    answer = net(torch.roll(seen[some], shift, (2, 3)))
                    F.cross_entropy(answer, labels[some], label_smoothing=0.05).backward()
                    optimizer.step()
                    schedule.step()
            net.eval()
            with torch.no_grad():
                right[test] = net(seen[test]).argmax(1) == labels[test]
    return right


def _conv_net(channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, width in ((channels, 16, 5), (16, 32, 3)):
        layers += [nn.Conv2d(inputs, outputs, width, stride=2, padding=width // 2), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Flatten(), nn.Linear(32 * 9 * 9, 10))


def packed(right: torch.Tensor) -> str:
    """Return which recordings were right as hexadecimal digits, four recordings in each."""
    return np.packbits(right.numpy()).tobytes().hex()


def unpacked(text: str, count: int) -> torch.Tensor:
    """Return which of ``count`` recordings were right ``[N]``."""
    return torch.from_numpy(np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool))


def scored(right: torch.Tensor) -> dict[str, Any]:
    """Return accuracy with its 95 % Wilson interval, and which recordings were right."""
    correct, n = int(right.sum()), len(right)
    low, high = wilson_interval(correct, n)
    return {"accuracy": correct / n, "low": low, "high": high, "correct": correct, "n": n, "right": packed(right)}


def compared(views: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the paired differences between views that the same reader has read."""
    found = []
    for reader in READERS:
        for a, b in COMPARISONS:
            before, after = (views.get(name, {}).get(reader) for name in (a, b))
            if before and after:
                change = paired_difference(*(unpacked(one["right"], one["n"]) for one in (before, after)))
                found.append({"reader": reader, "from": a, "to": b, **change._asdict()})
    return found


def measure(
    digits: Digits,
    readers: tuple[str, ...],
    seed: int,
    *,
    run: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """Let all readers read all views of a set of recordings.

    Args:
        digits: the recordings.
        readers: ``"linear"``, ``"conv"`` or both.
        seed: for folds, shuffling and training.
        run: an earlier, unfinished run of the same recordings and seed; what it holds is not measured again.
        save: called with the run after each view.
    """
    run = {"views": {}, "differences": [], "cpu_seconds": 0.0, **(run or {})}
    for name, view in VIEWS.items():
        entry = run["views"].setdefault(name, {"text": view.text})
        missing = [r for r in readers if r not in entry and (r == "linear" or view.is_picture)]
        if not missing:
            continue
        begin = time.process_time()
        seen = features(view, digits.events, seed)
        entry["features"] = seen[0].numel()
        if "linear" in missing:
            probe = linear_probe(seen, digits.labels, penalty=PENALTIES, folds=FOLDS, seed=seed)
            entry["linear"] = {**scored(probe.right), "penalties": probe.penalties}
        if "conv" in missing:
            entry["conv"] = scored(read_conv(seen, digits.labels, seed))
        run["cpu_seconds"] = round(run["cpu_seconds"] + time.process_time() - begin, 1)
        run["views"] = {known: run["views"][known] for known in VIEWS if known in run["views"]}
        run["differences"] = compared(run["views"])
        save(run)
        told = ", ".join(f"{r} {100 * entry[r]['accuracy']:.1f} %" for r in readers if r in entry)
        typer.echo(f"{view.text:36s} {told}")
    return run


def earlier_run(path: Path, kind: str, digits: Digits, seed: int) -> dict[str, Any] | None:
    """Return what the result file holds of the same recordings and seed."""
    if not path.is_file():
        return None
    run = json.loads(path.read_text(encoding="utf-8"))["runs"].get(kind)
    same = run is not None and run["data"]["hash"] == digits.hash and run["seed"] == seed and run["folds"] == FOLDS
    return {key: run[key] for key in ("views", "differences", "cpu_seconds")} if same else None


def write_run(path: Path, kind: str, run: dict[str, Any]) -> None:
    """Put one run into the result file, in place of an earlier one of that kind."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    runs = {**content.get("runs", {}), kind: run}
    content = {
        "schema_version": 1,
        "kind": path.stem.split("_", 1)[-1],
        "runs": {k: runs[k] for k in KINDS if k in runs},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def about(digits: Digits, kind: str, seed: int) -> dict[str, Any]:
    """Return what every run states: data, seed, hardware, date, versions."""
    return {
        "data": {"kind": kind, "label": digits.label, "hash": digits.hash, "recordings": len(digits.events)},
        "seed": seed,
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def main(
    kind: Annotated[list[str] | None, typer.Option(help=f"Recordings: {', '.join(KINDS)}; may be repeated.")] = None,
    reader: Annotated[list[str] | None, typer.Option(help="linear, conv; may be repeated.")] = None,
    count: Annotated[int, typer.Option(help="Number of recordings.", min=50)] = RECORDINGS,
    seed: Annotated[int, typer.Option(help="Folds, shuffling, training.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
    fresh: Annotated[bool, typer.Option(help="Measure again what the file already holds.")] = False,
    json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT,
) -> None:
    """Measure what timing adds to the recognition of N-MNIST's digits."""
    kind, reader = kind or ["real"], reader or list(READERS)
    if strange := [name for name in kind if name not in KINDS] + [name for name in reader if name not in READERS]:
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(KINDS + READERS)}")
    torch.set_num_threads(threads)
    for name in kind:
        digits = load_digits(name, count)
        typer.echo(digits.label)
        stated = {**about(digits, name, seed), "folds": FOLDS}
        measure(
            digits,
            tuple(reader),
            seed,
            run=None if fresh else earlier_run(json_file, name, digits, seed),
            save=lambda run, name=name, stated=stated: write_run(json_file, name, {**stated, **run}),
        )
        typer.echo(f"written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
