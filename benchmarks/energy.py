"""What do the trained networks of spikelab cost? Operations on all of the real test data, where a lesson counts a few.

    python -m benchmarks.energy [--json FILE]

Needs real N-MNIST and Oxford-IIIT-Pet (``$SPIKELAB_DATA``). Beside each network stands one pass of the same synapses
with numbers for spikes. A few minutes on one core.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from spikelab.coding import poisson
from spikelab.datasets import NMNIST, Pets, load_frames, load_pictures
from spikelab.energy import FLOAT32_45NM, count_operations
from spikelab.files import write_atomically
from spikelab.models.pretrained import load
from spikelab.training.results import hardware, versions

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "13_energy.json"
BATCH = 25
DECOLLE_PICTURES = 50


def one_pass(model: nn.Module, inputs: torch.Tensor, num_steps: int, samples: int) -> dict[str, float]:
    """Return MACs of each layer for one sample and one step, whatever its inputs are; of a layer called once, all."""
    found: dict[str, list[float]] = {}

    def keep(name: str, layer: nn.Conv2d | nn.Linear, made: torch.Tensor) -> None:
        found.setdefault(name, []).append(made.numel() * layer.weight[0].numel())

    hooks = [
        layer.register_forward_hook(lambda layer, _, made, name=name: keep(name, layer, made))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return {name: sum(counts) / samples / num_steps for name, counts in found.items()}


def account(model: nn.Module, batches: Iterator[torch.Tensor], num_steps: int) -> dict[str, Any]:
    """Return means over all samples of what a network does."""
    samples, macs, acs, layers = 0, 0.0, 0.0, {}
    for inputs in batches:
        here = inputs.shape[1] if inputs.dim() == 5 else len(inputs)
        ops = count_operations(model, inputs).without("readouts.")  # only learning needs them
        if not samples:
            dense = one_pass(model, inputs, num_steps, here)
            multiplying = [layer.name for layer in ops.layers if layer.macs]
            synapses = sum(count for name, count in dense.items() if name not in multiplying)
        samples += here
        macs, acs = macs + here * ops.macs, acs + here * ops.acs
        for layer in ops.layers:
            layers[layer.name] = layers.get(layer.name, 0.0) + here * layer.nonzero
    macs, acs = macs / samples, acs / samples
    spent, without = FLOAT32_45NM.energy_pj(macs, acs), FLOAT32_45NM.energy_pj(macs + synapses)
    return {
        "samples": samples,
        "num_steps": num_steps,
        "macs": round(macs / 1e6, 4),
        "acs": round(acs / 1e6, 4),
        "rate": round(acs / (num_steps * synapses), 4),
        "spent": round(spent / 1e6, 3),
        "one_pass": round((macs + synapses) / 1e6, 4),
        "without": round(without / 1e6, 3),
        "ratio": round(without / spent, 3),
        "nonzero": {name: round(total / samples, 4) for name, total in layers.items()},
    }


def networks() -> Iterator[tuple[str, str, nn.Module, int, Iterator[torch.Tensor], dict[str, Any]]]:
    """Yield name, weights, network, T, batches of inputs and data of what is measured."""
    heads, digits = Pets("head", "test", kind="real"), NMNIST("test", kind="real")
    about_heads = {"label": heads.label, "hash": heads.hash}
    model, about = load("pets-ours-head")
    made = about["configuration"]
    pictures, _ = load_pictures(heads, tuple(made["task_options"]["size"]), progress=False)
    batches = (part / 255 for part in pictures.split(BATCH))
    yield "localizer", "pets-ours-head", model, made["num_steps"], batches, about_heads

    model, about = load("nmnist-scnn")
    made = about["configuration"]
    frames, _ = load_frames(digits, made["num_steps"], made["window_us"], progress=False)
    batches = (part.float().movedim(0, 1) for part in frames.split(BATCH))
    yield "classifier", "nmnist-scnn", model, made["num_steps"], batches, {"label": digits.label, "hash": digits.hash}

    model, about = load("pets-decolle-head")
    made = about["configuration"]
    options = made["task_options"]
    gray, _ = load_pictures(heads, tuple(options["size"]), colour=options["colour"], progress=False)
    dice = torch.Generator().manual_seed(0)
    rate = {"max_rate_hz": options["max_rate_hz"], "dt_ms": options["step_ms"]}
    chosen = gray[torch.linspace(0, len(gray) - 1, DECOLLE_PICTURES).long()]
    batches = (poisson(part / 255, made["num_steps"], generator=dice, **rate) for part in chosen.split(5))
    yield "DECOLLE", "pets-decolle-head", model, made["num_steps"], batches, about_heads


def main(json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT) -> None:
    """Count the operations of trained networks on real data."""
    begin, found = time.perf_counter(), {}
    for name, weights, model, num_steps, batches, data in networks():
        found[name] = {"weights": weights, "data": data, **account(model, batches, num_steps)}
        row = found[name]
        typer.echo(
            f"{name}: {row['macs']} M MAC, {row['acs']} M AC, rate {row['rate']}, {row['spent']} µJ; "
            f"one pass {row['one_pass']} M MAC, {row['without']} µJ, ratio {row['ratio']}"
        )
    content = {
        "schema_version": 1,
        "kind": "energy",
        "units": "operations in millions, energies in µJ, per sample and over all steps",
        "networks": found,
        "seed": 0,
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    write_atomically(json_file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    typer.echo(f"written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
