"""Operations: counted by hand, by convolutions with ones, and one spike at a time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikelab.energy import (
    DRAM_WORD_PJ,
    FLOAT32_45NM,
    INT8_45NM,
    SRAM_WORD_PJ,
    LayerOperations,
    Operations,
    break_even_rate,
    chip_energy_j,
    count_operations,
    energy_pj,
    memory_traffic,
    paper_2_energy,
    synaptic_operations,
)
from spikelab.models.localizer import DecolleLocalizer, SurrogateLocalizer
from spikelab.neurons import lif
from spikelab.plasticity import DecolleLayer, DecolleNetwork, FixedReadout, decolle_mlp

SHAPES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 5, "stride": 2, "padding": 2},
    {"kernel_size": 3, "stride": 3},
    {"kernel_size": (3, 1), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 2, "padding_mode": "circular", "stride": 2},
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def spikes(*shape, largest=1, seed=0):
    return torch.randint(0, largest + 1, shape, generator=generator(seed)).float()


def picture(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def with_ones(conv):
    """The convolution with all weights 1: the sum of its outputs is the number of synapses that were used."""
    conv = nn.Conv2d(**{**SAME, **conv}, bias=False)
    nn.init.ones_(conv.weight)
    return conv


SAME = {"in_channels": 4, "out_channels": 6}


class Spiking(nn.Module):
    """Direct coding, one hidden convolution of spikes with a residual sum, a linear readout of their mean current."""

    def __init__(self, num_steps=3, folded=True):
        super().__init__()
        self.num_steps, self.folded = num_steps, folded
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.inner = nn.Conv2d(2, 2, 3, padding=1)
        self.readout = nn.Linear(2 * 6 * 6, 4)
        for layer in (self.stem, self.inner):
            nn.init.uniform_(layer.weight, 0.0, 0.3, generator=generator())

    def forward(self, images):
        if self.folded:
            drive = self.norm(self.stem(images)).expand(self.num_steps, -1, -1, -1, -1)
        else:
            drive = torch.stack([self.norm(self.stem(images)) for _ in range(self.num_steps)])
        self.first = lif(drive, beta=0.9).spikes
        self.sum = self.first + lif(self.per_step(self.inner, self.first), beta=0.9).spikes
        return self.per_step(self.readout, self.sum.flatten(2)).mean(0)

    @staticmethod
    def per_step(layer, signal):
        return layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])


def by_name(operations):
    return {layer.name: layer for layer in operations.layers}


def test_convolution_and_linear_layer_worked_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 6, 10))
    found = count_operations(net, picture(2, 3, 10, 12) + 0.1)
    conv, linear = found.layers
    assert (conv.name, linear.name) == ("0", "3")
    assert conv.macs == 5 * 6 * 8 * 3 * 9  # output places × maps × inputs of each
    assert linear.macs == 240 * 10
    assert (found.macs, found.acs) == (6480 + 2400, 0)
    assert found.parameters == 3 * 8 * 9 + 8 + 2400 + 10
    # Without the padding: 14 of 15 taps of the rows, 17 of 18 of the columns.
    assert conv.macs_nonzero == 14 * 17 * 8 * 3


def test_first_convolution_of_yolov3_has_149_520_384():
    assert count_operations(nn.Conv2d(3, 32, 3, padding=1), picture(1, 3, 416, 416)).macs == 149_520_384


def test_zeros_behind_a_relu_are_counted_out():
    net = nn.Sequential(nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 5, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.5, 0, 0, 0], [-1, 0, 0, 0]]))
    found = count_operations(net, torch.full((3, 4), 0.7))
    assert [layer.macs for layer in found.layers] == [8, 10]
    assert [layer.macs_nonzero for layer in found.layers] == [8, 5]
    assert found.layers[1].nonzero == 0.5


@pytest.mark.parametrize(("place", "reached"), [((0, 0), 16), ((0, 3), 24), ((3, 3), 36)])
def test_spike_in_the_corner_reaches_fewer_than_one_in_the_middle(place, reached):
    frame = torch.zeros(1, 1, 8, 8)
    frame[0, 0, *place] = 1
    assert count_operations(nn.Conv2d(1, 4, 3, padding=1), frame).acs == reached


def test_spike_of_value_three_costs_three():
    frame = torch.zeros(1, 1, 8, 8)
    frame[0, 0, 3, 3] = 3
    (layer,) = count_operations(nn.Conv2d(1, 4, 3, padding=1), frame).layers
    assert (layer.acs, layer.spikes, layer.nonzero) == (108, 3, 1 / 64)
    assert (layer.macs, layer.macs_nonzero) == (0, 0)
    frame[0, 0, 3, 3] = -3  # a signed spike
    assert count_operations(nn.Conv2d(1, 4, 3, padding=1), frame).acs == 108


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_additions_are_the_synapses_that_a_convolution_with_ones_adds_up(shape, seed):
    conv, frames = with_ones(shape), spikes(5, 4, 9, 8, largest=2, seed=seed)
    (layer,) = count_operations(conv, frames).layers
    assert layer.acs * 5 == pytest.approx(conv(frames).sum().item(), rel=1e-6)
    assert layer.spikes * 5 == frames.sum().item()


@pytest.mark.parametrize("shape", SHAPES)
def test_multiplications_by_hand_and_those_by_something(shape):
    conv, images = with_ones(shape), picture(5, 4, 9, 8) * spikes(5, 4, 9, 8, seed=3)
    (layer,) = count_operations(conv, images).layers
    rows, columns = conv(images).shape[-2:]
    groups, kernel = conv.groups, conv.kernel_size
    assert layer.macs == rows * columns * 6 * (4 // groups) * kernel[0] * kernel[1]
    assert layer.macs_nonzero * 5 == pytest.approx(conv((images != 0).float()).sum().item(), rel=1e-6)
    assert layer.macs_nonzero < layer.macs


def test_linear_layer_adds_its_outputs_for_each_spike():
    frames = spikes(6, 2, 7, largest=2)  # [T, B, N]
    (layer,) = count_operations(nn.Linear(7, 11), frames).layers
    assert layer.acs == frames.sum().item() * 11 / 2


@pytest.mark.parametrize("folded", [True, False])
def test_direct_coding_multiplies_once_and_adds_at_every_step(folded):
    model, images = Spiking(folded=folded), picture(5, 1, 6, 6)
    found = by_name(count_operations(model, images))
    assert found["stem"].macs == 36 * 2 * 9
    assert found["stem"].acs == 0
    assert found["inner"].macs == found["readout"].macs == 0
    assert model.first.sum() > 0
    ones = F.conv2d(model.first.flatten(0, 1), torch.ones(2, 2, 3, 3), padding=1)
    assert found["inner"].acs == pytest.approx(ones.sum().item() / 5)
    assert model.sum.max() == 2  # a residual sum
    assert found["readout"].acs == pytest.approx(model.sum.sum().item() * 4 / 5)


def test_picture_given_to_every_step_is_multiplied_once_in_a_folded_call():
    images = picture(5, 1, 6, 6)
    shown = images.expand(4, 5, 1, 6, 6).flatten(0, 1)
    conv = nn.Conv2d(1, 2, 3, padding=1)
    assert count_operations(conv, shown, samples=5).macs == 36 * 2 * 9
    moving = torch.cat([shown[:15], shown[15:] + 0.5])  # changes before the last of four steps
    assert count_operations(conv, moving, samples=5).macs == 2 * 36 * 2 * 9
    assert count_operations(conv, picture(20, 1, 6, 6), samples=5).macs == 4 * 36 * 2 * 9
    assert count_operations(nn.Linear(6, 3), picture(5, 6).expand(4, 5, 6)).macs == 18


def test_equal_rows_of_one_sample_are_all_multiplied():
    tokens = torch.full((1, 9, 6), 0.5)  # nine places of one map
    assert count_operations(nn.Linear(6, 3), tokens, samples=1).macs == 9 * 18
    assert count_operations(nn.Linear(6, 3), torch.full((2, 9, 6), 0.5), samples=2).macs == 9 * 18


def test_input_changed_in_place_between_steps_is_another_input():
    class Drifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, signal):
            signal = signal.clone()
            for _ in range(4):
                self.layer(signal)
                signal += 0.25
            return signal

    assert count_operations(Drifting(), picture(1, 3)).macs == 4 * 6


@pytest.mark.parametrize(
    ("values", "additions"),
    [
        (torch.tensor([[0.0, 1, 15]]), 16),
        (torch.tensor([[True, False, True]]), 2),
        (torch.zeros(1, 3), 0),
    ],
)
def test_small_whole_numbers_are_spikes(values, additions):
    (layer,) = count_operations(Counted(3, 2), values).layers
    assert (layer.acs, layer.macs) == (2 * additions, 0)


@pytest.mark.parametrize("values", [[[0.0, 1, 0.5]], [[0.0, 1, 16]], [[200.0, 10, 255]]])
def test_fractions_and_bytes_are_no_spikes(values):
    (layer,) = count_operations(Counted(3, 2), torch.tensor(values)).layers
    assert (layer.acs, layer.macs) == (0, 6)


class Counted(nn.Linear):
    """A linear layer that takes whole numbers and truth values too."""

    def forward(self, values):
        return super().forward(values.to(self.weight.dtype))


def test_decolle_layer_pays_for_the_spikes_that_arrive_and_not_for_its_trace():
    conv = nn.Conv2d(1, 2, 3, padding=1)
    nn.init.ones_(conv.weight)
    layers = [DecolleLayer(conv, after=nn.MaxPool2d(2)), DecolleLayer(nn.Linear(18, 5))]
    readouts = [FixedReadout(4, 18, seed=0), FixedReadout(4, 5, seed=1)]
    net = DecolleNetwork(layers, readouts, input_shape=(1, 6, 6))
    frames = list(spikes(8, 3, 1, 6, 6))
    state, arrived = net.rest(3), 0.0
    for frame in frames:
        out = net.advance(frame, state)
        state, arrived = out.state, arrived + out.spikes[0].sum().item()
    assert arrived > 0
    found = by_name(count_operations(net, frames))
    assert set(found) == {"layers.0", "layers.1", "readouts.0", "readouts.1"}
    ones = F.conv2d(torch.cat(frames), torch.ones(2, 1, 3, 3), padding=1)
    assert found["layers.0"].acs == pytest.approx(ones.sum().item() / 3)
    assert found["layers.1"].acs == pytest.approx(arrived * 5 / 3)
    assert found["layers.0"].macs == found["layers.1"].macs == 0
    assert found["readouts.0"].macs == 8 * 18 * 4  # they see sigmoids, at every step


def test_localizer_of_paper_1_pays_for_spikes_their_sums_and_their_copies():
    frames = list(spikes(6, 2, 1, 12, 16))
    net = DecolleLocalizer((6, 8, 10, 8, 6, 4), (12, 16), generator=generator(1))
    state, expected = net.rest(2), [0.0] * 6
    double = lambda maps: F.interpolate(maps, scale_factor=2)  # noqa: E731
    for frame in frames:
        out = net.advance(frame, state)
        state, fired = out.state, out.spikes
        sums = [double(fired[3]) + double(fired[1]), double(fired[4]) + double(fired[0])]
        for k, arriving in enumerate((frame, *fired[:3], *sums)):
            weight = torch.ones_like(net.layers[k].synapse.weight)
            expected[k] += F.conv2d(arriving, weight, padding=(2, 1, 1, 1, 1, 1)[k]).sum().item() / 2
    assert min(expected) > 0
    found = by_name(count_operations(net, frames))
    assert [found[f"layers.{k}"].acs for k in range(6)] == pytest.approx(expected)
    assert all(found[f"layers.{k}"].macs == 0 for k in range(6))
    assert found["readouts.5"].macs == 6 * 4 * 4 * 12 * 16


def test_twin_of_that_localizer_adds_for_spikes_and_multiplies_their_mean_in_the_readout():
    net = SurrogateLocalizer((6, 8, 10, 8, 6, 4), (12, 16), generator=generator(1))
    found = by_name(count_operations(net, spikes(6, 2, 1, 12, 16)))
    assert sum(layer.acs for layer in found.values()) > 0
    assert [name for name, layer in found.items() if layer.macs] == ["readout"]
    assert found["readout"].macs == 4 * 12 * 16 * 4


def test_decolle_by_the_tensor_list_and_iterator_is_the_same():
    net = decolle_mlp((12, 6, 6), 3, generator=generator())
    frames = spikes(5, 2, 12)
    expected = count_operations(net, frames)
    assert expected.acs > 0
    assert count_operations(net, list(frames)) == expected
    assert count_operations(net, iter(frames), samples=2) == expected


def test_readouts_that_only_learning_needs_can_be_left_out():
    net = decolle_mlp((12, 6, 6), 3, generator=generator())
    found = count_operations(net, spikes(5, 2, 12))
    assert set(by_name(found.without("readouts"))) == {"layers.0", "layers.1"}
    assert found.without("readouts").macs == 0
    assert found.without("readouts").acs == found.acs


def test_counts_are_means_over_samples():
    model, images = Spiking().eval(), picture(4, 1, 6, 6)
    each = [count_operations(model, image[None]).acs for image in images]
    assert len(set(each)) > 1
    assert count_operations(model, images).acs == pytest.approx(sum(each) / 4)


def test_network_is_left_as_it_was():
    model = Spiking().train()
    model.norm.eval()  # a frozen normalisation
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_operations(model, picture(2, 1, 6, 6))
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    with pytest.raises(RuntimeError):
        count_operations(model, picture(2, 3, 6, 6))
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_layer_that_is_not_counted_is_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 1, 3))
    found = count_operations(net, picture(1, 1, 6, 6))
    assert found.uncounted == ("2",)
    assert set(by_name(found)) == {"0"}


def test_totals_and_result_file_hold_every_layer():
    layers = (LayerOperations("a", 10.0, 8.0, 0.0, 0.0, 0.8), LayerOperations("b", 0.0, 0.0, 7.0, 2.0, 0.1))
    operations = Operations(layers, parameters=5)
    assert (operations.macs, operations.macs_nonzero, operations.acs) == (10, 8, 7)
    assert operations.as_dict() == {
        "macs": 10,
        "macs_nonzero": 8,
        "acs": 7,
        "parameters": 5,
        "uncounted": [],
        "layers": {
            "a": {"macs": 10, "macs_nonzero": 8, "acs": 0, "spikes": 0, "nonzero": 0.8},
            "b": {"macs": 0, "macs_nonzero": 0, "acs": 7, "spikes": 2, "nonzero": 0.1},
        },
    }


def test_energy_is_priced_from_the_table():
    layer = LayerOperations("all", 1e9, 1e9, 2e9, 0.0, 1.0)
    operations = Operations((layer,), parameters=0)
    assert energy_pj(operations) == pytest.approx(6.4e9)  # 6.4 mJ
    assert energy_pj(operations, mac=0.3, ac=0.1) == pytest.approx(0.5e9)
    assert energy_pj(operations, ac=0) == pytest.approx((3.7 + 0.9) * 1e9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_operations(nn.Linear(2, 2), iter([])), "samples must be given.*first input, list_iterator"),
        (lambda: count_operations(nn.Linear(2, 2)), "samples must be given"),
        (lambda: count_operations(nn.Linear(2, 2), picture(1, 2), samples=0), "samples must be at least 1"),
        (lambda: energy_pj(Operations((), 0), mac=-1), "mac must be zero or more"),
    ],
)
def test_what_cannot_be_counted_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Chapter 13. The digit scenes' detector: its multiplications as ANN, and in four steps of spikes.
ANN_MACS, ANN_NONZERO = 3_772_608, 1_700_000
FIRST_MACS, SPIKING_ACS, NEURONS = 112_896, 1_397_171, 25_088


def totals(macs=0.0, acs=0.0):
    return Operations((LayerOperations("all", macs, macs, acs, 0.0, 1.0),), parameters=0)


def test_prices_of_the_detector_of_digit_scenes_in_float_and_in_bytes():
    table = FLOAT32_45NM
    assert table.energy_pj(ANN_MACS) / 1e6 == pytest.approx(17.35, abs=0.005)
    assert table.energy_pj(FIRST_MACS, SPIKING_ACS) / 1e6 == pytest.approx(1.78, abs=0.005)
    assert table.energy_pj(ANN_MACS) / table.energy_pj(FIRST_MACS, SPIKING_ACS) == pytest.approx(9.8, abs=0.05)
    assert table.energy_pj(ANN_NONZERO) / 1e6 == pytest.approx(7.82, abs=0.005)
    assert INT8_45NM.energy_pj(ANN_MACS) / 1e6 == pytest.approx(1.13, abs=0.005)
    assert INT8_45NM.energy_pj(FIRST_MACS, SPIKING_ACS) / 1e6 == pytest.approx(0.174, abs=0.0005)
    assert INT8_45NM.energy_pj(ANN_MACS) / INT8_45NM.energy_pj(FIRST_MACS, SPIKING_ACS) == pytest.approx(6.5, abs=0.05)


def test_table_and_function_agree_and_a_table_can_be_changed():
    operations = totals(1e9, 2e9)
    assert FLOAT32_45NM.energy_pj(operations.macs, operations.acs) == energy_pj(operations) == pytest.approx(6.4e9)
    assert FLOAT32_45NM._replace(mac=1.0, ac=0.5, word=2.0).energy_pj(3, 4, 5) == pytest.approx(15)
    assert FLOAT32_45NM.mac / FLOAT32_45NM.ac == pytest.approx(5.1, abs=0.02)


def test_figure_4_of_paper_2_is_199_and_133_times_and_not_158():
    ann = FLOAT32_45NM.energy_pj(66.19e9) / 1e12
    assert ann == pytest.approx(0.304, abs=0.001)
    for steps, millijoules, ratio in ((4, 1.53, 199), (6, 2.30, 133), (5, None, 159.2)):
        spiking = FLOAT32_45NM.energy_pj(acs=0.425e9 * steps) / 1e12
        assert millijoules is None or spiking * 1e3 == pytest.approx(millijoules, abs=0.006)
        assert ann / spiking == pytest.approx(ratio, abs=0.5)
    operations = 66.19 / 0.425
    assert operations == pytest.approx(155.7, abs=0.05)


def test_table_1_of_paper_2_uses_400_where_its_text_says_300():
    ours, conversion = (4.25e8, 6), (4.9e7, 3500)
    assert paper_2_energy(*ours) == pytest.approx(6.375e-6)
    assert paper_2_energy(*conversion) == pytest.approx(4.2875e-4)
    assert paper_2_energy(*ours, 300) == pytest.approx(8.5e-6)
    assert paper_2_energy(*conversion, 300) == pytest.approx(5.7167e-4, rel=1e-4)
    for efficiency in (300, 400):
        ratio = paper_2_energy(*conversion, efficiency) / paper_2_energy(*ours, efficiency)
        assert ratio == pytest.approx(67.25, abs=0.01)


def test_joules_on_the_chip_are_a_thousand_times_the_table():
    assert chip_energy_j(4.25e8, 6, 400) == pytest.approx(6.375e-3)
    assert chip_energy_j(4.9e7, 3500) == pytest.approx(0.43, abs=0.002)
    assert chip_energy_j(4.25e8, 6) / paper_2_energy(4.25e8, 6) == pytest.approx(1000)
    base = FLOAT32_45NM.energy_pj(acs=0.425e9 * 6) / 1e12
    assert base / paper_2_energy(4.25e8, 6) == pytest.approx(360, abs=1)
    assert chip_energy_j(2e8, 3, 100) == 4 * chip_energy_j(1e8, 3, 200)


@pytest.mark.parametrize(
    ("num_steps", "rate"), [(1, 5.11), (4, 1.28), (6, 0.852), (16, 0.32), (128, 0.040), (3500, 0.00146)]
)
def test_break_even_rates(num_steps, rate):
    assert break_even_rate(num_steps) == pytest.approx(rate, rel=0.005)


def test_break_even_moves_with_precision_and_zeros():
    assert break_even_rate(4, mac=INT8_45NM.mac) == pytest.approx(0.083, abs=0.0005)
    assert break_even_rate(4, zeros=0.5) == pytest.approx(break_even_rate(8))
    assert break_even_rate(51) > 0.1 > break_even_rate(52)


@pytest.mark.parametrize(("num_steps", "zeros"), [(1, 0.0), (4, 0.5), (17, 0.3)])
def test_at_the_break_even_rate_both_pay_the_same(num_steps, zeros):
    synapses = 1e6
    acs = break_even_rate(num_steps, zeros=zeros) * num_steps * synapses
    assert energy_pj(totals(acs=acs)) == pytest.approx(energy_pj(totals(macs=(1 - zeros) * synapses)))


def test_memory_eats_most_of_the_gain():
    membranes = memory_traffic(totals(), neurons=NEURONS, num_steps=4)
    assert membranes == (0, 2 * 4 * NEURONS)
    assert membranes.words * SRAM_WORD_PJ / 1e6 == pytest.approx(1.00, abs=0.005)
    assert memory_traffic(totals(acs=SPIKING_ACS)).words * SRAM_WORD_PJ / 1e6 == pytest.approx(6.99, abs=0.005)
    spiking, ann = totals(FIRST_MACS, SPIKING_ACS), totals(ANN_MACS)
    words = memory_traffic(spiking, neurons=NEURONS, num_steps=4).words
    spiking_pj = FLOAT32_45NM.energy_pj(spiking.macs, spiking.acs, words)
    ann_pj = FLOAT32_45NM.energy_pj(ann.macs, words=memory_traffic(ann).words)
    assert spiking_pj / 1e6 == pytest.approx(9.8, abs=0.05)
    assert ann_pj / 1e6 == pytest.approx(18.5, abs=0.05)
    assert ann_pj / spiking_pj == pytest.approx(1.9, abs=0.05)
    assert DRAM_WORD_PJ / SRAM_WORD_PJ == 130
    assert memory_traffic(ann, mac_reuse=1).weights == 16 * memory_traffic(ann).weights


@pytest.mark.parametrize(("place", "value", "additions"), [((2, 2), 1, 36), ((0, 0), 1, 16), ((2, 2), 3, 108)])
def test_synaptic_operations_of_one_spike(place, value, additions):
    layer = nn.Conv2d(2, 4, 3, padding=1)
    train = torch.zeros(3, 1, 2, 5, 5)
    train[1, 0, 1, place[0], place[1]] = value
    assert synaptic_operations(train, layer) == additions
    assert synaptic_operations(-train, layer) == additions
    assert synaptic_operations(train.expand(3, 4, -1, -1, -1), layer) == 4 * additions


@pytest.mark.parametrize("shape", SHAPES)
def test_synaptic_operations_equal_a_convolution_with_ones(shape):
    layer, train = with_ones(shape), spikes(3, 2, 4, 9, 8, largest=3)
    assert synaptic_operations(train, layer) == float(layer(train.flatten(0, 1)).detach().sum())
    assert synaptic_operations(spikes(3, 2, 7), nn.Linear(7, 5)) == 5 * float(spikes(3, 2, 7).sum())


def test_shortcut_by_the_rate_counts_the_padding():
    layer, train = nn.Conv2d(4, 6, 3, padding=1), torch.ones(2, 1, 4, 7, 7)
    shortcut = 1.0 * 2 * 7 * 7 * 6 * 4 * 9
    assert shortcut / synaptic_operations(train, layer) == pytest.approx((7 * 7 * 9) / (19 * 19))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FLOAT32_45NM.energy_pj(-1), "macs must be zero or more"),
        (lambda: synaptic_operations(picture(1, 4), nn.Linear(4, 2)), "whole numbers of at most 15"),
        (lambda: synaptic_operations(spikes(1, 4), nn.ReLU()), "Conv2d or a Linear, got ReLU"),
        (lambda: break_even_rate(0), "num_steps must be at least 1"),
        (lambda: break_even_rate(4, zeros=1.5), r"zeros must lie in \[0, 1\]"),
        (lambda: break_even_rate(4, ac=0), "ac must be positive"),
        (lambda: memory_traffic(totals(), mac_reuse=0), "mac_reuse must be positive"),
        (lambda: memory_traffic(totals(), neurons=-1), "neurons must be at least 0"),
        (lambda: chip_energy_j(-1, 4), "operations_per_step must be zero or more"),
        (lambda: chip_energy_j(1, 4, 0), "gops_per_watt must be positive"),
        (lambda: paper_2_energy(1, 4, step_s=0), "step_s must be positive"),
    ],
)
def test_impossible_energies_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
