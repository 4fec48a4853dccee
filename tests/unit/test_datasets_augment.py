"""Augmentation: the box goes where the animal goes, and no view loses it."""

import pytest
import torch

from spikelab.datasets.augment import COLUMNS, _windows, apply_views, draw_views

STRONG = {"zoom": 0.5, "zoom_out": 0.4, "aspect": 0.4}


def painted(boxes, rows=96, columns=128):
    """Grey pictures with a white rectangle exactly at each box."""
    images = torch.full((len(boxes), 3, rows, columns), 100, dtype=torch.uint8)
    for image, (x0, y0, x1, y1) in zip(images, boxes.tolist(), strict=True):
        image[:, round(y0 * rows) : round(y1 * rows), round(x0 * columns) : round(x1 * columns)] = 255
    return images


def some_boxes(count, seed, rows=96, columns=128):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 0.6
    side = 0.15 + torch.rand(count, 2, generator=generator) * (0.98 - corner - 0.15)
    grid = torch.tensor([columns, rows] * 2)
    return (torch.cat([corner, corner + side], 1) * grid).round() / grid


def box_of(view):
    """Half-open box of the bright pixels, in shares."""
    bright = view.mean(0) > 0.7
    rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
    height, width = bright.shape
    return torch.tensor(
        [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height],
        dtype=torch.float32,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(96, 128), (60, 60)])
def test_the_box_is_where_the_painted_rectangle_went(seed, size):
    boxes = some_boxes(32, seed)
    draws = draw_views(32, torch.Generator().manual_seed(seed), **STRONG)
    views, moved = apply_views(painted(boxes), boxes, draws, size=size)
    assert views.shape == (32, 3, *size)
    found = torch.stack([box_of(view) for view in views])
    pixel = torch.tensor([1 / size[1], 1 / size[0]] * 2)
    assert ((found - moved).abs() <= 1.5 * pixel).all(), (found - moved).abs().max(0)


@pytest.mark.parametrize("keep", [0.6, 0.8, 1.0])
def test_a_view_never_loses_the_animal(keep):
    boxes = some_boxes(300, 5)
    draws = draw_views(300, torch.Generator().manual_seed(1), flip=0.0, zoom=0.9, aspect=0.5)
    windows = _windows(boxes, draws, keep)
    seen = torch.minimum(windows[:, 2:], boxes[:, 2:]) - torch.maximum(windows[:, :2], boxes[:, :2])
    share = seen / (boxes[:, 2:] - boxes[:, :2])
    assert share.min() > keep - 1e-5
    if keep < 1:
        assert share.min() < keep + 0.01  # cut as far as allowed, or the draw would be too tame to test anything
    views, moved = apply_views(painted(boxes), boxes, draws, keep=keep)
    found = torch.stack([box_of(view) for view in views])
    assert (found - moved).abs().max() < 0.06


def test_a_flip_swaps_the_edges_and_twice_is_nothing():
    boxes = torch.tensor([[0.125, 0.25, 0.375, 0.75]])
    draws = torch.zeros(1, len(COLUMNS))
    draws[:, :2] = 1.0
    views, moved = apply_views(painted(boxes), boxes, draws)
    assert torch.allclose(moved, torch.tensor([[0.625, 0.25, 0.875, 0.75]]))
    assert torch.allclose(views[0].flip(-1), painted(boxes)[0] / 255, atol=1e-5)


def test_no_draws_is_the_picture_itself_and_a_still_view_equals_it():
    boxes = some_boxes(4, 0)
    images = painted(boxes)
    plain, same = apply_views(images, boxes, None)
    assert torch.equal(plain, images / 255)
    assert torch.equal(same, boxes)
    still = draw_views(4, torch.Generator().manual_seed(0), flip=0.0)
    views, moved = apply_views(images, boxes, still)
    assert torch.allclose(views, plain, atol=1e-4)
    assert torch.allclose(moved, boxes, atol=1e-6)


def test_light_and_colours_change_no_box_and_stay_in_range():
    boxes = some_boxes(16, 2)
    images = torch.randint(0, 256, (16, 3, 40, 40), dtype=torch.uint8)
    draws = draw_views(16, torch.Generator().manual_seed(0), flip=0, brightness=0.5, contrast=0.5, saturation=0.5)
    views, moved = apply_views(images, boxes, draws)
    assert torch.allclose(moved, boxes, atol=1e-6)
    assert views.min() >= 0
    assert views.max() <= 1
    assert (views.mean((1, 2, 3)) - images.float().mean((1, 2, 3)) / 255).abs().max() > 0.1
    grey = draws.clone()
    grey[:, 5:] = torch.tensor([0.0, 0.0, -1.0])
    colourless, _ = apply_views(images, boxes, grey)
    assert torch.allclose(colourless[:, 0], colourless[:, 2], atol=1e-5)


def test_outside_the_picture_is_grey():
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    draws = torch.zeros(1, len(COLUMNS))
    draws[:, 1] = 2.0
    views, moved = apply_views(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), boxes, draws)
    assert views[0, 0, 2, 2] == pytest.approx(0.5)
    assert views[0, 0, 32, 32] == pytest.approx(0.0)
    assert torch.allclose(moved, torch.tensor([[0.375, 0.375, 0.625, 0.625]]))


def test_draws_are_the_generators_and_keep_their_ranges():
    first = draw_views(500, torch.Generator().manual_seed(3), **STRONG, brightness=0.2)
    assert torch.equal(first, draw_views(500, torch.Generator().manual_seed(3), **STRONG, brightness=0.2))
    assert set(first[:, 0].tolist()) == {0.0, 1.0}
    assert 0.5 <= first[:, 1].min() < 0.52
    assert 1.38 < first[:, 1].max() <= 1.4
    assert 0.19 < first[:, 5].abs().max() <= 0.2
    assert not first[:, 6:].any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"flip": 1.5}, "flip"), ({"zoom": 1.0}, "zoom"), ({"aspect": -0.1}, "aspect"), ({"contrast": 2.0}, "contrast")],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        draw_views(3, torch.Generator(), **arguments)


def test_draws_of_another_batch_are_refused():
    boxes = some_boxes(4, 0)
    with pytest.raises(ValueError, match=r"draws must be \[4, 8\], got \[3, 8\]"):
        apply_views(painted(boxes), boxes, draw_views(3, torch.Generator()))
    with pytest.raises(ValueError, match="keep must be"):
        apply_views(painted(boxes), boxes, draw_views(4, torch.Generator()), keep=0.4)
