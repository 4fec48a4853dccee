"""Configurations say what is wrong with them; schedules are those of PyTorch."""

import dataclasses
import json

import pytest
import torch
from training_fixtures import configuration

from spikelab.training.config import Configuration, ConfigurationError, differences, learning_rate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch": 2.5}, "batch must be a whole number"),
        ({"lr": 0.0}, "lr must be positive, got 0"),
        ({"lr": float("nan")}, "lr must be finite"),
        ({"optimiser": "adagrad"}, "optimiser must be one of 'adam'"),
        ({"scheduler": "cosin"}, "scheduler must be one of 'none', 'step', 'cosine', 'onecycle', got 'cosin'"),
        ({"surrogate": "relu"}, "surrogate must be one of"),
        ({"beta": 1.2}, r"beta must lie in \[0, 1\], got 1.2"),
        ({"rate_low": 0.5, "rate_high": 0.2}, r"rate_high must lie in \[0.5, 1\]"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"betas": (0.9, 1.0)}, "betas must lie in"),
        ({"amp": 1}, "amp must be true or false"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        configuration(**changes)


def test_a_configuration_survives_json():
    config = configuration(model_options={"hidden": (8, 4)}, betas=(0.0, 0.95))
    again = Configuration.from_dict(json.loads(json.dumps(config.as_dict())))
    assert again == config
    assert differences(again.as_dict(), config.as_dict()) == []


def test_names_that_do_not_exist_are_refused():
    record = {**configuration().as_dict(), "momentum": 0.9}
    with pytest.raises(ConfigurationError, match=r"old.json does not fit .*unknown: momentum"):
        Configuration.from_dict(record, "old.json")
    with pytest.raises(ConfigurationError, match="missing: task"):
        Configuration.from_dict({"model": "scnn"})


def test_differences_name_every_value_but_those_that_are_free():
    one = configuration(lr=0.1, threads=1, max_seconds=5.0)
    other = dataclasses.replace(one, lr=0.2, loss="membrane", threads=2, max_seconds=9.0)
    assert differences(one.as_dict(), other.as_dict()) == [
        "loss: count there, membrane here",
        "lr: 0.1 there, 0.2 here",
    ]


@pytest.mark.parametrize("name", ["none", "step", "cosine", "onecycle"])
@pytest.mark.parametrize("steps", [1, 7])
def test_schedules_equal_pytorchs(name, steps):
    config = configuration(scheduler=name, epochs=6, lr=0.3, lr_step=2, lr_gamma=0.5)
    total = config.epochs * steps
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = {
        "none": lambda: torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0),
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimiser, config.lr_step * steps, config.lr_gamma),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total),
        "onecycle": lambda: torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr, total_steps=total),
    }[name]()
    for step in range(total):
        assert learning_rate(config, step, steps) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimiser.step()
        schedule.step()


def test_a_run_of_a_single_step_has_a_rate():
    for name in ("none", "step", "cosine", "onecycle"):
        assert learning_rate(configuration(scheduler=name, epochs=1), 0, 1) > 0
