"""The classifiers of paper 3: sizes, what the neurons receive, both learning rules."""

import pytest
import torch
from torch.nn import functional as F

from spikelab.losses import count_cross_entropy
from spikelab.models.nmnist import SCNN, SMLP, Neurons
from spikelab.neurons import lif
from spikelab.surrogate import atan

SLAYER = Neurons(rule="slayer")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def frames(steps=12, batch=2, size=34, rate=0.1, seed=0):
    return (torch.rand(steps, batch, 2, size, size, generator=seeded(seed)) < rate).float()


def weights(model):
    return sum(weight.numel() for name, weight in model.named_parameters() if "norms" not in name)


def small(kind=SCNN, **options):
    options = {"channels": (4, 4), "hidden": (12,), **options} if kind is SCNN else {"hidden": (20, 15), **options}
    return kind(**{"input_shape": (2, 16, 16), "generator": seeded(), "gain": 2.0, **options})


def test_paper_3_counts_its_weights():
    assert weights(SMLP()) == 9_675_000
    assert SCNN().flat_size == 576
    assert weights(SCNN()) == 176_208
    assert SCNN(padding=1, kernels=(3, 3)).flat_size == 16 * 8 * 8
    assert SCNN(kernels=(5, 3), padding=2).flat_size == 16 * 9 * 9


@pytest.mark.parametrize("neurons", [Neurons(), SLAYER], ids=["bptt", "slayer"])
@pytest.mark.parametrize("kind", [SMLP, SCNN])
def test_spikes_in_spikes_out_and_every_weight_learns(kind, neurons):
    model = small(kind, neurons=neurons)
    out = model(frames(size=16))
    assert out.spikes.shape == out.membrane.shape == (12, 2, 10)
    assert len(out.hidden) == (3 if kind is SCNN else 2)
    for train in (*out.hidden, out.spikes):
        assert set(train.unique().tolist()) <= {0.0, 1.0}
        assert train.any(), "a layer is silent from the start"
    count_cross_entropy(out.spikes, torch.tensor([3, 7])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_first_layer_is_the_convolution_pooled_and_normalised_before_it_fires():
    model = small().eval()
    x = frames(size=16)
    drive = torch.stack([model.norms[0](F.avg_pool2d(model.convolutions[0](step), 2)) for step in x])
    expected = lif(drive, beta=0.9, spike_grad=atan()).spikes
    assert torch.equal(model(x).hidden[0], expected)
    assert expected.shape == (12, 2, 4, 6, 6)


def test_both_rules_differ_only_in_the_neuron():
    a, b = small(SMLP), small(SMLP, neurons=SLAYER)
    assert torch.equal(a.layers[1].weight, b.layers[1].weight)
    x = frames(size=16, rate=0.3)
    assert not torch.equal(a(x).hidden[0], b(x).hidden[0])


def test_a_spike_response_neuron_cannot_answer_in_the_step_of_its_input():
    model = small(SMLP, neurons=SLAYER)
    x = torch.zeros(4, 1, 2, 16, 16)
    x[0] = 1
    hidden = model(x).hidden[0]
    assert not hidden[0].any()
    assert hidden[1:].any()


def test_no_output_depends_on_a_later_input():
    for kind in (SMLP, SCNN):
        for neurons in (Neurons(), SLAYER):
            model = small(kind, neurons=neurons).eval()
            x = frames(size=16, rate=0.3)
            changed = x.clone()
            changed[3:] = 1 - changed[3:]
            before, after = model(x), model(changed)
            for a, b in zip((*before.hidden, before.membrane), (*after.hidden, after.membrane), strict=True):
                assert torch.equal(a[:3], b[:3])
            assert not torch.equal(before.hidden[0], after.hidden[0])


def test_dropout_silences_a_neuron_for_the_whole_sample_and_only_in_training():
    model = small(SMLP, dropout=0.5)
    x = frames(size=16, rate=0.3)
    seen = []
    model.layers[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].unflatten(0, (12, 2))))
    model.train()
    torch.manual_seed(0)
    hidden = model(x).hidden[0]
    kept = seen[0].ne(0).any(0)
    fired = hidden.ne(0).any(0)
    assert 0.2 < 1 - kept[fired].float().mean() < 0.8
    assert torch.equal(seen[0] != 0, (hidden != 0) & kept)
    model.eval()
    assert torch.equal(model(x).spikes, model(x).spikes)
    assert torch.equal(seen[1], model(x).hidden[0])


def test_initial_weights_follow_the_generator_and_the_gain():
    assert torch.equal(small(SMLP).layers[0].weight, small(SMLP).layers[0].weight)
    wide = SMLP(hidden=(400,), gain=3.0, generator=seeded())
    assert wide.layers[0].weight.std().item() == pytest.approx(3 / 2312**0.5, rel=0.01)


def test_half_precision_ends_before_the_neurons():
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(frames(size=16))
    assert out.membrane.dtype == out.spikes.dtype == torch.float32


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Neurons(rule="hebb"), "rule must be"),
        (lambda: Neurons(beta=1.2), "beta must"),
        (lambda: Neurons(tau_ms=0), "tau_ms must"),
        (lambda: SMLP(hidden=(0,)), "hidden must"),
        (lambda: SMLP(hidden=(5,), gain=-1), "gain must"),
        (lambda: SCNN(channels=(4,), kernels=(5, 3)), "pairs, got 1 and 2"),
        (lambda: SCNN(input_shape=(2, 6, 6)), "leave nothing"),
        (lambda: SCNN(dropout=1.5), "dropout must"),
    ],
)
def test_settings_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
