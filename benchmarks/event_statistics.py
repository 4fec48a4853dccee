"""How much like N-MNIST is the DVS simulator? Rates, polarity, rhythm and motion of 1,100 recordings of each.

    python -m benchmarks.event_statistics [--kind real|simulated|synthetic] [--json FILE]

``real``, ``simulated`` and ``synthetic`` are those of ``benchmarks.timing_content``; the simulated recordings show the
same digits as the real ones, so that the two can be compared digit by digit. A run replaces that kind's earlier run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.timing_content import KINDS, RECORDINGS, Digits, about, load_digits, write_run
from spikelab.events import frames

BIN_MS = 5
BINS = 64
HUMPS_MS = ((0, 95), (95, 225), (225, 320))
STEPS = (1, 3, 5, 10, 20, 30, 60, 100, 300)
BINARY_US = 300_000
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "04_event_statistics.json"


def statistics(digits: Digits) -> dict[str, Any]:
    """Return what the recordings have in common, rounded for reading."""
    count = np.array([len(one) for one in digits.events])
    every = np.concatenate(digits.events)
    last_ms = np.array([one["t"][-1] / 1000 for one in digits.events])
    of_digit = digits.labels.numpy()
    rhythm = np.bincount(np.minimum(every["t"] // (1000 * BIN_MS), BINS - 1), minlength=BINS) / len(count)
    return {
        "events": {"mean": _few(count.mean()), "least": int(count.min()), "most": int(count.max())},
        "events_of_digit": [_few(count[of_digit == d].mean()) for d in range(10)],
        "on_percent": _few(100 * every["p"].mean()),
        "last_event_ms": {"mean": _few(last_ms.mean()), "least": _few(last_ms.min()), "most": _few(last_ms.max())},
        "after_300_ms_percent": _few(100 * (every["t"] >= BINARY_US).mean(), 3),
        "largest_address": [int(every["x"].max()), int(every["y"].max())],
        "events_per_5_ms": [_few(value, 4) for value in rhythm],
        "humps": _humps(rhythm),
        "centre_px": _centres(digits.events),
        "binary": _binary(digits.events),
    }


def against(digits: Digits, other: Digits) -> dict[str, float]:
    """Compare recordings of the same digits, one by one."""
    pictures = [torch.stack([frames(one, 1, 320_000) for one in kind.events]).flatten(1) for kind in (digits, other)]
    centred = [picture - picture.mean(1, keepdim=True) for picture in pictures]
    alike = torch.nn.functional.cosine_similarity(*centred, dim=1)
    counts = [[len(one) for one in kind.events] for kind in (digits, other)]
    return {
        "correlation_of_event_numbers": _few(np.corrcoef(*counts)[0, 1], 3),
        "correlation_of_pictures": _few(alike.mean().item(), 3),
    }


def _few(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")


def _humps(rhythm: np.ndarray) -> list[dict[str, float]]:
    """Where each saccade's 10 ms with most events begin, how many events, and in the quietest 10 ms before the next."""
    tens = rhythm.reshape(-1, 2).sum(1)
    found = []
    for number, (start, stop) in enumerate(HUMPS_MS):
        bins = np.arange(-(-start // 10), stop // 10)
        peak = int(bins[tens[bins].argmax()])
        hump = {"peak_ms": 10 * peak, "peak_events": _few(tens[peak], 4)}
        if number < 2:
            gap = np.arange(peak, peak + 10)
            hump |= {"gap_ms": int(10 * gap[tens[gap].argmin()]), "gap_events": _few(tens[gap].min(), 4)}
        found.append(hump)
    return found


def _centres(recordings: list[np.ndarray]) -> list[list[float] | None]:
    """Mean place of the events in each 10 ms, from the recording's own centre, over all recordings."""
    total, number = np.zeros((32, 2)), np.zeros(32)
    for one in recordings:
        bin_ = np.minimum(one["t"] // 10_000, 31)
        for axis, name in enumerate(("x", "y")):
            total[:, axis] += np.bincount(bin_, weights=one[name] - one[name].mean(), minlength=32)
        number += np.bincount(bin_, minlength=32)
    return [[_few(v, 3) for v in total[i] / number[i]] if number[i] > len(recordings) else None for i in range(32)]


def _binary(recordings: list[np.ndarray]) -> list[dict[str, float]]:
    """What is lost, at each number of steps, when a cell holds 0 or 1 instead of a count."""
    rows = []
    for steps in STEPS:
        inside = kept = 0
        for one in recordings:
            one = one[one["t"] < BINARY_US]
            cell = ((one["t"] * steps // BINARY_US * 2 + one["p"]) * 34 + one["y"]) * 34 + one["x"]
            inside, kept = inside + len(one), kept + len(np.unique(cell))
        density = kept / (len(recordings) * steps * 2 * 34 * 34)
        rows.append(
            {
                "steps": steps,
                "lost_percent": _few(100 * (1 - kept / inside), 3),
                "filled_percent": _few(100 * density, 3),
            }
        )
    return rows


def main(
    kind: Annotated[list[str] | None, typer.Option(help=f"Recordings: {', '.join(KINDS)}; may be repeated.")] = None,
    count: Annotated[int, typer.Option(help="Number of recordings.", min=50)] = RECORDINGS,
    json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT,
) -> None:
    """Describe recordings of digits."""
    kind = kind or ["real"]
    if strange := [name for name in kind if name not in KINDS]:
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(KINDS)}")
    for name in kind:
        begin = time.perf_counter()
        digits = load_digits(name, count)
        found = statistics(digits)
        if name == "simulated":
            found["against_real"] = against(digits, load_digits("real", count))
        run = {**about(digits, name, 0), **found, "seconds": round(time.perf_counter() - begin, 1)}
        write_run(json_file, name, run)
        typer.echo(f"{digits.label}: {run['events']['mean']} events, {run['on_percent']} % ON; written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
