"""Learning rules for spike times over many seeds, for chapter 05: STDP, ReSuMe and SpikeProp.

    python -m benchmarks.spike_timing [stdp|resume|xor]

Writes ``book/results/05_stdp.json``, ``05_resume.json`` and ``05_xor.json``: which share of the seeds does what, under
which settings. The lesson runs a few of these seeds itself and prints the rest from here. Some minutes on one core.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import os
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm

from spikelab.files import write_atomically
from spikelab.neurons import lif
from spikelab.plasticity import (
    SpikePropNet,
    clip_weights,
    normalise_sum,
    resume,
    stdp_step,
    train_spike_times,
)
from spikelab.training.results import hardware, versions

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"

# STDP: 100 inputs of 15 Hz; 40 of them also fire a volley about every 100 ms, each at a latency of its own.
STEPS, WINDOW = 40_000, 5_000  # ms of life, and the end of it that is judged
BETA, START, A_PLUS = math.exp(-1 / 10), 0.5, 0.01
THRESHOLD = 0.75 / (1 - BETA) + 2 * math.sqrt(0.25 * 100 * 0.015 * 0.985 / (1 - BETA**2))  # mean + 2 sd of the drive
RATIOS = (0.5, 0.8, 0.9, 1.05, 1.2, 1.5, 2.0)
BRAKES = ("none", "sum", "threshold")
INPUTS = {"pattern": (20, False), "jumbled": (20, True), "scattered": (100, True)}  # ms of spread, redrawn each time

TARGETS = (40, 90, 150)

# SpikeProp: XOR of spike times, 3-5-1, sixteen delays, one inhibitory hidden neuron.
XOR_IN = torch.tensor([[0, 0, 0], [0, 6, 0], [6, 0, 0], [6, 6, 0]], dtype=torch.float64)  # ms; the third is a clock
XOR_OUT = torch.tensor([[16], [10], [10], [16]], dtype=torch.float64)
FRESH_SEEDS = range(30, 90)  # the settings were chosen on seeds below 30
VARIANTS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "shipped, fresh seeds": {},
    "half the start": {"initial": (0.025, 0.05)},
    "twice the start": {"initial": (0.1, 0.2)},
    "lr .003": {"lr": 0.003},
    "lr .03": {"lr": 0.03},
    "no inhibitory neuron": {"inhibitory": 0},
    "input weights >= 0": {"clamped": True},
    "a tenth": {"initial": (0.005, 0.01), "wake": 0.0},
    "a tenth, woken": {"initial": (0.005, 0.01)},
}


def pattern_input(seed: int, spread: int, redraw: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return spikes ``[T, 100]``, the latencies of the first 40 inputs and the starts of the volleys, in ms."""
    g = torch.Generator().manual_seed(seed)
    chance = torch.full((100,), 0.015)
    chance[:40] -= 0.01  # the volley brings the other 10 Hz
    spikes = torch.rand(STEPS, 100, generator=g) < chance
    latency = torch.randint(20, (40,), generator=g)
    starts = torch.randint(70, 131, (STEPS // 100,), generator=g).cumsum(0)
    starts = starts[starts < STEPS - 150]
    for start in starts.tolist():
        when = torch.randint(spread, (40,), generator=g) if redraw else latency
        spikes[start + when, torch.arange(40)] = True
    return spikes.float(), latency, starts


def live(
    spikes: torch.Tensor, ratio: float, *, order: str, brake: str, learn: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let STDP act while neurons run: inputs ``[T, B, 100]`` -> weights ``[B, 100]`` and output spikes ``[T, B]``."""
    batch = spikes.shape[1]
    weight = torch.full((batch, 100, 1), START)
    u = s = torch.zeros(batch, 1)
    theta, state, fired = torch.full((batch, 1), THRESHOLD), None, []
    for pre in spikes:
        u = BETA * (1 - s) * u + (pre.unsqueeze(1) @ weight).squeeze(1)
        s = (u > theta).float()
        if learn:
            dw, state = stdp_step(pre, s, state, a_plus=A_PLUS, a_minus=ratio * A_PLUS, order=order)
            weight = clip_weights(weight + dw)
            if brake == "sum":
                weight = normalise_sum(weight, START * 100)
            if brake == "threshold":
                theta = theta + 0.1 * (s - 0.01)  # towards 10 spikes a second
        fired.append(s)
    return weight.squeeze(2), torch.stack(fired).squeeze(2)


def judge(weight: torch.Tensor, fired: torch.Tensor, latency: torch.Tensor, starts: torch.Tensor) -> dict[str, Any]:
    """What one neuron does in its last seconds, and on which weights: all that the lesson reports."""
    end = len(fired)
    times = fired.nonzero().squeeze(1)
    times = times[times >= end - WINDOW]
    delays = [times[(times >= s) & (times < s + 30)] - s for s in starts.tolist() if end - WINDOW <= s < end - 60]
    first = [int(d[0]) for d in delays if len(d)]
    inside = sum(((times >= s) & (times < s + 30)).sum().item() for s in starts.tolist())
    median = float(torch.tensor(first).double().median()) if first else None
    own = weight[:40]
    before, after = latency <= (median if first else -1), latency > (median + 1 if first else math.inf)
    return {
        "spikes": len(times),
        "false": len(times) - inside,
        "answered": len(first) / len(delays),
        "first_ms": median,
        "early": own[latency < 7].mean().item(),
        "late": own[latency >= 13].mean().item(),
        "before": own[before].mean().item() if before.any() else None,
        "after": own[after].mean().item() if after.any() else None,
        "rest": weight[40:].mean().item(),
    }


def trial_stdp(seeds: int) -> dict[str, Any]:
    """Every brake, order and ratio on the pattern; both controls with the brake of the lesson; no learning at all."""
    cells, made = [], {}
    for name, (spread, redraw) in INPUTS.items():
        made[name] = [pattern_input(seed, spread, redraw) for seed in range(seeds)]
    jobs = [("pattern", *job) for job in itertools.product(BRAKES, ("use-then-add", "add-then-use"), RATIOS)]
    jobs += [(name, "threshold", "use-then-add", 1.5) for name in ("jumbled", "scattered")]
    jobs += [(name, "frozen", "use-then-add", 1.0) for name in INPUTS]
    for name, brake, order, ratio in tqdm(jobs, desc="stdp"):
        spikes = torch.stack([one[0] for one in made[name]], dim=1)
        weight, fired = live(spikes, ratio, order=order, brake=brake, learn=brake != "frozen")
        for seed, (_, latency, starts) in enumerate(made[name]):
            about = {"input": name, "brake": brake, "order": order, "ratio": ratio, "seed": seed}
            cells.append({**about, **judge(weight[seed], fired[:, seed], latency, starts)})
    settings = {"steps": STEPS, "judged_ms": WINDOW, "a_plus": A_PLUS, "tau_ms": 20, "tau_membrane_ms": 10}
    settings |= {"threshold": THRESHOLD, "start_weight": START, "inputs": INPUTS}
    return {"settings": settings, "seeds": list(range(seeds)), "cells": cells}


def trial_resume(seeds: int) -> dict[str, Any]:
    """Three spikes to be learnt, from too many spikes and from none, with both orders of the trace."""
    cells = []
    desired = torch.zeros(200, seeds, 1, dtype=torch.float64)
    desired[list(TARGETS)] = 1
    draws = [torch.rand(200, 200, generator=torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    pre = (torch.stack(draws, dim=1) < 0.01).double()  # [T, seeds, 200]: 10 Hz
    reachable = pre[list(TARGETS)].sum(2).min(0).values > 0  # an input in each step that is to spike
    jobs = [(0.06, 0.05, "add-then-use"), (0.06, 0.05, "use-then-add"), (0.06, 0.0, "add-then-use")]
    jobs += [(-0.2, 0.05, "add-then-use"), (-0.2, 0.0, "add-then-use")]
    for start, a, order in tqdm(jobs, desc="resume"):
        weight = torch.full((seeds, 200, 1), start, dtype=torch.float64)
        exact: list[int | None] = [None] * seeds
        alive: list[int | None] = [None] * seeds
        for epoch in range(101):
            output = lif(torch.einsum("tbi,bio->tbo", pre, weight), beta=math.exp(-1 / 7), reset="zero").spikes
            for seed in range(seeds):
                if alive[seed] is None and output[:, seed].any():
                    alive[seed] = epoch
                if exact[seed] is None and torch.equal(output[:, seed], desired[:, seed]):
                    exact[seed] = epoch
            weight = weight + resume(pre, desired, output, a=a, lr=0.02, tau_ms=7.0, order=order)
        for seed in range(seeds):
            about = {"start_weight": start, "a": a, "order": order, "seed": seed, "reachable": bool(reachable[seed])}
            ends = output[:, seed, 0].nonzero().squeeze(1).tolist()
            cells.append({**about, "exact_epoch": exact[seed], "first_spike_epoch": alive[seed], "last": ends})
    settings = {"inputs": 200, "rate_hz": 10, "steps": 200, "targets": TARGETS, "tau_ms": 7, "lr": 0.02, "epochs": 100}
    return {"settings": settings, "seeds": list(range(seeds)), "cells": cells}


def train_xor(
    seed: int,
    *,
    initial: tuple[float, float] = (0.05, 0.1),
    lr: float = 0.01,
    inhibitory: int = 1,
    clamped: bool = False,
    wake: float = 0.005,
) -> dict[str, Any]:
    """Teach XOR to one network; ``clamped`` keeps the weights of the hidden neurons at 0 or above."""
    net = SpikePropNet(inhibitory=inhibitory, initial=initial, generator=torch.Generator().manual_seed(seed))
    if clamped:
        net.layers[0].signs.fill_(1)
    history = train_spike_times(net, XOR_IN, XOR_OUT, lr=lr, epochs=250, wake=wake)
    errors = [None if misses else error for error, misses in zip(history.errors, history.misses, strict=True)]
    spoke = [epoch for epoch, times in enumerate(history.times) if times.isfinite().any()]
    return {
        "solved_epoch": history.solved,
        "last_error": errors[-1],
        "silent": sum(history.misses),
        "presentations": 4 * len(errors),
        "first_spike_epoch": spoke[0] if spoke else None,
        "times": [t if math.isfinite(t) else None for t in history.times[-1].flatten().tolist()],
    }


def trial_xor(seeds: int) -> dict[str, Any]:
    """XOR under several settings; an epoch is the four patterns at once, solved is a squared error below 1 ms²."""
    jobs = [(name, seed) for name in VARIANTS for seed in (FRESH_SEEDS if "fresh" in name else range(seeds))]
    cells = [
        {"variant": name, "seed": seed, **train_xor(seed, **VARIANTS[name])} for name, seed in tqdm(jobs, desc="xor")
    ]
    settings = {"sizes": [3, 5, 1], "delays": 16, "tau_ms": 7, "slope_floor": 0.05, "epochs": 250, "tolerance_ms2": 1}
    settings["fresh_seeds"] = [FRESH_SEEDS.start, FRESH_SEEDS.stop - 1]
    settings |= {"shipped": {"initial": [0.05, 0.1], "lr": 0.01, "inhibitory": 1, "wake": 0.005}, "variants": VARIANTS}
    return {"settings": settings, "seeds": list(range(seeds)), "cells": cells}


TRIALS = {"stdp": (trial_stdp, 8), "resume": (trial_resume, 32), "xor": (trial_xor, 20)}


def main(
    which: Annotated[str, typer.Argument(help="stdp, resume or xor; all of them without")] = "",
) -> None:
    """Run the trials and write their result files."""
    if which and which not in TRIALS:
        raise typer.BadParameter(f"{which!r} is none of {', '.join(TRIALS)}")
    os.nice(10)
    torch.set_num_threads(1)
    for name in [which] if which else TRIALS:
        trial, seeds = TRIALS[name]
        started = time.perf_counter()
        result = {"kind": "trial", "task": name, **trial(seeds), "seconds": round(time.perf_counter() - started, 1)}
        result |= {"hardware": hardware(), "versions": versions()}
        result["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_atomically(RESULTS / f"05_{name}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
