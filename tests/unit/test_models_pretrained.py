"""Weights travel with the configuration that builds their network, and damage is named."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from spikelab.models import pretrained
from spikelab.models.pretrained import WeightsError

CONFIGURATION = {
    "model": "smlp",
    "rule": "bptt",
    "beta": 0.8,
    "surrogate": "fast_sigmoid",
    "slope": 10.0,
    "dropout": 0.1,
    "seed": 3,
    "neuron_options": {},
    "model_options": {"hidden": [12]},
}


@pytest.fixture
def network():
    return pretrained.build(CONFIGURATION)


def test_the_same_configuration_builds_the_same_network_and_another_seed_another(network):
    again, other = pretrained.build(CONFIGURATION), pretrained.build({**CONFIGURATION, "seed": 4})
    assert torch.equal(network.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(network.layers[0].weight, other.layers[0].weight)
    assert network.neurons.beta == 0.8
    assert network.neurons.spike_grad.name == "fast_sigmoid(slope=10)"
    assert pretrained.build({**CONFIGURATION, "slope": 0}).neurons.spike_grad.name == "fast_sigmoid(slope=25)"


@pytest.mark.parametrize(
    "changes",
    [{"model": "scnn", "model_options": {"hidden": [8]}}, {"rule": "slayer", "neuron_options": {"tau_ms": 20.0}}],
)
def test_a_loaded_network_answers_as_the_saved_one(changes, tmp_path):
    configuration = {**CONFIGURATION, **changes}
    model = pretrained.build(configuration).eval()
    path = pretrained.save(tmp_path / "w.safetensors", model, {"configuration": configuration, "note": "β = 0.8"})
    loaded, about = pretrained.load(path)
    assert about == {"configuration": configuration, "note": "β = 0.8"}
    assert not loaded.training
    frames = torch.bernoulli(torch.full((4, 2, 2, 34, 34), 0.1), generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(frames).membrane, model(frames).membrane)


def test_half_precision_halves_the_file_and_is_read_as_float32(network, tmp_path):
    whole = pretrained.save(tmp_path / "a.safetensors", network, {"configuration": CONFIGURATION})
    half = pretrained.save(tmp_path / "b.safetensors", network, {"configuration": CONFIGURATION}, half=True)
    assert half.stat().st_size < 0.52 * whole.stat().st_size
    weight = pretrained.load(half).model.layers[0].weight
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, network.layers[0].weight, atol=1e-3)


LOCALIZER = {"task_options": {"size": [16, 24], "colour": "gray", "step_ms": 5.0}, "num_steps": 3, "beta": 0.7}


@pytest.mark.parametrize("name", ["decolle", "bptt", "ours", "ann"])
def test_localizers_travel_too(name, tmp_path):
    channels = [4, 6, 8, 6, 4, 4] if name in ("decolle", "bptt") else [4, 6]
    configuration = {**LOCALIZER, "model": name, "model_options": {"channels": channels}}
    model = pretrained.build(configuration).eval()
    loaded, _ = pretrained.load(pretrained.save(tmp_path / "w.safetensors", model, {"configuration": configuration}))
    light = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    inputs = light if name in ("ours", "ann") else torch.stack([light] * 3)
    with torch.no_grad():
        answer = model(inputs)
        assert torch.equal(loaded(inputs).boxes, answer.boxes)
    assert answer.boxes.shape == (2, 4)
    if name == "ours":
        assert (len(answer.hidden[0]), model.beta) == (3, 0.7)
    if name == "ann":
        assert not answer.hidden


def test_what_a_configuration_says_reaches_decolle():
    options = {"variant": "authors", "channels": [4, 6, 8, 6, 4, 4], "burn_in": 7, "readout_seed": 3}
    configuration = {**LOCALIZER, "model": "decolle", "neuron_options": {"w_r": 2.0}, "model_options": options}
    constants = pretrained.build(configuration).constants
    # The authors' decays per ms, in steps of 5 ms, and a constant of one's own.
    assert constants == pytest.approx((0.97**5, 0.85**5, 0.65**5, 2.0, True))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-10], "damaged or no safetensors file"),
        (lambda content: content[:4], "damaged or no safetensors file"),
        (lambda content: b"", "damaged or no safetensors file"),
    ],
)
def test_a_damaged_file_is_named(damage, message, network, tmp_path):
    path = pretrained.save(tmp_path / "w.safetensors", network, {"configuration": CONFIGURATION})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsError, match=rf"w.safetensors is {message}"):
        pretrained.load(path)


def test_weights_of_another_program_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    for metadata in (None, {"format": "pt"}, {"spikelab": "3"}):
        save_file({"w": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(WeightsError, match="does not say which network it belongs to"):
            pretrained.load(path)


def test_weights_that_do_not_fit_their_configuration_are_refused(network, tmp_path):
    wider = {**CONFIGURATION, "model_options": {"hidden": [13]}}
    path = pretrained.save(tmp_path / "w.safetensors", network, {"configuration": wider})
    with pytest.raises(WeightsError, match="does not fit the network"):
        pretrained.load(path)


def test_a_name_that_does_not_come_with_spikelab_is_refused_with_those_that_do():
    with pytest.raises(WeightsError, match="no weights called 'nothing' come with spikelab"):
        pretrained.load("nothing")
    with pytest.raises(WeightsError, match=r"none.safetensors cannot be read: No such file"):
        pretrained.load("none.safetensors")
    with pytest.raises(WeightsError, match=r"weights are .safetensors files"):
        pretrained.load("folder/weights.pt")


def test_everything_shipped_loads_and_is_small():
    for name in pretrained.shipped():
        model, about = pretrained.load(name)
        assert set(about) >= {"configuration", "metrics", "data"}, name
        assert sum(p.numel() for p in model.parameters()) > 0
        largest = 12e6 if name.startswith("voc-") else 5e6
        assert pretrained._find(name).stat().st_size <= largest, f"{name} is larger than {largest / 1e6:g} MB"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mlp"}, "model must be one of 'scnn', 'smlp', 'decolle', 'bptt', 'ours', 'ann', .*, got 'mlp'"),
        ({"surrogate": "relu"}, "surrogate must be one of"),
        ({"model_options": {"depth": 3}}, "cannot be built with these options.*depth"),
        ({"neuron_options": {"tau": 3}}, "cannot be built with these options.*tau"),
        ({"rule": "stdp"}, "rule must be one of"),
    ],
)
def test_a_configuration_that_builds_nothing_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        pretrained.build({**CONFIGURATION, **changes})


def test_a_file_is_whole_or_not_there(network, tmp_path, monkeypatch):
    path = pretrained.save(tmp_path / "w.safetensors", network, {"configuration": CONFIGURATION})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        pretrained.save(path, network, {"configuration": {**CONFIGURATION, "seed": 9}})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.safetensors"]
    with pytest.raises(WeightsError, match="must have a 'configuration'"):
        pretrained.save(path, network, {"note": "x"})


def test_what_a_file_says_is_readable_by_any_safetensors_reader(network, tmp_path):
    path = pretrained.save(tmp_path / "w.safetensors", network, {"configuration": CONFIGURATION})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["spikelab"]) == {"configuration": CONFIGURATION}
