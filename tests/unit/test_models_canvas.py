"""The canvas network: shapes, refusals, and shipped weights that find digits, with and without spikes."""

import pytest
import torch

from spikelab.datasets.digits import digit_on_canvas, load_digits
from spikelab.detection import iou
from spikelab.models.canvas import CanvasNet
from spikelab.models.conversion import convert
from spikelab.models.pretrained import load


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def digits_of(split, count, seed=0):
    return digit_on_canvas(load_digits(split, kind="scikit-learn"), count, generator(seed))


def test_it_names_a_class_and_a_box_for_each_picture():
    said = CanvasNet(generator=generator()).eval()(torch.rand(3, 1, 40, 40, generator=generator()))
    assert (said.classes.shape, said.boxes.shape) == ((3, 10), (3, 4))


def test_the_same_generator_gives_the_same_network():
    one, same, other = (CanvasNet(generator=generator(seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["body.0.weight"], other["body.0.weight"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channels": (8, 8)}, "channels must name 6 convolutions"),
        ({"neurons": "spiking"}, "neurons must be"),
        ({"slope": 1.5}, "slope must"),
        ({"hidden": 0}, "hidden must"),
    ],
)
def test_impossible_networks_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        CanvasNet(**options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["canvas-relu", "canvas-leaky"])
def test_shipped_weights_find_digits_with_and_without_spikes(name):
    model, test = load(name).model, digits_of("test", 100)
    images = test.images / 255

    def scores(said):
        right = (said.classes.argmax(1) == test.labels).float().mean()
        return float(right), float(iou(said.boxes, test.boxes).mean())

    with torch.no_grad():
        right, box = scores(model(images))
    assert right > 0.88
    assert box > 0.78
    early, late = convert(model, digits_of("train", 100, 1).images / 255)(images, 64, (32, 64)).outputs
    second = type(late)(*(2 * b - a for a, b in zip(early, late, strict=True)))
    assert scores(second)[0] > right - 0.06
    assert scores(second)[1] > box - 0.12
    assert scores(early)[1] < box - 0.08  # the box needs more steps
