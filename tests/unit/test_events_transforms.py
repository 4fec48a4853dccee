"""Augmentations and controls: each changes what it says and nothing else."""

import numpy as np
import pytest
import torch
from test_events_files import random_events

from spikelab.events import (
    check_events,
    crop,
    drop_events,
    flip_polarity,
    flip_x,
    flip_y,
    frames,
    jitter_space,
    jitter_time,
    make_events,
    scale_time,
    shift,
    shuffle_time,
    slice_time,
)

SIZE = (20, 30)


@pytest.fixture
def events():
    return random_events(3_000, seed=4, size=SIZE)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(events, size=SIZE):
    return frames(events, 1, 10**9, size=size)[0]


ALL = {
    "slice_time": lambda e: slice_time(e, 50_000, 200_000),
    "flip_x": lambda e: flip_x(e, 30),
    "flip_y": lambda e: flip_y(e, 20),
    "flip_polarity": flip_polarity,
    "shift": lambda e: shift(e, 2, -3, SIZE),
    "crop": lambda e: crop(e, 5, 4, (10, 12)),
    "jitter_space": lambda e: jitter_space(e, 1.0, SIZE, seeded()),
    "jitter_time": lambda e: jitter_time(e, 2_000, seeded()),
    "scale_time": lambda e: scale_time(e, 0.7),
    "drop_events": lambda e: drop_events(e, 0.3, seeded()),
    "shuffle_time": lambda e: shuffle_time(e, seeded()),
}


@pytest.mark.parametrize("name", ALL)
def test_results_are_valid_new_recordings_and_the_old_one_stays(name, events):
    before = events.copy()
    result = ALL[name](events)
    check_events(result, size=SIZE)
    result["t"] = 0
    assert np.array_equal(events, before)
    assert len(ALL[name](events[:0])) == 0


@pytest.mark.parametrize("name", ["jitter_space", "jitter_time", "drop_events", "shuffle_time"])
def test_the_same_seed_gives_the_same_events(name, events):
    assert np.array_equal(ALL[name](events), ALL[name](events))


def test_a_slice_starts_at_its_start_and_ends_before_its_stop():
    events = make_events([0, 1, 2, 3], [0] * 4, [0] * 4, [9, 10, 19, 20])
    assert slice_time(events, 10, 20, rebase=False)["t"].tolist() == [10, 19]
    assert slice_time(events, 10, 20)["t"].tolist() == [0, 9]


def test_slices_put_together_are_the_whole(events):
    parts = [slice_time(events, start, start + 75_000, rebase=False) for start in range(0, 300_000, 75_000)]
    assert np.array_equal(np.concatenate(parts), events)


def test_flips_mirror_the_picture_and_undo_themselves(events):
    assert torch.equal(picture(flip_x(events, 30)), picture(events).flip(2))
    assert torch.equal(picture(flip_y(events, 20)), picture(events).flip(1))
    assert torch.equal(picture(flip_polarity(events)), picture(events).flip(0))
    for flip in (ALL["flip_x"], ALL["flip_y"], flip_polarity):
        assert np.array_equal(flip(flip(events)), events)


def test_a_shift_moves_the_picture_and_drops_the_border(events):
    moved = picture(shift(events, 2, -3, SIZE))
    assert torch.equal(moved[:, :17, 2:], picture(events)[:, 3:, :28])
    assert not moved[:, 17:].any()
    assert not moved[:, :, :2].any()


def test_a_crop_is_a_window_of_the_picture(events):
    assert torch.equal(picture(crop(events, 5, 4, (10, 12)), (10, 12)), picture(events)[:, 4:14, 5:17])


def test_jitter_in_space_has_the_spread_asked_for():
    events = make_events([100] * 20_000, [100] * 20_000, [1] * 20_000, np.arange(20_000))
    jittered = jitter_space(events, 3.0, (200, 200), seeded())
    # 20,000 draws: standard error of the sd is 3/√40,000 = .015; rounding adds 1/12 to the variance
    for axis in ("x", "y"):
        assert jittered[axis].std() == pytest.approx(np.sqrt(9 + 1 / 12), abs=0.06)
        assert jittered[axis].mean() == pytest.approx(100, abs=0.1)
    assert abs(np.corrcoef(jittered["x"], jittered["y"])[0, 1]) < 0.03


def test_jitter_in_time_has_the_spread_asked_for_and_keeps_the_picture(events):
    at_once = make_events([1] * 20_000, [1] * 20_000, [1] * 20_000, [100_000] * 20_000)
    assert jitter_time(at_once, 2_000, seeded())["t"].std() == pytest.approx(2_000, rel=0.02)
    assert torch.equal(picture(jitter_time(events, 2_000, seeded())), picture(events))
    assert jitter_time(events, 1e6, seeded())["t"].min() == 0


def test_scaled_time_is_the_same_film_faster(events):
    assert np.array_equal(scale_time(events, 0.5)["t"], events["t"] // 2)
    assert np.array_equal(scale_time(events, 3)["t"], events["t"] * 3)


def test_events_are_dropped_at_the_rate_asked_for(events):
    # 3,000 draws at .3: standard deviation 25
    assert len(drop_events(events, 0.3, seeded())) == pytest.approx(2_100, abs=100)
    assert np.array_equal(drop_events(events, 0, seeded()), events)
    assert len(drop_events(events, 1, seeded())) == 0


def test_shuffled_times_keep_picture_and_rhythm_and_nothing_between_them():
    sweep = np.arange(3_000)
    events = make_events(sweep // 100, sweep % 20, sweep % 2, 100 * sweep)
    shuffled = shuffle_time(events, seeded())
    assert np.array_equal(np.sort(shuffled["t"]), events["t"])
    assert torch.equal(picture(shuffled), picture(events))
    assert np.corrcoef(events["x"], events["t"])[0, 1] > 0.99
    assert abs(np.corrcoef(shuffled["x"], shuffled["t"])[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: slice_time(e, 5, 4), "stop_us must not lie before start_us"),
        (lambda e: slice_time(e, -1, 4), "start_us must be zero or more"),
        (lambda e: flip_x(e, 10), "width must be more than the largest x, got 10"),
        (lambda e: flip_y(e, 0), "height must be at least 1"),
        (lambda e: shift(e, 0.5, 0, SIZE), "dx must be a whole number"),
        (lambda e: shift(e, 0, 1, (5, 5)), "the sensor has 5"),
        (lambda e: crop(e, -1, 0, SIZE), "left must be at least 0"),
        (lambda e: jitter_space(e, -1, SIZE, seeded()), "sd_px must be zero or more"),
        (lambda e: jitter_time(e, -1, seeded()), "sd_us must be zero or more"),
        (lambda e: scale_time(e, 0), "factor must be positive"),
        (lambda e: drop_events(e, 1.5, seeded()), r"probability must lie in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_refused(call, message, events):
    with pytest.raises(ValueError, match=message):
        call(events)
