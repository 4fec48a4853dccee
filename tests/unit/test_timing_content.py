"""The experiment behind chapter 04's verdict: its views, its control and its result file."""

import json

import numpy as np
import pytest
import torch

from benchmarks.event_statistics import statistics
from benchmarks.timing_content import (
    VIEWS,
    Digits,
    about,
    compared,
    earlier_run,
    features,
    read_conv,
    scored,
    shuffle_time,
    unpacked,
    write_run,
)
from spikelab.events import frames, make_events


def recordings(count=6, events=400):
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        t = np.sort(draw.integers(0, 310_000, events))
        found.append(make_events(*(draw.integers(0, top, events) for top in (34, 34, 2)), t))
    return found


@pytest.mark.parametrize("name", VIEWS)
def test_view_has_one_row_of_features_per_recording(name):
    seen = features(VIEWS[name], recordings())
    assert len(seen) == 6
    assert seen.dtype == torch.float32
    assert seen.dim() == (4 if VIEWS[name].is_picture else 2)


def test_views_without_pixels_do_not_know_the_pixels():
    one = recordings(1)[0]
    elsewhere = one.copy()
    elsewhere["x"], elsewhere["y"] = 33 - one["x"], one["x"]
    for name in ("number", "times", "times-polarity"):
        assert torch.equal(VIEWS[name].features(one), VIEWS[name].features(elsewhere))


def test_shuffling_keeps_picture_and_times_and_breaks_their_link():
    one = recordings(1)[0]
    shuffled = shuffle_time(one, seed=1)
    assert torch.equal(frames(one, 1, 320_000), frames(shuffled, 1, 320_000))
    assert np.array_equal(one["t"], shuffled["t"])
    assert not torch.equal(frames(one, 3, 105_000), frames(shuffled, 3, 105_000))


def test_a_reader_of_pixels_learns_what_pixels_say():
    generator = torch.Generator().manual_seed(0)
    seen = torch.poisson(torch.full((60, 1, 34, 34), 0.2), generator=generator)
    labels = torch.arange(60) % 2
    seen[labels == 1, :, 10:20, 10:20] += 3
    before = torch.get_rng_state()
    assert read_conv(seen, labels, seed=0, epochs=8, batch=12).float().mean() > 0.9
    assert torch.equal(before, torch.get_rng_state())


def test_score_holds_its_interval():
    score = scored(torch.tensor([True] * 90 + [False] * 10))
    assert score["accuracy"] == 0.9
    assert score["low"] < 0.9 < score["high"]
    assert unpacked(score["right"], 100).tolist() == [True] * 90 + [False] * 10


def test_views_of_one_reader_are_compared_item_by_item():
    right = torch.tensor([True] * 8 + [False] * 2)
    views = {"picture": {"linear": scored(right)}, "saccades": {"linear": scored(~right)}}
    (only,) = compared(views)
    assert (only["reader"], only["from"], only["to"]) == ("linear", "picture", "saccades")
    assert only["points"] == pytest.approx(-60)


def test_interrupted_run_goes_on_unless_data_or_seed_differ(tmp_path):
    digits, path = Digits(recordings(2), torch.arange(2), "two", "abc"), tmp_path / "04_something.json"
    done = {"views": {"number": {"linear": {}}}, "differences": [], "cpu_seconds": 1.0}
    assert earlier_run(path, "real", digits, 0) is None
    write_run(path, "real", {**about(digits, "real", 0), "folds": 5, **done})
    assert earlier_run(path, "real", digits, 0) == done
    assert earlier_run(path, "real", digits, 1) is None
    assert earlier_run(path, "real", digits._replace(hash="abd"), 0) is None


def test_result_file_keeps_the_runs_of_other_kinds(tmp_path):
    path = tmp_path / "04_something.json"
    for kind, value in (("simulated", 1), ("real", 2), ("simulated", 3)):
        write_run(path, kind, {"value": value})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["runs"] == {"real": {"value": 2}, "simulated": {"value": 3}}
    assert [file.name for file in tmp_path.iterdir()] == ["04_something.json"]


def test_statistics_of_events_at_random_times_are_flat():
    found = statistics(Digits(recordings(10, 2000), torch.arange(10), "random", "0"))
    assert found["events"] == {"mean": 2000, "least": 2000, "most": 2000}
    assert found["on_percent"] == pytest.approx(50, abs=2)
    rhythm = np.array(found["events_per_5_ms"][:60])
    assert rhythm.std() / rhythm.mean() < 0.15
    assert found["binary"][0]["lost_percent"] > found["binary"][-1]["lost_percent"]
