"""Paper 1's localizer against a plain loop over enlarged maps, and its twin by backpropagation through time."""

import copy

import pytest
import torch
from torch.nn import functional as F

from spikelab.models.localizer import VARIANTS, DecolleLocalizer, SurrogateLocalizer
from spikelab.models.localizer.decolle import UpsampledConv2d
from spikelab.plasticity import (
    ADAMAX_BETAS,
    DecolleConstants,
    FixedReadout,
    initialise_decolle,
    learn_online,
    local_losses,
    switch_form,
)

NARROW = (6, 8, 10, 8, 6, 4)
SIZE = (12, 16)


def localizer(seed=0, channels=NARROW, size=SIZE, **options):
    return DecolleLocalizer(channels, size, generator=torch.Generator().manual_seed(seed), **options)


def noise_frames(steps, batch, *shape, seed=0, rate=0.4, dtype=torch.float32):
    draw = torch.rand(steps, batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return (draw < rate).to(dtype)


def target_boxes(batch, dtype=torch.float32):
    return torch.rand(batch, 4, generator=torch.Generator().manual_seed(5), dtype=dtype)


def optimiser_of(network, lr=1e-3):
    return torch.optim.Adamax(network.parameters(), lr=lr, betas=ADAMAX_BETAS)


def plain_step(network, frame, state, readout_seed=0, amplitude=0.5):
    """Paper 1's network as its table has it: every map at its full size, every trace a formula, no shortcut."""
    c = network.constants
    double = lambda maps: F.interpolate(maps, scale_factor=2, mode="nearest")  # noqa: E731
    spikes, outputs, readouts, membranes, inputs = frame, [], [], [], []
    for k, layer in enumerate(network.layers):
        q, p, r, s = state[k] if state[k] is not None else (0.0, 0.0, 0.0, 0.0)
        inputs.append(spikes)
        p = c.alpha * p + (1 - c.alpha) * q if torch.is_tensor(q) else torch.zeros_like(spikes)
        q = c.beta * q + (1 - c.beta) * spikes
        r = c.alpha_r * r - (1 - c.alpha_r) * c.w_r * s
        u = F.conv2d(p, layer.synapse.weight, layer.synapse.bias, padding=(2, 1, 1, 1, 1, 1)[k]) + r
        state[k] = (q, p, r, (u.detach() > 0).to(u.dtype))
        pooled = F.max_pool2d(u, 2) if k < 2 else double(u) if k in (3, 4) else u
        readout = FixedReadout(4, pooled[0].numel(), seed=readout_seed + k, amplitude=amplitude)
        readouts.append(readout.double()(torch.sigmoid(pooled)))
        outputs.append((pooled.detach() > 0).to(u.dtype))
        membranes.append(u)
        spikes = outputs[-1]
        spikes = spikes + double(outputs[1]) if k == 3 else spikes + double(outputs[0]) if k == 4 else spikes
    return readouts, outputs, inputs, state


# --- the network of the paper ---


def test_numbers_of_weights_at_the_papers_size():
    network = DecolleLocalizer(size=(176, 240))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 190_064
    assert network.fixed_weights == 14_192_664
    kernels = [tuple(layer.synapse.weight.shape) for layer in network.layers]
    assert kernels == [
        (32, 1, 5, 5),
        (64, 32, 3, 3),
        (128, 64, 3, 3),
        (64, 128, 3, 3),
        (32, 64, 3, 3),
        (16, 32, 3, 3),
    ]


@pytest.mark.parametrize("seed", range(2))
def test_equals_the_plain_network_in_spikes_readouts_and_gradients(seed):
    network = localizer(seed, readout_seed=7, amplitude=2.0).double()
    frames = noise_frames(40, 2, 1, *SIZE, seed=seed, dtype=torch.float64)
    target = target_boxes(2, torch.float64)
    mine, plain = network.rest(2), [None] * 6
    fired = torch.zeros(6)
    for frame in frames:
        out = network.advance(frame, mine)
        mine = out.state
        grads = torch.autograd.grad(local_losses(out.readouts, target).sum(), list(network.parameters()))
        readouts, spikes, _, plain = plain_step(network, frame, plain, 7, 2.0)
        wanted = torch.autograd.grad(local_losses(readouts, target).sum(), list(network.parameters()))
        for k in range(6):
            own = F.interpolate(out.spikes[k], scale_factor=2) if k in (3, 4) else out.spikes[k]
            assert torch.equal(own, spikes[k])
            # the readouts of enlarged maps add up four float32 weights before they multiply
            assert (out.readouts[k] - readouts[k]).abs().max() < (1e-6 if k in (3, 4) else 1e-12)
            fired[k] += own.mean() / len(frames)
        for a, b in zip(grads, wanted, strict=True):
            assert (a - b).abs().max() < 1e-7 * b.abs().max() + 1e-12
    assert fired.min() > 0.02  # a silent network would agree with anything
    assert fired.max() < 0.98


def test_spikes_are_added_where_the_authors_add_them_and_nowhere_else():
    network = localizer(3)
    state, seen = network.rest(2), []
    hooks = [
        layer.register_forward_hook(lambda _, given, out: seen.append((given[0], out))) for layer in network.layers
    ]
    values = [set() for _ in range(6)]
    for frame in noise_frames(30, 2, 1, *SIZE):
        seen.clear()
        out = network.advance(frame, state)
        state = out.state
        given = [spikes for spikes, _ in seen]
        assert torch.equal(given[4], out.spikes[3] + out.spikes[1])
        assert torch.equal(given[5], out.spikes[4] + out.spikes[0])
        for k in (1, 2, 3):
            assert torch.equal(given[k], out.spikes[k - 1])
        for k in range(6):
            values[k] |= set(given[k].unique().tolist())
    for hook in hooks:
        hook.remove()
    assert values[4] == values[5] == {0.0, 1.0, 2.0}
    assert all(values[k] == {0.0, 1.0} for k in range(4))


@pytest.mark.parametrize("bias", [True, False])
def test_convolution_of_an_enlarged_map_and_its_gradients(bias):
    torch.manual_seed(0)
    layer = UpsampledConv2d(3, 5, bias=bias).double()
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    ours, pull = layer(maps), torch.randn(2, 5, 8, 12, dtype=torch.float64)
    plain = F.conv2d(F.interpolate(maps, scale_factor=2), layer.weight, layer.bias, padding=1)
    assert (ours - plain).abs().max() < 1e-13
    wanted = [maps, layer.weight, layer.bias] if bias else [maps, layer.weight]
    for a, b in zip(torch.autograd.grad(ours, wanted, pull), torch.autograd.grad(plain, wanted, pull), strict=True):
        assert (a - b).abs().max() < 1e-12
    with torch.autocast("cpu", torch.bfloat16):
        assert (layer.float()(maps.float()) - plain).abs().max() < 0.03


# --- what is learned from what ---


def test_each_readout_teaches_its_own_layer_only():
    network = localizer()
    state = network.rest(2)
    for frame in noise_frames(15, 2, 1, *SIZE):
        readouts, state = network.step(frame, state)
    weights = [layer.synapse.weight for layer in network.layers]
    losses = local_losses(readouts, target_boxes(2))
    rows = [torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in losses]
    for k, row in enumerate(rows):
        assert row[k].abs().max() > 1e-7
        assert all(gradient is None or not gradient.any() for j, gradient in enumerate(row) if j != k)


@pytest.mark.parametrize("changed", [1, 3, 5])
def test_changing_a_later_layer_leaves_what_earlier_layers_learn_to_the_bit(changed):
    frames, runs = noise_frames(15, 2, 1, *SIZE), []
    for push in (0.0, 0.3):
        network = localizer(burn_in=3)
        with torch.no_grad():
            network.layers[changed].synapse.weight.add_(push)
        learn_online(network, frames, target_boxes(2), optimiser_of(network, 1e-2))
        runs.append(network)
    for k, (a, b) in enumerate(zip(runs[0].layers, runs[1].layers, strict=True)):
        same = torch.equal(a.synapse.weight, b.synapse.weight) and torch.equal(a.synapse.bias, b.synapse.bias)
        assert same == (k < changed)


def test_no_weight_moves_during_burn_in():
    network = localizer(burn_in=6)
    before = copy.deepcopy(network.state_dict())
    state = network.rest(2)
    made = []
    optimiser = optimiser_of(network, 1e-2)
    optimiser.register_step_pre_hook(lambda *_: made.append(copy.deepcopy(network.state_dict())))
    learn_online(network, noise_frames(8, 2, 1, *SIZE), target_boxes(2), optimiser)
    assert len(made) == 2
    assert all(torch.equal(made[0][name], value) for name, value in before.items())
    assert any(not torch.equal(made[1][name], value) for name, value in before.items())
    with torch.no_grad():
        for frame in noise_frames(6, 2, 1, *SIZE):
            _, state = network.step(frame, state)
    assert all(traces.p.abs().max() > 0 for traces in state[:2])  # the traces did move


def test_all_layers_learn_the_boxes_of_a_batch():
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.5, 0.4, 0.9, 0.9]])
    pictures = torch.full((2, 1, *SIZE), 0.05)
    for picture, (x0, y0, x1, y1) in zip(pictures, (boxes * 16).round().int().tolist(), strict=True):
        picture[0, y0 * 12 // 16 : y1 * 12 // 16, x0:x1] = 0.9
    generator = torch.Generator().manual_seed(0)
    network = localizer(channels=(8, 12, 16, 12, 8, 8), step_ms=5, amplitude=2.0, burn_in=5)
    optimiser = optimiser_of(network, 5e-3)
    losses = []
    for _ in range(12):
        frames = (torch.bernoulli(pictures, generator=generator) for _ in range(25))
        losses.append(learn_online(network, frames, boxes, optimiser).losses)
    assert (losses[-1] < 0.2 * losses[0]).all()
    out = network(torch.bernoulli(pictures, generator=generator) for _ in range(25))
    assert (out.readouts - boxes).abs().mean((1, 2)).max() < 0.12  # one box for both would be .19 away


def test_published_form_gives_the_same_spikes():
    network = localizer(2).double()
    frames = noise_frames(40, 2, 1, *SIZE, dtype=torch.float64)
    a, b = network(frames), switch_form(network)(frames)
    assert a.rates == b.rates
    assert (a.readouts - b.readouts).abs().max() < 1e-9


def test_memory_of_a_step_is_the_same_whatever_came_before():
    # the state is written over, and nothing of earlier steps is held
    network, sizes = localizer(), []
    state = network.rest(2)
    places = [[trace.data_ptr() for trace in (*traces[:3],)] for traces in state]
    for frame in noise_frames(10, 2, 1, *SIZE):
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, h=held: h.append(t.numel()) or t, lambda t: t):
            readouts, state = network.step(frame, state)
            local_losses(readouts, target_boxes(2)).sum().backward()
        sizes.append(sum(held))
    assert len(set(sizes)) == 1
    assert [[trace.data_ptr() for trace in traces[:3]] for traces in state] == places


# --- its answer ---


def test_answer_is_the_last_layers_at_the_last_step_and_all_means_are_after_burn_in():
    network, frames = localizer(burn_in=4), noise_frames(9, 3, 1, *SIZE)
    state, said = network.rest(3), []
    with torch.no_grad():
        for frame in frames:
            readouts, state = network.step(frame, state)
            said.append(torch.stack(readouts))
    out = network(iter(frames))
    assert torch.equal(out.boxes, said[-1][-1])
    assert torch.equal(out.readouts, said[-1])
    assert torch.allclose(out.mean_readouts, torch.stack(said[4:]).mean(0), atol=1e-6)
    assert out.boxes.shape == (3, 4)
    assert out.readouts.shape == out.mean_readouts.shape == (6, 3, 4)
    assert len(out.rates) == 6
    assert all(0 <= rate <= 1 for rate in out.rates)
    assert out.hidden == ()
    assert not out.boxes.requires_grad


def test_weights_alone_are_saved_and_bring_the_network_back():
    network, frames = localizer(0, readout_seed=4), noise_frames(9, 2, 1, *SIZE)
    assert set(network.state_dict()) == {f"layers.{k}.synapse.{n}" for k in range(6) for n in ("weight", "bias")}
    other = localizer(1, readout_seed=4)
    assert not torch.equal(network(frames).boxes, other(frames).boxes)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(frames).boxes, other(frames).boxes)
    elsewhere = localizer(1, readout_seed=5)
    elsewhere.load_state_dict(network.state_dict())
    assert not torch.equal(network(frames).boxes, elsewhere(frames).boxes)


def test_colour_and_other_sizes():
    network = DecolleLocalizer((4, 6, 5, 6, 4, 3), (8, 20), 3, burn_in=0)
    assert network(noise_frames(4, 2, 3, 8, 20)).readouts.shape == (6, 2, 4)


def test_variants_differ_in_what_the_sources_say():
    paper, authors = localizer(), localizer(variant="authors")
    assert paper.constants == DecolleConstants(0.97, 0.92, 0.65, 1.0, True)
    assert authors.constants == DecolleConstants(0.97, 0.85, 0.65, 1.0, True)
    assert paper.burn_in == authors.burn_in == 50
    assert VARIANTS["paper"].num_steps is None
    assert VARIANTS["authors"].num_steps == 1000
    assert localizer(variant="authors", step_ms=5).constants == DecolleConstants(beta=0.85).at(5)
    given = DecolleConstants(0.9, 0.8, 0.7)
    assert localizer(constants=given).layers[5].constants == given
    assert localizer(constants=given, step_ms=2).constants == given.at(2)


def test_published_initial_weights_are_meant_for_the_published_traces():
    tiny = localizer(init="published", constants=DecolleConstants(normalised=False))
    assert 7e-6 < tiny.layers[0].synapse.weight.abs().max() <= 8e-6
    equal = localizer(init="published")
    frames = noise_frames(12, 2, 1, *SIZE)
    assert equal(frames).readouts == pytest.approx(tiny(frames).readouts, abs=0.2)


def test_unit_variance_at_the_start():
    network, frames = localizer(init="lsuv"), noise_frames(30, 4, 1, *SIZE)
    initialise_decolle(network, "lsuv", generator=torch.Generator().manual_seed(0), frames=frames)
    state = network.rest(4)
    with torch.no_grad():
        for frame in frames:
            out = network.advance(frame, state)
            state = out.state
    assert [float(u.var()) for u in out.membranes] == pytest.approx([1] * 6, abs=0.1)


def test_mixed_precision_multiplies_roughly_and_remembers_exactly():
    network, frames = localizer(), noise_frames(12, 2, 1, *SIZE)
    exact = network(frames)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(frames)
        _, state = network.step(frames[0], network.rest(2))
    assert all(trace.dtype == torch.float32 for traces in state for trace in traces)
    assert rough.readouts.dtype == torch.float32
    assert 0 < (rough.readouts - exact.readouts).abs().max() < 0.1
    summary = learn_online(network, frames, target_boxes(2), optimiser_of(network), burn_in=3, precision="bfloat16")
    assert torch.isfinite(summary.losses).all()


# --- the same body by backpropagation through time ---


def surrogate_localizer(seed=0, **options):
    return SurrogateLocalizer(NARROW, SIZE, generator=torch.Generator().manual_seed(seed), **options)


def test_twin_has_the_same_convolutions():
    twin = SurrogateLocalizer(size=(16, 16))
    own = DecolleLocalizer(size=(16, 16))
    assert [s.weight.shape for s in twin.synapses] == [layer.synapse.weight.shape for layer in own.layers]
    assert twin.readout.weight.shape == (4, 16 * 16 * 16)


def test_twin_equals_a_plain_loop_over_enlarged_maps():
    model = surrogate_localizer(beta=0.8).double().eval()
    for k, norm in enumerate(model.norms):
        norm.running_var.fill_(0.05 + 0.01 * k)
        norm.running_mean.fill_(-0.1)
    frames = noise_frames(10, 2, 1, *SIZE, dtype=torch.float64)
    out = model(frames)
    membranes, fired = [0.0] * 6, [0.0] * 6
    double = lambda maps: F.interpolate(maps, scale_factor=2, mode="nearest")  # noqa: E731
    seen = [[] for _ in range(6)]
    for frame in frames:
        spikes, maps = frame, []
        for k, (synapse, norm) in enumerate(zip(model.synapses, model.norms, strict=True)):
            drive = F.conv2d(spikes, synapse.weight, padding=(2, 1, 1, 1, 1, 1)[k])
            drive = norm(F.max_pool2d(drive, 2) if k < 2 else drive)
            membranes[k] = 0.8 * membranes[k] + drive - fired[k]
            fired[k] = (membranes[k] > 1).double()
            seen[k].append(fired[k])
            maps.append(double(fired[k]) if k in (3, 4) else fired[k])
            spikes = maps[k] + double(maps[1]) if k == 3 else maps[k] + double(maps[0]) if k == 4 else maps[k]
    for train, wanted in zip(out.hidden, seen, strict=True):
        assert torch.equal(train, torch.stack(wanted))
        assert 0.01 < train.mean() < 0.9
    mean = torch.stack(seen[5]).mean(0).flatten(1)
    assert torch.allclose(out.boxes, F.linear(mean, model.readout.weight, model.readout.bias), rtol=1e-12)


def test_twin_sends_gradient_to_its_first_layer_and_learns():
    boxes = target_boxes(4)
    model, frames = surrogate_localizer(), noise_frames(6, 4, 1, *SIZE)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = F.smooth_l1_loss(model(frames).boxes, boxes)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert model.synapses[0].weight.grad.abs().max() > 0
    assert losses[-1] < 0.2 * losses[0]


def test_twin_takes_an_iterator_and_mixed_precision():
    model, frames = surrogate_localizer().eval(), noise_frames(5, 2, 1, *SIZE)
    assert torch.equal(model(frames).boxes, model(iter(frames)).boxes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(frames)
    assert rough.boxes.dtype == torch.float32
    assert rough.hidden[0].shape == (5, 2, 6, 6, 8)
    assert (rough.boxes - model(frames).boxes).abs().max() < 0.2


# --- bad input ---


@pytest.mark.parametrize("kind", [DecolleLocalizer, SurrogateLocalizer])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (8, 8, 8)}, "channels must be six numbers"),
        ({"channels": (6, 8, 10, 9, 6, 4)}, "channels must be six numbers, the fourth as the second"),
        ({"channels": (6, 8, 10, 8, 7, 4)}, "so that their spikes can be added"),
        ({"size": (88, 118)}, r"size must be rows and columns, both multiples of 4 .*got \(88, 118\)"),
        ({"size": (88, 0)}, "size must be at least 4"),
        ({"size": (8, 8, 8)}, "size must be rows and columns"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
    ],
)
def test_impossible_bodies_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**({"channels": NARROW, "size": SIZE} | options))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: localizer(variant="code"), "variant must be one of 'paper', 'authors'"),
        (lambda: localizer(init="zeros"), "init must be one of"),
        (lambda: localizer(burn_in=-1), "burn_in must be at least 0"),
        (lambda: localizer(amplitude=0), "amplitude must be positive"),
        (lambda: localizer(readout_seed=-1), "readout_seed must be at least 0"),
        (lambda: localizer(constants=DecolleConstants(alpha=2)), "alpha must lie in"),
        (lambda: localizer()(noise_frames(3, 2, 1, 12, 12)), r"frame must be \[B, 1, 12, 16\], got \(2, 1, 12, 12\)"),
        (lambda: localizer()(torch.zeros(3, 2, 12, 16)), r"frame must be \[B, 1, 12, 16\], got \(2, 12, 16\)"),
        (lambda: surrogate_localizer(beta=1.2), "beta must lie in"),
        (lambda: surrogate_localizer(threshold=0), "threshold must be positive"),
        (lambda: surrogate_localizer()(torch.zeros(2, 1, 12, 16)), r"frames must be \[T, B, 1, 12, 16\]"),
        (lambda: surrogate_localizer()(torch.zeros(0, 2, 1, 12, 16)), r"frames must be \[T, B, 1, 12, 16\]"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
