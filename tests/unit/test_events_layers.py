"""The event-driven first layer against the dense one."""

import pytest
import torch
from test_events_files import random_events
from torch import nn

from spikelab.events import EventLinear, event_currents, frames, make_events, sparse_frames, sparsify

SIZE = (6, 7)
WINDOW_US = 30_000


@pytest.fixture
def recordings():
    return [random_events(count, seed, last_us=310_000, size=SIZE) for seed, count in enumerate((900, 0, 40, 300))]


def dense_frames(recordings, num_steps, **options):
    return torch.stack([frames(one, num_steps, WINDOW_US, size=SIZE, **options) for one in recordings], dim=1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mode", ["count", "binary"])
@pytest.mark.parametrize("polarity", ["split", "merge", "signed"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_equal_the_dense_layer(recordings, mode, polarity, bias, dtype, tolerance):
    given = dense_frames(recordings, 10, mode=mode, polarity=polarity)
    torch.manual_seed(0)
    dense = nn.Linear(given[0, 0].numel(), 11, bias=bias).to(dtype)
    event = EventLinear.from_linear(dense)
    sparse = sparse_frames(recordings, 10, WINDOW_US, size=SIZE, mode=mode, polarity=polarity)
    expected, currents = dense(given.flatten(2).to(dtype)), event(sparse)
    assert currents.shape == (10, 4, 11)
    assert torch.allclose(currents, expected, rtol=0, atol=tolerance)
    slope = torch.randn_like(expected) / expected.numel()
    expected.backward(slope)
    currents.backward(slope)
    assert torch.allclose(event.weight.grad, dense.weight.grad.T, rtol=0, atol=tolerance)
    if bias:
        assert torch.allclose(event.bias.grad, dense.bias.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_frames_made_sparse_equal_frames_never_made(recordings, dtype):
    for mode in ("count", "binary"):
        made = sparsify(dense_frames(recordings, 10, mode=mode).to(dtype))
        layer = EventLinear(made.in_features, 5)
        direct = layer(sparse_frames(recordings, 10, WINDOW_US, size=SIZE, mode=mode))
        assert torch.allclose(layer(made), direct, rtol=0, atol=1e-5)
        assert made.batch == 4


def test_binary_frames_need_no_weights(recordings):
    assert sparsify(dense_frames(recordings, 10, mode="binary")).weights is None
    assert sparse_frames(recordings, 10, WINDOW_US, size=SIZE).weights is None


def test_no_event_at_all_is_the_bias():
    layer = EventLinear(2 * 34 * 34, 3, bias=True)
    currents = layer(sparse_frames([make_events([], [], [], [])] * 2, 4, 1_000))
    assert torch.equal(currents, layer.bias.expand(4, 2, 3))


def test_sparse_frames_move_with_their_weights(recordings):
    sparse = sparse_frames(recordings, 10, WINDOW_US, size=SIZE, polarity="signed").to("meta")
    assert {sparse.indices.device.type, sparse.offsets.device.type, sparse.weights.device.type} == {"meta"}


def test_currents_of_three_events_are_rows_of_the_weights():
    weight = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
    currents = event_currents(torch.tensor([0, 2, 2]), torch.tensor([1, 0, 0]), weight, 4)
    assert currents.tolist() == [[10, 20], [0, 0], [2, 4], [0, 0]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_currents_equal_counts_times_weights(seed):
    generator = torch.Generator().manual_seed(seed)
    step = torch.randint(20, (500,), generator=generator)
    address = torch.randint(30, (500,), generator=generator)
    weight = torch.randn(30, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    counts = torch.zeros(20, 30, dtype=torch.float64)
    counts.index_put_((step, address), torch.ones(500, dtype=torch.float64), accumulate=True)
    currents = event_currents(step, address, weight, 20)
    assert torch.allclose(currents, counts @ weight, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(currents.square().sum(), weight)
    (expected,) = torch.autograd.grad((counts @ weight).square().sum(), weight)
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-9)


def test_the_layer_starts_like_a_linear_layer():
    torch.manual_seed(0)
    layer, dense = EventLinear(400, 300, bias=True), nn.Linear(400, 300)
    assert layer.weight.abs().max() <= 0.05
    assert layer.weight.std().item() == pytest.approx(dense.weight.std().item(), rel=0.02)
    assert "in_features=400, out_features=300, bias=True" in repr(layer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EventLinear(5, 3)(sparsify(torch.zeros(2, 1, 6))), "frames have 6 addresses, but the layer has 5"),
        (lambda: EventLinear(0, 3), "in_features must be at least 1"),
        (lambda: sparse_frames([], 3, 10), "at least one recording"),
        (lambda: sparse_frames([random_events(9, 0)[::-1]], 3, 10), "recording 0: time runs backwards"),
        (lambda: sparse_frames([random_events(9, 0)], 3, 0), "window_us must be positive"),
        (lambda: sparse_frames([random_events(9, 0)], 3, 10, mode="bits"), "mode must be one of"),
        (lambda: sparse_frames([random_events(9, 0)], 3, 10, polarity="x"), "polarity must be one of"),
        (lambda: sparsify(torch.zeros(3, 4)), "at least three axes"),
        (lambda: sparsify([1]), "got list"),
        (lambda: event_currents(torch.tensor([4]), torch.tensor([0]), torch.ones(2, 2), 4), r"step must lie in 0\.\.3"),
        (lambda: event_currents(torch.tensor([0]), torch.tensor([-1]), torch.ones(2, 2), 4), "address must lie in"),
        (lambda: event_currents(torch.tensor([0]), torch.tensor([0, 1]), torch.ones(2, 2), 4), "must both be"),
        (lambda: event_currents(torch.tensor([0]), torch.tensor([0]), torch.ones(2), 4), r"weight.*\[N, M\]"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
