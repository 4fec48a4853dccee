"""``spikelab train pets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikelab.training.commands.options import (
    LEFT,
    Amp,
    CheckpointS,
    Device,
    Epochs,
    EvalBatch,
    Export,
    GradClip,
    Half,
    Init,
    LrGamma,
    LrStep,
    MaxSeconds,
    Patience,
    PictureKind,
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
from spikelab.training.commands.running import numbers, record_of, require, rows_and_columns, run, settings

_AUGMENT = {"flip": 0.5, "zoom": 0.4, "zoom_out": 0.2, "aspect": 0.2}
_AUGMENT |= dict.fromkeys(("brightness", "contrast", "saturation"), 0.3)
# What `spikelab train pets` takes if an option is not given, by model.
_PICTURES = {
    "rule": "bptt",
    "loss": "smooth_l1+giou",
    "size": "88x120",
    "colour": "rgb",
    "coding": "direct",
    "steps": 4,
    "batch": 32,
    "lr": 2e-3,
    "optimiser": "adamw",
    "betas": "0.9,0.999",
    "beta": 1.0,
    "augment": _AUGMENT,
}
_FRAMES = {
    **_PICTURES,
    "loss": "smooth_l1",
    "colour": "gray",
    "coding": "poisson",
    "steps": 50,
    "batch": 16,
    "lr": 1e-3,
    "optimiser": "adam",
    "beta": 0.9,
    "augment": {"flip": 0.5, "brightness": 0.2},
}
PETS_MODELS: dict[str, dict[str, Any]] = {
    "ours": _PICTURES,
    "ann": {**_PICTURES, "steps": 1},
    "bptt": _FRAMES,
    "decolle": {**_FRAMES, "rule": "decolle", "steps": 100, "optimiser": "adamax", "betas": "0,0.95"},
}


def train_pets(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="ours (residual, few steps, picture as current), ann (its twin without spikes), decolle (paper 1's "
            "network, taught layer by layer in every step) or bptt (the same body through time)."
        ),
    ] = "ours",
    target: Annotated[str, typer.Option(help="head, body (with its border) or animal (of VOC).")] = "head",
    scheme: Annotated[str, typer.Option(help="How it is split: course, official, paper or stratified.")] = "course",
    border: Annotated[
        bool, typer.Option("--border/--no-border", help="Whether the border of a mask belongs to the body.")
    ] = True,
    data: PictureKind = "auto",
    size: Annotated[
        str | None, typer.Option(help="Side, or rows x columns, that pictures are stretched to; 88x120.")
    ] = None,
    colour: Annotated[str | None, typer.Option(help="rgb or gray; ours, ann: rgb, others: gray.")] = None,
    coding: Annotated[
        str | None, typer.Option(help="direct, poisson or latency; ours, ann: direct alone, others: poisson.")
    ] = None,
    max_rate_hz: Annotated[float, typer.Option(help="Rate of a white pixel in the Poisson code.")] = 1000.0,
    step_ms: Annotated[float, typer.Option(help="Duration of a step; decolle's decays follow it.")] = 1.0,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="T, time steps of a picture; ann 1, ours 4, bptt 50, decolle 100."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="smooth_l1, giou, diou or ciou, or a sum such as smooth_l1+giou (that of ours and ann)."),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of flip, zoom, zoom_out, aspect, brightness, contrast, saturation, in place of all that "
            "the model has; repeat for more; none: pictures as they are."
        ),
    ] = None,
    train_limit: TrainLimit = 0,
    epochs: Epochs = 20,
    batch: Annotated[
        int | None, typer.Option(help="Pictures of a step, over all processes; ours, ann 32, others 16.")
    ] = None,
    eval_batch: EvalBatch = 0,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate, the highest of the schedule; ours, ann 0.002, others 0.001.")
    ] = None,
    optimiser: Annotated[
        str | None, typer.Option(help="adam, adamw, sgd or adamax; ours, ann adamw, bptt adam, decolle adamax.")
    ] = None,
    betas: Annotated[
        str | None,
        typer.Option(help="The optimiser's two decays; the first is sgd's momentum; decolle 0,0.95, others 0.9,0.999."),
    ] = None,
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
    beta: Annotated[float | None, typer.Option(help=f"{LEFT}; ours 1, bptt 0.9.")] = None,
    channels: Annotated[str, typer.Option(help="Maps of the layers, such as 32,64,128; empty: the model's own.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of the network (ours: blocks, stem; decolle: amplitude, burn_in, variant, init, ...), of "
            "decolle's neurons (alpha, beta, alpha_r, w_r, normalised) or the weight of a part of the loss (giou, "
            "...); repeat for more."
        ),
    ] = None,
    decision: Annotated[
        str, typer.Option(help="What decolle answers: last (step; if not given) or mean (over steps after burn-in).")
    ] = "",
    init: Init = "",
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and spikes.")] = 0,
    patience: Patience = 0,
    max_seconds: MaxSeconds = 0.0,
    threads: Threads = 0,
    amp: Amp = False,
    device: Device = "auto",
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of the run: checkpoint, metrics, curves, contact sheet, result, weights."
        ),
    ] = Path("runs/pets"),
    resume: Resume = False,
    checkpoint_s: CheckpointS = 60.0,
    export: Export = None,
    half: Half = False,
    result: ResultFile = None,
    quiet: Quiet = False,
) -> None:
    """Find the one animal of a picture: its head, or all of it.

    At the end the best weights are tested once, beside the best box that never looks, and the run's folder gets a
    contact sheet of the best, the median and the worst answers.

    Ctrl-C saves; the same command with --resume goes on, and ends with the same numbers as an unbroken run.

    Several processes share a batch under torchrun:

        torchrun --nproc-per-node 2 -m spikelab.cli train pets --out runs/two

    Exit status: 0 done, 1 the loss is no number any more, 2 wrong options, data or checkpoint, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    require(model in PETS_MODELS, f"--model must be one of {', '.join(PETS_MODELS)}, got {model!r}")
    # A list that is not given comes as an empty one, which would switch off what the model has.
    given = {name: value for name in PETS_MODELS[model] if (value := context.params.get(name)) not in (None, [], ())}
    chosen = {**PETS_MODELS[model], **given}
    if augment:
        chosen["augment"] = settings("--augment", [item for item in augment if item != "none"])
    options: dict[str, dict[str, Any]] = {"model_options": {}, "neuron_options": {}, "loss_options": {}}
    if channels:
        options["model_options"]["channels"] = numbers("--channels", channels)
    for name, value in settings("--option", option or []).items():
        if name in ("smooth_l1", "giou", "diou", "ciou"):
            options["loss_options"][name] = value
        elif name in ("alpha", "beta", "alpha_r", "w_r", "normalised"):
            options["neuron_options"][name] = value
        else:
            options["model_options"][name] = value
    sides = rows_and_columns(chosen["size"])
    record = record_of(context) | options | {"task": "pets", "num_steps": chosen["steps"]}
    record |= {name: chosen[name] for name in ("rule", "loss", "batch", "lr", "optimiser", "beta")}
    record["betas"] = numbers("--betas", chosen["betas"])
    record["task_options"] = {
        "target": target,
        "scheme": scheme,
        "border": border,
        "size": sides,
        "colour": chosen["colour"],
        "coding": chosen["coding"],
        "max_rate_hz": max_rate_hz,
        "step_ms": step_ms,
        "augment": chosen["augment"],
    }
    from spikelab.training.tasks.pets import PetsTask

    run(PetsTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)
