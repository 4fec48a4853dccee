"""``spikelab train nmnist``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikelab.training.commands.options import (
    LEFT,
    Amp,
    CheckpointS,
    DataKind,
    Device,
    Epochs,
    EvalBatch,
    Export,
    GradClip,
    Half,
    Init,
    Lr,
    LrGamma,
    LrStep,
    MaxSeconds,
    Optimiser,
    Patience,
    Quiet,
    RateHigh,
    RateLow,
    RateWeight,
    ResultFile,
    Resume,
    Scheduler,
    Slope,
    Surrogate,
    Threads,
    TrainLimit,
    WeightDecay,
)
from spikelab.training.commands.running import fail, numbers, record_of, require, run


def train_nmnist(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="scnn (convolutions, paper 3's Table I) or smlp (dense layers).")] = "scnn",
    rule: Annotated[
        str, typer.Option(help="bptt (LIF neurons, surrogate gradients) or slayer (SRM neurons).")
    ] = "bptt",
    loss: Annotated[
        str, typer.Option(help="count, membrane, latency (cross-entropies) or spike-count (target counts).")
    ] = "count",
    data: DataKind = "auto",
    num_steps: Annotated[int, typer.Option("--steps", min=1, help="T, time steps (frames) of a recording.")] = 10,
    window_ms: Annotated[
        float, typer.Option(help="Width of a frame in ms; 10 of 30 ms hold a whole recording.")
    ] = 30.0,
    train_limit: TrainLimit = 0,
    shift: Annotated[int, typer.Option(help="Move training recordings by up to so many pixels.")] = 0,
    epochs: Epochs = 10,
    batch: Annotated[int, typer.Option(help="Recordings of a step, over all processes.")] = 32,
    eval_batch: EvalBatch = 0,
    lr: Lr = 1e-3,
    optimiser: Optimiser = "adam",
    scheduler: Scheduler = "none",
    lr_step: LrStep = 30,
    lr_gamma: LrGamma = 0.1,
    grad_clip: GradClip = 0.0,
    weight_decay: WeightDecay = 0.0,
    rate_low: RateLow = 0.0,
    rate_high: RateHigh = 1.0,
    rate_weight: RateWeight = 0.0,
    surrogate: Surrogate = "atan",
    slope: Slope = 0.0,
    beta: Annotated[float, typer.Option(help=f"{LEFT}.")] = 0.9,
    dropout: Annotated[
        float | None, typer.Option(help="Share of dense hidden neurons left out; scnn 0.2, smlp 0.")
    ] = None,
    hidden: Annotated[
        str, typer.Option(help="Sizes of the dense hidden layers, such as 250,100; empty: paper 3's.")
    ] = "",
    channels: Annotated[str, typer.Option(help="Maps of scnn's convolutions, such as 32,16; empty: paper 3's.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of the network (gain, padding, pool, kernels), its neurons (tau_ms, step_ms, ...) or the "
            "loss (scale, decay, true, false); repeat for more."
        ),
    ] = None,
    decision: Annotated[str, typer.Option(help="count, first or membrane; empty: what fits the loss.")] = "",
    init: Init = "",
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    patience: Patience = 0,
    max_seconds: MaxSeconds = 0.0,
    threads: Threads = 0,
    amp: Amp = False,
    device: Device = "auto",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run: checkpoint, metrics, curves, result, weights.")
    ] = Path("runs/nmnist"),
    resume: Resume = False,
    checkpoint_s: CheckpointS = 60.0,
    export: Export = None,
    half: Half = False,
    result: ResultFile = None,
    quiet: Quiet = False,
) -> None:
    """Classify the digits of N-MNIST.

    Ctrl-C saves; the same command with --resume goes on, and ends with the same numbers as an unbroken run.

    Several processes share a batch under torchrun:

        torchrun --nproc-per-node 2 -m spikelab.cli train nmnist --out runs/two

    Exit status: 0 done, 1 the loss is no number any more, 2 wrong options, data or checkpoint, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    options: dict[str, dict[str, Any]] = {"model_options": {}, "neuron_options": {}, "loss_options": {}}
    for name, text in (("hidden", hidden), ("channels", channels)):
        if text:
            options["model_options"][name] = numbers(f"--{name}", text)
    for item in option or []:
        _place(item, options)
    record = record_of(context) | {**options, "task": "nmnist", "window_us": round(window_ms * 1000)}
    if dropout is None:
        record["dropout"] = 0.2 if model == "scnn" else 0.0
    from spikelab.training.tasks.nmnist import NMNISTTask

    run(NMNISTTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)


def _place(item: str, options: dict[str, dict[str, Any]]) -> None:
    """Put NAME=VALUE where it belongs."""
    from dataclasses import fields

    from spikelab.models.nmnist import Neurons

    name, equals, text = item.partition("=")
    require(bool(equals and name and text), f"--option must be NAME=VALUE, got {item!r}")
    values = numbers(f"--option {name}", text)
    value = values if "," in text or name in ("kernels", "channels", "hidden") else values[0]
    if name in {f.name for f in fields(Neurons)} - {"rule", "beta", "spike_grad"}:
        options["neuron_options"][name] = value
    elif name in ("scale", "decay", "true", "false"):
        options["loss_options"][name] = value
    elif name in ("gain", "padding", "pool", "kernels"):
        options["model_options"][name] = value
    else:
        fail(f"--option {name} is unknown; see spikelab train nmnist --help")
