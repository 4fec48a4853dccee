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
    train_limit: Annotated[int, typer.Option(help="Use only so many training recordings; 0: all.")] = 0,
    shift: Annotated[int, typer.Option(help="Move training recordings by up to so many pixels.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training recordings.")] = 10,
    batch: Annotated[int, typer.Option(help="Recordings of a step, over all processes.")] = 32,
    eval_batch: Annotated[int, typer.Option(help="Recordings of a step of an evaluation; 0: as --batch.")] = 0,
    lr: Annotated[float, typer.Option(help="Learning rate, the highest of the schedule.")] = 1e-3,
    optimiser: Annotated[str, typer.Option(help="adam, adamw, sgd or adamax.")] = "adam",
    scheduler: Annotated[str, typer.Option(help="none, step, cosine or onecycle.")] = "none",
    lr_step: Annotated[int, typer.Option(help="Epochs between the steps of --scheduler step.")] = 30,
    lr_gamma: Annotated[float, typer.Option(help="Factor of those steps.")] = 0.1,
    grad_clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0: no limit.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="As the optimiser defines it.")] = 0.0,
    rate_low: Annotated[float, typer.Option(help="Firing rate below which a neuron pays, in spikes per step.")] = 0.0,
    rate_high: Annotated[float, typer.Option(help="Firing rate above which it pays.")] = 1.0,
    rate_weight: Annotated[float, typer.Option(help="Weight of that penalty; 0: none.")] = 0.0,
    surrogate: Annotated[str, typer.Option(help="atan, fast_sigmoid, sigmoid, boxcar or exponential.")] = "atan",
    slope: Annotated[float, typer.Option(help="Its parameter; 0: its own default.")] = 0.0,
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
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better validation; 0: never.")] = 0,
    max_seconds: Annotated[float, typer.Option(help="Stop training after so many seconds; 0: no limit.")] = 0.0,
    threads: Annotated[int, typer.Option(help="CPU threads of a process; 0: PyTorch's choice.")] = 0,
    amp: Annotated[bool, typer.Option("--amp", help="Layers in bfloat16, for a GPU or a CPU that has it.")] = False,
    device: Device = "auto",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run: checkpoint, metrics, curves, result, weights.")
    ] = Path("runs/nmnist"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out, if there is one.")
    ] = False,
    checkpoint_s: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints inside an epoch.")] = 60.0,
    export: Annotated[Path | None, typer.Option(help="Also write the best weights to this .safetensors file.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Store exported weights as float16.")] = False,
    result: Annotated[Path | None, typer.Option(help="Also write the result to this .json file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only say what came out.")] = False,
) -> None:
    """Classify the digits of N-MNIST.

    Ctrl-C saves; the same command with --resume goes on, and ends with the same numbers as an unbroken run.

    Several processes share a batch under torchrun:

        torchrun --nproc-per-node 2 -m spikelab.cli train nmnist --out runs/two

    Exit status: 0 done, 1 the loss is no number any more, 2 wrong options, data or checkpoint, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    _require(export is None or export.suffix == ".safetensors", f"--export must end in .safetensors, got {export}")
    _require(result is None or result.suffix == ".json", f"--result must end in .json, got {result}")
    options: dict[str, dict[str, Any]] = {"model_options": {}, "neuron_options": {}, "loss_options": {}}
    for name, text in (("hidden", hidden), ("channels", channels)):
        if text:
            options["model_options"][name] = _numbers(f"--{name}", text)
    for item in option or []:
        _place(item, options)
    from dataclasses import fields

    from spikelab.training.config import Configuration

    # Options are called as the fields of the configuration are.
    record = {f.name: context.params[f.name] for f in fields(Configuration) if f.name in context.params}
    record |= {**options, "task": "nmnist", "window_us": round(window_ms * 1000)}
    if dropout is None:
        record["dropout"] = 0.2 if model == "scnn" else 0.0
    from spikelab.training.tasks.nmnist import NMNISTTask

    _train(NMNISTTask(), record, out, resume, device, checkpoint_s, export, half, result, quiet)


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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only say what came out.")] = False,
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
        about = {
            key: outcome.result[key] for key in ("configuration", "task", "metrics", "data", "best_epoch", "versions")
        }
        pretrained.save(out / "weights.safetensors", outcome.model, about)
        _summary(outcome.result)
        typer.echo(f"wrote {out}: result.json, metrics.jsonl, curves.png, weights.safetensors, checkpoint.pt")
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
    if result["baseline"]:
        typer.echo(f"baseline ({result['baseline']['name']}): {result['baseline']['value']:.2%}")
    if result["spikes"]:
        total = sum(result["spikes"]["per_sample"].values())
        layers = ", ".join(f"{layer} {count:,.0f}" for layer, count in result["spikes"]["per_sample"].items())
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
