"""Conversion: staircases worked by hand, folded and normalised networks that stay what they were, rates that arrive."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikelab.energy import count_operations
from spikelab.models.conversion import (
    Add,
    Concat,
    ConvertedNetwork,
    LayerGraph,
    activation_scales,
    convert,
    fold_batch_norm,
    fold_network,
    if_rate,
    normalize,
    signed_if,
    signed_if_step,
)
from spikelab.neurons import LIFState, integrate_and_fire


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def trained(model, seed=0):
    """A network as if trained: weights of sensible size, batch normalisations that have seen something."""
    source = generator(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.copy_(torch.randn(module.weight.shape, generator=source) * (2 / fan_in) ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=source))
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                for values, low, high in (
                    (module.weight, 0.3, 2.0),
                    (module.bias, -0.3, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.2, 2.0),
                ):
                    values.copy_(low + (high - low) * torch.rand(values.shape, generator=source))
    return model.eval()


def conv(before, after, kernel=3, activation=None, **options):
    layers = [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False, **options), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, activation or nn.ReLU(inplace=True))


def chain(activation=nn.ReLU):
    return trained(
        nn.Sequential(
            *conv(3, 8, activation=activation()),
            nn.MaxPool2d(2),
            *conv(8, 12, activation=activation()),
            nn.Dropout(0.5),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(12 * 3 * 3, 10),
            nn.BatchNorm1d(10),
            activation(),
            nn.Linear(10, 4),
        )
    )


class Heads(NamedTuple):
    coarse: torch.Tensor
    fine: torch.Tensor


class TinyYolo(nn.Module):
    """Two heads, a route, an upsampling and a concatenation; leaky as the original."""

    def __init__(self, activation=lambda: nn.LeakyReLU(0.1, inplace=True)):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, activation=activation()), nn.MaxPool2d(2))
        self.stage = conv(8, 12, activation=activation())
        self.down = nn.Sequential(nn.MaxPool2d(2), conv(12, 16, activation=activation()))
        self.neck = conv(16, 8, 1, activation=activation())
        self.coarse = nn.Conv2d(8, 6, 1)
        self.lateral = nn.Sequential(conv(8, 4, 1, activation=activation()), nn.Upsample(scale_factor=2))
        self.merge = conv(16, 8, activation=activation())
        self.fine = nn.Conv2d(8, 6, 1)

    def forward(self, images):
        route = self.stage(self.stem(images))
        neck = self.neck(self.down(route))
        merged = self.merge(torch.cat([self.lateral(neck), route], dim=1))
        return Heads(self.coarse(neck), self.fine(merged))


class ResNetBlock(nn.Module):
    """The shortcut joins the current, before the ReLU."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 6)
        self.inner = conv(6, 6)
        self.outer = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, images):
        signal = self.stem(images)
        return self.head(F.relu(self.outer(self.inner(signal)) + signal))


class DarknetBlocks(nn.Module):
    """The shortcut joins the spikes, after the ReLU; twice."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 6)
        self.blocks = nn.ModuleList(nn.Sequential(conv(6, 4, 1), conv(4, 6)) for _ in range(2))
        self.add = Add()
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, images):
        signal = self.stem(images)
        for block in self.blocks:
            signal = self.add(signal, block(signal))
        return self.head(signal)


class Oddities(nn.Module):
    """One module in two places, a depthwise and a strided convolution, two routes flattened and joined."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.again = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.activation = nn.ReLU()
        self.small = nn.Conv2d(6, 4, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.concat = Concat()
        self.hidden = nn.Linear(6 * 4 + 4 * 36, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        once = self.activation(self.first(images))
        twice = self.activation(self.again(once))
        small = F.leaky_relu(self.small(self.activation(self.again(twice))), 0.25)
        joined = self.concat(self.pool(twice).flatten(1), torch.flatten(small, 1))
        hidden = self.hidden(joined).relu()
        return {"class": self.head(hidden + self.hidden(joined)), "hidden": hidden}


NETWORKS = {
    "chain": chain,
    "leaky chain": lambda: chain(lambda: nn.LeakyReLU(0.1)),
    "tiny yolo": lambda: trained(TinyYolo()),
    "residual currents": lambda: trained(ResNetBlock()),
    "residual spikes": lambda: trained(DarknetBlocks()),
    "oddities": lambda: trained(Oddities()),
}


def flat(output):
    if isinstance(output, torch.Tensor):
        return output.flatten()
    return torch.cat([flat(value) for value in (output.values() if isinstance(output, dict) else output)])


# The neuron


def test_rates_are_the_staircase_of_the_worked_example():
    current = torch.tensor([0.31, 0.62, 1.7, -0.4])
    assert torch.allclose(if_rate(current, 10), torch.tensor([0.3, 0.6, 1.0, 0.0]))
    assert torch.allclose(if_rate(current, 10, threshold=2.0), torch.tensor([0.1, 0.3, 0.8, 0.0]))


@pytest.mark.parametrize("charge", [0.0, 0.5])
@pytest.mark.parametrize("num_steps", [1, 7, 16])
def test_simulated_neuron_climbs_the_closed_form_staircase(num_steps, charge):
    current = 3 * pictures(500, seed=num_steps).double() - 1
    spikes, membrane = signed_if(current.expand(num_steps, -1), initial_charge=charge)
    assert torch.equal(spikes.mean(0), if_rate(current, num_steps, initial_charge=charge))
    assert torch.allclose(membrane, charge + num_steps * current - spikes.sum(0))


def test_initial_charge_turns_rounding_down_into_rounding():
    current = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    down = (current - if_rate(current, 16)).abs()
    round_ = (current - if_rate(current, 16, initial_charge=0.5)).abs()
    assert down.max() == pytest.approx(1 / 16, abs=1e-3)
    assert down.mean() == pytest.approx(1 / 32, abs=1e-3)
    assert round_.max() == pytest.approx(1 / 32, abs=1e-3)
    assert round_.mean() == pytest.approx(1 / 64, abs=1e-3)


def test_hard_reset_has_one_rate_for_all_currents_above_one_half():
    current = torch.tensor([0.51, 0.6, 0.75, 0.9, 0.99]).expand(1000, -1)
    spikes, _ = signed_if(current, reset="zero")
    assert torch.allclose(spikes.mean(0), torch.full((5,), 0.5), atol=1e-3)


def test_plain_neuron_is_the_one_of_chapter_one():
    current = torch.randn(50, 40, generator=generator())
    spikes, _ = signed_if(current, initial_charge=0.5, threshold=1.5)
    start = LIFState(torch.full((40,), 0.5), torch.zeros(40, dtype=torch.int32))
    assert torch.equal(spikes, integrate_and_fire(current, threshold=1.5, state=start).spikes)


def test_order_of_the_input_counts_though_its_mean_is_zero():
    current = torch.tensor([1.0] * 4 + [-1.0] * 4)
    assert signed_if(current)[0].sum() == 3
    assert signed_if(current, initial_charge=0.5)[0].sum() == 4


def test_signed_neuron_worked_for_a_thousand_steps():
    spikes, _ = signed_if(torch.tensor([0.5, -0.5, 0.9, -1.0], dtype=torch.float64).expand(1000, -1), slope=0.1)
    assert spikes.sum(0).tolist() == pytest.approx([500, -50, 900, -100], abs=1)


@pytest.mark.parametrize("slope", [0.05, 0.1, 0.3, 1.0])
def test_signed_neuron_has_the_rate_of_a_leaky_relu(slope):
    current = 2 * pictures(200, seed=3).double() - 1
    for num_steps in (10, 100, 400):
        spikes, _ = signed_if(current.expand(num_steps, -1), slope=slope)
        error = (spikes.mean(0) - F.leaky_relu(current, slope)).abs()
        assert error.max() <= 1 / num_steps + 1e-4
    assert set(spikes.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_a_sequence_can_be_cut_in_two():
    current = torch.randn(30, 5, generator=generator())
    whole, end = signed_if(current, slope=0.2, initial_charge=0.5)
    first, membrane = signed_if(current[:11], slope=0.2, initial_charge=0.5)
    second, membrane = signed_if(current[11:], slope=0.2, membrane=membrane)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(membrane, end)
    step, _ = signed_if_step(current[0], torch.full((5,), 0.5), slope=0.2)
    assert torch.equal(step, whole[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"slope": -0.1}, "slope"),
        ({"slope": 1.5}, "slope"),
        ({"threshold": 0.0}, "threshold"),
        ({"reset": "hard"}, "reset"),
        ({"initial_charge": 1.5}, "initial_charge"),
        ({"membrane": torch.zeros(3)}, "membrane"),
    ],
)
def test_impossible_neurons_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        signed_if(torch.zeros(4, 2), **options)
    with pytest.raises(ValueError, match="at least one time step"):
        signed_if(torch.zeros(0, 2))


# Folding


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folded_layers_equal_layer_and_norm(bias, affine):
    for layer, norm, inputs in (
        (nn.Conv2d(4, 6, 3, groups=2, bias=bias), nn.BatchNorm2d(6, affine=affine), pictures(2, 4, 7, 7)),
        (nn.Linear(9, 6, bias=bias), nn.BatchNorm1d(6, affine=affine), pictures(5, 9)),
    ):
        if not affine:
            norm.running_mean.uniform_(-1, 1, generator=generator()), norm.running_var.uniform_(0.1, 2)
        pair = (nn.Sequential(layer, norm) if not affine else trained(nn.Sequential(layer, norm))).eval()
        before = [value.clone() for value in layer.parameters()]
        assert torch.allclose(fold_batch_norm(layer, norm)(inputs), pair(inputs), atol=1e-5)
        assert all(torch.equal(value, was) for value, was in zip(layer.parameters(), before, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_network_equals_the_network(name):
    model, images = NETWORKS[name](), pictures(3, 3, 12, 12)
    graph = fold_network(model.train())
    assert model.training
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.Dropout) for layer in graph.modules())
    wanted, found = model.eval()(images), graph(images)
    assert type(found) is type(wanted)
    size = flat(wanted).abs().max()
    assert (flat(found) - flat(wanted)).abs().max() < 1e-5 * size
    assert (flat(fold_network(graph)(images)) - flat(wanted)).abs().max() < 1e-5 * size


class Branching(nn.Module):
    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images):
        return self.function(self, images)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()), r"_1 \(SiLU\) cannot be converted.*LeakyReLU"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "must follow a Conv2d or Linear.*follows _1"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), "cannot be folded"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), "running statistics"),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear")), "nearest"),
        (nn.Sequential(nn.Flatten(0)), "axis 1"),
        (nn.Sequential(nn.LeakyReLU(-0.2)), "slope"),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), "ConvTranspose2d"),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "indices"),
        (Branching(lambda net, x: x * 2), "calls mul"),
        (Branching(lambda net, x: x + 1), "outputs of its layers"),
        (Branching(lambda net, x: torch.cat([x, x], 2)), "calls cat"),
        (Branching(lambda net, x: x if x.sum() > 0 else -x), "cannot be followed"),
        (
            Branching(
                lambda net, x: (lambda y: net.norm(y) + y)(net.conv(x)), conv=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3)
            ),
            "nothing else uses",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(model, says):
    with pytest.raises(ValueError, match=says):
        fold_network(model)


def test_layers_that_overwrite_their_input_no_longer_do():
    images = pictures(2, 3, 4, 4) - 0.5
    before = images.clone()
    graph = fold_network(nn.Sequential(nn.ReLU(inplace=True)))
    assert torch.equal(graph(images), before.clamp(min=0))
    assert torch.equal(images, before)
    shared = Branching(lambda net, x: net.relu(x) + x, relu=nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match="overwrites what others read"):
        fold_network(shared)


def test_two_inputs_and_no_network_are_refused():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b

    with pytest.raises(ValueError, match="one tensor"):
        fold_network(Two())
    with pytest.raises(ValueError, match=r"torch\.nn\.Module"):
        fold_network(lambda images: images)
    assert isinstance(fold_network(nn.Linear(3, 2)), LayerGraph)


# Scales


def ranges(values, **options):
    """Scales of a layer that hands on its inputs, in batches of an odd size."""
    graph = fold_network(nn.Sequential(nn.ReLU()))
    return activation_scales(graph, values, batch_size=3, **options)["_0"]


@pytest.mark.parametrize("percentile", [0, 50, 99, 99.9, 100])
def test_scales_are_the_percentiles_of_all_values(percentile):
    values = pictures(10, 4, 6, 5) * torch.tensor([1.0, 5.0, 0.2, 3.0])[:, None, None] + 0.1
    wanted = values.transpose(0, 1).flatten(1).quantile(percentile / 100, dim=1)
    assert torch.allclose(ranges(values, percentile=percentile), wanted, rtol=1e-5)
    wanted = values.flatten().quantile(percentile / 100)
    assert torch.allclose(ranges(values, percentile=percentile, per="layer"), wanted.expand(4), rtol=1e-5)


def test_one_outlier_makes_the_maximum_and_not_the_percentile():
    values = pictures(50, 3, 8, 8) * torch.tensor([2.0, 5.0, 1.0])[:, None, None]
    values[7, 1, 2, 3] = 900.0
    assert ranges(values, percentile=100)[1] == 900
    assert torch.allclose(ranges(values), torch.tensor([2.0, 5.0, 1.0]), rtol=0.05)


def test_silent_channels_take_the_scale_of_their_layer_and_rare_ones_their_maximum():
    values = pictures(20, 4, 8, 8)
    values[:, 1] = -1.0
    values[:, 2] = 0.0
    values[3, 2, 0, 0] = 0.3
    found = ranges(values, percentile=99)
    assert found[1] == found.max()
    assert found[2] == pytest.approx(0.3)
    for per in ("channel", "layer"):
        assert torch.equal(ranges(-values.abs(), per=per), torch.ones(4))


def test_leaky_scales_look_at_size_and_not_at_sign():
    graph = fold_network(nn.Sequential(nn.LeakyReLU(0.1)))
    values = -pictures(20, 2, 8, 8)
    assert torch.allclose(activation_scales(graph, values, percentile=100)["_0"], 0.1 * torch.ones(2), rtol=0.01)


def test_five_fold_channel_silences_the_others_layer_wise():
    values = pictures(20, 4, 8, 8) * torch.tensor([1.0, 1.0, 5.0, 1.0])[:, None, None]
    assert (ranges(values, per="layer", percentile=100) / ranges(values, percentile=100))[0] == pytest.approx(5, 0.01)


@pytest.mark.parametrize("options", [{"per": "image"}, {"percentile": 101}, {"batch_size": 0}])
def test_impossible_calibrations_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        activation_scales(fold_network(nn.ReLU()), pictures(3, 2), **options)
    with pytest.raises(ValueError, match="at least one picture"):
        activation_scales(fold_network(nn.ReLU()), torch.zeros(0, 2))


def test_weights_of_a_pair_of_layers_worked_by_hand():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        for layer, weight, bias in (
            (model[0], [[2.0], [4.0]], [1.0, 0.0]),
            (model[2], [[3.0, 5.0]], [2.0]),
            (model[4], [[7.0]], [1.0]),
        ):
            layer.weight.copy_(torch.tensor(weight)), layer.bias.copy_(torch.tensor(bias))
    scales = {"_1": torch.tensor([2.0, 4.0]), "_3": torch.tensor([10.0])}
    layers = normalize(fold_network(model), scales, torch.ones(1, 1)).layers
    assert layers["_0"].weight.tolist() == [[1.0], [1.0]]
    assert layers["_0"].bias.tolist() == [0.5, 0.0]
    assert torch.allclose(layers["_2"].weight, torch.tensor([[0.6, 2.0]]))
    assert layers["_2"].bias.item() == pytest.approx(0.2)
    assert layers["_4"].weight.item() == 70.0
    assert layers["_4"].bias.item() == 1.0


@pytest.mark.parametrize("per", ["channel", "layer"])
@pytest.mark.parametrize("name", NETWORKS)
def test_normalised_network_is_the_same_function_with_activations_of_at_most_one(name, per):
    model, images = NETWORKS[name](), pictures(6, 3, 12, 12)
    graph = fold_network(model)
    scales = activation_scales(graph, images, per=per, percentile=100)
    network = normalize(graph, scales, images[:1])
    assert (flat(network(images)) - flat(model(images))).abs().max() < 1e-4
    values, wanted = network.activations(images), graph.activations(images)
    for neuron in network.neurons:
        scale = network.scales[neuron].reshape(-1, *[1] * (values[neuron].dim() - 2))
        assert values[neuron].abs().max() <= 1 + 1e-4
        assert torch.allclose(values[neuron] * scale, wanted[neuron], atol=1e-4)


def test_missing_wrong_and_dead_scales_are_refused():
    graph = fold_network(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    for scales, says in (
        ({}, "_1 is missing"),
        ({"_1": torch.ones(2)}, "one for each channel"),
        ({"_1": torch.tensor([1.0, 0.0, 1.0])}, "positive"),
    ):
        with pytest.raises(ValueError, match=says):
            normalize(graph, scales, torch.ones(1, 2))
    done = normalize(graph, {"_1": torch.ones(3)}, torch.ones(1, 2))
    with pytest.raises(ValueError, match="already"):
        normalize(done, {"_1": torch.ones(3)}, torch.ones(1, 2))
    with pytest.raises(ValueError, match="normalize"):
        ConvertedNetwork(graph)


# The network in spikes


@pytest.mark.parametrize("name", NETWORKS)
def test_output_approaches_that_of_the_network(name):
    model, images = NETWORKS[name](), pictures(2, 3, 12, 12)
    wanted = flat(model(images))
    result = convert(model, images, percentile=100)(images, 256, report=(4, 32, 256))
    errors = [float((flat(output) - wanted).abs().mean() / wanted.abs().mean()) for output in result.outputs]
    assert errors[0] > errors[1] > errors[2], errors
    assert errors[2] < 0.05, errors
    assert type(result.output) is type(model(images))


@pytest.mark.parametrize("name", ["chain", "tiny yolo", "residual spikes"])
def test_counts_of_every_neuron_approach_its_activation(name):
    model, images = NETWORKS[name](), pictures(2, 3, 12, 12)
    network = convert(model, images, percentile=100)
    wanted = network.graph.activations(images)
    errors = {}
    for num_steps in (16, 256):
        counts = network(images, num_steps).counts
        assert set(counts) == set(network.graph.neurons)
        errors[num_steps] = max(float((counts[n] / num_steps - wanted[n]).abs().mean()) for n in counts)
    assert errors[256] < errors[16] / 3, errors
    assert errors[256] < 0.02, errors


def test_one_layer_is_exact_to_half_a_step():
    model, images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), pictures(3, 1, 9, 9)
    result = convert(model, images, percentile=100)(images, 16)
    scale = convert(model, images, percentile=100).graph.scales["_1"][:, None, None]
    assert ((result.output - model(images)) / scale).abs().max() <= 0.5 / 16 + 1e-5


def test_reports_in_one_pass_equal_runs_of_their_own():
    model, images = NETWORKS["tiny yolo"](), pictures(2, 3, 12, 12)
    network = convert(model, images)
    result = network(images, 20, report=[1, 7, 20])
    for steps, output, spikes in zip(result.steps, result.outputs, result.spikes, strict=True):
        alone = network(images, steps)
        assert torch.allclose(flat(alone.output), flat(output), atol=1e-6)
        assert alone.spikes[0] == spikes
    assert network(images, 20, report=[7]).steps == (7,)


def test_spikes_are_counted_for_a_picture():
    images = pictures(5, 3, 12, 12)
    result = convert(chain(lambda: nn.LeakyReLU(0.3)), images)(images, 30)
    assert result.neurons == {"_2": 8 * 144, "_6": 12 * 36, "_12": 10}
    for name, count in result.counts.items():
        assert result.spikes[0][name] >= float(count.abs().sum()) / 5 - 1e-6
        assert result.rates[name] == pytest.approx(result.spikes[0][name] / (30 * result.neurons[name]))
        assert 0 < result.rates[name] <= 1
    assert result.spikes[0]["_12"] > float(result.counts["_12"].sum()) / 5, "spikes of sign -1 count as spikes"


def test_weights_meet_whole_spikes_and_the_first_layer_works_once():
    for name in ("tiny yolo", "residual currents", "residual spikes"):
        images = pictures(2, 3, 12, 12)
        layers = count_operations(convert(NETWORKS[name](), images), images, 10).layers
        macs = [layer.macs for layer in layers]
        assert not any(macs[1:]), name
        once = count_operations(fold_network(NETWORKS[name]()), images).layers[0]
        assert macs[0] == once.macs
        assert all(layer.acs > 0 for layer in layers[1:])


def test_added_spikes_have_one_scale_and_go_above_one():
    images = pictures(2, 3, 12, 12)
    graph = convert(NETWORKS["residual spikes"](), images).graph
    meeting = [graph.scales[name] for name in graph.neurons if name.startswith("stem") or name.endswith("1_2")]
    assert len(meeting) == 3
    assert all(torch.equal(scale, meeting[0]) for scale in meeting)
    assert not any("scaled" in name for name in graph.layers)


def test_max_pool_counts_as_much_as_its_busiest_input_at_every_step():
    model, images = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), pictures(2, 3, 8, 8)
    network = convert(model, images, percentile=100)
    spikes, _ = signed_if(
        (images / network.graph.scales["_0"][:, None, None]).expand(25, -1, -1, -1, -1), initial_charge=0.5
    )
    scale = network.graph.scales["_0"][:, None, None]
    result = network(images, 25, report=range(1, 26))
    for step, output in zip(result.steps, result.outputs, strict=True):
        assert torch.allclose(output, F.max_pool2d(spikes[:step].sum(0), 2) / step * scale, atol=1e-5)


def test_max_pool_by_or_is_too_large():
    model, images = chain(), pictures(2, 3, 12, 12)
    wanted = model(images)
    error = {
        kind: float((convert(model, images, max_pool=kind)(images, 128).output - wanted).abs().mean())
        for kind in ("count", "or")
    }
    assert error["or"] > 5 * error["count"], error


def test_signed_pools_and_negative_numbers_arrive():
    model = nn.Sequential(nn.LeakyReLU(0.5), nn.MaxPool2d(2))
    images = -pictures(2, 1, 4, 4)
    output = convert(model, images, percentile=100)(images, 500).output
    assert torch.allclose(output, model(images), atol=0.01)
    plain = convert(model, images, percentile=100, signed=False)(images, 500).output
    assert not plain.any()


def test_hard_reset_never_arrives():
    model, images = chain(), pictures(2, 3, 12, 12)
    wanted = model(images)
    error = {
        reset: float((convert(model, images, reset=reset)(images, 128).output - wanted).abs().mean())
        for reset in ("subtract", "zero")
    }
    assert error["zero"] > 3 * error["subtract"], error


def deep():
    layers = [layer for _ in range(6) for layer in conv(6, 6)]
    return trained(nn.Sequential(*conv(1, 6), *layers, nn.Flatten(), nn.Linear(6 * 64, 5)))


def test_initial_charge_saves_steps_in_a_deep_network():
    model, images = deep(), pictures(8, 1, 8, 8)
    wanted = model(images)

    def error(num_steps, charge):
        output = convert(model, images, initial_charge=charge)(images, num_steps).output
        return float((output - wanted).abs().mean() / wanted.std())

    assert error(16, 0.5) < 0.5 * error(16, 0.0)
    assert error(16, 0.5) < error(32, 0.0)


def test_channel_scales_save_steps_where_channels_differ():
    model, images = deep(), pictures(8, 1, 8, 8)
    with torch.no_grad():  # the same function, with channels of very different size
        for index in (0, 3, 6, 9, 12, 15):
            size = torch.tensor([1.0, 0.1, 0.03, 0.3, 0.01, 1.0])
            model[index + 1].weight.mul_(size), model[index + 1].bias.mul_(size)
            model[index + 3].weight.div_(size[:, None, None])
    wanted = model(images)
    error = {}
    for per in ("channel", "layer"):
        network = convert(model, images, per=per, percentile=100)
        error[per] = [float((output - wanted).abs().mean()) for output in network(images, 64, (16, 64)).outputs]
    assert error["channel"][0] < error["layer"][1], error


def test_percentiles_clip_in_the_limit():
    model, images = chain(), pictures(2, 3, 12, 12)
    wanted = model(images)
    error = {
        percentile: float((convert(model, images, percentile=percentile)(images, 256).output - wanted).abs().mean())
        for percentile in (80, 100)
    }
    assert error[80] > 5 * error[100], error


def test_new_pictures_on_silent_channels_stay_finite():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2)), model[0].bias.zero_()
    calibration = torch.tensor([[0.5, -1.0], [1.0, -1.0]])
    new = torch.tensor([[0.25, 0.75]])
    output = convert(model, calibration, percentile=100)(new, 200).output
    assert math.isfinite(output.item())
    assert torch.allclose(output, model(new), atol=0.02)


@pytest.mark.parametrize(
    ("report", "says"), [([], "rise"), ([4, 4], "rise"), ([5, 3], "rise"), ([11], "at 10 or before"), ([0], "report")]
)
def test_impossible_reports_are_refused(report, says):
    network = convert(nn.Sequential(nn.ReLU()), pictures(3, 2))
    with pytest.raises(ValueError, match=says):
        network(pictures(3, 2), 10, report)
    with pytest.raises(ValueError, match="num_steps"):
        network(pictures(3, 2), 0)


@pytest.mark.parametrize("options", [{"initial_charge": 2.0}, {"reset": "none"}, {"max_pool": "mean"}])
def test_impossible_conversions_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        convert(nn.Sequential(nn.ReLU()), pictures(3, 2), **options)
