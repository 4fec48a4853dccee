"""One library reading and framing event files, timed in this process; called by ``benchmarks.events``.

Needs nothing but numpy and that library, so that it also runs in the peers' own environment (``benchmarks/peers.sh``):

    python benchmarks/_event_peers.py '["read", "tonic", "folder/of/bin/files", 5]'
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

SIDE = 34
WINDOW_US = 1000


def spikelab():
    import torch

    from spikelab.events import frames, read_events

    torch.set_num_threads(1)
    return read_events, lambda events: frames(events, int(events["t"][-1]) // WINDOW_US + 1, WINDOW_US)


def tonic():
    from tonic.io import read_mnist_file
    from tonic.transforms import ToFrame

    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    to_frame = ToFrame(sensor_size=(SIDE, SIDE, 2), time_window=WINDOW_US, include_incomplete=True, start_time=0)
    return lambda path: read_mnist_file(str(path), dtype=dtype), to_frame


def spikingjelly():
    from spikingjelly.datasets.utils import integrate_events_by_fixed_duration, load_ATIS_bin

    return load_ATIS_bin, lambda events: integrate_events_by_fixed_duration(events, WINDOW_US, SIDE, SIDE)


PEERS = {"spikelab": spikelab, "tonic": tonic, "spikingjelly": spikingjelly}


def measure(task: str, peer: str, folder: str, repeats: int) -> dict[str, float | str]:
    """Return the fastest time in s for a folder's files, the events that came out, the version; or what is missing."""
    files = sorted(Path(folder).glob("*.bin"))
    try:
        read, frame = PEERS[peer]()
    except ImportError as error:
        return {"missing": str(error)}
    if task == "read":
        work, items = read, files
    else:
        work, items = frame, [read(file) for file in files]
    results = [work(item) for item in items]  # also the warm-up
    if task == "read":
        total = sum(len(result["t"]) for result in results)
    else:
        total = sum(float(result.sum()) for result in results)
    seconds = min(_seconds(work, items) for _ in range(repeats))
    return {"seconds": seconds, "files": len(files), "events": int(total), "version": version(peer)}


def _seconds(work, items) -> float:
    start = time.perf_counter()
    for item in items:
        work(item)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
