"""Training SNN-YOLOv3 here and as a loop in snnTorch: time and peak memory of a step, in one run.

    python -m benchmarks.detection [--side 160] [--pictures 8] [--steps 4] [--repeats 3] [--threads N] [--json FILE]

All begin with the same weights and learn from the same batch with the same loss and optimiser, at size ``tiny``:

=========================  ==========================================================================================
spikelab                   ``SpikingYolo``: all steps go through a layer at once, neurons are one operation
spikelab, recomputing      the same with ``checkpoint=True``
snntorch                   the loop of snnTorch's tutorials: the whole network once per step
snntorch, layer by layer   each layer's convolution for all steps at once, and a loop around ``snn.Leaky`` only
=========================  ==========================================================================================

Each measurement is made in a process of its own, by turns; of the times the fastest counts. ``processor_ms`` is time of
the processor; on one thread it is the wall's on an idle machine. ``mib`` is the growth of the process's peak memory
over what Python and torch take, weights and optimiser included. Only ratios travel between machines. With the
statistics of normalisation fixed, all must compute the same loss; while learning, the loop differs a little, for it
normalises each step by itself.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks._detection_peers import PEERS
from spikelab.files import write_atomically
from spikelab.training.results import hardware, versions

OPPONENT = "snntorch"
GOALS = {"ms": 2.0, "mib": 2.0}  # how many times spikelab's the opponent's should be
ROUNDS = 2
SAME = 1e-4  # relative difference of the losses


def main(
    side: Annotated[int, typer.Option(help="Side of the pictures in pixels, a multiple of 32.")] = 160,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures in a batch.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="T.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions in each of two rounds.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Compare a training step of spikelab's detector with the same network in snnTorch."""
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    if side % 32 or side < 32:
        raise SystemExit(f"benchmarks.detection: --side must be a multiple of 32, got {side}")
    settings = {"side": side, "pictures": pictures, "num_steps": steps, "repeats": repeats, "threads": threads}
    jobs = [(what, peer) for what in ("memory", *["speed"] * ROUNDS) for peer in PEERS]
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    for what, peer in tqdm(jobs, desc="measurements", file=sys.stderr):
        found[peer].append(_in_own_process(what, peer, settings))
    rows = []
    for peer, (memory, *speeds) in found.items():
        fastest = {key: min(speed[key] for speed in speeds) for key in ("ms", "processor_ms")}
        rows.append({"peer": peer, **speeds[0], **fastest, **memory})
    ours = rows[0]
    for row in rows:
        row["times_ours"] = {key: round(row[key] / ours[key], 3) for key in (*GOALS, "processor_ms")}
        away = abs(row["loss_with_fixed_statistics"] / ours["loss_with_fixed_statistics"] - 1)
        if away > SAME:
            raise SystemExit(f"benchmarks.detection: {row['peer']} computes another loss, {away:.2g} away")

    table = Table(title=f"tiny, {pictures} pictures of {side}², T = {steps}, {threads} threads: a training step")
    for column in ("", "ms", "times spikelab's", "of the processor", "peak MiB", "times spikelab's"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        times = row["times_ours"]
        cells = f"{row['ms']:.0f} {times['ms']:.2f} {times['processor_ms']:.2f} {row['mib']:.0f} {times['mib']:.2f}"
        table.add_row(row["peer"], *cells.split())
    Console(width=100).print(table)
    reached = next(row for row in rows if row["peer"] == OPPONENT)["times_ours"]
    for key, goal in GOALS.items():
        print(f"{OPPONENT} takes {reached[key]:.2f} times spikelab's {key} (goal: at least {goal:g})")
    report = {
        "kind": "benchmark",
        "task": "detection",
        "settings": settings | {"size": "tiny", "rounds": ROUNDS, "opponent": OPPONENT, "goals": GOALS},
        "rows": rows,
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if json_file:
        write_atomically(json_file, json.dumps(report, indent=1) + "\n")
    else:
        print(json.dumps(report))


def _in_own_process(what: str, peer: str, settings: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._detection_peers", json.dumps([what, peer, settings])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what} of {peer} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    typer.run(main)
