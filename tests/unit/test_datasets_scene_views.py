"""Views of many objects: each box goes where its rectangle goes, and what is hardly seen is no object."""

import pytest
import torch

from spikelab.datasets import augment_scenes, draw_scenes
from spikelab.datasets.augment import draw_views
from spikelab.datasets.scene_views import (
    MOSAIC_COLUMNS,
    SceneDraws,
    apply_mosaics,
    apply_scene_views,
    draw_mosaics,
)
from spikelab.datasets.scenes import fit_picture, into_window, out_of_window, window_of
from spikelab.detection import Objects, check_objects, clip_boxes

ROWS, COLUMNS = 96, 128
STRONG = {"zoom": 0.6, "zoom_out": 0.5, "aspect": 0.4}


def some_objects(count, seed):
    """Up to three objects in each picture, corners on pixels; the label is the channel that shows it."""
    g = torch.Generator().manual_seed(seed)
    grid = torch.tensor([COLUMNS, ROWS] * 2)
    found = []
    for number in torch.randint(0, 4, (count,), generator=g).tolist():
        corner = torch.rand(number, 2, generator=g) * 0.7
        side = 0.08 + torch.rand(number, 2, generator=g) * (0.98 - corner - 0.08)
        boxes = (torch.cat([corner, corner + side], 1) * grid).round() / grid
        found.append(Objects(boxes, torch.arange(number), torch.rand(number, generator=g) < 0.5))
    return found


def painted(objects):
    """Dark pictures, each object a full rectangle in the colour channel of its own: they may overlap."""
    images = torch.full((len(objects), 3, ROWS, COLUMNS), 100, dtype=torch.uint8)
    for image, one in zip(images, objects, strict=True):
        for (x0, y0, x1, y1), channel in zip(one.boxes.tolist(), one.labels.tolist(), strict=True):
            image[channel, round(y0 * ROWS) : round(y1 * ROWS), round(x0 * COLUMNS) : round(x1 * COLUMNS)] = 255
    return images


def box_of(light, threshold=0.7):
    """Half-open box of the bright pixels of a channel, in shares; None if there are none."""
    bright = light > threshold
    if not bright.any():
        return None
    rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
    height, width = bright.shape
    return torch.tensor(
        [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height], dtype=torch.float32
    )


def shown(box):
    return 0.0 if box is None else float((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("size", [(96, 128), (60, 60)])
def test_each_box_is_where_its_rectangle_went(size):
    objects = some_objects(80, 1)
    draws = draw_views(80, torch.Generator().manual_seed(2), **STRONG)
    views, seen = apply_scene_views(painted(objects), objects, draws, size=size, visible=0.3)
    assert views.shape == (80, 3, *size)
    pixel = torch.tensor([1 / size[1], 1 / size[0]] * 2)
    dropped = kept = cut = flipped = 0
    for i, (view, before, after) in enumerate(zip(views, objects, seen, strict=True)):
        check_objects(after, num_classes=3, in_shares=True)
        extent = draws[i, 1]  # a view's area is its zoom squared, whatever its proportions
        for channel, box in enumerate(before.boxes):
            found, place = box_of(view[channel]), (after.labels == channel).nonzero()[:, 0]
            whole = shown(box) / float(extent**2)
            if len(place):
                assert ((found - after.boxes[place[0]]).abs() <= 1.5 * pixel).all()
                assert after.difficult[place[0]] == before.difficult[channel]
                kept, cut = kept + 1, cut + (shown(found) < 0.9 * whole)
                flipped += int(draws[i, 0])
            else:
                assert shown(found) < 0.3 * whole + 4 * float(pixel.sum())
                dropped += 1
    assert min(dropped, kept, cut, flipped) >= 5


@pytest.mark.parametrize("visible", [0.0, 0.5, 1.0])
def test_the_rule_of_what_stays(visible):
    """A window over the first 3/4 each way: objects of which 1, 1/2, 1/4 and nothing is in it."""
    boxes = torch.tensor([[0.1, 0, 0.5, 0.75], [0.5, 0, 1, 0.75], [0.6875, 0, 0.9375, 0.75], [0.8, 0, 1, 0.75]])
    one = Objects(boxes, torch.arange(4))
    draws = torch.tensor([[0, 0.75, 0, -1, -1, 0, 0, 0]], dtype=torch.float32)
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    _, (after,) = apply_scene_views(images, [one], draws, visible=visible)
    assert after.labels.tolist() == {0.0: [0, 1, 2], 0.5: [0, 1], 1.0: [0]}[visible]
    assert torch.allclose(after.boxes[0], torch.tensor([0.4 / 3, 0, 2 / 3, 1]))
    _, (large,) = apply_scene_views(images, [one], draws, visible=0.0, least_px=6.0)
    assert large.labels.tolist() == [0, 1]  # of the third 5.3 px are left


def test_without_draws_nothing_moves():
    objects = some_objects(5, 3)
    views, after = apply_scene_views(painted(objects), objects, None, size=(48, 64))
    assert views.shape == (5, 3, 48, 64)
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(objects, after, strict=True))
    empty = [Objects.none()] * 2
    blank = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    _, after = augment_scenes(blank, empty, draw_scenes(2, torch.Generator().manual_seed(0), mosaic=1.0, **STRONG))
    assert [one.boxes.shape for one in after] == [(0, 4)] * 2


@pytest.mark.parametrize("from_pool", [False, True])
def test_a_mosaic_shows_four_pictures_and_their_objects(from_pool):
    objects, others = some_objects(30, 4), some_objects(50, 5)
    pool = (painted(others), others) if from_pool else None
    draws = draw_mosaics(30, torch.Generator().manual_seed(6), share=0.8)
    laid, seen = apply_mosaics(painted(objects), objects, draws, pool=pool)
    assert laid.dtype == torch.uint8
    source = others if from_pool else objects
    kept = 0
    for i, (picture, after) in enumerate(zip(laid, seen, strict=True)):
        if not draws[i, 0]:
            assert torch.equal(picture, painted(objects)[i])
            assert torch.equal(after.boxes, objects[i].boxes)
            continue
        x, y = round(float(draws[i, 1]) * COLUMNS), round(float(draws[i, 2]) * ROWS)
        parts = ((0, 0, y, x), (0, x, y, COLUMNS), (y, 0, ROWS, x), (y, x, ROWS, COLUMNS))
        four = [objects[i], *(source[int(u * len(source))] for u in draws[i, 3:6].tolist())]
        left = list(zip(after.boxes, after.labels.tolist(), strict=True))
        for one, (top, start, bottom, end) in zip(four, parts, strict=True):
            quarter = torch.tensor([start / COLUMNS, top / ROWS, end / COLUMNS, bottom / ROWS])
            scale = max((bottom - top) / ROWS, (end - start) / COLUMNS)
            for channel, box in enumerate(one.boxes):
                found = box_of(picture[channel, top:bottom, start:end] / 255.0)
                share = shown(found) * (bottom - top) * (end - start) / (ROWS * COLUMNS) / scale**2 / shown(box)
                inside = [
                    b
                    for b, c in left
                    if c == channel and (b[:2] >= quarter[:2] - 1e-6).all() and (b[2:] <= quarter[2:] + 1e-6).all()
                ]
                if inside:
                    pixel = torch.tensor([1 / COLUMNS, 1 / ROWS] * 2)
                    assert ((into_window(found, quarter) - inside[0]).abs() <= 1.5 * pixel).all()
                    kept += 1
                else:
                    assert share < 0.3 + 0.25
        check_objects(after, num_classes=3, in_shares=True)
    assert kept == sum(len(one.boxes) for i, one in enumerate(seen) if draws[i, 0]) > 40


def test_a_restored_generator_draws_the_same_and_applying_draws_nothing():
    generator = torch.Generator().manual_seed(7)
    draw_scenes(4, generator, mosaic=0.5, **STRONG)
    state = generator.get_state()
    first = draw_scenes(6, generator, mosaic=0.5, **STRONG)
    resumed = torch.Generator()
    resumed.set_state(state)
    again = draw_scenes(6, resumed, mosaic=0.5, **STRONG)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    objects = some_objects(6, 8)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = (augment_scenes(painted(objects), objects, draws) for draws in (first, again))
    assert torch.equal(one[0], two[0])
    assert torch.equal(before, torch.get_rng_state())
    alone, _ = augment_scenes(painted(objects)[:3], objects[:3], SceneDraws(first.views[:3]))
    whole, _ = augment_scenes(painted(objects), objects, SceneDraws(first.views))
    assert torch.equal(alone, whole[:3])


def test_shapes_are_checked():
    objects, blank = some_objects(3, 9), torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    draws = torch.zeros(3, len(MOSAIC_COLUMNS))
    with pytest.raises(ValueError, match=r"images must be \[B, C, H, W\] of uint8 .* and 2 records"):
        apply_mosaics(blank, objects[:2], draws)
    with pytest.raises(ValueError, match=r"draws must be \[3, 10\], got \[2, 10\]"):
        apply_mosaics(blank, objects, draws[:2])
    with pytest.raises(ValueError, match=r"draws must be \[3, 8\]"):
        apply_scene_views(blank, objects, draws)
    with pytest.raises(ValueError, match=r"pool must hold pictures \[3, 8, 8\]"):
        apply_mosaics(blank, objects, draws, pool=(blank[:, :, :4], objects))
    with pytest.raises(ValueError, match=r"visible must lie in \[0, 1\], got 1.5"):
        apply_scene_views(blank, objects, None, visible=1.5)
    with pytest.raises(ValueError, match=r"middle must lie in \[0, 0.4\]"):
        draw_mosaics(3, torch.Generator(), middle=0.5)


# --- fitting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(240, 480), (333, 500), (500, 333), (7, 500), (160, 160), (97, 101)])
def test_boxes_come_back_from_the_fitted_picture(shape, fit):
    boxes = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    window = window_of(shape, (160, 160), fit)
    fitted = into_window(boxes, window)
    assert torch.equal(fitted, clip_boxes(fitted))
    assert torch.allclose(out_of_window(fitted, window), boxes, atol=1e-14, rtol=0)


def test_a_letterbox_worked_by_hand():
    """240 x 480 in 160 x 160: half of the height, so bars of 40 px above and below."""
    window = window_of((240, 480), (160, 160))
    assert window.tolist() == [0, 0.25, 1, 0.75]
    assert out_of_window(torch.tensor([[0, 40, 160, 120]]) / 160, window).tolist() == [[0, 0, 1, 1]]
    assert out_of_window(torch.tensor([0.0, 0.0, 1.0, 1.0]), window).tolist() == [0, -0.5, 1, 1.5]  # on the bars
    with pytest.raises(ValueError, match="window must be"):
        into_window(torch.zeros(1, 4), torch.tensor([1.0, 0, 0, 1]))


@pytest.mark.parametrize(("shape", "fit"), [((ROWS, COLUMNS), "letterbox"), ((ROWS, COLUMNS), "stretch")])
@pytest.mark.parametrize("size", [(80, 80), (60, 200), (200, 60)])
def test_what_is_painted_is_where_the_fitted_box_is(tmp_path, shape, fit, size):
    from PIL import Image

    objects = some_objects(6, 10)
    for number, (image, one) in enumerate(zip(painted(objects), objects, strict=True)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        picture, window = fit_picture(path, size, fit=fit)
        assert torch.equal(window, window_of(shape, size, fit))
        for channel, box in enumerate(into_window(one.boxes, window)):
            found = box_of(picture[channel] / 255.0)
            assert ((found - box).abs() <= 1.2 * torch.tensor([1 / size[1], 1 / size[0]] * 2)).all()
