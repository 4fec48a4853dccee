"""Which surrogate gradient? A trial of shapes, slopes and initialisations on N-MNIST, for chapter 06.

    python -m benchmarks.surrogate_trial

One network (2312-100-10 LIF neurons, 15 binary frames, cross-entropy of the output spikes) is trained with every
surrogate from every initialisation, once for each of five folds: a fold holds out 200 of the 1,000 recordings that
are not the test set, so each recording is judged exactly once by a network that has not seen it. All surrogates start
from the same weights and see the same batches. Fold and seed go together, so a spread over the five is one over
weights, batches and recordings.

Every finished cell is written at once; the same command goes on where it was stopped.
"""

from __future__ import annotations

import datetime
import itertools
import os
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm

from spikelab.datasets import NMNIST, load_frames
from spikelab.datasets.files import read_json, write_json
from spikelab.losses import count_cross_entropy
from spikelab.neurons import lif
from spikelab.surrogate import Surrogate, atan, boxcar, exponential, fast_sigmoid, sigmoid
from spikelab.training.results import hardware, versions

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "06_surrogate_trial.json"
STRAIGHT_THROUGH = Surrogate(name="straight-through", smooth=lambda u: u, derivative=torch.ones_like)
SURROGATES = (
    *(fast_sigmoid(slope) for slope in (1.0, 5.0, 25.0, 100.0)),
    atan(2.0),
    atan(10.0),
    sigmoid(5.0),
    exponential(tau=0.2, scale=0.2),
    STRAIGHT_THROUGH,
    boxcar(1.0),
)
INITS = {"small": (0.01, 0.02), "medium": (0.03, 0.06), "large": (0.1, 0.2)}  # sd of the weights of both layers
FOLDS = 5
SIZES = (2312, 100, 10)
SETTINGS = {"num_steps": 15, "window_us": 20_000, "beta": 0.9, "batch": 32, "optimiser": "Adam", "lr": 1e-3}


def folds(count: int) -> list[torch.Tensor]:
    """Return the indices that each fold holds out: together all of them, each once."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return list(order.chunk(FOLDS))


def train_cell(
    frames: torch.Tensor, labels: torch.Tensor, held_out: torch.Tensor, surrogate: Surrogate, init: str, seed: int,
    epochs: int,
) -> dict[str, Any]:  # fmt: skip
    """Train one network and judge it on its fold.

    Args:
        frames: uint8 ``[N, T, 2, 34, 34]``, with ``labels`` ``[N]``.
        held_out: indices of the recordings that it may not see.
        surrogate: for both layers.
        init: name of the initialisation.
        seed: of weights and batches.
        epochs: passes over the other recordings.
    Returns:
        The cell of the result: accuracy after each epoch, firing rates, size of the very first gradient.
    """
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    shapes = itertools.pairwise(SIZES)
    weights = [
        (std * torch.randn(shape, generator=generator)).requires_grad_()
        for std, shape in zip(INITS[init], shapes, strict=True)
    ]
    optimiser = torch.optim.Adam(weights, lr=SETTINGS["lr"])
    seen = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, held_out, False).nonzero().squeeze(1)

    def spikes_of(indices: torch.Tensor) -> list[torch.Tensor]:
        spikes, layers = frames[indices].transpose(0, 1).flatten(2).float(), []
        for weight in weights:
            spikes = lif(spikes @ weight, beta=SETTINGS["beta"], spike_grad=surrogate).spikes
            layers.append(spikes)
        return layers

    first_gradient, accuracy = None, []
    for _ in range(epochs):
        for batch in seen[torch.randperm(len(seen), generator=generator)].split(SETTINGS["batch"]):
            optimiser.zero_grad()
            count_cross_entropy(spikes_of(batch)[-1], labels[batch]).backward()
            if first_gradient is None:
                first_gradient = [weight.grad.norm().item() for weight in weights]
            optimiser.step()
        with torch.no_grad():
            hidden, out = spikes_of(held_out)
        right = int((out.sum(0).argmax(1) == labels[held_out]).sum())
        accuracy.append(right / len(held_out))
    return {
        "right": right,
        "of": len(held_out),
        "accuracy": accuracy,
        "hidden_rate": hidden.mean().item(),
        "output_rate": out.mean().item(),
        "first_gradient": first_gradient,
        "seconds": round(time.perf_counter() - started, 2),
    }


def main(
    epochs: Annotated[int, typer.Option(help="passes over the 800 recordings of a fold")] = 10,
    out: Annotated[Path, typer.Option(help="result file, also where a stopped trial goes on")] = OUT,
) -> None:
    """Train all cells that the result file does not hold yet."""
    os.nice(10)
    torch.set_num_threads(1)
    splits = [NMNIST(split, kind="real") for split in ("train", "validation")]
    loaded = [load_frames(split, SETTINGS["num_steps"], SETTINGS["window_us"]) for split in splits]
    frames, labels = (torch.cat(parts) for parts in zip(*loaded, strict=True))
    held = len(labels) // FOLDS
    about = {
        "data": {
            "label": f"real N-MNIST, {len(labels):,} recordings of its train files",
            "hash": [split.hash for split in splits],
            "split": f"{FOLDS} folds, each {len(labels) - held} to train and {held} held out",
        },
        "configuration": {**SETTINGS, "sizes": SIZES, "loss": "cross-entropy of output spike counts", "epochs": epochs},
        "inits": INITS,
    }
    about = {key: _plain(value) for key, value in about.items()}
    result = {"kind": "trial", "task": "surrogates", **about, "seeds": list(range(FOLDS)), "cells": []}
    if out.exists():
        result = read_json(out)
        for key, value in about.items():
            if result.get(key) != value:
                raise SystemExit(
                    f"{out} is of another trial: its {key} is {result.get(key)}, now {value}; move it away"
                )
    done = {(cell["surrogate"], cell["init"], cell["seed"]) for cell in result["cells"]}
    jobs = [job for job in itertools.product(SURROGATES, INITS, range(FOLDS)) if (job[0].name, *job[1:]) not in done]
    held_out = folds(len(labels))
    try:
        for surrogate, init, seed in tqdm(jobs, initial=len(done), total=len(done) + len(jobs), unit="cell"):
            cell = train_cell(frames, labels, held_out[seed], surrogate, init, seed, epochs)
            result["cells"].append({"surrogate": surrogate.name, "init": init, "seed": seed, **cell})
            result["seconds"] = round(sum(cell["seconds"] for cell in result["cells"]), 1)
            result["hardware"], result["versions"] = hardware(), versions()
            result["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            write_json(out, result)
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; {len(result['cells'])} cells are in {out}, the same command goes on") from None


def _plain(value: Any) -> Any:
    """Return what JSON would give back: lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    typer.run(main)
