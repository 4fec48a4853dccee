"""``spikelab.neurons.lif`` against its peers: time and peak memory, in one run.

    python -m benchmarks.neurons [--repeats 5] [--threads N] [--json FILE] [--peers .venv-peers/bin/python]

Each library runs each case in a process of its own, by turns, and reports its fastest repetition and the growth of its
peak memory over what the inputs already take. Only ratios travel between machines. snnTorch shares our environment;
SpikingJelly, norse and sinabs have one of their own, made by ``sh benchmarks/peers.sh``, with the same torch.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks._neuron_peers import CASES, PASSES
from spikelab.files import write_atomically

WORKER = Path(__file__).with_name("_neuron_peers.py")
GOALS = {"elementwise T32 B32 N16384": 8.0, "linear T100 B16 N512": 2.0}
# snnTorch's tutorials write the loop with an index, ``current[step]``, and each index makes the backward pass add up a
# gradient of the whole sequence. ``for step in current`` avoids that; it is the fairer opponent, so both are timed.
HERE = ("spikelab", "snntorch indexed", "snntorch")
ELSEWHERE = ("spikingjelly", "norse", "sinabs")


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions of each case; the fastest counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
    peers: Annotated[
        Path | None, typer.Option(help="Python of the environment that benchmarks/peers.sh makes; adds its libraries.")
    ] = None,
) -> None:
    """Compare spikelab's lif with other libraries' leaky neuron in time and peak memory."""
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    if peers and not peers.exists():
        raise SystemExit(f"benchmarks.neurons: there is no {peers}; make it with: sh benchmarks/peers.sh")
    pythons = dict.fromkeys(HERE, Path(sys.executable)) | dict.fromkeys(ELSEWHERE if peers else (), peers)
    rows = []
    for case in tqdm(CASES, desc="cases", file=sys.stderr):
        for which_pass in PASSES:
            result = {
                peer: _in_own_process(python, [case, which_pass, peer, repeats, threads])
                for peer, python in pythons.items()
            }
            ours = result["spikelab"]
            ratios = {peer: {key: other[key] / ours[key] for key in ("ms", "mib")} for peer, other in result.items()}
            goal = GOALS.get(case) if which_pass == "forward+backward" else None
            rows.append({"case": case, "pass": which_pass, "measured": result, "times_ours": ratios, "goal": goal})

    table = Table(title=f"ms, peak MiB (and how many times spikelab's ms); {threads} threads, fastest of {repeats}")
    table.add_column("case")
    for peer in pythons:
        table.add_column(peer, justify="right")
    for row in rows:
        cells = []
        for peer, measured in row["measured"].items():
            times = "" if peer == "spikelab" else f" ({row['times_ours'][peer]['ms']:.1f}×)"
            cells.append(f"{measured['ms']:.1f}, {measured['mib']:.0f}{times}")
        goal = f"\n(goal: indexed ≥ {row['goal']:g}×)" if row["goal"] else ""
        table.add_row(f"{row['case']}\n{row['pass']}{goal}", *cells)
    Console(width=64 + 22 * len(pythons)).print(table)
    versions = {peer: rows[0]["measured"][peer]["version"] for peer in pythons}
    report = {
        "versions": versions | {"torch": sorted({m["torch"] for m in rows[0]["measured"].values()})},
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "repeats": repeats,
        "rows": rows,
    }
    if json_file:
        write_atomically(json_file, json.dumps(report, indent=1) + "\n")
    else:
        print(json.dumps(report))


def _in_own_process(python: Path, job: list) -> dict:
    done = subprocess.run([python, WORKER, json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{job[0]}, {job[1]}, {job[2]} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    typer.run(main)
