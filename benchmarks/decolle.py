"""What time costs: memory and seconds of DECOLLE and of backpropagation through time, over the number of steps.

    python -m benchmarks.decolle [--steps 10,30,100,300] [--repeats 3] [--json book/results/08_decolle_memory.json]

Two networks learn from one batch: the perceptron of chapter 08 (2312-200-200-200 neurons) and paper 1's localizer (full
width, 44×60 pixels), each by DECOLLE, which updates its weights at every step, and by backpropagation through time
through leaky integrate-and-fire neurons, which updates them once at the end; the latter runs on
``spikelab.neurons.lif``, which keeps one membrane per neuron and step and no graph. Frames are drawn as they are
needed; BPTT needs all at once.

Every measurement is made in a process of its own. ``peak_mib`` is the growth of its peak memory over what Python and
torch take, weights and readouts included; ``held_mib`` is the most that autograd held of it. ``ms_per_step`` is time of
the processor on one thread, the fastest of the repeats: on an idle machine it is the wall's.
"""

from __future__ import annotations

import ctypes
import datetime
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.nn import functional as F

from spikelab.files import write_atomically
from spikelab.losses import count_cross_entropy
from spikelab.models.localizer import DecolleLocalizer, SurrogateLocalizer
from spikelab.models.nmnist import SMLP
from spikelab.plasticity import ADAMAX_BETAS, DecolleConstants, decolle_mlp, learn_online
from spikelab.training.results import hardware, versions

CASES: dict[str, dict[str, Any]] = {
    "perceptron": {"frame": (2312,), "batch": 16, "rate": 0.02},
    "localizer": {"frame": (1, 44, 60), "batch": 1, "rate": 0.4},
}
RULES = ("decolle", "bptt")
GOAL = 0.01  # DECOLLE's growth with time, as a share of BPTT's
MMAP_THRESHOLD = -3  # of glibc's mallopt
WARM_UP = 300  # steps in every process, whatever T
MIB = 2**20


def main(
    steps: Annotated[str, typer.Option(help="Numbers of steps T.")] = "10,30,100,300",
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions; the fastest counts.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Measure memory and time of both rules over T."""
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    counts = [int(count) for count in steps.split(",")]
    if len(counts) < 2 or min(counts) < 1:
        raise SystemExit(f"benchmarks.decolle: --steps needs two numbers of steps at least, got {steps}")
    rows = []
    jobs = [(case, rule, count) for case in CASES for rule in RULES for count in counts]
    for job in tqdm(jobs, desc="measurements", file=sys.stderr):
        about = dict(zip(("case", "rule", "num_steps"), job, strict=True))
        rows.append({**about, **_in_own_process(memory, *job), **_in_own_process(seconds, *job, repeats)})
    growth = {case: _growth([row for row in rows if row["case"] == case]) for case in CASES}

    table = Table(title="peak MiB above torch (held by autograd), ms per step")
    for column in ("network", "rule", *(f"T = {count}" for count in counts), "MiB per step"):
        table.add_column(column, justify="right" if "=" in column or "per" in column else "left")
    for case in CASES:
        for rule in RULES:
            cells = [
                f"{row['peak_mib']:.0f} ({row['held_mib']:.2f})\n{row['ms_per_step']:.2f}"
                for row in rows
                if (row["case"], row["rule"]) == (case, rule)
            ]
            table.add_row(case, rule, *cells, f"{growth[case][rule]['peak_mib']:.4f}")
    Console(width=120).print(table)
    for case, slopes in growth.items():
        share = slopes["decolle"]["peak_mib"] / slopes["bptt"]["peak_mib"]
        print(f"{case}: DECOLLE's memory grows by {100 * share:.2f} % of BPTT's (goal: at most {100 * GOAL:g} %)")
    report = {
        "kind": "benchmark",
        "task": "decolle_memory",
        "settings": {
            "steps": counts,
            "repeats": repeats,
            "threads": 1,
            "warm_up": WARM_UP,
            "cases": CASES,
            "goal": GOAL,
        },
        "rows": rows,
        "growth_per_step": growth,
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if json_file:
        write_atomically(json_file, json.dumps(report, indent=1) + "\n")
    else:
        print(json.dumps(report))


def memory(case: str, rule: str, num_steps: int) -> dict[str, float]:
    """Learn from batches of ``num_steps`` frames; only in a process of its own are the numbers right."""
    _settle()
    # Large tensors go back to the system when they are freed; kept for later use they would count by chance.
    allocator = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(MMAP_THRESHOLD, 2**16)
    before = _peak_mib()
    learn = _learner(case, rule, num_steps)
    for _ in range(math.ceil(WARM_UP / num_steps)):  # small ones are kept, the more the longer
        learn()
    peak = _peak_mib() - before
    ledger = _Ledger()
    with torch.autograd.graph.saved_tensors_hooks(ledger.hold, _Held.tensor):
        learn()
    return {"peak_mib": round(peak, 2), "held_mib": round(ledger.peak / MIB, 4)}


def seconds(case: str, rule: str, num_steps: int, repeats: int) -> dict[str, float]:
    """Time learning from a batch of ``num_steps`` frames."""
    _settle()
    learn = _learner(case, rule, num_steps)
    learn()
    fastest = min(_seconds(learn) for _ in range(repeats))
    return {"ms_per_step": round(1000 * fastest / num_steps, 3)}


def _learner(case: str, rule: str, num_steps: int) -> Callable[[], None]:
    """A function that learns once from one batch."""
    frame, batch, rate = (CASES[case][name] for name in ("frame", "batch", "rate"))
    chances, generator = torch.full((batch, *frame), rate), torch.Generator().manual_seed(0)
    model, target = _network(case, rule, batch)
    if rule == "decolle":
        optimiser = torch.optim.Adamax(model.parameters(), lr=1e-4, betas=ADAMAX_BETAS)
    else:
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def frames() -> Iterator[torch.Tensor]:
        for _ in range(num_steps):
            yield torch.bernoulli(chances, generator=generator)

    def online() -> None:
        learn_online(model, frames(), target, optimiser)

    def through_time() -> None:
        out = model(torch.stack(list(frames())))
        loss = F.smooth_l1_loss(out.boxes, target) if case == "localizer" else count_cross_entropy(out.spikes, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return online if rule == "decolle" else through_time


def _network(case: str, rule: str, batch: int) -> tuple[nn.Module, torch.Tensor]:
    """A network with its target."""
    generator = torch.Generator().manual_seed(0)
    if case == "localizer":
        boxes = torch.tensor([[0.2, 0.3, 0.7, 0.8]]).expand(batch, 4)
        kind = DecolleLocalizer if rule == "decolle" else SurrogateLocalizer
        options = {"burn_in": 0, "step_ms": 5.0} if rule == "decolle" else {}
        return kind(size=CASES[case]["frame"][1:], generator=generator, **options), boxes
    labels = torch.arange(batch) % 10
    if rule == "bptt":
        return SMLP((200, 200, 200), input_shape=(2, 34, 34), generator=generator), labels
    network = decolle_mlp((2312, 200, 200, 200), 10, constants=DecolleConstants().at(5.0), generator=generator)
    return network, F.one_hot(labels, 10).float()


class _Ledger:
    """Bytes that autograd holds, each memory counted once, and the most it held."""

    def __init__(self) -> None:
        self.holders: dict[int, int] = {}
        self.live = self.peak = 0

    def hold(self, tensor: torch.Tensor) -> _Held:
        return _Held(self, tensor)


class _Held:
    """A tensor that autograd holds until it needs it no more."""

    def __init__(self, ledger: _Ledger, tensor: torch.Tensor) -> None:
        self.ledger, self.held = ledger, tensor
        storage = tensor.untyped_storage()
        self.place, self.size = storage.data_ptr(), storage.nbytes()
        holders = ledger.holders.get(self.place, 0)
        ledger.holders[self.place] = holders + 1
        if not holders:
            ledger.live += self.size
            ledger.peak = max(ledger.peak, ledger.live)

    def tensor(self) -> torch.Tensor:
        return self.held

    def __del__(self) -> None:
        self.ledger.holders[self.place] -= 1
        if not self.ledger.holders[self.place]:
            self.ledger.live -= self.size


def _growth(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """MiB per step of each rule: slope of the least-squares line over T."""
    slopes: dict[str, dict[str, float]] = {}
    for rule in RULES:
        mine = [row for row in rows if row["rule"] == rule]
        steps = torch.tensor([row["num_steps"] for row in mine], dtype=torch.float64)
        steps -= steps.mean()
        slopes[rule] = {
            what: float(steps @ torch.tensor([row[what] for row in mine], dtype=torch.float64) / steps.square().sum())
            for what in ("peak_mib", "held_mib")
        }
    return slopes


def _in_own_process(measure: Callable[..., dict[str, float]], *job: Any) -> dict[str, float]:
    context = multiprocessing.get_context("forkserver")  # forks of one process that has imported all and done nothing
    context.set_forkserver_preload(["torch._dynamo", "spikelab.models.localizer", "spikelab.training.results"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, *job).result()


def _settle() -> None:
    """One thread, and a first step of optimisers, which imports parts of torch that take memory for good."""
    torch.set_num_threads(1)
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    for kind in (torch.optim.Adam, torch.optim.Adamax):
        kind(layer.parameters()).step()


def _seconds(function: Callable[[], None]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def _peak_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    typer.run(main)
