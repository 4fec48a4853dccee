"""``spikelab train animals``."""

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
    Slope,
    Surrogate,
    Threads,
    TrainLimit,
    WeightDecay,
)
from spikelab.training.commands.running import fail, numbers, record_of, require, rows_and_columns, run, settings

NEURONS = {"spiking": "animals", "ann": "animals-ann"}
# What `spikelab train animals` takes if an option is not given, by model.
MODELS: dict[str, dict[str, Any]] = {
    "start": {"size": "64x64", "scheduler": "none", "keep": 0.8, "loss": "ce+giou", "augment": {"flip": 0.5}},
    "reference": {
        "size": "96x96",
        "scheduler": "cosine",
        "keep": 0.6,
        "loss": "ce+diou",
        "augment": {
            "flip": 0.5,
            "zoom": 0.5,
            "zoom_out": 0.1,
            "aspect": 0.2,
            **dict.fromkeys(("brightness", "contrast", "saturation"), 0.3),
        },
    },
}


def train_animals(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(help="start (five convolutions, a minute of training) or reference (ours, with shortcuts)."),
    ] = "start",
    neurons: Annotated[
        str, typer.Option(help="spiking, or ann: the twin without spikes, with the same weights.")
    ] = "spiking",
    source: Annotated[
        str, typer.Option(help="voc (six animals), coco (ten), or auto: coco if all of it is there, else voc.")
    ] = "auto",
    data: PictureKind = "auto",
    split_seed: Annotated[int, typer.Option(help="Of the split; scores compare only at the same one.")] = 0,
    size: Annotated[
        str | None, typer.Option(help="Side, or rows x columns, that pictures are brought to; start 64, reference 96.")
    ] = None,
    fit: Annotated[str, typer.Option(help="letterbox (proportions stay, grey bars) or stretch.")] = "letterbox",
    steps: Annotated[int, typer.Option("--steps", min=1, help="T, time steps of a picture; 1 without spikes.")] = 4,
    decode: Annotated[
        str, typer.Option(help="How currents of the last layer become an answer: current_mean, last_current or rate.")
    ] = "current_mean",
    loss: Annotated[
        str | None,
        typer.Option(help="ce+giou, ce+diou or ce+ciou: class and box; start ce+giou, reference ce+diou."),
    ] = None,
    balance: Annotated[
        float, typer.Option(help="0: each picture counts the same in the loss of the class, 1: each class does.")
    ] = 0.5,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of flip, zoom, zoom_out, aspect, brightness, contrast, saturation, in place of all that "
            "the model has (start: flip alone); repeat for more; none: pictures as they are."
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of each side of the animal that augmentation leaves in view; start .8, reference .6."),
    ] = None,
    train_limit: TrainLimit = 0,
    epochs: Epochs = 20,
    batch: Annotated[int, typer.Option(help="Pictures of a step, over all processes.")] = 32,
    eval_batch: EvalBatch = 0,
    lr: Lr = 2e-3,
    optimiser: Optimiser = "adamw",
    betas: Annotated[str, typer.Option(help="The optimiser's two decays; the first is sgd's momentum.")] = "0.9,0.999",
    scheduler: Annotated[
        str | None,
        typer.Option(help="Course of the learning rate: none, step, cosine or onecycle; start none, reference cosine."),
    ] = None,
    lr_step: LrStep = 30,
    lr_gamma: LrGamma = 0.1,
    grad_clip: GradClip = 0.0,
    weight_decay: WeightDecay = 0.01,
    rate_low: RateLow = 0.0,
    rate_high: RateHigh = 1.0,
    rate_weight: RateWeight = 0.0,
    surrogate: Surrogate = "atan",
    slope: Slope = 0.0,
    beta: Annotated[float, typer.Option(help=f"{LEFT}.")] = 1.0,
    channels: Annotated[str, typer.Option(help="Maps of the stages, such as 24,48,64; empty: the model's own.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of the network (blocks, stem, initial_charge) or the loss (giou, diou, ciou: weight of "
            "the box, 2 if not given; smoothing: of the labels); repeat for more."
        ),
    ] = None,
    init: Init = "",
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation; not of the split.")] = 0,
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
    ] = Path("runs/animals"),
    resume: Resume = False,
    checkpoint_s: CheckpointS = 60.0,
    export: Export = None,
    half: Half = False,
    result: ResultFile = None,
    quiet: Quiet = False,
) -> None:
    """Name and find the one animal of a picture: the capstone's task.

    A validation split chooses the epoch by macro joint success (class right and IoU above a half, averaged inside each
    class first); the test split is looked at once, beside the answer that never looks. No photograph is in two splits.

    Ctrl-C saves; the same command with --resume goes on, and ends with the same numbers as an unbroken run.

    Several processes share a batch under torchrun:

        torchrun --nproc-per-node 2 -m spikelab.cli train animals --out runs/two

    Exit status: 0 done, 1 the loss is no number any more, 2 wrong options, data or checkpoint, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    require(model in MODELS, f"--model must be one of {', '.join(MODELS)}, got {model!r}")
    require(neurons in NEURONS, f"--neurons must be one of {', '.join(NEURONS)}, got {neurons!r}")
    # A list that is not given comes as an empty one, which would switch off what the model has.
    given = {name: value for name in MODELS[model] if (value := context.params.get(name)) not in (None, [], ())}
    chosen = {**MODELS[model], **given}
    if augment:
        chosen["augment"] = settings("--augment", [item for item in augment if item != "none"])
    options: dict[str, dict[str, Any]] = {"model_options": {"design": model, "decode": decode}, "loss_options": {}}
    if channels:
        options["model_options"]["channels"] = numbers("--channels", channels)
    for name, value in settings("--option", option or []).items():
        part = "loss_options" if name in ("giou", "diou", "ciou", "smoothing") else "model_options"
        options[part][name] = value
    sides = rows_and_columns(chosen["size"])
    try:
        from spikelab.datasets.single_animals import animal_source

        found = animal_source(source, kind=data)
    except ValueError as error:
        fail(str(error))
    record = record_of(context) | options | {"task": "animals", "model": NEURONS[neurons]}
    record |= {"num_steps": 1 if neurons == "ann" else steps, "loss": chosen["loss"], "scheduler": chosen["scheduler"]}
    record["betas"] = numbers("--betas", betas)
    record["task_options"] = {
        "source": found,
        "split_seed": split_seed,
        "size": sides,
        "fit": fit,
        "balance": balance,
        "keep": chosen["keep"],
        "augment": chosen["augment"],
    }
    from spikelab.training.tasks.animals import AnimalsTask

    run(AnimalsTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)
