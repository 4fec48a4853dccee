"""Argument checks: what passes comes back, what fails is named with its value and what is allowed."""

import math

import pytest
import torch

from spikelab import validation


@pytest.mark.parametrize("value", [2, 2.5, "2.5", torch.tensor(2.5), torch.tensor([2.5])])
def test_positive_number_comes_back_as_float(value):
    number = validation.require_positive("tau_ms", value)
    assert isinstance(number, float)
    assert number == float(value)


def test_the_edges_of_what_is_allowed_are_allowed():
    assert validation.require_non_negative("t_ref_ms", 0) == 0.0
    assert validation.require_between("beta", 0, 0, 1) == 0.0
    assert validation.require_between("beta", 1, 0, 1) == 1.0
    assert validation.require_count("num_steps", 1) == 1
    assert validation.require_count("refractory_steps", 0, minimum=0) == 0
    ends = torch.tensor([0.0, 1.0])
    assert validation.require_unit_interval("x", ends) is ends
    assert validation.require_unit_interval("x", torch.zeros(0)).numel() == 0


def test_accepted_values_are_returned_unchanged():
    tensor = torch.zeros(2, 3)
    assert validation.require_tensor("current", tensor, min_dim=2) is tensor
    assert validation.require_shape("state", tensor, (2, 3)) is tensor
    assert validation.require_choice("reset", "zero", ("subtract", "zero")) == "zero"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: validation.require_positive("tau_ms", 0, "ms"), "tau_ms must be positive (in ms), got 0"),
        (lambda: validation.require_positive("tau_ms", -3.5), "tau_ms must be positive, got -3.5"),
        (lambda: validation.require_positive("tau_ms", math.nan), "tau_ms must be finite, got nan"),
        (lambda: validation.require_positive("tau_ms", math.inf), "tau_ms must be finite, got inf"),
        (lambda: validation.require_positive("tau_ms", "fast"), "tau_ms must be a number, got 'fast'"),
        (lambda: validation.require_positive("tau_ms", None), "tau_ms must be a number, got None"),
        (
            lambda: validation.require_positive("tau_ms", torch.ones(2, 3)),
            "tau_ms must be a single number, got a tensor of shape (2, 3)",
        ),
        (
            lambda: validation.require_non_negative("t_ref_ms", -1, "ms"),
            "t_ref_ms must be zero or more (in ms), got -1",
        ),
        (
            lambda: validation.require_between("beta", 1.2, 0, 1, "a decay per step"),
            "beta must lie in [0, 1], got 1.2 (a decay per step)",
        ),
        (lambda: validation.require_between("beta", -0.1, 0, 1), "beta must lie in [0, 1], got -0.1"),
        (lambda: validation.require_count("num_steps", 0), "num_steps must be at least 1, got 0"),
        (
            lambda: validation.require_count("num_steps", 2.0),
            "num_steps must be a whole number of at least 1, got 2.0",
        ),
        (
            lambda: validation.require_count("num_steps", True),
            "num_steps must be a whole number of at least 1, got True",
        ),
        (
            lambda: validation.require_choice("reset", "soft", ("subtract", "zero")),
            "reset must be one of 'subtract', 'zero', got 'soft'",
        ),
        (
            lambda: validation.require_tensor("current", [1.0], layout="[T, B]"),
            "current must be a torch.Tensor [T, B], got list",
        ),
        (
            lambda: validation.require_tensor("current", torch.tensor([1, 2])),
            "current must hold floating-point numbers, got torch.int64 (use current.float())",
        ),
        (
            lambda: validation.require_tensor("current", torch.zeros(3), min_dim=2, layout="[T, B]"),
            "current must have at least 2 axes [T, B], got shape (3,)",
        ),
        (
            lambda: validation.require_tensor("current", torch.tensor([0.0, math.nan, -math.inf])),
            "current must be finite, but 2 of its 3 values are NaN or infinite",
        ),
        (
            lambda: validation.require_unit_interval("x", torch.tensor([-0.5, 1.5]), "grey values"),
            "x must lie in [0, 1], got values from -0.5 to 1.5 (grey values)",
        ),
        (
            lambda: validation.require_shape("state", torch.zeros(2), (3,), "one step of current"),
            "state must have shape (3,) (one step of current), got (2,)",
        ),
    ],
)
def test_error_names_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 -- the message is compared in full below
        call()
    assert str(error.value) == message
