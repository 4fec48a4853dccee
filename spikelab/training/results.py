"""Result files: what a run measured, on what, with what, for how long, in one JSON file that pages are made from."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikelab.files import write_atomically
from spikelab.training.config import Configuration
from spikelab.training.evaluation import Evaluation

SCHEMA_VERSION = 1
KINDS = ("train", "evaluate")

_NUMBER = (int, float)
_OPTIONAL_TEXT = (str, type(None))
# Name -> type, a tuple of types, or the same again for what lies inside.
_SCHEMA: dict[str, Any] = {
    "schema_version": int,
    "kind": str,
    "task": str,
    "metric": str,
    "metrics": dict,
    "baseline": (dict, type(None)),
    "confusion": (list, type(None)),
    "spikes": (dict, type(None)),
    "parameters": int,
    "data": {"name": str, "label": str, "hash": str, "sizes": dict},
    "configuration": dict,
    "seed": int,
    "epochs_run": int,
    "best_epoch": (int, type(None)),
    "stopped": str,
    "history": list,
    "seconds": {"train": _NUMBER, "total": _NUMBER},
    "hardware": {"cpu": str, "cores": int, "threads": int, "processes": int, "gpu": _OPTIONAL_TEXT},
    "date": str,
    "versions": {"python": str, "torch": str, "spikelab": str, "commit": _OPTIONAL_TEXT},
}
# Fields that a result may lack: files of older versions do, and not every task has them.
_OPTIONAL: dict[str, Any] = {
    "details": dict,
    "cost": {"seconds_per_sample": _NUMBER},
    "init": (dict, type(None)),
    "trained_on": (dict, type(None)),
}
_METRIC = {"value": _NUMBER, "low": (*_NUMBER, type(None)), "high": (*_NUMBER, type(None)), "n": int}


class ResultError(ValueError):
    """A result file that does not say what a result file must say."""


def write(path: str | os.PathLike, result: Mapping[str, Any]) -> Path:
    """Check a result and write it; a file that is there is replaced at once or not at all.

    Raises:
        ResultError: if the result is not complete.
        WriteError: if the file cannot be written.
    """
    validate(result, str(path))
    return write_atomically(path, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Read a result file and check it.

    Returns:
        The result; ``result["metrics"]["test"]["accuracy"]["value"]`` is what most pages show.
    Raises:
        ResultError: naming the file and what is missing or of the wrong kind.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is no JSON file: {error}") from error
    validate(result, str(path))
    return result


def validate(result: Any, source: str = "result") -> None:
    """Raise unless a result has every field, each of its kind.

    Args:
        result: what a file holds.
        source: where it is from, for the message.
    Raises:
        ResultError: naming the field, what it is and what it must be.
    """
    _check(result, _SCHEMA, source, "")
    _check(result, {name: kind for name, kind in _OPTIONAL.items() if name in result}, source, "")
    if result["schema_version"] != SCHEMA_VERSION:
        raise ResultError(
            f"{source}: schema_version is {result['schema_version']}, this version of spikelab reads {SCHEMA_VERSION}: "
            "make the file again or update spikelab"
        )
    if result["kind"] not in KINDS:
        raise ResultError(f"{source}: kind must be one of {', '.join(KINDS)}, got {result['kind']!r}")
    if not result["metrics"]:
        raise ResultError(f"{source}: metrics is empty: no split was evaluated")
    for split, metrics in result["metrics"].items():
        _check(metrics, {result["metric"]: dict}, source, f"metrics.{split}")
        for name, metric in metrics.items():
            _check_metric(metric, source, f"metrics.{split}.{name}")
    if result["baseline"] is not None:
        _check(result["baseline"], {"name": str, "value": _NUMBER}, source, "baseline")
    if result["spikes"] is not None:
        kinds = {"per_sample": dict, "firing_rate": dict, "dead_share": dict, "neurons": dict}
        _check(result["spikes"], kinds, source, "spikes")
    matrix = result["confusion"]
    if matrix is not None and any(not isinstance(row, list) or len(row) != len(matrix) for row in matrix):
        raise ResultError(f"{source}: confusion must be a square list of lists")
    try:
        datetime.datetime.fromisoformat(result["date"])
    except ValueError:
        raise ResultError(
            f"{source}: date must be a date such as 2025-01-31T12:00:00+00:00, got {result['date']!r}"
        ) from None


def build(
    *,
    kind: str,
    task: Any,
    config: Configuration,
    data: Any,
    found: Mapping[str, Evaluation],
    model: nn.Module,
    device: torch.device,
    seconds: Mapping[str, float],
    processes: int = 1,
    history: list[dict[str, Any]] | None = None,
    best_epoch: int | None = None,
    stopped: str = "",
    init: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a result: what was measured, and all that is known of how.

    Args:
        kind: ``"train"`` or ``"evaluate"``.
        task, config, data: what was run.
        found: the evaluation of each split; spikes and costs are those of the test split, or of the first if that is
            missing.
        model: the network.
        device: what it ran on.
        seconds: ``train`` and ``total``.
        processes: how many ran together.
        history: a record of each epoch.
        best_epoch: the epoch, counted from 1, whose weights were evaluated.
        stopped: why training ended.
        init: what the weights began from, if not fresh.
    """
    metrics, matrices, details = {}, {}, {}
    for split, values in found.items():
        loss = {"value": values.loss, "low": None, "high": None, "n": values.count, "interval": None}
        metrics[split] = {**values.metrics, "loss": loss}
        matrices[split] = metrics[split].pop("confusion", None)
        details[split] = metrics[split].pop("details", {})
    shown = "test" if "test" in found else next(iter(found))
    cost = task.cost(config, model, getattr(data, shown), device)
    result = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "task": task.name,
        "metric": task.metric,
        "metrics": metrics,
        "baseline": task.baseline(data),
        "details": details,
        "confusion": matrices[shown],
        "spikes": found[shown].spikes,
        "cost": {"seconds_per_sample": found[shown].seconds, **cost},
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "data": {"name": data.name, "label": data.label, "hash": data.hash, "sizes": data.sizes},
        "configuration": config.as_dict(),
        "init": None if init is None else dict(init),
        "seed": config.seed,
        "epochs_run": len(history or []),
        "best_epoch": best_epoch,
        "stopped": stopped,
        "history": history or [],
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "hardware": hardware(processes, device),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    validate(result)
    return result


def hardware(processes: int = 1, device: torch.device | None = None) -> dict[str, Any]:
    """Return what this process runs on."""
    on_gpu = device is not None and device.type == "cuda"
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
    }


def versions() -> dict[str, Any]:
    """Return the versions that made a result, and the commit where spikelab runs from a checkout."""
    try:
        version = metadata.version("spikelab")
    except metadata.PackageNotFoundError:
        from spikelab import __version__ as version
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spikelab": version,
        "commit": _commit(Path(__file__).resolve().parents[2]),
    }


def _check(record: Any, schema: Mapping[str, Any], source: str, where: str) -> None:
    if not isinstance(record, dict):
        raise ResultError(f"{source}: {where or 'the file'} must be an object, got {type(record).__name__}")
    for name, kind in schema.items():
        field = f"{where}.{name}" if where else name
        if name not in record:
            raise ResultError(f"{source}: {field} is missing")
        value = record[name]
        if isinstance(kind, dict):
            _check(value, kind, source, field)
        elif not isinstance(value, kind) or isinstance(value, bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise ResultError(f"{source}: {field} must be {names}, got {value!r}")


def _check_metric(metric: Any, source: str, where: str) -> None:
    _check(metric, _METRIC, source, where)
    value, low, high = metric["value"], metric["low"], metric["high"]
    if not math.isfinite(value):
        raise ResultError(f"{source}: {where}.value must be finite, got {value}")
    if (low is None) != (high is None):
        raise ResultError(f"{source}: {where} must have both low and high, or neither")
    if low is not None and not low <= value <= high:
        raise ResultError(f"{source}: {where} must have low <= value <= high, got {low}, {value}, {high}")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine() or "unknown"


def _commit(root: Path) -> str | None:
    if not (root / ".git").exists():
        return None
    try:
        run = {"cwd": root, "capture_output": True, "text": True, "timeout": 10, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--", "spikelab"], **run).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-changed" if changed else commit
