"""``spikelab.events``: reading, framing, simulating, and the event-driven layer against the dense one, in one run.

    python -m benchmarks.events [--repeats 5] [--threads 1] [--pictures 320] [--peers PYTHON] [--json FILE]

The recordings are those of the DVS simulator looking at drawn rings, about as many events as N-MNIST has. ``--peers``
names the Python of ``benchmarks/peers.sh``, where tonic and SpikingJelly are; without it they are timed if this
environment has them. Only ratios travel between machines.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks._event_peers import PEERS
from spikelab.events import EventLinear, frames, simulate_dvs, sparse_frames, write_events
from spikelab.files import write_atomically

IN_FEATURES, OUT_FEATURES, BATCH = 2312, 2000, 8
STEPS = {300: 1_000, 10: 30_000}  # number of steps: width of one in µs
GOAL_STEPS, GOAL = 300, 10.0  # what the layer must reach, forward and backward
PEER_FILE = Path(__file__).with_name("_event_peers.py")


def rings(count: int, seed: int = 0) -> torch.Tensor:
    """Draw rings ``[count, 28, 28]`` of random place, radius and width, as bright and as large as digits."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(count, 4, 1, 1, generator=generator)
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    distance = torch.hypot(row - 11 - 5 * draw[:, 0], column - 11 - 5 * draw[:, 1])
    return (1.2 + draw[:, 3] - (distance - 5 - 3 * draw[:, 2]).abs()).clamp(0, 1)


def simulation(pictures: int, repeats: int) -> tuple[dict[str, float], list[np.ndarray]]:
    """Time the simulator; returns pictures per second and the recordings."""
    images = rings(pictures)
    run = lambda: simulate_dvs(images, generator=torch.Generator().manual_seed(0))  # noqa: E731
    recordings = run()
    seconds = min(_seconds(run) for _ in range(repeats))
    events = sum(len(recording) for recording in recordings)
    return {
        "pictures": pictures,
        "events_per_picture": events / pictures,
        "pictures_per_s": pictures / seconds,
        "events_per_s": events / seconds,
    }, recordings


def layers(recordings: list[np.ndarray], num_steps: int, repeats: int) -> dict[str, Any]:
    """Time the event-driven first layer and the dense one on the same batch, by turns, and compare their results."""
    window_us = STEPS[num_steps]
    batch = recordings[:BATCH]
    torch.manual_seed(0)
    dense = torch.nn.Linear(IN_FEATURES, OUT_FEATURES, bias=False)
    event = EventLinear.from_linear(dense)
    stacked = torch.stack([frames(one, num_steps, window_us) for one in batch], dim=1).flatten(2)
    sparse = sparse_frames(batch, num_steps, window_us)
    slope = torch.randn(num_steps, BATCH, OUT_FEATURES) / (num_steps * BATCH)
    runs = {"dense": (dense, stacked), "event": (event, sparse)}
    times = {name: {"forward": [], "forward+backward": []} for name in runs}
    outputs = {}
    for _ in range(repeats + 1):  # the first is the warm-up
        for name, (layer, given) in runs.items():
            layer.zero_grad(set_to_none=True)
            start = time.perf_counter()
            output = layer(given)
            forward = time.perf_counter()
            output.backward(slope)
            times[name]["forward"].append(forward - start)
            times[name]["forward+backward"].append(time.perf_counter() - start)
            outputs[name] = output.detach()
    fastest = {name: {which: min(some[1:]) for which, some in two.items()} for name, two in times.items()}
    from_files = min(_seconds(lambda: sparse_frames(batch, num_steps, window_us)) for _ in range(repeats))
    to_frames = min(_seconds(lambda: [frames(one, num_steps, window_us) for one in batch]) for _ in range(repeats))
    return {
        "num_steps": num_steps,
        "batch": BATCH,
        "in_features": IN_FEATURES,
        "out_features": OUT_FEATURES,
        "density": float((stacked > 0).float().mean()),
        "dense_ms": {which: 1000 * seconds for which, seconds in fastest["dense"].items()},
        "event_ms": {which: 1000 * seconds for which, seconds in fastest["event"].items()},
        "faster": {which: fastest["dense"][which] / fastest["event"][which] for which in fastest["dense"]},
        "sparse_frames_ms": 1000 * from_files,
        "frames_ms": 1000 * to_frames,
        "value_difference": float((outputs["dense"] - outputs["event"]).abs().max()),
        "gradient_difference": float((dense.weight.grad.T - event.weight.grad).abs().max()),
        "goal": GOAL if num_steps == GOAL_STEPS else None,
    }


def files(recordings: list[np.ndarray], repeats: int, peers_python: str) -> list[dict[str, Any]]:
    """Time reading and framing .bin files, each library in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, recording in enumerate(recordings[:100]):
            write_events(Path(folder) / f"{number:05d}.bin", recording)
        for task in ("read", "frames"):
            for peer in PEERS:
                result = _in_own_process(task, peer, folder, repeats, peers_python)
                if result is not None:
                    rows.append({"task": task, "peer": peer, **result})
    ours = {row["task"]: row["seconds"] for row in rows if row["peer"] == "spikelab"}
    return [{**row, "spikelab_faster": row["seconds"] / ours[row["task"]]} for row in rows]


def _in_own_process(task: str, peer: str, folder: str, repeats: int, peers_python: str) -> dict[str, Any] | None:
    """Result of one library, or None if it is not there."""
    python = sys.executable if peer == "spikelab" or not peers_python else peers_python
    command = [python, str(PEER_FILE), json.dumps([task, peer, folder, repeats])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{task}, {peer} failed:\n{done.stderr}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if "missing" in result:
        print(f"{task}: {peer} is not timed ({result['missing']})", file=sys.stderr)
        return None
    return result


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions of each case; the fastest counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    pictures: Annotated[int, typer.Option(min=BATCH, help="Pictures for the simulator.")] = 320,
    peers: Annotated[str, typer.Option(help="Python of the environment where the other libraries are.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Time spikelab.events."""
    torch.set_num_threads(threads)
    simulated, recordings = simulation(pictures, min(repeats, 3))
    layer_rows = [layers(recordings, num_steps, repeats) for num_steps in STEPS]
    file_rows = files(recordings, repeats, peers)
    report = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "repeats": repeats,
        "simulation": simulated,
        "layers": layer_rows,
        "files": file_rows,
    }
    _show(report)
    if json_file:
        write_atomically(json_file, json.dumps(report, indent=1) + "\n")
    else:
        print(json.dumps(report))


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=130)
    one = report["simulation"]
    console.print(
        f"DVS simulator, {report['threads']} threads: {one['pictures_per_s']:.0f} pictures/s "
        f"({one['events_per_picture']:.0f} events each, {one['events_per_s'] / 1e6:.2f} million events/s)\n"
    )
    table = Table(title=f"reading and framing {report['files'][0]['files']} recordings, one thread")
    for column in ("task", "library", "version", "recordings/s", "against spikelab"):
        table.add_column(column, justify="right" if "/s" in column else "left")
    names = {"read": "read 5-byte events", "frames": "frames of 1 ms, counts"}
    for row in report["files"]:
        slower = "" if row["peer"] == "spikelab" else f"spikelab is {row['spikelab_faster']:.2g}× as fast"
        rate = f"{row['files'] / row['seconds']:.0f}"
        table.add_row(names[row["task"]], row["peer"], row["version"], rate, slower)
    console.print(table)
    table = Table(title=f"first layer {IN_FEATURES} → {OUT_FEATURES}, batch of {BATCH}, {report['threads']} threads")
    for column in ("steps", "not zero", "pass", "dense ms", "event ms", "faster", "goal", "largest difference"):
        table.add_column(column, justify="left" if column == "pass" else "right")
    for row in report["layers"]:
        for which in ("forward", "forward+backward"):
            difference = row["value_difference" if which == "forward" else "gradient_difference"]
            goal = f"≥ {row['goal']:g}×" if row["goal"] and which != "forward" else ""
            table.add_row(
                str(row["num_steps"]),
                f"{100 * row['density']:.2g} %",
                which,
                f"{row['dense_ms'][which]:.1f}",
                f"{row['event_ms'][which]:.1f}",
                f"{row['faster'][which]:.1f}×",
                goal,
                f"{difference:.1e}",
            )
    console.print(table)


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
