"""Digits on a canvas: the box is that of the ink, nothing overlaps, and the label says whose digits they are."""

import dataset_files
import pytest
import torch

from spikelab.datasets import DataError, Digits, digit_on_canvas, digit_scenes, load_digits
from spikelab.detection import check_objects, iou_matrix


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def bars():
    """Ten full rectangles of different shapes, so that every pixel of a box must be bright."""
    images = torch.zeros(10, 28, 28, dtype=torch.uint8)
    for i in range(10):
        images[i, 4 + i % 3 : 24 - i, 8 : 12 + i] = 255
    return Digits(images, torch.arange(10), "bars")


def ink(picture):
    bright = picture > 127
    rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
    return torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(picture)


@pytest.mark.parametrize("size", [40, 64])
def test_the_box_is_that_of_the_ink(bars, size):
    found = digit_on_canvas(bars, 200, seeded(), size=size)
    assert found.images.shape == (200, 1, size, size)
    assert found.images.dtype == torch.uint8
    measured = torch.stack([ink(picture[0]) for picture in found.images])
    assert ((measured - found.boxes).abs() <= 0.75 / size).all()
    assert found.boxes.min() >= 0
    assert found.boxes.max() <= 1
    for picture, label in zip(found.images, found.labels, strict=True):  # the digit is that of the label
        x0, y0, x1, y1 = (ink(picture[0]) * size).tolist()
        bar = bars.images[label] > 0
        wide, high = bar.any(0).sum() / bar.any(1).sum(), (x1 - x0) / (y1 - y0)
        assert abs(float(torch.log(wide / high))) < 0.15 + 4 / size + 0.1


def test_scale_and_place_are_drawn(bars):
    found = digit_on_canvas(bars, 500, seeded(), share=(0.3, 0.6))
    heights = found.boxes[:, 3] - found.boxes[:, 1]
    assert 0.3 <= heights.min() < 0.31
    assert 0.59 < heights.max() <= 0.6 + 1e-6
    centre = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert (centre.std(0) > 0.1).all()
    assert torch.bincount(found.labels).min() > 25
    assert torch.equal(digit_on_canvas(bars, 20, seeded()).images, digit_on_canvas(bars, 20, seeded()).images)
    assert not torch.equal(digit_on_canvas(bars, 20, seeded()).boxes, digit_on_canvas(bars, 20, seeded(1)).boxes)


def test_scenes_hold_one_to_three_digits_side_by_side(bars):
    found = digit_scenes(bars, 150, seeded(), overlap=0.0)
    assert found.images.shape == (150, 1, 56, 56)
    counts = torch.bincount(torch.tensor([len(one.labels) for one in found.objects]), minlength=5)
    assert counts[0] == counts[4] == 0
    assert counts[1:4].min() > 25
    for picture, one in zip(found.images, found.objects, strict=True):
        check_objects(one, num_classes=10, in_shares=True)
        assert not one.difficult.any()
        assert (iou_matrix(one.boxes, one.boxes) - torch.eye(len(one.boxes))).abs().max() < 1e-6
        covered = torch.zeros(56, 56, dtype=torch.bool)
        for x0, y0, x1, y1 in (one.boxes * 56).tolist():
            inner = picture[0, round(y0) + 1 : round(y1) - 1, round(x0) + 1 : round(x1) - 1]
            assert (inner > 127).all()
            covered[max(round(y0) - 1, 0) : round(y1) + 1, max(round(x0) - 1, 0) : round(x1) + 1] = True
        assert (picture[0][~covered] < 128).all()
    assert {int(label) for one in found.objects for label in one.labels} == set(range(10))
    assert torch.equal(
        digit_scenes(bars, 9, seeded(), overlap=0.0).images, digit_scenes(bars, 9, seeded(), overlap=0.0).images
    )


def test_a_digit_without_a_place_is_left_out(bars):
    found = digit_scenes(bars, 40, seeded(), most=4, share=(0.8, 0.9), overlap=0.0)
    assert {len(one.labels) for one in found.objects} <= {1, 2, 3}
    assert max(len(one.labels) for one in found.objects) < 4


def test_mnist_where_it_is_found_else_the_small_digits(tmp_path):
    small = load_digits("test")
    assert small.label == "scikit-learn's digits (stand-in for MNIST), test, 400 digits"
    assert small.images.shape == (400, 28, 28)
    with pytest.raises(DataError, match=r"no folder mnist .* spikelab data fetch mnist"):
        load_digits("test", kind="mnist")
    dataset_files.write_mnist(tmp_path / "mnist")
    found = load_digits("test", root=tmp_path)
    assert (found.label, len(found.images)) == ("MNIST, test, 4 digits", 4)
    assert found.labels.tolist() == [0, 1, 2, 3]
    assert load_digits("train", kind="scikit-learn", root=tmp_path).images.shape == (1397, 28, 28)


def test_wrong_arguments(bars):
    for arguments, words in (
        ({"count": 0}, "count must be at least 1"),
        ({"size": 4}, "size must be at least 8"),
        ({"share": (0.5, 0.4)}, "share must be"),
        ({"share": (0.5, 1.2)}, "share must be"),
    ):
        with pytest.raises(ValueError, match=words):
            digit_on_canvas(bars, **{"count": 3, "generator": seeded(), **arguments})
    with pytest.raises(ValueError, match="at least one digit"):
        digit_scenes(Digits(bars.images[:0], bars.labels[:0], "none"), 3, seeded())
    with pytest.raises(ValueError, match="kind must be one of"):
        load_digits(kind="emnist")
