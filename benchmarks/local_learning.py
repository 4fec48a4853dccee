"""What is local learning worth? Three rules on N-MNIST, for chapter 08.

    python -m benchmarks.local_learning

One body (2312-200-200-200 neurons of DECOLLE, 60 binary frames of 5 ms) learns by

- ``decolle``: every layer by its own fixed readout, online, after burn-in;
- ``frozen``: the same, but the hidden layers keep their initial weights and only the last one learns;
- ``bptt``: nothing detached but the refractoriness, one loss at the end, a trained readout, one update per batch.

Each rule is trained once for each of three folds: a fold holds out another 200 of the 1,000 recordings that are not
the test set and learns the other 800, so 600 recordings are judged, each by a network that has not seen it. All rules
start from the same weights. A last cell of each rule (fold ``test``) learns all 1,000 and is judged on the 100 test
recordings, once, at the end.
The learning rate is the best of ``LEARNING_RATES`` on fold 0, over all readouts (``frozen`` takes that of ``decolle``).

Every finished cell is written at once; the same command goes on where it was stopped.
"""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch.nn import functional as F
from tqdm import tqdm

from spikelab.datasets import NMNIST, load_frames
from spikelab.datasets.files import read_json, write_json
from spikelab.plasticity import ADAMAX_BETAS, DecolleConstants, DecolleNetwork, decolle_mlp, learn_online
from spikelab.training.results import hardware, versions

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "08_local_learning.json"
SIZES = (2312, 200, 200, 200)
SETTINGS = {"num_steps": 60, "window_us": 5_000, "burn_in": 10, "batch": 50, "bptt_batch": 16, "amplitude": 0.5}
LEARNING_RATES = {"decolle": (1e-3, 3e-3), "bptt": (1e-3, 3e-3)}
CONSTANTS = DecolleConstants().at(5.0)
RULES = ("decolle", "frozen", "bptt")
FOLDS, USED = 5, 3


def network_of(seed: int) -> DecolleNetwork:
    """The body, its initial weights drawn from ``seed``."""
    about = {name: SETTINGS[name] for name in ("amplitude", "burn_in")}
    return decolle_mlp(SIZES, 10, constants=CONSTANTS, generator=torch.Generator().manual_seed(seed), **about)


def time_first(frames: torch.Tensor) -> torch.Tensor:
    """Frames uint8 ``[B, T, 2, 34, 34]`` as float ``[T, B, 2312]``."""
    return frames.transpose(0, 1).flatten(2).float()


def through_time(network: DecolleNetwork, frames: torch.Tensor) -> torch.Tensor:
    """σ(U) of the last layer, mean over the steps after burn-in ``[B, N]``, with the gradient of all steps and layers.

    The same potentials as ``network`` computes, to rounding; only the refractoriness is detached.
    """
    alpha, beta, alpha_r, w_r, _ = CONSTANTS
    state = [[traces.q, traces.p, traces.r, traces.s] for traces in network.rest(frames.shape[1])]
    total = 0.0
    for step, spikes in enumerate(frames):
        for layer, traces in zip(network.layers, state, strict=True):
            q, p, r, s = traces
            p = alpha * p + (1 - alpha) * q
            q = beta * q + (1 - beta) * spikes
            r = alpha_r * r - (1 - alpha_r) * w_r * s.detach()
            membrane = layer.synapse(p) + r
            spikes = layer.spike_grad(membrane)
            traces[:] = q, p, r, spikes
        if step >= network.burn_in:
            total = total + torch.sigmoid(membrane)
    return total / (len(frames) - network.burn_in)


def train_cell(
    rule: str,
    lr: float,
    seed: int,
    epochs: int,
    train: tuple[torch.Tensor, torch.Tensor],
    held: tuple[torch.Tensor, torch.Tensor],
) -> dict[str, Any]:
    """Train one network by one rule and judge it.

    Args:
        rule: one of ``RULES``.
        lr: learning rate.
        seed: of weights and batches.
        epochs: passes over the recordings.
        train: frames uint8 ``[N, T, 2, 34, 34]`` and labels ``[N]``.
        held: likewise, what it is judged on.
    Returns:
        The cell of the result: by layer (for ``bptt`` the one readout) share right after each epoch, from before the
        first one on, answers at the end, and firing rates.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    network = network_of(seed)
    top = torch.nn.Linear(SIZES[-1], 10) if rule == "bptt" else None
    if rule == "frozen":
        network.layers[:-1].requires_grad_(False)
    learnt = [weight for weight in network.parameters() if weight.requires_grad]
    if rule == "bptt":
        optimiser = torch.optim.Adam([*learnt, *top.parameters()], lr=lr)
    else:
        optimiser = torch.optim.Adamax(learnt, lr=lr, betas=ADAMAX_BETAS)

    @torch.no_grad()
    def answers() -> tuple[torch.Tensor, tuple[float, ...]]:
        frames = time_first(held[0])
        out = network(frames)
        said = out.decisions if top is None else top(through_time(network, frames)).argmax(1).unsqueeze(0)
        return said, out.rates

    def right(said: torch.Tensor) -> list[float]:
        return (said == held[1]).double().mean(1).tolist()

    course = [right(answers()[0])]
    shuffle = torch.Generator().manual_seed(seed)
    size = SETTINGS["bptt_batch" if rule == "bptt" else "batch"]
    for _ in range(epochs):
        for batch in torch.randperm(len(train[1]), generator=shuffle).split(size):
            frames, target = time_first(train[0][batch]), train[1][batch]
            if rule != "bptt":
                learn_online(network, frames, F.one_hot(target, 10).float(), optimiser)
                continue
            optimiser.zero_grad()
            F.cross_entropy(top(through_time(network, frames)), target).backward()
            optimiser.step()
        said, rates = answers()
        course.append(right(said))
    return {
        "accuracy": course,
        "said": ["".join(map(str, row)) for row in said.tolist()],
        "rates": rates,
        "seconds": round(time.perf_counter() - started, 2),
    }


def main(
    epochs: Annotated[int, typer.Option(help="passes over the recordings")] = 15,
    out: Annotated[Path, typer.Option(help="result file, also where a stopped run goes on")] = OUT,
) -> None:
    """Train all cells that the result file does not hold yet."""
    os.nice(10)
    torch.set_num_threads(1)
    splits = [NMNIST(split, kind="real") for split in ("train", "validation", "test")]
    loaded = [load_frames(split, SETTINGS["num_steps"], SETTINGS["window_us"]) for split in splits]
    frames, labels = (torch.cat(parts) for parts in zip(*loaded[:2], strict=True))
    held_out = list(torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).chunk(FOLDS))
    truth = {fold: "".join(map(str, labels[held_out[fold]].tolist())) for fold in range(USED)}
    truth["test"] = "".join(map(str, loaded[2][1].tolist()))
    about = {
        "data": {
            "label": f"real N-MNIST, {len(labels):,} recordings of its train and {len(loaded[2][1])} of its test files",
            "hash": [split.hash for split in splits],
            "split": f"{USED} folds, each {len(labels) - len(held_out[0])} to train and {len(held_out[0])} held out; "
            f"fold test: {len(labels):,} to train, the test files held out",
        },
        "configuration": {
            **SETTINGS,
            "sizes": list(SIZES),
            "constants": CONSTANTS._asdict(),
            "epochs": epochs,
            "learning_rates": {rule: list(rates) for rule, rates in LEARNING_RATES.items()},
        },
        "truth": {str(fold): digits for fold, digits in truth.items()},
    }
    result = {"kind": "trial", "task": "local learning", **about, "seeds": list(range(USED)), "cells": []}
    if out.exists():
        result = read_json(out)
        for key, value in about.items():
            if result.get(key) != value:
                raise SystemExit(f"{out} is of another trial: its {key} is another one; move it away")

    chosen: dict[str, float] = {}  # learning rates

    def run(rule: str, lr: float, fold: int | str) -> dict[str, Any]:
        key = {"rule": rule, "lr": lr, "fold": fold}
        for cell in result["cells"]:
            if key.items() <= cell.items():
                return cell
        if fold == "test":
            train, held, seed = (frames, labels), loaded[2], 0
        else:
            seen = torch.cat([part for number, part in enumerate(held_out) if number != fold])
            train, held, seed = (frames[seen], labels[seen]), (frames[held_out[fold]], labels[held_out[fold]]), fold
        cell = {**key, "seed": seed, **train_cell(rule, lr, seed, epochs, train, held)}
        result["cells"].append(cell)
        result["chosen"] = chosen
        result["seconds"] = round(sum(cell["seconds"] for cell in result["cells"]), 1)
        result["hardware"], result["versions"] = hardware(), versions()
        result["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(out, result)
        return cell

    try:
        for rule, rates in LEARNING_RATES.items():
            judged = {lr: sum(run(rule, lr, 0)["accuracy"][-1]) for lr in rates}
            chosen[rule] = max(rates, key=judged.__getitem__)
        chosen["frozen"] = chosen["decolle"]
        jobs = [(rule, fold) for fold in (0, "test", *range(1, USED)) for rule in RULES]
        for rule, fold in tqdm(jobs, unit="cell"):
            run(rule, chosen[rule], fold)
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; {len(result['cells'])} cells are in {out}, the same command goes on") from None


if __name__ == "__main__":
    typer.run(main)
