"""What every command does: options into a configuration, and a configuration into a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from spikelab.training.curves import MANY_LAYERS


def run(
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
    require(export is None or export.suffix == ".safetensors", f"--export must end in .safetensors, got {export}")
    require(result is None or result.suffix == ".json", f"--result must end in .json, got {result}")
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
            progress=progress_of(Progress, quiet),
        )
        if not first_process():
            return  # the first process writes and reports
        said = ("configuration", "task", "metrics", "baseline", "data", "init", "best_epoch", "versions")
        about = {key: outcome.result[key] for key in said}
        pretrained.save(out / "weights.safetensors", outcome.model, about)
        summary(outcome.result)
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
        fail(str(error))


def _again() -> str:
    """The command line that goes on from here."""
    words = ["spikelab", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def summary(result: dict[str, Any]) -> None:
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
        if len(result["spikes"]["per_sample"]) > MANY_LAYERS:
            rates = result["spikes"]["firing_rate"].values()
            layers = f"firing rates of {len(rates)} layers {min(rates):.3f} to {max(rates):.3f}"
        if layers:
            typer.echo(f"spikes per sample: {total:,.0f} ({layers})")
    typer.echo(f"data: {result['data']['label']}; {result['seconds']['total']:,.0f} s")


def progress_of(kind: Any, quiet: bool) -> Any:
    return kind(None) if quiet else kind(lambda text: print(text, flush=True))


def record_of(context: typer.Context) -> dict[str, Any]:
    """Return the options of a command that are called as fields of the configuration are."""
    from dataclasses import fields

    from spikelab.training.config import Configuration

    names = (f.name for f in fields(Configuration))
    return {name: context.params[name] for name in names if context.params.get(name) is not None}


def settings(option: str, items: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE items as a record of numbers, lists of numbers, true, false and words."""
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        require(bool(equals and name and text), f"{option} must be NAME=VALUE, got {item!r}")
        if text in ("true", "false"):
            found[name] = text == "true"
        elif text[0].isalpha():
            found[name] = text
        else:
            values = numbers(f"{option} {name}", text)
            found[name] = values if "," in text else values[0]
    return found


def numbers(name: str, text: str) -> list[int | float]:
    try:
        return [float(part) if set(part) & set(".eE") else int(part) for part in text.split(",")]
    except ValueError:
        fail(f"{name} must be a number or numbers with commas between, got {text!r}")


def rows_and_columns(text: str) -> list[int]:
    """Return [rows, columns] of what --size says: one side of a square, or rows x columns."""
    sides = text.lower().split("x")
    require(
        len(sides) in (1, 2) and all(side.strip().isdecimal() for side in sides),
        f"--size must be a side or rows x columns, such as 96 or 88x120, got {text!r}",
    )
    return [int(side) for side in (sides * 2)[:2]]


def require(condition: bool, message: str) -> None:
    if not condition:
        fail(message)


def fail(message: str) -> NoReturn:
    typer.echo(f"spikelab: {message}", err=True)
    raise typer.Exit(2)
