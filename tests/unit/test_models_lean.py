"""What learns in little memory learns the same."""

import pytest
import torch
from torch import nn

from spikelab.models.lean import NeuronConstants, SpikeConv2d, normalised_lif
from spikelab.neurons import LIFState, lif
from spikelab.surrogate import atan, fast_sigmoid

T, B, C, SIDE = 3, 2, 5, 4


def maps(count=T * B, dtype=torch.float64):
    drawn = torch.randn(count, C, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (drawn * 2 + 0.5).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def norm(dtype=torch.float64, *, training=True):
    layer = nn.BatchNorm2d(C).to(dtype)
    with torch.no_grad():
        for number, values in enumerate((layer.weight, layer.bias, layer.running_mean, layer.running_var)):
            values.copy_(torch.linspace(0.5, 1.5, C) + 0.1 * number)
    return layer.train(training)


def plainly(current, layer, constants, *, constant):
    current = layer(current)
    current = current.expand(T, *current.shape) if constant else current.unflatten(0, (T, -1))
    start = torch.full_like(current[0], constants.initial_charge)
    options = {name: getattr(constants, name) for name in ("beta", "threshold", "reset", "spike_grad")}
    return lif(current, state=LIFState(start, torch.zeros_like(start)), **options).spikes.flatten(0, 1)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "constants",
    [
        NeuronConstants(1.0, 1.0, "subtract", 0.5, atan()),
        NeuronConstants(0.8, 0.7, "subtract", 0.0, fast_sigmoid(5.0)),
        NeuronConstants(1.0, 1.0, "zero", 0.5, atan()),
        NeuronConstants(0.9, 1.2, "zero", 0.0, atan()),
        NeuronConstants(0.9, 1.0, "none", 0.2, atan()),
    ],
)
def test_normalising_neurons_are_normalisation_and_neurons(constants, training, constant):
    results = []
    for fused in (True, False):
        current, layer = maps(B if constant else T * B), norm(training=training)
        if fused:
            spikes = normalised_lif(current, layer, T, constants, constant=constant)
        else:
            spikes = plainly(current, layer, constants, constant=constant)
        price = torch.linspace(-1, 2, spikes.numel(), dtype=spikes.dtype).view(spikes.shape)
        (spikes * price).sum().backward()
        results.append((spikes, current.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()))
    assert 0.1 < results[0][0].mean() < 0.9
    assert torch.equal(results[0][0], results[1][0])
    for ours, plain in zip(*results, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_silence(bad, steps):
    # Compared with a threshold, NaN does not fire: unsaid, a broken layer would be a quiet one.
    current = maps(steps * B).detach()
    current[0, 1, 2, 3] = bad
    constants = NeuronConstants(1.0, 1.0, "subtract", 0.0, atan())
    for training in (True, False):
        with pytest.raises(ValueError, match="not finite"):
            normalised_lif(current, norm(training=training), steps, constants)


def test_half_precision_stops_before_the_membrane():
    constants = NeuronConstants(1.0, 1.0, "subtract", 0.5, atan())
    current, layer = maps(dtype=torch.bfloat16), norm(torch.float32)
    spikes = normalised_lif(current, layer, T, constants)
    assert spikes.dtype == torch.float32
    spikes.sum().backward()
    assert current.grad.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
    wide = current.detach().float().requires_grad_()
    layer2 = norm(torch.float32)
    plainly(wide, layer2, constants, constant=False).sum().backward()
    assert torch.allclose(current.grad.float(), wide.grad, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions_of_spikes_learn_as_any_convolution(bias, amp):
    spikes = torch.randint(4, (4, 3, 8, 8), generator=torch.Generator().manual_seed(1)).float()
    plain = nn.Conv2d(3, 6, 3, 2, 1, bias=bias)
    ours = SpikeConv2d(3, 6, 3, 2, 1, bias=bias)
    ours.load_state_dict(plain.state_dict())
    results = []
    for layer in (ours, plain):
        arriving = spikes.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            out = layer(arriving)
        (out.float() * torch.linspace(0, 1, out.numel()).view(out.shape)).sum().backward()
        results.append((out, arriving.grad, *(weight.grad for weight in layer.parameters())))
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype
        assert torch.allclose(a.float(), b.float(), rtol=0.02 if amp else 1e-5, atol=1e-2 if amp else 1e-5)


def test_the_first_of_several_layers_needs_no_gradient_of_its_input():
    layer = SpikeConv2d(3, 6, 3)
    layer(torch.ones(1, 3, 5, 5)).sum().backward()
    assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, 9.0))


def test_five_bytes_are_kept_for_a_neuron_and_step():
    kept, layer, neurons = [], SpikeConv2d(C, C, 3, 1, 1, bias=False), norm(torch.float32)
    spikes = torch.ones(T * B, C, 32, 32)

    def keep(tensor):
        kept.append(tensor.numel() * tensor.element_size() if tensor.dim() == 4 and len(tensor) == T * B else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        normalised_lif(layer(spikes), neurons, T, NeuronConstants(1.0, 1.0, "subtract", 0.5, atan()))
    assert sum(kept) == 5 * spikes.numel()
