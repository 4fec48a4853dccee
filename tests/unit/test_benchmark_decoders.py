"""The readings that chapter 12 compares: what each makes of the same spikes, and the loss that squares."""

import copy
import math

import pytest
import torch

from benchmarks.decoders import (
    ANCHOR,
    CLASSES,
    LOSS,
    VARIANTS,
    WIDE,
    DigitDetector,
    Variant,
    clamp_with_tails,
    said_by_rate,
    what_differs,
    what_is_minimised,
)
from spikelab.detection import Objects, head_layout, yolo_loss


def spikes(steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(steps, 2, 64, 7, 7, generator=generator) < 0.3).float()


def reading(variant: Variant, train: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    return DigitDetector(variant).read(train).detach()


def test_current_mean_is_the_average_of_the_currents_of_all_steps():
    train = spikes(4)
    torch.manual_seed(1)
    head = DigitDetector(VARIANTS["mean-4"]).head
    each = torch.stack([head(step) for step in train])
    assert torch.allclose(reading(VARIANTS["mean-4"], train), each.mean(0), atol=1e-5)
    assert torch.allclose(reading(VARIANTS["sum-4"], train), each.sum(0), atol=1e-4)
    assert torch.allclose(reading(VARIANTS["last-4"], train), each[-1], atol=1e-5)
    decayed = sum(0.9 ** (3 - t) * current for t, current in enumerate(each))
    assert torch.allclose(reading(VARIANTS["membrane-4"], train), decayed, atol=1e-4)


@pytest.mark.parametrize("name", ["rate-raw-6", "rate-wide-6", "levels-raw-6", "levels-wide-6"])
def test_a_rate_of_six_steps_says_seven_values_of_its_range(name):
    low, high = VARIANTS[name].rate_range
    said = reading(VARIANTS[name], spikes(6))
    allowed = low + (high - low) * torch.arange(7) / 6
    assert (said.flatten()[:, None] - allowed).abs().amin(1).max() < 1e-5


def test_rounding_to_levels_is_at_most_half_a_level_off_and_lets_the_gradient_through():
    wanted = torch.linspace(-4, 4, 1001)
    assert (said_by_rate(wanted, 6, WIDE) - wanted).abs().max() <= 8 / 6 / 2 + 1e-5
    model, plain = DigitDetector(VARIANTS["levels-wide-6"]), DigitDetector(VARIANTS["mean-6"])
    plain.load_state_dict(model.state_dict())
    for one in (model, plain):
        one.read(spikes(6)).sum().backward()
    assert torch.equal(model.head.weight.grad, plain.head.weight.grad)


def test_all_variants_begin_with_the_same_weights_but_for_biases_out_of_a_rates_range():
    images, first = torch.rand(2, 1, 56, 56), None
    for variant in VARIANTS.values():
        torch.manual_seed(3)
        model = DigitDetector(variant)
        first = copy.deepcopy(model.state_dict()) if first is None else first
        differ = [name for name, weight in model.state_dict().items() if not torch.equal(weight, first[name])]
        assert differ == (["head.bias"] if variant.decode in ("rate", "levels") else [])
        assert model(images).shape == (2, 15, 7, 7)


def test_tails_change_the_clamps_gradient_only_where_it_has_none():
    currents = torch.linspace(-3, 4, 1401).requires_grad_()
    gradients = {}
    for name, twin in {"clamped": lambda x: x.clamp(0, 1), "tails": clamp_with_tails}.items():
        said = twin(currents)
        assert torch.equal(said, currents.detach().clamp(0, 1))
        (gradients[name],) = torch.autograd.grad(said.sum(), currents)
    within = (currents >= 0) & (currents <= 1)
    assert torch.equal(gradients["tails"][within], gradients["clamped"][within])
    assert not gradients["clamped"][~within].any()
    beyond = torch.stack([-currents, currents - 1]).amax(0)[~within]
    assert torch.allclose(gradients["tails"][~within], 1 / (1 + (math.pi * beyond) ** 2), atol=1e-6)


def test_a_file_is_gone_on_with_after_a_variant_was_added_but_not_after_one_was_changed():
    about = {"seeds": [0], "variants": {"old": {"num_steps": 4}, "new": {"num_steps": 6}}}
    assert what_differs({"seeds": [0], "variants": {"old": {"num_steps": 4}}}, about) is None
    assert what_differs({"seeds": [0], "variants": {"old": {"num_steps": 5}}}, about) == "variants"
    assert what_differs({"seeds": [0], "variants": {"gone": {"num_steps": 4}}}, about) == "variants"
    assert what_differs({"seeds": [0]}, about) == "variants"
    assert what_differs({"seeds": [0, 1], "variants": about["variants"]}, about) == "seeds"


def test_the_squared_loss_has_the_public_codes_gradient():
    layout = head_layout(torch.tensor([ANCHOR]), len(CLASSES), strides=(8,))
    raw = torch.randn(2, 15, 7, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    objects = [Objects(torch.tensor([[0.2, 0.3, 0.6, 0.7]]), torch.tensor([4]))] * 2
    box, objectness, classes = (yolo_loss([raw], objects, layout, LOSS)[i] for i in (1, 2, 3))
    weights = LOSS.weights
    ours = torch.autograd.grad(what_is_minimised(yolo_loss([raw], objects, layout, LOSS), True), raw)[0]
    parts = [part / weight for part, weight in ((objectness, weights.objectness), (classes, weights.classes))]
    for part, weight in zip(parts, (weights.objectness, weights.classes), strict=True):
        part *= part.clone() * weight  # the line of the public code
    theirs = torch.autograd.grad(box + sum(parts), raw)[0]
    assert torch.allclose(ours, theirs, atol=1e-6)
