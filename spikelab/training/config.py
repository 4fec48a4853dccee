"""What a run is: every number that decides its outcome, in one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_non_negative,
    require_positive,
)

OPTIMISERS = ("adam", "adamw", "sgd", "adamax")
SCHEDULERS = ("none", "step", "cosine", "onecycle")
SURROGATES = ("atan", "fast_sigmoid", "sigmoid", "boxcar", "exponential")

# What may differ between a run and its resumption: it decides when the run stops or how fast it is, not where it goes.
FREE_TO_CHANGE = ("max_seconds", "threads")


class ConfigurationError(ValueError):
    """A configuration that cannot be run, or is not the one that was asked for."""


@dataclass(frozen=True)
class Configuration:
    """Everything that decides the outcome of a run.

    Attributes:
        task: name of the task, such as ``"nmnist"``.
        data: which data, in the task's words (``"auto"``, ``"real"``, ``"simulated"``, ``"synthetic"``).
        task_options: what else the task asks, such as ``{"target": "head", "size": [88, 120]}``.
        train_limit: use only the first so many training samples of a seeded order; 0 for all.
        model: name of the network, such as ``"scnn"``.
        model_options: further arguments of the network, such as ``{"hidden": [250, 100]}``.
        neuron_options: further constants of its neurons, such as ``{"tau_ms": 20}``.
        init: weights to start from, a ``.safetensors`` file or the name of some that come with spikelab: tensors of the
            same name and shape are taken, the rest is fresh; empty for all fresh.
        rule: how gradients are made, ``"bptt"``, ``"slayer"`` or ``"decolle"``.
        loss: name of the loss, in the task's words.
        loss_options: its constants, such as ``{"scale": 2}``.
        decision: how an output becomes an answer, in the task's words; empty for what fits the loss.
        num_steps: T, time steps of a sample.
        window_us: width of one step in µs of the recording.
        epochs, batch: passes over the training set; samples of one step of the optimiser, over all processes.
        eval_batch: samples of one step of an evaluation; 0 for ``batch``.
        lr: learning rate, the highest of the schedule.
        optimiser: ``"adam"``, ``"adamw"``, ``"sgd"`` or ``"adamax"``.
        betas: Adam's two decays; the first one is the momentum of ``"sgd"``.
        scheduler: ``"none"``, ``"step"`` (lr times ``lr_gamma`` every ``lr_step`` epochs), ``"cosine"`` (to zero) or
            ``"onecycle"`` (up for 30 % of the run, then down).
        grad_clip: largest norm of the gradient; 0 for no limit.
        weight_decay: L2 penalty, as the optimiser defines it.
        rate_low, rate_high, rate_weight: band of firing rates (spikes per neuron and step) that costs nothing, and the
            weight of the penalty outside; 0 for no penalty.
        surrogate, slope: name of the surrogate and its parameter; slope 0 takes the surrogate's own default.
        beta: decay per step of the neurons.
        dropout: probability of dropping an input of a dense layer.
        shift: largest shift of a training sample in pixels, each way.
        seed: of the weights, the order, the augmentation and dropout.
        amp: products of layers in bfloat16, neurons and weights in float32; faster on a GPU, and on a CPU that has
            instructions for it (AVX-512 BF16, AMX), slower on any other.
        patience: stop after so many epochs without a better validation; 0 for never.
        max_seconds: stop training after so many seconds, over all resumptions; 0 for no limit.
        threads: CPU threads of a process; 0 leaves PyTorch's choice.
    """

    task: str
    model: str
    data: str = "auto"
    task_options: Mapping[str, Any] = field(default_factory=dict)
    train_limit: int = 0
    model_options: Mapping[str, Any] = field(default_factory=dict)
    neuron_options: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    rule: str = "bptt"
    loss: str = "count"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    decision: str = ""
    num_steps: int = 10
    window_us: int = 30_000
    epochs: int = 10
    batch: int = 32
    eval_batch: int = 0
    lr: float = 1e-3
    optimiser: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    scheduler: str = "none"
    lr_step: int = 30
    lr_gamma: float = 0.1
    grad_clip: float = 0.0
    weight_decay: float = 0.0
    rate_low: float = 0.0
    rate_high: float = 1.0
    rate_weight: float = 0.0
    surrogate: str = "atan"
    slope: float = 0.0
    beta: float = 0.9
    dropout: float = 0.0
    shift: int = 0
    seed: int = 0
    amp: bool = False
    patience: int = 0
    max_seconds: float = 0.0
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("num_steps", "window_us", "epochs", "batch", "lr_step"):
            require_count(name, getattr(self, name))
        for name in ("eval_batch", "train_limit", "shift", "seed", "patience", "threads"):
            require_count(name, getattr(self, name), minimum=0)
        for name in ("grad_clip", "weight_decay", "rate_weight", "slope", "max_seconds"):
            require_non_negative(name, getattr(self, name))
        require_positive("lr", self.lr)
        require_positive("lr_gamma", self.lr_gamma)
        require_between("beta", self.beta, 0, 1)
        require_between("dropout", self.dropout, 0, 0.99)
        require_between("rate_low", self.rate_low, 0, 1, "spikes per neuron and step")
        require_between("rate_high", self.rate_high, self.rate_low, 1, "at least rate_low")
        require_choice("optimiser", self.optimiser, OPTIMISERS)
        require_choice("scheduler", self.scheduler, SCHEDULERS)
        require_choice("surrogate", self.surrogate, SURROGATES)
        if not isinstance(self.amp, bool):
            raise ConfigurationError(f"amp must be true or false, got {self.amp!r}")
        if len(self.betas) != 2:
            raise ConfigurationError(f"betas must be two numbers, got {self.betas!r}")
        for beta in self.betas:
            require_between("betas", beta, 0, 0.999999)
        # What is read back from JSON must equal what was written.
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        for name in ("task_options", "model_options", "neuron_options", "loss_options"):
            object.__setattr__(self, name, _plain(getattr(self, name)))

    @property
    def evaluation_batch(self) -> int:
        return self.eval_batch or self.batch

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON would give it back."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], source: str = "configuration") -> Configuration:
        """Return the configuration that ``as_dict`` wrote.

        Args:
            record: names and values.
            source: where it is from, for the errors.
        Raises:
            ConfigurationError: if a name is unknown or missing; ValueError if a value is not allowed.
        """
        names = {f.name for f in fields(cls)}
        unknown = sorted(set(record) - names)
        missing = [name for name in ("task", "model") if name not in record]
        if unknown or missing:
            faults = [
                f"{what} {', '.join(names)}" for what, names in (("unknown:", unknown), ("missing:", missing)) if names
            ]
            raise ConfigurationError(f"{source} does not fit this version of spikelab ({'; '.join(faults)})")
        return cls(**record)


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return a line for every value that two records do not share, those that are free to change left out."""
    lines = []
    for name in sorted(set(there) | set(here)):
        old, new = there.get(name, "absent"), here.get(name, "absent")
        if name not in FREE_TO_CHANGE and old != new:
            lines.append(f"{name}: {_shown(old)} there, {_shown(new)} here")
    return lines


def learning_rate(config: Configuration, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one step of the optimiser.

    The schedule is a function of the step and has no state of its own, so that a resumed run cannot lose it.

    Args:
        config: scheduler, lr, lr_step, lr_gamma and epochs of it.
        step: steps made before this one, over all epochs.
        steps_per_epoch: optimiser steps in an epoch.
    Returns:
        The rate. ``"onecycle"`` equals ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults.
    """
    total = max(config.epochs * steps_per_epoch, 1)
    if config.scheduler == "step":
        return config.lr * config.lr_gamma ** (step // steps_per_epoch // config.lr_step)
    if config.scheduler == "cosine":
        return config.lr * (1 + math.cos(math.pi * step / total)) / 2
    if config.scheduler == "onecycle":
        first, last = config.lr / 25, config.lr / 25e4
        top = 0.3 * total - 1
        if step <= top:
            return _half_wave(first, config.lr, step / top)
        return _half_wave(config.lr, last, (step - top) / max(total - 1 - top, 1e-9))
    return config.lr


def _half_wave(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
