"""The spiking localizer: spikes on every synapse but the first, and a twin that it tends to."""

import pytest
import torch
from torch import nn

from spikelab.models.localizer import SpikingLocalizer
from spikelab.models.localizer.spiking import point

SMALL = {"channels": (8, 12, 16), "in_channels": 1}


def localizer(seed=0, **options):
    return SpikingLocalizer(**{**SMALL, **options}, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    return torch.rand(3, 1, 44, 60, generator=torch.Generator().manual_seed(1))


def settled(model, images):
    """The network in evaluation, its normalisation having seen the pictures."""
    model.train()
    for _ in range(20):
        model(images)
    return model.eval()


def inputs_of(model, images):
    seen = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: seen.setdefault(name, []).append(given[0]))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    return seen


def test_every_synapse_but_the_first_gets_single_spikes_and_the_first_runs_once(images):
    model = settled(localizer(num_steps=4), images)
    seen = inputs_of(model, images)
    first, *others = seen
    assert first == "stem.convolution"
    assert [given.shape[0] for given in seen[first]] == [3]  # B pictures, not T times B
    assert len(others) == 2 * 3 + 2
    for name in others:
        assert [given.shape[0] for given in seen[name]] == [12], name
        assert set(seen[name][0].unique().tolist()) <= {0.0, 1.0}, name
        assert seen[name][0].any(), f"{name} never gets a spike: the test would prove nothing"


def test_hidden_spike_trains_are_those_that_the_synapses_get(images):
    model = settled(localizer(num_steps=3), images)
    seen = list(inputs_of(model, images).values())[1:]
    hidden = model(images).hidden
    assert len(hidden) == len(seen)
    for spikes, given in zip(hidden, seen, strict=True):
        assert torch.equal(spikes.flatten(0, 1), given[0])


def test_many_steps_tend_to_the_twin(images):
    twin = settled(localizer(neurons="relu"), images)
    expected = twin(images).boxes
    gaps = []
    for num_steps in (4, 32, 256):
        model = localizer(num_steps=num_steps)
        model.load_state_dict(twin.state_dict())
        gaps.append((model.eval()(images).boxes - expected).abs().max().item())
    assert gaps[2] < 0.2 * gaps[0]
    assert gaps[2] < 0.01
    assert twin(images).hidden == ()


def test_half_a_threshold_of_charge_rounds_instead_of_cutting_off():
    model = localizer(num_steps=4)
    currents = torch.linspace(0.01, 0.99, 99).expand(4, 1, 99)
    rates = model._fire(currents, []).mean(0)
    assert ((rates - currents[0]).abs() <= 0.125 + 1e-6).all()
    assert abs((rates - currents[0]).mean()) < 0.01


def test_all_weights_learn(images):
    model = localizer()
    model(images).boxes.square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any(), name


def test_a_sure_place_decides_and_its_vote_is_seen_from_itself():
    votes = torch.zeros(1, 5, 4, 8)
    votes[0, 0, 1, 6] = 50.0
    votes[0, 1:, 1, 6] = torch.tensor([-0.1, -0.2, 0.3, 0.4])
    middle = torch.tensor([6.5 / 8, 1.5 / 4])
    expected = middle.repeat(2) + torch.tensor([-0.1, -0.2, 0.3, 0.4])
    assert torch.allclose(point(votes)[0], expected, atol=1e-6)


def test_votes_that_move_move_the_box():
    votes = torch.randn(1, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    votes[:, 0] = -50.0
    votes[0, 0, 2, 2] = 0.0
    moved = votes.roll((1, 2), (2, 3))
    shift = torch.tensor([2 / 6, 1 / 6]).repeat(2)
    assert torch.allclose(point(moved), point(votes) + shift, atol=1e-5)


def test_unsure_places_are_averaged():
    votes = torch.zeros(2, 5, 3, 5)
    assert torch.allclose(point(votes), torch.full((2, 4), 0.5), atol=1e-6)


def test_the_generator_decides_the_weights(images):
    same, other = localizer(0), localizer(1)
    assert torch.equal(localizer(0).stem.convolution.weight, same.stem.convolution.weight)
    assert not torch.equal(other.stem.convolution.weight, same.stem.convolution.weight)


def test_mixed_precision_gives_numbers_in_single_precision(images):
    model = settled(localizer(), images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        boxes = model(images).boxes
    assert boxes.dtype == torch.float32
    assert (boxes - model(images).boxes).abs().max() < 0.25


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": ()}, "channels must name at least one stage"),
        ({"channels": (8, 0)}, "channels must be"),
        ({"neurons": "sigmoid"}, "neurons must be one of"),
        ({"num_steps": 0}, "num_steps must be"),
        ({"beta": 1.5}, "beta must"),
        ({"stem": 0}, "stem must be"),
    ],
)
def test_wrong_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        localizer(**options)
