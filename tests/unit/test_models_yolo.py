import pytest
import torch
from torch import nn

from spikelab.detection import Objects, detect, yolo_loss
from spikelab.energy import count_operations, dense_macs
from spikelab.models.conversion import convert
from spikelab.models.yolo import DECODERS, SHORTCUTS, SpikingYolo, YoloSize, centred

SMALLEST = YoloSize(0.25, (0, 1, 0, 0, 2), 0)


def make(**options):
    options = {"picture": 64, "num_classes": 3, "num_steps": 3, **options}
    return SpikingYolo(SMALLEST, generator=torch.Generator().manual_seed(0), **options)


def pictures(count=2, side=64, seed=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def settle(model):
    """Give running statistics something to be of, and return the model ready for evaluation."""
    model.train()
    with torch.no_grad():
        for seed in range(8):
            model(pictures(4, seed=seed))
    return model.eval()


def currents_of(model, images):
    """The heads' currents ``[T, B, ...]``, before any decoder."""
    seen = []
    hooks = [head.output.register_forward_hook(lambda m, i, o: seen.append(o)) for head in model.heads]
    heads = model(images).heads
    for hook in hooks:
        hook.remove()
    return heads, [current.unflatten(0, (model.num_steps, -1)) for current in seen]


# The network of the paper


def test_full_size_is_darknet_53_with_a_pyramid_and_three_heads():
    with torch.device("meta"):
        model = SpikingYolo("full", neurons="relu")
        macs = dense_macs(model, torch.zeros(1, 3, 416, 416))
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 76
    assert sum(weight.numel() for weight in model.parameters()) == 62_675_649
    assert macs == 32_891_196_416
    assert [head.output.out_channels for head in model.heads] == [75, 75, 75]


@pytest.mark.slow
def test_full_size_learns_a_step_at_96_pixels():
    model = SpikingYolo("full", picture=96, num_steps=2, generator=torch.Generator().manual_seed(0))
    output = model(pictures(1, 96))
    assert [tuple(head.shape) for head in output.heads] == [(1, 75, 3, 3), (1, 75, 6, 6), (1, 75, 12, 12)]
    objects = [Objects(torch.tensor([[0.1, 0.2, 0.7, 0.8]]), torch.tensor([7]))]
    yolo_loss(output.heads, objects, model.layout).total.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert all(head.output.weight.grad.abs().sum() > 0 for head in model.heads)
    assert model.stem.convolution.weight.grad.abs().sum() > 0


# Time


def test_the_first_convolution_is_made_once():
    model, seen = make(), []
    model.stem.convolution.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].shape))
    model(pictures())
    assert seen == [(2, 3, 64, 64)]


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_a_step_knows_nothing_of_later_steps(shortcut):
    model = settle(make(shortcut=shortcut, num_steps=4))
    long = model(pictures()).hidden
    model.num_steps = 2
    short = model(pictures()).hidden
    assert len(long) == len(short) > 20
    assert all(torch.equal(a[:2], b) for a, b in zip(long, short, strict=True))
    assert any(not torch.equal(a[0], a[3]) for a in long)


def test_samples_do_not_see_each_other_through_the_folded_time():
    model = settle(make())
    both, second = model(pictures()).heads, model(pictures()[1:]).heads
    assert all(torch.allclose(a[1:], b, atol=1e-5) for a, b in zip(both, second, strict=True))


def test_spikes_are_single_and_shortcuts_of_spikes_add_up():
    for shortcut, most in (("spikes", 3), ("currents", 1)):
        model = settle(make(shortcut=shortcut))
        largest = []

        def look(_, inputs, largest=largest):
            largest.append(inputs[0].unique())

        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module is not model.stem.convolution:
                module.register_forward_pre_hook(look)
        output = model(pictures())
        assert all(set(spikes.unique().tolist()) <= {0.0, 1.0} for spikes in output.hidden)
        values = set(torch.cat(largest).tolist())
        assert values <= set(map(float, range(most + 1)))
        assert max(values) >= min(most, 2), f"shortcut {shortcut} never summed"


# Decoders


@pytest.mark.parametrize("decode", DECODERS)
def test_decoders_read_the_same_currents_differently(decode):
    model = settle(make(decode=decode, initial_charge=0.5))
    heads, currents = currents_of(model, pictures())
    for head, current in zip(heads, currents, strict=True):
        if decode == "rate":
            membrane, count = torch.full_like(current[0], 0.5), torch.zeros_like(current[0])
            for drive in current:
                membrane = membrane + drive
                fired = (membrane > 1).float()
                membrane, count = membrane - fired, count + fired
            expected = count / 3
        else:
            first, second, third = current
            expected = {
                "current_mean": (first + second + third) / 3,
                "current_sum": first + second + third,
                "last_membrane": 0.81 * first + 0.9 * second + third,
                "last_current": third,
            }[decode]
        assert torch.allclose(head, expected, atol=1e-5)


def test_the_current_mean_is_a_linear_layer_on_rates():
    model, seen = settle(make()), []
    head = model.heads[0]
    head.output.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    output = model(pictures())
    rates = seen[0].unflatten(0, (3, -1)).mean(0)
    assert torch.allclose(head.output(rates), output.heads[0], atol=1e-5)


def test_rates_stand_for_the_numbers_of_their_range():
    raw = settle(make(decode="rate"))
    mapped = settle(make(decode="rate", rate_range=(-4, 4)))
    mapped.load_state_dict(raw.state_dict())
    for rate, number in zip(raw(pictures()).heads, mapped(pictures()).heads, strict=True):
        assert rate.min() >= 0
        assert rate.max() <= 1
        assert torch.allclose(number, 8 * rate - 4)


def test_an_untrained_network_says_that_there_is_hardly_anything():
    for options in ({}, {"neurons": "clamped"}, {"decode": "rate", "rate_range": (-4, 4)}):
        model = settle(make(**options))
        sure = torch.cat([head.unflatten(1, (3, 8))[:, :, 4].flatten() for head in model(pictures()).heads]).sigmoid()
        assert sure.mean() < 0.05


# Twins


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_twins_have_the_same_weights_by_name_and_shape(shortcut):
    spiking = {name: value.shape for name, value in make(shortcut=shortcut).state_dict().items()}
    for neurons in ("clamped", "relu", "leaky_relu"):
        twin = make(neurons=neurons, shortcut=shortcut).state_dict()
        assert {name: value.shape for name, value in twin.items()} == spiking


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_over_many_steps_a_spiking_network_becomes_its_clamped_twin(shortcut):
    twin = settle(make(neurons="clamped", shortcut=shortcut))
    spiking = make(shortcut=shortcut, initial_charge=0.5)
    spiking.load_state_dict(twin.state_dict())
    spiking.eval()
    with torch.no_grad():
        target = torch.cat([head.flatten(1) for head in twin(pictures()).heads], 1)
        gaps = []
        for spiking.num_steps in (2, 8, 32, 128):
            answer = torch.cat([head.flatten(1) for head in spiking(pictures()).heads], 1)
            gaps.append(float((answer - target).std() / target.std()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.02 < gaps[0]


def test_a_relu_twin_can_be_converted():
    twin = settle(make(neurons="relu"))
    with torch.no_grad():
        target = twin(pictures()).heads
        network = convert(twin.plain().eval(), centred(pictures(4, seed=5)), percentile=100.0)
        result = network(centred(pictures()), 256)
    for head, expected in zip(result.output, target, strict=True):
        assert (head - expected).abs().mean() < 0.05 * expected.std()


def test_only_twins_can_be_converted():
    with pytest.raises(ValueError, match="relu"):
        make().plain()


# Learning


@pytest.mark.parametrize("checkpoint", [False, True])
def test_spike_trains_are_kept_where_they_are_asked_for(checkpoint):
    model = make(checkpoint=checkpoint, keep_spikes=False)
    output = model(pictures())
    assert output.hidden == ()
    model.keep_spikes = True
    kept = model(pictures())
    assert [rate.item() for rate in output.rates] == [spikes.mean().item() for spikes in kept.hidden]
    assert len(output.rates) > 20
    model.keep_spikes = False
    assert model.eval()(pictures()).hidden


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_learning_in_little_memory_is_learning(shortcut, reset):
    """Fused layers against plain ones: normalisation of another class is not fused, convolutions keep their inputs."""

    class PlainNorm(nn.BatchNorm2d):
        pass

    results = []
    for plain in (False, True):
        model = make(shortcut=shortcut, reset=reset, initial_charge=0.5).double()
        for module in model.modules() if plain else ():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = PlainNorm
            elif isinstance(module, nn.Conv2d):
                module.__class__ = nn.Conv2d
        output = model(pictures().double())
        sum(head.square().mean() for head in output.heads).backward()
        results.append([*(weight.grad for weight in model.parameters()), *output.heads, *model.buffers()])
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-11) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_recomputing_stages_changes_no_gradient_and_no_statistics(shortcut):
    results = []
    for checkpoint in (False, True):
        model = make(shortcut=shortcut, checkpoint=checkpoint).double()
        output = model(pictures().double())
        sum(head.square().mean() for head in output.heads).backward()
        gradients = [weight.grad for weight in model.parameters()]
        results.append((gradients, list(model.buffers()), output.hidden))
    (gradients, buffers, hidden), (gradients2, buffers2, hidden2) = results
    assert all(torch.equal(a, b) for a, b in zip(gradients, gradients2, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(buffers, buffers2, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(hidden, hidden2, strict=True))


def test_tdbn_gives_added_branches_less():
    model = make(norm="tdbn")
    block = model.stages[1].blocks[0]
    assert torch.allclose(block.second.norm.weight, torch.tensor(0.5).sqrt())
    assert torch.equal(block.first.norm.weight, torch.ones(16))
    assert torch.equal(make().stages[1].blocks[0].second.norm.weight, torch.ones(32))


def test_learns_to_find_one_picture_by_heart():
    model = make(initial_charge=0.5, num_steps=2)
    images = pictures(1)
    objects = [Objects(torch.tensor([[0.25, 0.25, 0.75, 0.875]]), torch.tensor([2]))]
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        loss = yolo_loss(model(images).heads, objects, model.layout).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = detect(model(images).heads, model.layout, score_threshold=0.25)[0]
    assert found.labels[0] == 2
    assert (found.boxes[0] - objects[0].boxes[0]).abs().max() < 0.06


def test_operations_of_spikes_are_additions():
    operations = count_operations(settle(make()), pictures())
    macs = {layer.name: layer.macs for layer in operations.layers if layer.macs}
    assert list(macs) == ["stem.convolution"]
    assert macs["stem.convolution"] == 64 * 64 * 8 * 27
    assert operations.acs > 0
    assert not operations.uncounted


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"picture": 100}, "multiple of every stride"),
        ({"neurons": "sigmoid"}, "neurons must be"),
        ({"decode": "vote"}, "decode must be"),
        ({"decode": "current_sum", "neurons": "clamped"}, "knows no time"),
        ({"rate_range": (1, 0), "decode": "rate"}, "rate_range"),
        ({"num_steps": 0}, "num_steps"),
        ({"initial_charge": 2.0}, "initial_charge"),
        ({"norm": "layer"}, "norm must be"),
        ({"beta": 1.5}, "beta"),
    ],
)
def test_refuses_what_it_cannot_build(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("size", ["huge", (0.25, (1, 1), 0), (0.0, (0, 0, 0, 0, 0), 0), 3])
def test_refuses_unknown_sizes(size):
    with pytest.raises(ValueError, match=r"size|width"):
        SpikingYolo(size)


def test_refuses_pictures_that_no_grid_fits():
    with pytest.raises(ValueError, match="96 x 100"):
        make()(torch.rand(1, 3, 96, 100))
