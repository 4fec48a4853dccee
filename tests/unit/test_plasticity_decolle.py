"""DECOLLE against numbers worked out by hand, autograd, and its own other form."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikelab.plasticity import (
    ADAMAX_BETAS,
    DecolleConstants,
    DecolleLayer,
    DecolleNetwork,
    FixedReadout,
    activity_regulariser,
    classify,
    decay_to,
    decolle_mlp,
    equivalent_lr,
    initialise_decolle,
    learn_online,
    local_losses,
    switch_form,
    trace_gain,
    trace_step,
)
from spikelab.plasticity.decolle import watch

DECOLLE = DecolleConstants()
FAST = DecolleConstants(0.8, 0.6, 0.5)  # traces that fill in a few steps


def mlp(sizes=(20, 15, 12, 10), n_out=3, *, seed=0, constants=FAST, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(seed)
    return decolle_mlp(sizes, n_out, constants=constants, generator=generator, **options).to(dtype)


def noise_frames(steps, batch, *shape, seed=0, rate=0.3, dtype=torch.float64):
    draw = torch.rand(steps, batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return (draw < rate).to(dtype)


def targets(batch, n_out=3, dtype=torch.float64):
    return F.one_hot(torch.arange(batch) % n_out, n_out).to(dtype)


def impulse(constants, steps, dtype=torch.float64):
    """Q and P over time of a single spike at step 0."""
    q = p = torch.zeros(1, 1, dtype=dtype)
    seen = []
    for t in range(steps):
        q, p = trace_step(q, p, torch.full((1, 1), float(t == 0), dtype=dtype), constants)
        seen.append((q.item(), p.item()))
    return torch.tensor(seen, dtype=torch.float64).T


def adamax(network, weight_lr, bias_lr=None, eps=1e-8):
    weights = [p for p in network.parameters() if p.dim() > 1]
    biases = [p for p in network.parameters() if p.dim() == 1]
    groups = [{"params": weights, "lr": weight_lr}, {"params": biases, "lr": weight_lr if bias_lr is None else bias_lr}]
    return torch.optim.Adamax(groups, betas=ADAMAX_BETAS, eps=eps)


# --- traces ---


def test_traces_of_one_spike_by_hand():
    q, p = impulse(DECOLLE, 4000)
    assert q[:3].tolist() == pytest.approx([0.08, 0.0736, 0.067712], rel=1e-12)
    assert p[:3].tolist() == pytest.approx([0.0, 0.0024, 0.0024 * (0.97 + 0.92)], rel=1e-12)
    assert int(p.argmax()) == 19  # ln(ln β / ln α) / (ln α − ln β) = 19.03
    peak = math.log(math.log(0.92) / math.log(0.97)) / (math.log(0.97) - math.log(0.92))
    assert peak == pytest.approx(19.03, abs=0.005)
    assert float(p.max()) == pytest.approx(0.0171, abs=5e-5)
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    assert float(q.sum()) == pytest.approx(1, abs=1e-9)


def test_published_traces_are_larger_by_the_gain():
    published = DECOLLE._replace(normalised=False)
    assert trace_gain(0.97, 0.92) == pytest.approx(173_611.1, abs=0.1)
    assert trace_gain(0.97, 0.85) == pytest.approx(49_382.7, abs=0.1)
    q, p = impulse(published, 4000)
    assert q[0] == pytest.approx(12.5)
    assert p[1] == pytest.approx(12.5 / 0.03)
    assert float(p.sum()) == pytest.approx(trace_gain(0.97, 0.92), rel=1e-9)
    # under a spike at every step P climbs to the gain
    q = p = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(1500):
        q, p = trace_step(q, p, torch.ones_like(q), published)
    assert p.item() == pytest.approx(173_611, abs=1)


def test_trace_step_leaves_its_arguments_alone():
    q, p, s = (noise_frames(1, 2, 5, seed=k)[0] for k in range(3))
    before = q.clone(), p.clone(), s.clone()
    trace_step(q, p, s, DECOLLE)
    assert all(torch.equal(a, b) for a, b in zip((q, p, s), before, strict=True))


def test_coarser_steps_decay_as_much_per_millisecond():
    coarse = DECOLLE.at(5)
    assert coarse.alpha == pytest.approx(0.97**5)
    assert coarse.beta == decay_to(0.92, 5)
    assert coarse.alpha_r == pytest.approx(0.65**5)
    assert (coarse.w_r, coarse.normalised) == (1, True)
    fine, rough = impulse(DECOLLE, 400)[1], impulse(coarse, 80)[1]
    assert float(rough.sum()) == pytest.approx(float(fine.sum()), rel=1e-4)  # the area stays 1
    assert abs(int(rough.argmax()) * 5 - int(fine.argmax())) <= 5


def test_refractoriness_and_potential_of_a_layer_by_hand():
    layer = DecolleLayer(nn.Linear(1, 1).double(), constants=DECOLLE)
    with torch.no_grad():
        layer.synapse.weight.fill_(100.0)
        layer.synapse.bias.fill_(0.1)
    traces = layer.rest(1)
    seen = []
    for t in range(4):
        spikes, u, traces = layer.step(torch.full((1, 1), float(t == 0), dtype=torch.float64), traces)
        seen.append((spikes.item(), u.item(), traces.r.item()))
    r1 = -0.35  # step 0 fires by its bias
    r2 = 0.65 * r1  # step 1 does not: .1 + .24 − .35
    assert [s for s, _, _ in seen] == [1, 0, 1, 1]
    assert [r for _, _, r in seen] == pytest.approx([0, r1, r2, 0.65 * r2 - 0.35])
    p = [0.0, 0.0024, 0.0024 * 1.89, 0.97 * 0.0024 * 1.89 + 0.03 * 0.067712]
    assert [u for _, u, _ in seen] == pytest.approx([0.1 + 100 * a + b for a, (_, _, b) in zip(p, seen, strict=True)])


def test_a_neuron_at_exactly_zero_is_silent():
    layer = DecolleLayer(nn.Linear(2, 2))
    with torch.no_grad():
        layer.synapse.weight.zero_()
        layer.synapse.bias.copy_(torch.tensor([0.0, 1e-30]))
    assert layer.step(torch.ones(1, 2), layer.rest(1)).spikes.tolist() == [[0, 1]]


def test_pooling_is_of_the_potential_before_the_spike_and_refractoriness_of_each_neuron():
    torch.manual_seed(0)
    layer = DecolleLayer(nn.Conv2d(1, 3, 3, padding=1).double(), constants=FAST, after=nn.MaxPool2d(2))
    traces = layer.rest(2, (1, 8, 6))
    assert traces.r.shape == (2, 3, 8, 6)
    for frame in noise_frames(12, 2, 1, 8, 6):
        r = FAST.alpha_r * traces.r - (1 - FAST.alpha_r) * traces.s
        spikes, u, traces = layer.step(frame, traces)
        full = layer.synapse(traces.p) + r
        assert (traces.r - r).abs().max() < 1e-15
        assert torch.equal(traces.s, (full > 0).double())
        assert (u - F.max_pool2d(full, 2)).abs().max() < 1e-15
        assert torch.equal(spikes, (u > 0).double())
    # with an average instead, the order decides: a spike of the mean is not the mean of spikes
    mean = DecolleLayer(layer.synapse, constants=FAST, after=nn.AvgPool2d(2))
    assert set(mean.step(frame, traces).spikes.unique().tolist()) <= {0.0, 1.0}


def test_writing_over_the_state_gives_the_same_numbers_and_keeps_no_second_copy():
    for normalised in (True, False):
        constants = FAST._replace(normalised=normalised)
        torch.manual_seed(1)
        layer = DecolleLayer(nn.Conv2d(2, 4, 3, padding=1).double(), constants=constants, after=nn.MaxPool2d(2))
        kept, reused = layer.rest(2, (2, 6, 6)), layer.rest(2, (2, 6, 6))
        places = [trace.data_ptr() for trace in reused]
        with torch.no_grad():
            for frame in noise_frames(15, 2, 2, 6, 6):
                a, b = layer.step(frame, kept), layer.step(frame, reused, in_place=True)
                assert torch.equal(a.spikes, b.spikes)
                assert (a.membrane - b.membrane).abs().max() <= 1e-12 * a.membrane.abs().max()
                kept, reused = a.traces, b.traces
        assert [trace.data_ptr() for trace in reused] == places


def test_autograd_refuses_to_go_back_through_an_overwritten_step():
    layer = DecolleLayer(nn.Linear(3, 2))
    traces = layer.rest(1)
    first = layer.step(torch.ones(1, 3), traces, in_place=True)
    layer.step(torch.ones(1, 3), first.traces, in_place=True)
    with pytest.raises(RuntimeError, match="inplace"):
        first.membrane.sum().backward()


# --- the two forms ---


@pytest.mark.parametrize("read", ["sigmoid", "spikes"])
def test_published_and_normalised_networks_learn_the_same(read):
    # lr · g for the weights, the same lr for the biases; without AdaMax's eps, which knows the gradient's scale
    normalised = mlp(constants=DecolleConstants(0.9, 0.8, 0.65), read=read, seed=3)
    published = switch_form(normalised)
    alpha, beta = 0.9, 0.8
    gain = trace_gain(alpha, beta)
    assert published.layers[0].constants == DecolleConstants(alpha, beta, 0.65, 0.35, False)
    assert torch.allclose(published.layers[1].synapse.weight * gain, normalised.layers[1].synapse.weight)
    lr = 1e-3
    networks = [
        (normalised, adamax(normalised, lr, lr, eps=1e-300)),
        (published, adamax(published, lr / gain, lr, eps=1e-300)),
    ]
    assert equivalent_lr(lr / gain, alpha, beta) == pytest.approx(lr)
    target, start = targets(4), copy.deepcopy(normalised.state_dict())
    states = [network.rest(4) for network, _ in networks]
    fired = []
    for frame in noise_frames(200, 4, 20, seed=1):
        trains = []
        for k, (network, optimiser) in enumerate(networks):
            out = network.advance(frame, states[k])
            states[k] = out.state
            optimiser.zero_grad()
            local_losses(out.readouts, target).sum().backward()
            optimiser.step()
            trains.append(out.spikes)
        for a, b in zip(*trains, strict=True):
            assert torch.equal(a, b)
            fired.append(a.mean())
    for a, b in zip(normalised.layers, published.layers, strict=True):
        assert (a.synapse.weight - b.synapse.weight * gain).abs().max() < 1e-9
        assert (a.synapse.bias - b.synapse.bias).abs().max() < 1e-9
    moved = (normalised.layers[0].synapse.weight - start["layers.0.synapse.weight"]).abs().max()
    assert moved > 0.01
    assert 0.1 < torch.stack(fired).mean() < 0.9


def test_switching_twice_comes_back():
    network = mlp()
    again = switch_form(switch_form(network))
    assert again.layers[0].constants == pytest.approx(network.layers[0].constants)
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-14)


def test_the_papers_learning_rate():
    assert equivalent_lr(1e-9, 0.97, 0.92) == pytest.approx(1.736e-4, rel=1e-3)
    assert equivalent_lr(1e-9, 0.97, 0.85) == pytest.approx(4.94e-5, rel=1e-3)


def test_with_normalised_traces_the_papers_rate_moves_nothing():
    network = mlp(constants=DECOLLE)
    before = copy.deepcopy(network.state_dict())
    learn_online(network, noise_frames(100, 4, 20), targets(4), adamax(network, 1e-9))
    for name, value in network.state_dict().items():
        assert 0 < (value - before[name]).abs().max() < 1.5e-7


# --- what is learned from what ---


def gradient_matrix(network, frames):
    """max |∂L_k/∂W_j| over the last step's losses."""
    state = network.rest(frames.shape[1])
    for frame in frames:
        out = network.advance(frame, state)
        state = out.state
    losses = local_losses(out.readouts, targets(frames.shape[1]))
    weights = [layer.synapse.weight for layer in network.layers]
    rows = [torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in losses]
    return torch.tensor([[0.0 if g is None else float(g.abs().max()) for g in row] for row in rows])


@pytest.mark.parametrize("read", ["sigmoid", "spikes"])
def test_no_gradient_crosses_a_layer(read):
    matrix = gradient_matrix(mlp(read=read), noise_frames(20, 4, 20))
    assert (matrix.diagonal() > 1e-6).all()
    assert (matrix - matrix.diagonal().diag() == 0).all()


def test_a_network_that_hands_its_spikes_on_with_gradient_would_be_seen():
    network, frames = mlp(), noise_frames(20, 4, 20)
    weights = [layer.synapse.weight for layer in network.layers]
    state = [(traces.q, traces.p) for traces in network.rest(4)]
    for spikes in frames:
        readouts = []
        for k, layer in enumerate(network.layers):
            state[k] = trace_step(*state[k], spikes, FAST)
            membrane = layer.synapse(state[k][1])
            spikes = layer.spike_grad(membrane)  # not detached
            readouts.append(network.readouts[k](torch.sigmoid(membrane)))
    (crossing,) = torch.autograd.grad(local_losses(readouts, targets(4))[1], weights[:1])
    assert crossing.abs().max() > 1e-6


def test_no_gradient_crosses_a_step():
    network = mlp()
    frames = noise_frames(8, 4, 20)
    state = network.rest(4)
    for frame in frames:
        readouts, state = network.step(frame, state)
    assert not any(trace.requires_grad for traces in state for trace in traces)
    network.zero_grad()
    local_losses(readouts, targets(4)).sum().backward()
    whole = [p.grad.clone() for p in network.parameters()]
    # the same last step from a state that has no past at all
    state = network.rest(4)
    with torch.no_grad():
        for frame in frames[:-1]:
            _, state = network.step(frame, state)
    network.zero_grad()
    local_losses(network.step(frames[-1], state)[0], targets(4)).sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(whole, network.parameters(), strict=True))


@pytest.mark.parametrize("changed", [1, 2])
def test_changing_a_later_layer_leaves_what_earlier_layers_learn_to_the_bit(changed):
    frames, runs = noise_frames(40, 4, 20), []
    for push in (0.0, 0.5):
        network = mlp()
        with torch.no_grad():
            network.layers[changed].synapse.weight.add_(push)
        optimiser = torch.optim.Adamax(network.parameters(), lr=1e-2, betas=ADAMAX_BETAS)
        learn_online(network, frames, targets(4), optimiser, burn_in=5)
        runs.append(network)
    for k, (a, b) in enumerate(zip(runs[0].layers, runs[1].layers, strict=True)):
        same = torch.equal(a.synapse.weight, b.synapse.weight) and torch.equal(a.synapse.bias, b.synapse.bias)
        assert same == (k < changed)


def test_changing_an_earlier_layer_changes_what_later_layers_learn():
    frames, runs = noise_frames(40, 4, 20), []
    for push in (0.0, 0.5):
        network = mlp()
        with torch.no_grad():
            network.layers[0].synapse.bias.add_(push)
        learn_online(network, frames, targets(4), adamax(network, 1e-2))
        runs.append(network.layers[2].synapse.weight.detach())
    assert (runs[0] - runs[1]).abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("read", ["sigmoid", "spikes"])
def test_local_gradient_is_error_times_post_times_pre(read, seed):
    network = mlp(read=read, seed=seed)
    state, target = network.rest(4), targets(4)
    for frame in noise_frames(15, 4, 20, seed=seed):
        out = network.advance(frame, state)
        state = out.state
    losses = local_losses(out.readouts, target, "mse")
    for k, layer in enumerate(network.layers):
        (gradient,) = torch.autograd.grad(losses[k], layer.synapse.weight, retain_graph=True)
        u, p, g = out.membranes[k].detach(), out.state[k].p, network.readouts[k].weight
        error = 2 * (out.readouts[k].detach() - target) / target.numel()
        slope = torch.sigmoid(u) * (1 - torch.sigmoid(u))
        post = slope if read == "sigmoid" else 1 / (10 * u.abs() + 1) ** 2
        by_hand = torch.einsum("bn,no,bo,bi->oi", error, g, post, p)
        assert (gradient - by_hand).abs().max() < 1e-14
        assert by_hand.abs().max() > 1e-7


def test_gradient_of_a_sigmoid_readout_is_the_true_one():
    # no surrogate in it: finite differences of the loss, with the state of the step before
    network = mlp()
    state = network.rest(4)
    frames = noise_frames(10, 4, 20)
    for frame in frames[:-1]:
        _, state = network.step(frame, state)

    def loss(k):
        return local_losses(network.step(frames[-1], state)[0], targets(4))[k]

    for k, layer in enumerate(network.layers):
        weight = layer.synapse.weight
        (gradient,) = torch.autograd.grad(loss(k), weight)
        direction = torch.randn(weight.shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(k))
        with torch.no_grad():
            ends = []
            for sign in (1, -2):
                weight.add_(direction, alpha=sign * 1e-6)
                ends.append(float(loss(k)))
            weight.add_(direction, alpha=1e-6)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


# --- readouts ---


def test_readout_is_redrawn_from_its_seed_and_saved_nowhere():
    a, b, c = (FixedReadout(4, 4000, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(a.weight, b.weight)
    assert torch.equal(a.bias, b.bias)
    assert not torch.equal(a.weight, c.weight)
    assert not list(a.parameters())
    assert not a.state_dict()
    assert not any("readout" in name for name in mlp().state_dict())
    bound = 0.5 / 4000**0.5
    assert float(a.weight.abs().max()) <= bound
    assert float(a.weight.abs().max()) == pytest.approx(7.91e-3, rel=1e-3)
    assert abs(float(a.weight.mean())) < 3 * bound / 3**0.5 / 16_000**0.5
    assert float(a.bias.abs().max()) <= bound
    assert a.drawn == 4 * 4000 + 4
    assert FixedReadout(4, 10, seed=0, bias=False).bias is None
    assert float(FixedReadout(1, 100, seed=0, amplitude=2).weight.abs().max()) > 0.19


def test_drawing_a_readout_moves_no_other_random_number():
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    FixedReadout(4, 10, seed=0)
    assert torch.equal(torch.rand(3), wanted)


def test_learning_leaves_the_readouts_as_they_were():
    network = mlp()
    before = [readout.weight.clone() for readout in network.readouts]
    learn_online(network, noise_frames(20, 4, 20), targets(4), adamax(network, 1e-2))
    assert all(torch.equal(a, readout.weight) for a, readout in zip(before, network.readouts, strict=True))
    assert len({readout.weight.flatten()[0].item() for readout in network.readouts}) == 3  # each has its own


def test_a_copy_with_loaded_weights_says_the_same():
    network, frames = mlp(dtype=torch.float32), noise_frames(20, 4, 20, dtype=torch.float32)
    learn_online(network, frames, targets(4, dtype=torch.float32), adamax(network, 1e-2))
    other = mlp(seed=9, dtype=torch.float32)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(frames).readouts, other(frames).readouts)


@pytest.mark.parametrize("neurons", [4, 16, 64, 400])
def test_largest_value_a_readout_can_say(neurons):
    reach = torch.stack([FixedReadout(8, neurons, seed=k, bias=False).weight.clamp(min=0).sum(1) for k in range(50)])
    assert float(reach.mean()) == pytest.approx(0.5 * neurons**0.5 / 4, rel=0.05)


# --- losses ---


def test_losses_are_each_layers_own():
    readouts = [torch.tensor([[0.2, 0.8]]), torch.tensor([[2.0, 0.0]])]
    target = torch.tensor([[0.0, 1.0]])
    assert local_losses(readouts, target).tolist() == pytest.approx([0.02, (1.5 + 0.5) / 2])
    assert local_losses(readouts, target, "mse").tolist() == pytest.approx([0.04, 2.5])
    logits = local_losses(readouts, torch.tensor([1]), "cross_entropy").tolist()
    assert logits == pytest.approx([math.log(1 + math.exp(-0.6)), math.log(1 + math.exp(2))])


def test_regulariser_by_hand_in_both_variants():
    u = torch.tensor([[-3.0, -0.005, 0.5, -4.0]])
    high = (0.005 + 0.51) / 4
    assert float(activity_regulariser(u)) == pytest.approx(1e-2 * high, rel=1e-5)
    assert float(activity_regulariser(u, variant="later", weight=0.5)) == pytest.approx(0.5 * high, rel=1e-5)
    silent = torch.full((2, 3), -5.0)
    missing = 0.1 - 1 / (1 + math.exp(5))
    assert float(activity_regulariser(silent)) == pytest.approx(6e-5 * missing, rel=1e-4)
    assert float(activity_regulariser(silent, variant="later")) == pytest.approx(3e-3 * missing, rel=1e-4)


def test_regulariser_quietens_a_loud_layer_and_no_other():
    frames, rates = noise_frames(100, 4, 20), []
    for weights in (None, (0.0, 5000.0, 0.0)):
        network = mlp(burn_in=5)
        learn_online(network, frames, targets(4), adamax(network, 1e-2), activity=weights)
        rates.append(network(frames).rates)
    assert rates[0][0] == rates[1][0]
    assert rates[1][1] < 0.5 * rates[0][1]


# --- learning while time runs ---


def test_during_burn_in_traces_fill_and_no_weight_moves():
    network = mlp(constants=DECOLLE)
    before = copy.deepcopy(network.state_dict())
    moved, filled = [], []
    advance = network.advance

    def watched(frame, state):
        moved.append(any(not torch.equal(before[name], value) for name, value in network.state_dict().items()))
        out = advance(frame, state)
        filled.append(float(out.state[0].p.sum()))
        return out

    network.advance = watched
    summary = learn_online(network, noise_frames(30, 4, 20), targets(4), adamax(network, 1e-2), burn_in=12)
    assert moved == [False] * 13 + [True] * 17  # the first update is made after step 12, counted from 0
    assert (summary.steps, summary.updates) == (30, 18)
    assert filled[0] == 0
    assert all(a < b for a, b in itertools.pairwise(filled[:12]))


def test_every_step_after_burn_in_learns():
    network = mlp(burn_in=4)
    made = []
    optimiser = adamax(network, 1e-3)
    optimiser.register_step_post_hook(lambda *_: made.append(network.layers[0].synapse.weight.detach().clone()))
    learn_online(network, iter(noise_frames(10, 4, 20)), targets(4), optimiser)
    assert len(made) == 6
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(made))


def test_all_readouts_learn_to_tell_inputs_apart():
    # six patterns of rates, three classes: every layer by its own readout
    generator = torch.Generator().manual_seed(0)
    rates = 0.5 * torch.rand(6, 40, generator=generator)
    target = F.one_hot(torch.arange(6) % 3, 3).float()
    network = mlp((40, 60, 60, 60), burn_in=5, dtype=torch.float32, constants=FAST)
    optimiser = torch.optim.Adamax(network.parameters(), lr=5e-3, betas=ADAMAX_BETAS)

    def frames(steps=30):
        return (torch.bernoulli(rates, generator=generator) for _ in range(steps))

    first = learn_online(network, frames(), target, optimiser).losses
    for _ in range(8):
        last = learn_online(network, frames(), target, optimiser).losses
    assert (last < 0.5 * first).all()
    assert torch.equal(network(frames()).decisions, (torch.arange(6) % 3).expand(3, 6))


def test_a_linear_layer_takes_maps_and_frames_of_any_kind_of_number():
    network = mlp((2 * 3 * 3, 6, 5), dtype=torch.float32)
    frames = noise_frames(6, 2, 2, 3, 3, dtype=torch.float32)
    assert torch.equal(network(frames).readouts, network(frames.flatten(2)).readouts)
    assert torch.equal(network(frames).readouts, network(frames.to(torch.uint8)).readouts)


def test_a_convolutional_network_with_pooling_learns_the_place_of_a_spot():
    network = DecolleNetwork(
        [
            DecolleLayer(nn.Conv2d(1, 16, 3, padding=1), constants=FAST, after=nn.MaxPool2d(2)),
            DecolleLayer(nn.Conv2d(16, 16, 3, stride=2, padding=1), constants=FAST),
            DecolleLayer(nn.Linear(16 * 2 * 2, 50), constants=FAST),
        ],
        [FixedReadout(4, 16 * 16, seed=0), FixedReadout(4, 64, seed=1), FixedReadout(4, 50, seed=2)],
        input_shape=(1, 8, 8),
        burn_in=5,
    )
    initialise_decolle(network, generator=torch.Generator().manual_seed(0))
    picture = torch.full((4, 1, 8, 8), 0.05)
    for k in range(4):
        picture[k, 0, 4 * (k // 2) :, 4 * (k % 2) :][:4, :4] = 0.9
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adamax(network.parameters(), lr=5e-3, betas=ADAMAX_BETAS)
    for _ in range(10):
        frames = (torch.bernoulli(picture, generator=generator) for _ in range(30))
        learn_online(network, frames, torch.eye(4), optimiser)
    out = network(torch.bernoulli(picture, generator=generator) for _ in range(30))
    right = (out.decisions == torch.arange(4)).sum(1).tolist()
    assert right[0] >= 3  # 16 shared kernels: little to turn towards a random readout
    assert right[1:] == [4, 4]


def test_watching_reports_last_and_mean_readouts_votes_and_rates():
    network, frames = mlp(burn_in=4), noise_frames(12, 3, 20)
    state, said, fired = network.rest(3), [], []
    with torch.no_grad():
        for frame in frames:
            out = network.advance(frame, state)
            state = out.state
            said.append(torch.stack(out.readouts))
            fired.append(torch.stack([spikes.mean() for spikes in out.spikes]))
    out = network(iter(frames))
    said = torch.stack(said)
    assert torch.equal(out.readouts, said[-1])
    assert torch.allclose(out.mean_readouts, said[4:].mean(0), rtol=1e-12)
    assert torch.equal(out.decisions, classify(said[4:]))
    assert out.votes.sum(-1).unique().tolist() == [8]
    assert out.rates == pytest.approx(torch.stack(fired).mean(0).tolist())
    assert not out.readouts.requires_grad
    short = watch(network, frames[:3])  # nothing after burn-in: the last step speaks
    assert torch.equal(short.mean_readouts, short.readouts)
    assert short.votes.sum(-1).unique().tolist() == [1]


def test_class_is_the_one_said_most_often_not_the_one_said_last_or_loudest():
    readouts = torch.tensor([[[0.2, 0.1]], [[0.2, 0.1]], [[0.0, 9.0]]])
    assert classify(readouts).tolist() == [0]
    assert classify(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])).tolist() == [0]  # of equals the first
    assert classify(torch.rand(5, 2, 3, 4)).shape == (2, 3)


# --- memory ---


class Ledger:
    """Bytes that autograd holds, and the most it held."""

    def __init__(self):
        self.live = self.peak = 0

    def hold(self, tensor):
        held = _Held(self, tensor)
        self.live += held.size
        self.peak = max(self.peak, self.live)
        return held


class _Held:
    def __init__(self, ledger, tensor):
        self.ledger, self.tensor, self.size = ledger, tensor, tensor.numel() * tensor.element_size()

    def __del__(self):
        self.ledger.live -= self.size


def held_by_autograd(run):
    ledger = Ledger()
    with torch.autograd.graph.saved_tensors_hooks(ledger.hold, lambda held: held.tensor):
        run()
    return ledger.peak


def test_memory_does_not_grow_with_time():
    def learn(steps):
        network = mlp((50, 40, 40))
        frames = (torch.ones(8, 50, dtype=torch.float64) for _ in range(steps))
        return held_by_autograd(lambda: learn_online(network, frames, targets(8), adamax(network, 1e-3)))

    def unrolled(steps):  # the same layers, one loss at the end
        network = mlp((50, 40, 40))

        def run():
            state, total = network.rest(8), 0.0
            for _ in range(steps):
                readouts, state = network.step(torch.ones(8, 50, dtype=torch.float64), state)
                total = total + local_losses(readouts, targets(8)).sum()
            total.backward()

        return held_by_autograd(run)

    assert learn(5) == learn(80) > 0
    assert unrolled(80) > 10 * unrolled(5)


# --- initial weights ---


def test_initial_weights_have_the_ranges_they_are_said_to_have():
    network = DecolleNetwork(
        [
            DecolleLayer(nn.Conv2d(1, 32, 5), constants=DECOLLE._replace(normalised=False)),
            DecolleLayer(nn.Linear(9, 7)),
        ],
        [FixedReadout(2, 32 * 4, seed=0), FixedReadout(2, 7, seed=1)],
        input_shape=(1, 6, 6),
    )
    convolution, linear = (layer.synapse for layer in network.layers)
    generator = torch.Generator().manual_seed(0)
    initialise_decolle(network, "published", generator=generator)
    assert 7.5e-6 < convolution.weight.abs().max() <= 8e-6
    assert 7e-4 < convolution.bias.abs().max() <= 8e-4
    assert linear.weight.abs().max() == 0
    assert 5e-4 < linear.bias.abs().max() <= 1e-3
    tiny = convolution.weight.clone()
    initialise_decolle(switched := switch_form(network), "published", generator=torch.Generator().manual_seed(0))
    assert torch.allclose(switched.layers[0].synapse.weight, tiny * trace_gain(0.97, 0.92))
    initialise_decolle(network, "default", generator=generator)
    assert 0.3 < linear.weight.abs().max() <= 1 / 3
    assert convolution.weight.abs().max() <= 0.2 / trace_gain(0.97, 0.92)
    initialise_decolle(network, "default", generator=torch.Generator().manual_seed(4))
    again = convolution.weight.clone()
    initialise_decolle(network, "default", generator=torch.Generator().manual_seed(4))
    assert torch.equal(convolution.weight, again)


def test_lsuv_brings_every_layer_to_variance_one():
    network = mlp((30, 40, 40, 40), constants=FAST)
    frames = noise_frames(40, 16, 30)
    initialise_decolle(network, "lsuv", generator=torch.Generator().manual_seed(0), frames=frames)
    state = network.rest(16)
    with torch.no_grad():
        for frame in frames:
            out = network.advance(frame, state)
            state = out.state
    for u in out.membranes:
        assert float(u.var()) == pytest.approx(1, abs=0.1)
        assert abs(float(u.mean())) <= 0.2
    weight = network.layers[1].synapse.weight.detach()
    square = weight @ weight.T
    assert torch.allclose(square, square[0, 0] * torch.eye(40, dtype=square.dtype), atol=1e-10 * float(square[0, 0]))


# --- precision ---


def test_mixed_precision_keeps_traces_and_readouts_in_float32_and_stays_near():
    network, frames = mlp(dtype=torch.float32), noise_frames(15, 4, 20, dtype=torch.float32)
    plain = network(frames)
    with torch.autocast("cpu", torch.bfloat16):
        state = network.rest(4)
        for frame in frames:
            out = network.advance(frame, state)
            state = out.state
    assert all(trace.dtype == torch.float32 for traces in out.state for trace in traces)
    assert all(tensor.dtype == torch.float32 for tensor in (*out.readouts, *out.membranes, *out.spikes))
    assert (out.readouts[0] - plain.readouts[0]).abs().max() < 0.02
    assert not torch.equal(out.readouts[0], plain.readouts[0])


def test_mixed_precision_never_multiplies_by_old_weights():
    # autocast keeps reduced copies of weights until its context ends: a plain linear layer is fooled
    layer, plain = DecolleLayer(nn.Linear(5, 4, bias=False), constants=FAST), nn.Linear(5, 4, bias=False)
    traces = layer.rest(2)._replace(q=torch.ones(2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        before, fooled = layer.step(torch.ones(2, 5), traces).membrane, plain(torch.ones(2, 5))
        with torch.no_grad():
            layer.synapse.weight.mul_(2)
            plain.weight.mul_(2)
        assert torch.equal(layer.step(torch.ones(2, 5), traces).membrane, 2 * before)
        assert torch.equal(plain(torch.ones(2, 5)), fooled)


def test_learning_in_mixed_precision_comes_as_far():
    frames, losses = noise_frames(60, 4, 20, dtype=torch.float32), []
    for precision in ("float32", "bfloat16"):
        network = mlp(dtype=torch.float32)
        optimiser = adamax(network, 0.005)
        for _ in range(3):
            summary = learn_online(
                network, frames, targets(4, dtype=torch.float32), optimiser, burn_in=5, precision=precision
            )
        losses.append(summary.losses)
    assert torch.allclose(losses[0], losses[1], rtol=0.1)
    assert not torch.equal(losses[0], losses[1])


# --- bad input ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecolleLayer(nn.ReLU()), "synapse must be an nn.Linear or nn.Conv2d, got ReLU"),
        (lambda: DecolleLayer(nn.Linear(2, 2), constants=DecolleConstants(alpha=1.0)), "alpha must be below 1"),
        (lambda: DecolleLayer(nn.Linear(2, 2), constants=DecolleConstants(w_r=-1)), "w_r must be zero or more"),
        (lambda: DecolleLayer(nn.Conv2d(2, 3, 3)).rest(1), r"input_shape must be \(2, H, W\)"),
        (lambda: DecolleLayer(nn.Conv2d(2, 3, 3)).rest(1, (1, 8, 8)), r"input_shape must be \(2, H, W\)"),
        (lambda: DecolleLayer(nn.Conv2d(2, 3, 5)).rest(1, (2, 4, 4)), "smaller than the convolution's kernel"),
        (lambda: DecolleLayer(nn.Linear(2, 2)).rest(0), "batch must be at least 1"),
        (lambda: FixedReadout(2, 3, seed=0, amplitude=0), "amplitude must be positive"),
        (lambda: FixedReadout(2, 3, seed=-1), "seed must be at least 0"),
        (lambda: DecolleNetwork([], []), "each layer needs a readout, got 0 and 0"),
        (lambda: DecolleNetwork([DecolleLayer(nn.Linear(2, 2))], []), "each layer needs a readout, got 1 and 0"),
        (lambda: mlp(read="membrane"), "read must be one of"),
        (lambda: mlp(init="lsuv"), "init must be one of"),
        (lambda: initialise_decolle(mlp(), "lsuv"), "lsuv needs frames"),
        (lambda: initialise_decolle(mlp(), "lsuv", frames=torch.zeros(5, 2, 20).double()), "does not vary"),
        (lambda: trace_gain(1.0, 0.5), "alpha must be below 1"),
        (lambda: trace_gain(0.5, 1.5), r"beta must lie in \[0, 1\]"),
        (lambda: equivalent_lr(0.0, 0.9, 0.9), "lr must be positive"),
        (lambda: decay_to(0.9, 0), "step_ms must be positive"),
        (lambda: local_losses([], torch.zeros(1)), "at least one layer"),
        (lambda: local_losses([torch.zeros(2, 3)], torch.zeros(2)), r"target must have shape \(2, 3\) for smooth_l1"),
        (lambda: local_losses([torch.zeros(2, 3)], torch.zeros(2, 3), "l1"), "kind must be one of"),
        (lambda: activity_regulariser(torch.zeros(1), variant="new"), "variant must be one of"),
        (lambda: classify(torch.zeros(0, 2, 3)), "must have steps and classes"),
        (lambda: mlp()(iter(())), "frames must hold at least one step, got none"),
        (
            lambda: learn_online(n := mlp(), noise_frames(3, 2, 20), targets(2), adamax(n, 1e-3), burn_in=3),
            "frames must hold more than the 3 steps of burn-in, got 3",
        ),
        (
            lambda: learn_online(n := mlp(), noise_frames(3, 2, 20), targets(2), adamax(n, 1e-3), precision="int8"),
            "precision must be one of",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_of_the_regulariser_must_be_one_per_layer():
    network = mlp()
    with pytest.raises(ValueError, match="zip"):
        learn_online(network, noise_frames(3, 2, 20), targets(2), adamax(network, 1e-3), activity=(0.5,))
