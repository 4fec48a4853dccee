"""``spikelab train ...`` and ``spikelab evaluate``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

train = typer.Typer(help="Train a network of the course.", no_args_is_help=True)

DataKind = Annotated[
    str,
    typer.Option(
        "--data",
        help="real, simulated (MNIST through a simulated sensor), synthetic (stand-in), or auto: real if it is there.",
    ),
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")]

# What every kind of training takes.
TrainLimit = Annotated[int, typer.Option(help="Use only so many training samples; 0: all.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training samples.")]
EvalBatch = Annotated[int, typer.Option(help="Samples of a step of an evaluation; 0: as --batch.")]
Scheduler = Annotated[str, typer.Option(help="none, step, cosine or onecycle.")]
LrStep = Annotated[int, typer.Option(help="Epochs between the steps of --scheduler step.")]
LrGamma = Annotated[float, typer.Option(help="Factor of those steps.")]
GradClip = Annotated[float, typer.Option(help="Largest norm of the gradient; 0: no limit.")]
WeightDecay = Annotated[float, typer.Option(help="As the optimiser defines it.")]
RateLow = Annotated[float, typer.Option(help="Firing rate below which a neuron pays, in spikes per step.")]
RateHigh = Annotated[float, typer.Option(help="Firing rate above which it pays.")]
RateWeight = Annotated[float, typer.Option(help="Weight of that penalty; 0: none.")]
Surrogate = Annotated[str, typer.Option(help="atan, fast_sigmoid, sigmoid, boxcar or exponential.")]
Slope = Annotated[float, typer.Option(help="Its parameter; 0: its own default.")]
Init = Annotated[
    str,
    typer.Option(
        help="Start from these weights, a .safetensors file or a name that comes with spikelab, as far as they fit."
    ),
]
Patience = Annotated[int, typer.Option(help="Stop after so many epochs without a better validation; 0: never.")]
MaxSeconds = Annotated[float, typer.Option(help="Stop training after so many seconds; 0: no limit.")]
Threads = Annotated[int, typer.Option(help="CPU threads of a process; 0: PyTorch's choice.")]
Amp = Annotated[bool, typer.Option("--amp", help="Layers in bfloat16, for a GPU or a CPU that has it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, if there is one.")]
CheckpointS = Annotated[float, typer.Option(min=0, help="Seconds between checkpoints inside an epoch.")]
Export = Annotated[Path | None, typer.Option(help="Also write the best weights to this .safetensors file.")]
Half = Annotated[bool, typer.Option("--half", help="Store exported weights as float16.")]
ResultFile = Annotated[Path | None, typer.Option(help="Also write the result to this .json file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only say what came out.")]

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


@train.command("nmnist")
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
    num_steps: Annotated[int, typer.Option(help="T, frames of a recording.")] = 10,
    window_ms: Annotated[
        float, typer.Option(help="Width of a frame in ms; 10 of 30 ms hold a whole recording.")
    ] = 30.0,
    train_limit: TrainLimit = 0,
    shift: Annotated[int, typer.Option(help="Move training recordings by up to so many pixels.")] = 0,
    epochs: Epochs = 10,
    batch: Annotated[int, typer.Option(help="Recordings of a step, over all processes.")] = 32,
    eval_batch: EvalBatch = 0,
    lr: Annotated[float, typer.Option(help="Learning rate, the highest of the schedule.")] = 1e-3,
    optimiser: Annotated[str, typer.Option(help="adam, adamw, sgd or adamax.")] = "adam",
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
    beta: Annotated[float, typer.Option(help="Decay of the membrane per step.")] = 0.9,
    dropout: Annotated[float | None, typer.Option(help="Share of dense hidden neurons; scnn 0.2, smlp 0.")] = None,
    hidden: Annotated[
        str, typer.Option(help="Sizes of the dense hidden layers, such as 250,100; empty: paper 3's.")
    ] = "",
    channels: Annotated[str, typer.Option(help="Maps of scnn's convolutions, such as 32,16.")] = "",
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
            options["model_options"][name] = _numbers(f"--{name}", text)
    for item in option or []:
        _place(item, options)
    record = _record(context) | {**options, "task": "nmnist", "window_us": round(window_ms * 1000)}
    if dropout is None:
        record["dropout"] = 0.2 if model == "scnn" else 0.0
    from spikelab.training.tasks.nmnist import NMNISTTask

    _train(NMNISTTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)


@train.command("pets")
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
    data: Annotated[
        str, typer.Option("--data", help="real, synthetic (drawn stand-in), or auto: real if it is there.")
    ] = "auto",
    size: Annotated[str | None, typer.Option(help="Rows x columns that pictures are stretched to; 88x120.")] = None,
    colour: Annotated[str | None, typer.Option(help="rgb or gray; ours, ann: rgb, others: gray.")] = None,
    coding: Annotated[
        str | None, typer.Option(help="direct, poisson or latency; ours, ann: direct alone, others: poisson.")
    ] = None,
    max_rate_hz: Annotated[float, typer.Option(help="Rate of a white pixel in the Poisson code.")] = 1000.0,
    step_ms: Annotated[float, typer.Option(help="Duration of a step; decolle's decays follow it.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option("--steps", help="T, steps of a picture; ours 4, bptt 50, decolle 100.")
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
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; ours, ann 0.002, others 0.001.")] = None,
    optimiser: Annotated[
        str | None, typer.Option(help="adam, adamw, sgd or adamax; ours, ann adamw, bptt adam, decolle adamax.")
    ] = None,
    betas: Annotated[
        str | None, typer.Option(help="Its two decays, 0.9,0.999; decolle 0,0.95; the first is sgd's momentum.")
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
    beta: Annotated[float | None, typer.Option(help="Decay of the membrane per step; ours 1, bptt 0.9.")] = None,
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
    _require(model in PETS_MODELS, f"--model must be one of {', '.join(PETS_MODELS)}, got {model!r}")
    # A list that is not given comes as an empty one, which would switch off what the model has.
    given = {name: value for name in PETS_MODELS[model] if (value := context.params.get(name)) not in (None, [], ())}
    chosen = {**PETS_MODELS[model], **given}
    if augment:
        chosen["augment"] = _settings("--augment", [item for item in augment if item != "none"])
    options: dict[str, dict[str, Any]] = {"model_options": {}, "neuron_options": {}, "loss_options": {}}
    if channels:
        options["model_options"]["channels"] = _numbers("--channels", channels)
    for name, value in _settings("--option", option or []).items():
        if name in ("smooth_l1", "giou", "diou", "ciou"):
            options["loss_options"][name] = value
        elif name in ("alpha", "beta", "alpha_r", "w_r", "normalised"):
            options["neuron_options"][name] = value
        else:
            options["model_options"][name] = value
    sides = chosen["size"].lower().split("x")
    _require(
        len(sides) == 2 and all(side.isdecimal() for side in sides),
        f"--size must be rows x columns, such as 88x120, got {chosen['size']!r}",
    )
    record = _record(context) | options | {"task": "pets", "num_steps": chosen["steps"]}
    record |= {name: chosen[name] for name in ("rule", "loss", "batch", "lr", "optimiser", "beta")}
    record["betas"] = _numbers("--betas", chosen["betas"])
    record["task_options"] = {
        "target": target,
        "scheme": scheme,
        "border": border,
        "size": [int(side) for side in sides],
        "colour": chosen["colour"],
        "coding": chosen["coding"],
        "max_rate_hz": max_rate_hz,
        "step_ms": step_ms,
        "augment": chosen["augment"],
    }
    from spikelab.training.tasks.pets import PetsTask

    _train(PetsTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)


def evaluate(
    weights: Annotated[
        str, typer.Argument(help="A .safetensors file, or the name of weights that come with spikelab.")
    ],
    data: DataKind = "auto",
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    batch: Annotated[int, typer.Option(min=0, help="Recordings of a step; 0: as in training.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: PyTorch's choice.")] = 0,
    device: Device = "auto",
    result: Annotated[Path | None, typer.Option(help="Write the result to this .json file.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the answers: contact_sheet.png of a localizer.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Evaluate trained weights on a split.

    Exit status: 0 done, 2 if weights or data are missing or wrong.
    """
    _require(result is None or result.suffix == ".json", f"--result must end in .json, got {result}")
    _require(split in ("test", "validation", "train"), f"--split must be test, validation or train, got {split!r}")
    from spikelab.training import results
    from spikelab.training.progress import Progress

    try:
        from spikelab.training.weights import evaluate_weights

        found = evaluate_weights(
            weights,
            kind=data,
            split=split,
            batch=batch,
            threads=threads,
            device=device,
            pictures=pictures,
            progress=_progress(Progress, quiet),
        )
        _summary(found)
        if result is not None:
            typer.echo(f"wrote {results.write(result, found)}")
    except (ValueError, OSError) as error:
        _fail(str(error))


def _train(
    task: Any,
    record: dict[str, Any],
    out: Path,
    resume: bool,
    device: str,
    checkpoint_s: float,
    export: Path | None,
    half: bool,
    result: Path | None,
    quiet: bool,
) -> None:
    """Run a task and write what was asked for; the end of every ``spikelab train`` command."""
    _require(export is None or export.suffix == ".safetensors", f"--export must end in .safetensors, got {export}")
    _require(result is None or result.suffix == ".json", f"--result must end in .json, got {result}")
    from spikelab.models import pretrained
    from spikelab.training import loop, results
    from spikelab.training.config import Configuration
    from spikelab.training.distributed import first_process
    from spikelab.training.progress import Progress

    try:
        config = Configuration.from_dict(record, "the command line")
        outcome = loop.train(
            task,
            config,
            out=out,
            resume=resume,
            device=device,
            checkpoint_s=checkpoint_s,
            progress=_progress(Progress, quiet),
        )
        if not first_process():
            return  # the first process writes and reports
        said = ("configuration", "task", "metrics", "baseline", "data", "init", "best_epoch", "versions")
        about = {key: outcome.result[key] for key in said}
        pretrained.save(out / "weights.safetensors", outcome.model, about)
        _summary(outcome.result)
        typer.echo(f"wrote {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
        if export is not None:
            typer.echo(f"wrote {pretrained.save(export, outcome.model, about, half=half)}")
        if result is not None:
            typer.echo(f"wrote {results.write(result, outcome.result)}")
    except loop.Interrupted as stop:
        if first_process():
            typer.echo(f"\nspikelab: {stop}\nTo go on: {_again()}", err=True)
        raise typer.Exit(128 + stop.signal) from None
    except loop.Diverged as error:
        typer.echo(f"spikelab: {error}", err=True)
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:
        _fail(str(error))


def _again() -> str:
    """The command line that goes on from here."""
    words = ["spikelab", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def _summary(result: dict[str, Any]) -> None:
    for split, metrics in result["metrics"].items():
        metric = metrics[result["metric"]]
        reach = "" if metric["low"] is None else f" [{metric['low']:.2%}, {metric['high']:.2%}]"
        typer.echo(f"{split}: {result['metric']} {metric['value']:.2%}{reach}, n = {metric['n']:,}")
        more = [f"{name} {m['value']:.2%}" for name, m in metrics.items() if name not in (result["metric"], "loss")]
        if more:
            typer.echo(f"{split}: {', '.join(more)}")
    if result["baseline"]:
        typer.echo(f"baseline ({result['baseline']['name']}): {result['baseline']['value']:.2%}")
    if result["spikes"]:
        total = sum(result["spikes"]["per_sample"].values())
        layers = ", ".join(f"{layer} {count:,.0f}" for layer, count in result["spikes"]["per_sample"].items())
        if layers:
            typer.echo(f"spikes per sample: {total:,.0f} ({layers})")
    typer.echo(f"data: {result['data']['label']}; {result['seconds']['total']:,.0f} s")


def _progress(kind: Any, quiet: bool) -> Any:
    return kind(None) if quiet else kind(lambda text: print(text, flush=True))


def _place(item: str, options: dict[str, dict[str, Any]]) -> None:
    """Put NAME=VALUE where it belongs."""
    from dataclasses import fields

    from spikelab.models.nmnist import Neurons

    name, equals, text = item.partition("=")
    _require(bool(equals and name and text), f"--option must be NAME=VALUE, got {item!r}")
    values = _numbers(f"--option {name}", text)
    value = values if "," in text or name in ("kernels", "channels", "hidden") else values[0]
    if name in {f.name for f in fields(Neurons)} - {"rule", "beta", "spike_grad"}:
        options["neuron_options"][name] = value
    elif name in ("scale", "decay", "true", "false"):
        options["loss_options"][name] = value
    elif name in ("gain", "padding", "pool", "kernels"):
        options["model_options"][name] = value
    else:
        _fail(f"--option {name} is unknown; see spikelab train nmnist --help")


def _record(context: typer.Context) -> dict[str, Any]:
    """Return the options of a command that are called as fields of the configuration are."""
    from dataclasses import fields

    from spikelab.training.config import Configuration

    names = (f.name for f in fields(Configuration))
    return {name: context.params[name] for name in names if context.params.get(name) is not None}


def _settings(option: str, items: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE items as a record of numbers, lists of numbers, true, false and words."""
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        _require(bool(equals and name and text), f"{option} must be NAME=VALUE, got {item!r}")
        if text in ("true", "false"):
            found[name] = text == "true"
        elif text[0].isalpha():
            found[name] = text
        else:
            values = _numbers(f"{option} {name}", text)
            found[name] = values if "," in text else values[0]
    return found


def _numbers(name: str, text: str) -> list[int | float]:
    try:
        return [float(part) if set(part) & set(".eE") else int(part) for part in text.split(",")]
    except ValueError:
        _fail(f"{name} must be a number or numbers with commas between, got {text!r}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        _fail(message)


def _fail(message: str) -> NoReturn:
    typer.echo(f"spikelab: {message}", err=True)
    raise typer.Exit(2)
