"""``spikelab.neurons.lif`` against ``snntorch.Leaky``: time and peak memory, in one run.

    python -m benchmarks.neurons [--repeats 5] [--threads N] [--json FILE]

Each implementation runs each case in a process of its own, the two by turns, and reports its fastest repetition and the
growth of its peak memory over what the inputs already take. Only the ratio of the two travels between machines.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

# name: (T, B, N, with a linear layer N -> N in front)
CASES = {
    "elementwise T32 B32 N16384": (32, 32, 16384, False),
    "elementwise T100 B16 N4096": (100, 16, 4096, False),
    "linear T100 B16 N512": (100, 16, 512, True),
    "linear T300 B8 N2000": (300, 8, 2000, True),
}
GOALS = {"elementwise T32 B32 N16384": 8.0, "linear T100 B16 N512": 2.0}
PASSES = ("forward", "forward+backward")
# snnTorch's tutorials write the loop with an index, ``current[step]``, and each index makes the backward pass add up a
# gradient of the whole sequence. ``for step in current`` avoids that; it is the fairer opponent, so both are timed.
PEERS = ("spikelab", "snntorch indexed", "snntorch")


def measure(case: str, which_pass: str, peer: str, repeats: int, threads: int) -> dict[str, float]:
    """Run one case in this process; returns its fastest time in ms and its peak memory above the inputs in MiB."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    num_steps, batch, size, with_linear = CASES[case]
    scale = 0.5 if not with_linear else 1.0
    drive = scale * torch.randn(num_steps, batch, size)
    layer = torch.nn.Linear(size, size) if with_linear else torch.nn.Identity()
    if not with_linear and which_pass != "forward":
        drive.requires_grad_()
    run = _spikelab(layer) if peer == "spikelab" else _snntorch(layer, batch, size, indexed="indexed" in peer)

    def once() -> None:
        drive.grad = None
        layer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(which_pass != "forward"):
            spikes = run(drive)
            if which_pass != "forward":
                spikes.sum().backward()

    before = _peak_mib()
    once()  # also the warm-up
    peak = _peak_mib() - before
    fastest = min(_seconds(once) for _ in range(repeats))
    return {"ms": 1000 * fastest, "mib": peak}


def _spikelab(layer):
    from spikelab.neurons import lif

    # The linear layer has no time, so all steps go through it at once.
    return lambda drive: lif(layer(drive), beta=0.9).spikes


def _snntorch(layer, batch, size, indexed):
    import snntorch
    import torch

    neuron = snntorch.Leaky(beta=0.9)

    def run(drive):
        membrane, spikes, membranes = torch.zeros(batch, size), [], []
        for step in (drive[t] for t in range(len(drive))) if indexed else drive:
            spike, membrane = neuron(layer(step), membrane)
            spikes.append(spike)
            membranes.append(membrane)  # lif returns them too
        torch.stack(membranes)
        return torch.stack(spikes)

    return run


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _peak_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions of each case; the fastest counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare spikelab's lif with snnTorch's Leaky in time and peak memory."""
    if one:
        case, which_pass, peer = json.loads(one)
        print(json.dumps(measure(case, which_pass, peer, repeats, threads)))
        return
    import snntorch
    import torch
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    rows = []
    for case in tqdm(CASES, desc="cases", file=sys.stderr):
        for which_pass in PASSES:
            result = {peer: _in_own_process(case, which_pass, peer, repeats, threads) for peer in PEERS}
            ours, theirs, indexed = (result[peer] for peer in ("spikelab", "snntorch", "snntorch indexed"))
            goal = GOALS.get(case) if which_pass == "forward+backward" else None
            ratios = {
                "faster_than_indexed": indexed["ms"] / ours["ms"],
                "faster": theirs["ms"] / ours["ms"],
                "memory_ratio": ours["mib"] / theirs["mib"],
            }
            rows.append({"case": case, "pass": which_pass, **result, **ratios, "goal": goal})

    table = Table(title=f"spikelab.neurons.lif against snntorch.Leaky, {threads} threads")
    for column in ("case", "pass", "lif ms", "Leaky, indexed", "Leaky, unbound", "memory", "goal"):
        table.add_column(column, justify="left" if column in ("case", "pass") else "right")
    for row in rows:
        ours, theirs, indexed = row["spikelab"], row["snntorch"], row["snntorch indexed"]
        table.add_row(
            row["case"],
            row["pass"],
            f"{ours['ms']:.1f}",
            f"{indexed['ms']:.1f} ({row['faster_than_indexed']:.1f}×)",
            f"{theirs['ms']:.1f} ({row['faster']:.1f}×)",
            f"{ours['mib']:.0f} of {theirs['mib']:.0f} MiB",
            f"≥ {row['goal']:g}×" if row["goal"] else "",
        )
    Console(width=130).print(table)
    report = {
        "torch": torch.__version__,
        "snntorch": snntorch.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "repeats": repeats,
        "rows": rows,
    }
    if json_file:
        _write(json_file, json.dumps(report, indent=1) + "\n")
    else:
        print(json.dumps(report))


def _in_own_process(case: str, which_pass: str, peer: str, repeats: int, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.neurons", "--one", json.dumps([case, which_pass, peer])]
    command += ["--repeats", str(repeats), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case}, {which_pass}, {peer} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as part:
        part.write(text)
    os.replace(part.name, path)


if __name__ == "__main__":
    typer.run(main)
