"""Events as frames: totals, borders between steps, polarity, and what binary frames lose."""

import numpy as np
import pytest
import torch
from test_events_files import random_events

from spikelab.events import frames, frames_by_count, make_events

FOUR = make_events([3, 3, 0, 33], [7, 7, 0, 33], [1, 1, 0, 1], [10, 900, 1_000, 2_999])


def by_hand(events, num_steps, window_us, size):
    counts = torch.zeros(num_steps, 2, *size)
    for x, y, p, t in events.tolist():
        if t < num_steps * window_us:
            counts[int(t / window_us), p, y, x] += 1
    return counts


def test_four_events_land_where_they_belong():
    counts = frames(FOUR, 3, 1_000)
    assert counts.shape == (3, 2, 34, 34)
    assert counts.dtype == torch.float32
    assert counts[0, 1, 7, 3] == 2  # channel 1 is ON, then row, then column
    assert counts[1, 0, 0, 0] == 1
    assert counts[2, 1, 33, 33] == 1
    assert counts.sum() == 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_counts_equal_a_loop_over_events(seed):
    events = random_events(3_000, seed, size=(5, 7))
    assert torch.equal(frames(events, 9, 30_000, size=(5, 7)), by_hand(events, 9, 30_000, (5, 7)))


def test_999_us_is_step_0_and_1000_us_is_step_1():
    events = make_events([1, 1], [1, 1], [1, 1], [999, 1_000])
    assert frames(events, 2, 1_000)[:, 1, 1, 1].tolist() == [1, 1]


def test_a_window_need_not_be_a_whole_number_of_microseconds():
    events = make_events([0] * 4, [0] * 4, [1] * 4, [0, 33_333, 33_334, 99_999])
    assert frames(events, 3, 100_000 / 3)[:, 1, 0, 0].tolist() == [2, 1, 1]


def test_events_after_the_last_step_are_dropped():
    assert frames(FOUR, 2, 1_000).sum() == 3
    assert frames(FOUR, 1, 10).sum() == 0


def test_binary_frames_say_only_whether():
    counts = frames(FOUR, 3, 1_000)
    assert torch.equal(frames(FOUR, 3, 1_000, mode="binary"), counts.clamp(max=1))


def test_polarities_merge_to_their_sum_and_sign_to_their_difference():
    events = random_events(2_000, 3, size=(6, 6))
    split = frames(events, 4, 70_000, size=(6, 6))
    merged = frames(events, 4, 70_000, size=(6, 6), polarity="merge")
    signed = frames(events, 4, 70_000, size=(6, 6), polarity="signed")
    assert torch.equal(merged, split.sum(1, keepdim=True))
    assert torch.equal(signed, split[:, 1:] - split[:, :1])
    assert torch.equal(frames(events, 4, 70_000, size=(6, 6), polarity="signed", mode="binary"), signed.sign())


def test_no_events_are_frames_of_zeros():
    empty = make_events([], [], [], [])
    assert frames(empty, 3, 10).shape == (3, 2, 34, 34)
    assert not frames(empty, 3, 10).any()
    assert not frames_by_count(empty, 3).any()


@pytest.mark.parametrize(("events", "num_steps"), [(4_096, 8), (1_000, 7), (3, 10)])
def test_frames_by_count_share_the_events_out_evenly(events, num_steps):
    per_frame = frames_by_count(random_events(events, 1), num_steps).sum((1, 2, 3))
    assert per_frame.sum() == events
    assert per_frame.max() - per_frame.min() <= 1


def test_frames_by_count_keep_the_order_of_time():
    events = make_events([0, 1, 2, 3], [0, 0, 0, 0], [1] * 4, [0, 1, 2, 1_000_000])
    counts = frames_by_count(events, 2)
    assert counts[0, 1, 0].nonzero().squeeze(1).tolist() == [0, 1]
    assert counts[1, 1, 0].nonzero().squeeze(1).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"window_us": 0}, "window_us must be positive"),
        ({"window_us": np.nan}, "window_us must be finite"),
        ({"mode": "bits"}, "mode must be one of 'count', 'binary'"),
        ({"polarity": "both"}, "polarity must be one of"),
        ({"size": (34, 20)}, "event 3 has x = 33, but the sensor has 20 columns"),
        ({"events": FOUR[::-1]}, "time runs backwards"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"events": FOUR, "num_steps": 3, "window_us": 1_000, **change}
    with pytest.raises(ValueError, match=message):
        frames(arguments.pop("events"), arguments.pop("num_steps"), arguments.pop("window_us"), **arguments)
