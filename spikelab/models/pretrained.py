"""Networks from configurations, and trained weights with the configuration that made them in one file.

Weights are safetensors files: numbers and text, no code. The text says how the network is built, so that a file is all
that is needed: ``model, about = load("nmnist-scnn")``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from spikelab import surrogate
from spikelab.datasets.voc import CLASSES
from spikelab.files import write_atomically
from spikelab.models.animals import AnimalNet
from spikelab.models.canvas import CanvasNet
from spikelab.models.localizer import VARIANTS, DecolleLocalizer, SpikingLocalizer, SurrogateLocalizer
from spikelab.models.nmnist import SCNN, SMLP, Neurons
from spikelab.models.yolo import SpikingYolo
from spikelab.plasticity import DecolleConstants
from spikelab.validation import require_choice

CLASSIFIERS = {"scnn": SCNN, "smlp": SMLP}
LOCALIZERS = {
    "decolle": DecolleLocalizer,
    "bptt": SurrogateLocalizer,
    "ours": SpikingLocalizer,
    "ann": SpikingLocalizer,
}
CANVAS = {"canvas": CanvasNet}
DETECTORS = {"yolo": SpikingYolo, "yolo-ann": SpikingYolo}
NAMERS = {"animals": AnimalNet, "animals-ann": AnimalNet}  # class and box of one animal
MODELS = {**CLASSIFIERS, **LOCALIZERS, **CANVAS, **DETECTORS, **NAMERS}
SUFFIX = ".safetensors"
_KEY = "spikelab"
TWINS = ("clamped", "relu", "leaky_relu")  # what "yolo-ann" may have in place of neurons


class WeightsError(ValueError):
    """A file of weights that cannot be used; the message names it."""


class Pretrained(NamedTuple):
    """A trained network.

    Attributes:
        model: the network, ready for evaluation.
        about: what the file says of it; ``about["configuration"]`` is what it was trained with.
    """

    model: nn.Module
    about: dict[str, Any]


def build(configuration: Mapping[str, Any]) -> nn.Module:
    """Return a network with fresh weights.

    Args:
        configuration: ``model``, a key of ``MODELS``, and, each with the network's own default if missing, ``rule``,
            ``beta``, ``surrogate``, ``slope`` (0: the surrogate's own), ``dropout``, ``seed``, ``neuron_options``,
            ``model_options``; for localizers and detectors ``num_steps`` and ``task_options`` with ``size`` and
            ``colour``, for localizers with ``step_ms``, for detectors with the names of the ``classes``;
            for the animals' networks with ``size`` and ``source``.
    Raises:
        ValueError: if a name is unknown or a value not allowed.
    """
    name = require_choice("model", configuration.get("model"), MODELS)
    kind = MODELS[name]
    surrogate_name = require_choice("surrogate", configuration.get("surrogate", "atan"), surrogate_names())
    slope = configuration.get("slope", 0.0)
    spike_grad = getattr(surrogate, surrogate_name)(slope) if slope else getattr(surrogate, surrogate_name)()
    given = dict(configuration.get("model_options", {}))
    neurons = dict(configuration.get("neuron_options", {}))
    try:
        if name in CLASSIFIERS:
            options = {
                "neurons": Neurons(
                    rule=configuration.get("rule", "bptt"),
                    beta=configuration.get("beta", 0.9),
                    spike_grad=spike_grad,
                    **neurons,
                ),
                "dropout": configuration.get("dropout", 0.0),
            }
        elif name in CANVAS:
            options = {}
        elif name in DETECTORS:
            options, given = _detector_options(name, configuration, spike_grad, neurons), {}
        elif name in NAMERS:
            options = _namer_options(name, configuration, spike_grad, neurons)
        else:
            options = _localizer_options(name, configuration, spike_grad, neurons)
        return kind(generator=torch.Generator().manual_seed(configuration.get("seed", 0)), **options, **given)
    except TypeError as error:  # an unknown argument: Python's message names it
        raise ValueError(f"{kind.__name__} or its neurons cannot be built with these options: {error}") from error


def _localizer_options(
    name: str, configuration: Mapping[str, Any], spike_grad: surrogate.SpikeFunction, neurons: dict[str, Any]
) -> dict[str, Any]:
    """Return what a configuration says to a localizer besides its model options."""
    task = configuration.get("task_options", {})
    options: dict[str, Any] = {"in_channels": 1 if task.get("colour") == "gray" else 3}
    if name in ("ours", "ann"):
        options |= {"beta": configuration.get("beta", 1.0), "spike_grad": spike_grad, **neurons}
        options |= {"neurons": "relu" if name == "ann" else "spiking", "num_steps": configuration.get("num_steps", 4)}
        return options
    options["size"] = tuple(task.get("size", (176, 240)))
    if name == "decolle":
        variant = VARIANTS.get(configuration.get("model_options", {}).get("variant"), VARIANTS["paper"])
        options["constants"] = DecolleConstants(**{**variant.constants._asdict(), **neurons})
        options["step_ms"] = task.get("step_ms", 1.0)
    else:
        options |= {"beta": configuration.get("beta", 0.9), "spike_grad": spike_grad, **neurons}
    return options


def _detector_options(
    name: str, configuration: Mapping[str, Any], spike_grad: surrogate.SpikeFunction, neurons: dict[str, Any]
) -> dict[str, Any]:
    """Return what a configuration says to a detector, its model options included."""
    task, given = configuration.get("task_options", {}), dict(configuration.get("model_options", {}))
    options = {"num_classes": len(task.get("classes", CLASSES)), "picture": task.get("size", 160)}
    options |= {"in_channels": 1 if task.get("colour") == "gray" else 3, "spike_grad": spike_grad}
    options |= {"num_steps": configuration.get("num_steps", 4), "beta": configuration.get("beta", 1.0), **neurons}
    twin = require_choice("neurons", given.pop("neurons", "clamped"), TWINS) if name == "yolo-ann" else "spiking"
    return {**options, "neurons": twin, **given}


def _namer_options(
    name: str, configuration: Mapping[str, Any], spike_grad: surrogate.SpikeFunction, neurons: dict[str, Any]
) -> dict[str, Any]:
    """Return what a configuration says to a network of class and box besides its model options."""
    task = configuration.get("task_options", {})
    return {
        "num_classes": 10 if task.get("source") == "coco" else 6,
        "picture": tuple(task.get("size", (64, 64))),
        "num_steps": configuration.get("num_steps", 4),
        "neurons": "clamped" if name.endswith("-ann") else "spiking",
        "beta": configuration.get("beta", 1.0),
        "spike_grad": spike_grad,
        **neurons,
    }


def surrogate_names() -> tuple[str, ...]:
    """Return the names that ``surrogate`` may have in a configuration."""
    return ("atan", "fast_sigmoid", "sigmoid", "boxcar", "exponential")


def shipped() -> list[str]:
    """Return the names of the weights that come with spikelab."""
    folder = resources.files("spikelab.models") / "weights"
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def load(source: str | os.PathLike) -> Pretrained:
    """Return a trained network.

    Args:
        source: name of weights that come with spikelab (see ``shipped``) or a ``.safetensors`` file.
    Returns:
        The network in evaluation mode, and what its file says of it.
    Raises:
        WeightsError: if there is no such file, it is damaged, or it does not fit the network that it describes.

    Explained in chapter 07.
    """
    weights, about = read_weights(_find(source))
    model = build(about["configuration"])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit the network that its configuration describes: {error}") from error
    return Pretrained(model.eval(), about)


def start_from(model: nn.Module, source: str | os.PathLike) -> dict[str, Any]:
    """Copy into a network what fits it of a file of weights: tensors of the same name and shape.

    Args:
        model: the network, changed in place.
        source: as ``load``; the file may be of another model, target or size.
    Returns:
        What was done: ``file`` (its name), ``sha256`` of it, ``model`` and ``data`` that it was trained with, how many
        tensors the network has and how many were ``taken``.
    Raises:
        WeightsError: if the file cannot be used or holds no weights that fit.
    """
    path = _find(source)
    weights, about = read_weights(path)
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    if all(value.dim() < 2 for value in fitting.values()):  # counters and biases alone know nothing
        there = about["configuration"].get("model", "unknown")
        raise WeightsError(
            f"{source} holds no weights that fit this {type(model).__name__}: it is of the model {there!r}; "
            "give weights of the same model and channels"
        )
    model.load_state_dict(fitting, strict=False)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": about["configuration"].get("model"),
        "data": about.get("data"),
        "tensors": len(own),
        "taken": len(fitting),
    }


def save(path: str | os.PathLike, model: nn.Module, about: Mapping[str, Any], *, half: bool = False) -> Path:
    """Write a network's weights, and the configuration that made them, into one file.

    Args:
        path: the file, ending in ``.safetensors``.
        model: the network.
        about: what to say of it; needs ``"configuration"``, from which ``build`` makes the network again.
        half: store weights as float16, half the size; they are read back as float32.
    Returns:
        ``path``.
    Raises:
        WeightsError: if the suffix is another or ``about`` has no configuration; OSError if it cannot be written, and
            then what was there stays.
    """
    path = Path(path)
    _check_suffix(path)
    if "configuration" not in about:
        raise WeightsError(
            f"about must have a 'configuration' to be written to {path}, got {', '.join(about) or 'none'}"
        )
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    content = _safetensors().save(
        tensors, metadata={_KEY: json.dumps(dict(about), ensure_ascii=False, allow_nan=False)}
    )
    return write_atomically(path, content)


def read_weights(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file, float16 as float32, and what it says of them.

    Raises:
        WeightsError: if it is missing, truncated, or was not written by ``save``.
    """
    path = Path(path)
    _check_suffix(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    try:
        tensors = _safetensors().load(content)
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_KEY])
    except KeyError as error:
        raise WeightsError(f"{path} does not say which network it belongs to: export it with spikelab") from error
    except Exception as error:  # safetensors raises an exception class of its own
        raise WeightsError(f"{path} is damaged or no safetensors file ({error}): fetch or export it again") from error
    if not isinstance(about, dict) or not isinstance(about.get("configuration"), dict):
        raise WeightsError(f"{path} does not say which network it belongs to: export it with spikelab")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, about


def _find(source: str | os.PathLike) -> Path:
    if Path(source).suffix == SUFFIX or os.sep in str(source):
        return Path(source)
    file = resources.files("spikelab.models") / "weights" / f"{source}{SUFFIX}"
    if not file.is_file():
        there = ", ".join(shipped()) or "none"
        raise WeightsError(
            f"no weights called {source!r} come with spikelab (there are: {there}); or give a {SUFFIX} file"
        )
    return Path(str(file))


def _check_suffix(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise WeightsError(f"weights are {SUFFIX} files, got {path}")


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise WeightsError(f"weights need safetensors ({error}): pip install 'spikelab[train]'") from error
    return safetensors.torch
