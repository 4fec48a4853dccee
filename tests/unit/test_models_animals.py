"""The capstone's networks: spikes on every synapse but the first, a twin that they tend to, class and box."""

import pytest
import torch
from torch import nn

from spikelab.models import pretrained
from spikelab.models.animals import DESIGNS, AnimalNet

SMALL = {"start": (6, 8, 10), "reference": (6, 8, 10)}
PICTURE = (33, 48)


def network(design="start", seed=0, **options):
    options = {"channels": SMALL[design], "picture": PICTURE, **options}
    return AnimalNet(design, **options, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    return torch.rand(3, 3, *PICTURE, generator=torch.Generator().manual_seed(1))


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
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    output = model(images)
    for hook in hooks:
        hook.remove()
    return seen, output


@pytest.mark.parametrize("design", DESIGNS)
def test_every_synapse_but_the_first_gets_single_spikes_and_the_first_runs_once(design, images):
    seen, output = inputs_of(settled(network(design, num_steps=4), images), images)
    first, *others = seen
    assert first == "stem.convolution"
    assert [given.shape[0] for given in seen[first]] == [3]  # B pictures, not T times B
    assert len(others) == {"start": 3, "reference": 8}[design]
    for name, spikes in zip(others, output.hidden, strict=True):
        assert [given.shape[0] for given in seen[name]] == [12], name
        assert set(seen[name][0].unique().tolist()) <= {0.0, 1.0}, name
        assert seen[name][0].any(), f"{name} never gets a spike: the test would prove nothing"
        assert torch.equal(spikes.flatten(0, 1).flatten(1), seen[name][0].flatten(1)), name


@pytest.mark.parametrize("design", DESIGNS)
def test_many_steps_tend_to_the_twin(design, images):
    twin = settled(network(design, neurons="clamped"), images)
    assert twin(images).hidden == ()
    gaps = []
    for num_steps in (4, 32, 256):
        model = network(design, seed=1, num_steps=num_steps)
        model.load_state_dict(twin.state_dict())
        found, wanted = model.eval()(images), twin(images)
        gaps.append(max((a - b).abs().max().item() for a, b in zip(found[:2], wanted[:2], strict=True)))
    assert gaps[2] < 0.2 * gaps[0]
    assert gaps[2] < 0.02


@pytest.mark.parametrize(("charge", "counted"), [(0.5, torch.round), (0.0, torch.floor)])
def test_half_a_threshold_of_charge_rounds_instead_of_cutting_off(charge, counted):
    currents = torch.linspace(0.01, 0.99, 99).expand(4, 1, 99)
    spikes = network(initial_charge=charge)._fire(currents, [])
    assert torch.equal(spikes.sum(0), counted(4 * currents[0] - 1e-4))  # at exactly the threshold there is no spike


@pytest.mark.parametrize("design", DESIGNS)
def test_fresh_networks_know_no_class_and_answer_a_box_in_the_middle(design, images):
    output = network(design, num_classes=6)(images)
    assert output.boxes.shape == (3, 4)
    assert output.classes.shape == (3, 6)
    loss = nn.functional.cross_entropy(output.classes, torch.tensor([0, 3, 5]))
    assert loss.item() == pytest.approx(1.7918, abs=0.1)  # ln 6
    middle = (output.boxes[:, :2] + output.boxes[:, 2:]) / 2
    assert (middle - 0.5).abs().max() < 0.2
    assert (output.boxes[:, 2:] > output.boxes[:, :2]).all()


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("decode", ["current_mean", "last_current", "rate"])
def test_every_decoder_teaches_every_weight(design, decode, images):
    model = network(design, decode=decode)
    output = model(images)
    (output.boxes.square().sum() + output.classes.square().sum()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_a_rate_says_one_of_t_plus_one_values(images):
    model = settled(network(decode="rate", num_steps=2), images)
    with torch.no_grad():
        model.readout.weight.mul_(30)
    values = model(images).classes.unique()
    assert set(values.tolist()) <= {-4.0, 0.0, 4.0}
    assert len(values) > 1
    assert len(network(num_steps=2)(images).classes.unique()) > 3


def test_decoders_agree_where_the_current_does_not_change(images):
    mean = settled(network(num_steps=1), images)
    last = network(num_steps=1, decode="last_current")
    last.load_state_dict(mean.state_dict())
    assert torch.equal(mean(images).boxes, last.eval()(images).boxes)


def test_the_reference_takes_other_pictures_and_the_start_says_that_it_does_not():
    other = torch.rand(2, 3, 64, 40)
    assert network("reference")(other).boxes.shape == (2, 4)
    with pytest.raises(ValueError, match=r"images must be 33 x 48, .* got 64 x 40"):
        network()(other)


def test_designs_are_within_the_budget_of_the_chapter():
    parameters = {name: sum(weight.numel() for weight in AnimalNet(name).parameters()) for name in DESIGNS}
    assert parameters["start"] == 181_410
    assert 1_000_000 < parameters["reference"] <= 3_000_000


@pytest.mark.parametrize("model", ["animals", "animals-ann"])
@pytest.mark.parametrize("source", ["voc", "coco"])
def test_weights_bring_their_configuration(model, source, tmp_path, images):
    task = {"size": list(PICTURE), "source": source}
    options = {"design": "start", "channels": [6, 8], "decode": "last_current"}
    about = {"model": model, "num_steps": 3, "beta": 0.9, "seed": 5, "model_options": options, "task_options": task}
    built = pretrained.build(about).eval()
    path = pretrained.save(tmp_path / "w.safetensors", built, {"configuration": about})
    found = pretrained.load(path).model
    assert found.num_classes == (10 if source == "coco" else 6)
    assert (found.num_steps, found.beta, found.decode) == (3, 0.9, "last_current")
    assert found.neurons == ("clamped" if model == "animals-ann" else "spiking")
    assert torch.equal(found(images).boxes, built(images).boxes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"design": "large"}, "design must be one of 'start', 'reference', got 'large'"),
        ({"neurons": "relu"}, "neurons must be one of"),
        ({"decode": "first_spike"}, "decode must be one of"),
        ({"channels": ()}, "channels must name at least one stage"),
        ({"channels": (4, 0)}, "channels must be at least 1, got 0"),
        ({"blocks": 1}, "blocks are for the design 'reference'"),
        ({"beta": 1.5}, "beta must lie in"),
        ({"initial_charge": -0.1}, "initial_charge must lie in"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"picture": (0, 64)}, "picture must be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        AnimalNet(**{"design": "start", **options})
