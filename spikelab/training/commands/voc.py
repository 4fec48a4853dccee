"""``spikelab train voc``."""

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
    Lr,
    LrGamma,
    LrStep,
    MaxSeconds,
    Optimiser,
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

NEURONS = {"spiking": "", "ann": "clamped", "relu": "relu", "leaky_relu": "leaky_relu"}
AUGMENT = {"flip": 0.5, "zoom": 0.4, "zoom_out": 0.3, "aspect": 0.2, "mosaic": 0.5}
AUGMENT |= dict.fromkeys(("brightness", "contrast", "saturation"), 0.3)
_LOSS = ("rule", "box", "object_target", "ignore_above", "reduction", "box_weight", "object_weight", "class_weight")
_TASK = ("detail", "difficult", "held_out", "split_seed", "score_threshold", "nms", "max_detections", "colour")


def train_voc(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Size of the YOLO network: tiny, small or full.")] = "tiny",
    neurons: Annotated[
        str,
        typer.Option(
            help="spiking; ann (its twin, each neuron what an integrate-and-fire neuron's rate tends to), or relu and "
            "leaky_relu, for conversion."
        ),
    ] = "spiking",
    decode: Annotated[
        str,
        typer.Option(
            help="How currents become boxes: current_mean, current_sum, rate, last_membrane or last_current; without "
            "spikes current_mean or rate."
        ),
    ] = "current_mean",
    steps: Annotated[int, typer.Option("--steps", min=1, help="T, time steps of a picture; 1 without spikes.")] = 4,
    size: Annotated[
        str, typer.Option(help="Side, or rows x columns, that pictures are letterboxed to; multiples of 32.")
    ] = "160",
    norm: Annotated[
        str, typer.Option(help="Batch normalisation: bn, or tdbn, which knows threshold and steps.")
    ] = "bn",
    shortcut: Annotated[str, typer.Option(help="What goes round a residual block: spikes or currents.")] = "spikes",
    reset: Annotated[
        str, typer.Option(help="After a spike subtract the threshold, or zero the membrane.")
    ] = "subtract",
    loss: Annotated[
        str,
        typer.Option(
            "--loss-preset", "--loss", help="default, public (SNN-YOLOv3's public code) or paper (YOLOv3's own)."
        ),
    ] = "default",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of the network (initial_charge, readout_beta, rate_range, checkpoint), the loss (box, "
            "rule, object_target, ignore_above, reduction, box_weight, object_weight, class_weight) or the task "
            "(detail, difficult, held_out, split_seed, score_threshold, nms, max_detections, colour); repeat for more."
        ),
    ] = None,
    data: PictureKind = "auto",
    years: Annotated[str, typer.Option(help="Years to train on, such as 2007,2012.")] = "2007",
    image_set: Annotated[str, typer.Option(help="Official list to train on: train, val or trainval.")] = "train",
    test_years: Annotated[str, typer.Option(help="Years to test on.")] = "2007",
    test_set: Annotated[
        str, typer.Option(help="Official list to test on, once, at the end: val, or test (of VOC2007).")
    ] = "val",
    classes: Annotated[str, typer.Option(help="Only these classes, such as cat,dog; empty: all 20.")] = "",
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of flip, zoom, zoom_out, aspect, brightness, contrast, saturation, mosaic, in place of "
            "all that is done; repeat for more; none: pictures as they are."
        ),
    ] = None,
    train_limit: TrainLimit = 0,
    epochs: Epochs = 50,
    batch: Annotated[int, typer.Option(help="Pictures of a step, over all processes.")] = 16,
    eval_batch: EvalBatch = 0,
    lr: Lr = 1e-3,
    optimiser: Optimiser = "adamw",
    scheduler: Scheduler = "onecycle",
    lr_step: LrStep = 30,
    lr_gamma: LrGamma = 0.1,
    grad_clip: GradClip = 10.0,
    weight_decay: WeightDecay = 5e-4,
    rate_low: RateLow = 0.0,
    rate_high: RateHigh = 1.0,
    rate_weight: RateWeight = 0.0,
    surrogate: Surrogate = "atan",
    slope: Slope = 0.0,
    beta: Annotated[float, typer.Option(help=f"{LEFT}.")] = 1.0,
    init: Init = "",
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation; not of what is held out.")] = 0,
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
    ] = Path("runs/voc"),
    resume: Resume = False,
    checkpoint_s: CheckpointS = 60.0,
    export: Export = None,
    half: Half = False,
    result: ResultFile = None,
    quiet: Quiet = False,
) -> None:
    """Find all objects of a picture: SNN-YOLOv3 and its twins.

    A tenth of the training pictures is held out and chooses the epoch by its average precision. At the end the best
    weights are tested once, beside a detector that never looks, and the run's folder gets a contact sheet of the best,
    the median and the worst answers. Most papers take other lists: --image-set trainval --test-set test.

    Ctrl-C saves; the same command with --resume goes on, and ends with the same numbers as an unbroken run. A spiking
    network may start from its twin's weights: --init runs/twin/weights.safetensors.

    Several processes share a batch under torchrun:

        torchrun --nproc-per-node 2 -m spikelab.cli train voc --out runs/two

    Exit status: 0 done, 1 the loss is no number any more, 2 wrong options, data or checkpoint, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    require(neurons in NEURONS, f"--neurons must be one of {', '.join(NEURONS)}, got {neurons!r}")
    network: dict[str, Any] = {"size": model, "decode": decode, "norm": norm, "shortcut": shortcut, "reset": reset}
    if neurons != "spiking":
        network["neurons"] = NEURONS[neurons]
    task: dict[str, Any] = {"size": rows_and_columns(size), "augment": AUGMENT}
    task |= {"years": _years("--years", years), "image_set": image_set}
    task |= {"test_years": _years("--test-years", test_years), "test_set": test_set}
    if augment:
        task["augment"] = settings("--augment", [item for item in augment if item != "none"])
    if classes:
        task["classes"] = [name.strip() for name in classes.split(",")]
    loss_options: dict[str, Any] = {}
    for name, value in settings("--option", option or []).items():
        (loss_options if name in _LOSS else task if name in _TASK else network)[name] = value
    record = record_of(context) | {
        "task": "voc",
        "model": "yolo" if neurons == "spiking" else "yolo-ann",
        "model_options": network,
        "loss_options": loss_options,
        "task_options": task,
        "num_steps": steps if neurons == "spiking" else 1,
    }
    from spikelab.training.tasks.voc import VocTask

    run(VocTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)


def _years(option: str, text: str) -> list[str]:
    return [f"VOC{year}" for year in numbers(option, text.replace("VOC", ""))]
