"""What a network does on a split: loss, metrics and statistics of its spikes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from spikelab.training.config import Configuration
from spikelab.training.distributed import World
from spikelab.training.progress import Progress
from spikelab.training.tasks import Task


class Evaluation(NamedTuple):
    """What came out.

    Attributes:
        loss: mean over the samples.
        metrics: of the task.
        spikes: per layer: spikes per sample, firing rate (spikes per neuron and step), share of neurons that never
            fired, number of neurons; the rate alone if the network says no more; None if it does not show its spikes.
        evidence: of all samples, in their order.
        count: samples.
        seconds: time the network took for a sample.
    """

    loss: float
    metrics: dict[str, Any]
    spikes: dict[str, dict[str, float]] | None
    evidence: dict[str, torch.Tensor]
    count: int
    seconds: float


@torch.no_grad()
def evaluate(
    task: Task,
    config: Configuration,
    model: nn.Module,
    samples: Any,
    device: torch.device,
    here: World = World(),  # noqa: B008  frozen
    progress: Progress | None = None,
    *,
    name: str = "evaluation",
    between: Callable[[], None] = lambda: None,
    quick: bool = False,
) -> Evaluation:
    """Evaluate a network; several processes take turns by whole batches, so that their number changes nothing.

    Args:
        task, config: what is evaluated, and how.
        model: the network; it is left in evaluation mode.
        samples: a split of the task's data, not empty.
        device: where the network is.
        here: the processes that share the work.
        progress: what reports it.
        name: what to call it.
        between: called between batches.
        quick: only the metrics that choose an epoch.
    Returns:
        The same in every process.
    """
    model.eval()
    size = config.evaluation_batch
    total = math.ceil(len(samples) / size)
    mine: list[tuple[int, int, float, dict[str, torch.Tensor]]] = []
    counts: dict[str, torch.Tensor] = {}
    rates: list[tuple[int, tuple[float, ...]]] = []
    steps, seconds = 0, 0.0
    if progress is not None:
        progress.begin(name, 0, total)
    for number in range(here.rank, total, here.size):
        between()
        indices = torch.arange(number * size, min((number + 1) * size, len(samples)))
        inputs, targets = task.batch(config, samples, indices, None, device)
        began = _now(device)
        output = model(inputs)
        seconds += _now(device) - began
        loss = float(task.loss(config, output, targets))
        evidence = {key: value.cpu() for key, value in task.evidence(config, output, targets).items()}
        mine.append((number, len(indices), loss, evidence))
        for layer, spikes in hidden_layers(output).items():
            steps = len(spikes)
            fired = spikes.sum((0, 1), dtype=torch.float64).cpu()
            counts[layer] = counts[layer] + fired if layer in counts else fired
        if getattr(output, "rates", ()) and not counts:  # trains say more
            rates.append((number, tuple(float(rate) * len(indices) for rate in output.rates)))
        if progress is not None:
            progress.step(number + 1, dict)
    if progress is not None:
        progress.end()

    parts = sorted((part for brought in here.gather(mine) for part in brought), key=lambda part: part[0])
    counts = _sum_counts(here.gather(counts))
    steps = max(here.gather(steps))
    count = sum(part[1] for part in parts)
    seconds = math.fsum(here.gather(seconds)) / count
    rates = sorted(part for brought in here.gather(rates) for part in brought)
    spikes = _spike_statistics(counts, count, steps) if counts else _rates_alone([r for _, r in rates], count)
    evidence = {key: torch.cat([part[3][key] for part in parts]) for key in parts[0][3]}
    loss = math.fsum(part[1] * part[2] for part in parts) / count
    metrics = (task.quick_metrics if quick else task.metrics)(evidence, samples)
    return Evaluation(loss, metrics, spikes, evidence, count, seconds)


def hidden_layers(output: Any, *, with_output: bool = True) -> dict[str, torch.Tensor]:
    """Return the spike trains ``[T, B, ...]`` that a network shows, by name, from the input's side to the output's.

    Layers of maps are called ``conv``, flat ones ``dense``, each kind counted from 1.
    """
    layers: dict[str, torch.Tensor] = {}
    made = {"conv": 0, "dense": 0}
    for spikes in getattr(output, "hidden", ()):
        kind = "conv" if spikes.dim() > 3 else "dense"
        made[kind] += 1
        layers[f"{kind} {made[kind]}"] = spikes
    if with_output and getattr(output, "spikes", None) is not None:
        layers["output"] = output.spikes
    return layers


def firing_rates(output: Any) -> dict[str, torch.Tensor]:
    """Return the mean spikes per neuron and step of the layers that a network shows, by name.

    They are those of its spike trains or, where it shows none, the ones that it gives itself (``layer 1``, ...).
    """
    layers = hidden_layers(output)
    if layers:
        return {layer: spikes.detach().mean() for layer, spikes in layers.items()}
    shown = getattr(output, "rates", ())
    return {f"layer {number}": torch.as_tensor(rate) for number, rate in enumerate(shown, 1)}


def _sum_counts(brought: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    total: dict[str, torch.Tensor] = {}
    for counts in brought:
        for layer, fired in counts.items():
            total[layer] = total[layer] + fired if layer in total else fired
    return total


def _spike_statistics(counts: dict[str, torch.Tensor], samples: int, steps: int) -> dict[str, Any]:
    per_sample = {layer: float(fired.sum()) / samples for layer, fired in counts.items()}
    return {
        "per_sample": per_sample,
        "firing_rate": {layer: per_sample[layer] / (fired.numel() * steps) for layer, fired in counts.items()},
        "dead_share": {layer: float((fired == 0).double().mean()) for layer, fired in counts.items()},
        "neurons": {layer: fired.numel() for layer, fired in counts.items()},
    }


def _rates_alone(batches: list[tuple[float, ...]], samples: int) -> dict[str, Any] | None:
    """Firing rates of a network that keeps no history, from each batch's rates times its samples."""
    if not batches:
        return None
    rates = {f"layer {k}": math.fsum(layer) / samples for k, layer in enumerate(zip(*batches, strict=True), 1)}
    return {"per_sample": {}, "firing_rate": rates, "dead_share": {}, "neurons": {}}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
