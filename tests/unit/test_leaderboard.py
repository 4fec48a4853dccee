"""The capstone's score and board: macro and joint, Student's t, what nothing costs, and rows that do not hold."""

import itertools
import json
import math

import pytest
import torch
from scipy import stats

from spikelab.leaderboard import (
    KEYS,
    Budget,
    joint_hits,
    joint_success,
    leaderboard_row,
    rank,
    seed_interval,
    student_t,
    submission_problems,
    trivial_baseline,
    write_submission,
)

WHOLE = [0.0, 0.0, 1.0, 1.0]
ROW = {
    "team": "",
    "seeds": [0, 1, 2],
    "macro_joint": 41.0,
    "half_width": 3.1,
    "twin": 42.5,
    "T": 4,
    "params": 180_000,
    "mac_first": 112_896,
    "synops": 1_397_171,
    "uJ": 1.777,
    "rates": [0.1, 0.2],
}


def boxes(*overlaps):
    """Boxes of given IoU with the whole picture."""
    return torch.tensor([[0.0, 0.0, 1.0, overlap] for overlap in overlaps])


def whole(count):
    return torch.tensor([WHOLE]).expand(count, 4)


# --- success


def test_joint_success_is_averaged_inside_each_class_first():
    dogs_and_a_cat = torch.tensor([2, 2, 2, 1])
    assert joint_success(dogs_and_a_cat, dogs_and_a_cat, boxes(0.9, 0.8, 0.7, 0.4), whole(4)) == 0.5


def test_both_must_be_right_for_the_same_picture():
    truth = torch.tensor([0, 0])
    assert joint_success(torch.tensor([0, 1]), truth, boxes(0.2, 0.9), whole(2)) == 0.0


def test_the_average_goes_by_true_classes_that_are_there():
    truth = torch.tensor([0, 0, 0, 7])
    assert joint_success(torch.tensor([0, 0, 3, 7]), truth, boxes(1, 1, 1, 1), whole(4)) == pytest.approx(5 / 6)


def test_an_overlap_of_exactly_the_threshold_is_none():
    assert not joint_hits(torch.tensor([0]), torch.tensor([0]), boxes(0.5), whole(1)).any()
    assert joint_hits(torch.tensor([0]), torch.tensor([0]), boxes(0.5), whole(1), threshold=0.4).all()


def test_joint_success_equals_a_plain_loop():
    generator = torch.Generator().manual_seed(3)
    truth = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 200, replacement=True, generator=generator)
    said = torch.where(torch.rand(200, generator=generator) < 0.6, truth, (truth + 1) % 3)
    overlap = torch.rand(200, generator=generator)
    by_class = {}
    for true, guess, found in zip(truth.tolist(), said.tolist(), overlap.tolist(), strict=True):
        by_class.setdefault(true, []).append(true == guess and found > 0.5)
    wanted = sum(sum(hits) / len(hits) for hits in by_class.values()) / len(by_class)
    assert joint_success(said, truth, boxes(*overlap), whole(200)) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("said", "overlap", "words"),
    [([0], (1.0, 1.0), r"class_pred must be \[2\]"), ([0, 0], (1.0,), r"box_pred must be \[2, 4\]")],
)
def test_lists_of_different_lengths_are_refused(said, overlap, words):
    with pytest.raises(ValueError, match=words):
        joint_success(torch.tensor(said), torch.tensor([0, 0]), boxes(*overlap), whole(2))


def test_no_picture_has_no_success():
    with pytest.raises(ValueError, match="at least one"):
        joint_success(torch.zeros(0), torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 4))


def test_the_trivial_answer_is_the_commonest_class_and_a_constant_box():
    train_labels, train_boxes = torch.tensor([2, 2, 2, 0]), whole(4)
    labels = torch.tensor([2, 2, 0, 1])
    found = trivial_baseline(train_labels, train_boxes, labels, boxes(0.9, 0.4, 0.9, 0.9), box="median")
    assert found.label == 2
    assert found.box.tolist() == WHOLE
    assert (found.accuracy, found.joint) == (0.5, 0.25)
    assert found.macro_joint == pytest.approx((0.5 + 0 + 0) / 3)
    assert found.miou == pytest.approx(0.775)


def test_the_trivial_answer_knows_training_pictures_alone():
    some = trivial_baseline(torch.tensor([1]), whole(1), torch.tensor([0, 0]), boxes(0.5, 0.5))
    assert (some.label, some.accuracy, some.box.tolist()) == (1, 0.0, WHOLE)
    with pytest.raises(ValueError, match="train_labels must hold at least one"):
        trivial_baseline(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), torch.tensor([0]), whole(1))
    with pytest.raises(ValueError, match="box must be one of"):
        trivial_baseline(torch.tensor([1]), whole(1), torch.tensor([0]), whole(1), box="worst")


# --- seeds


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 30, 101])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_students_t_is_scipys(freedom, confidence):
    assert student_t(freedom, confidence) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, freedom), rel=1e-9)


def test_three_seeds():
    mean, half_width = seed_interval([41, 43, 45])
    assert mean == 43
    assert half_width == pytest.approx(4.30265 * 2 / math.sqrt(3), rel=1e-5)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = torch.randn(10_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = student_t(2) / math.sqrt(3)
    assert seed_interval(draws[0].tolist()).half_width == pytest.approx(factor * float(draws[0].std()))
    covered = draws.mean(1).abs() <= factor * draws.std(1)
    assert 0.941 < float(covered.double().mean()) < 0.959


@pytest.mark.parametrize("values", [[], [41.0], [41.0, float("nan")]])
def test_no_interval_of_one_seed_or_of_what_is_no_number(values):
    with pytest.raises(ValueError, match="values must be"):
        seed_interval(values)


@pytest.mark.parametrize(("freedom", "confidence"), [(0, 0.95), (2, 1.0), (2, 0.0)])
def test_no_t_without_freedom_or_of_certainty(freedom, confidence):
    with pytest.raises(ValueError, match=r"freedom|confidence"):
        student_t(freedom, confidence)


# --- rows

FAULTS = {
    "twin": {"twin": None},
    "seeds": {"seeds": [0, 1]},
    "T": {"T": 9},
    "params": {"params": 3_000_001},
    "uJ": {"uJ": 2.0},
    "rates": {"rates": [0.1, 1.2]},
}


def test_a_sound_row_has_no_problem():
    assert submission_problems(ROW) == []
    assert submission_problems({**ROW, "rates": {"conv 1": 0.1}}) == []


def test_every_set_of_faults_is_found_and_nothing_else():
    for size in range(len(KEYS) + 1):
        for chosen in itertools.combinations(KEYS, size):
            row = dict(ROW)
            for key in chosen:
                row |= FAULTS[key]
            assert submission_problems(row) == list(chosen)


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"twin": 0.0}, []),
        ({"seeds": [1, 1, 1]}, ["seeds"]),
        ({"seeds": 3}, ["seeds"]),
        ({"T": 8, "params": 3_000_000}, []),
        ({"T": 0}, ["T"]),
        ({"T": 4.5}, ["T"]),
        ({"uJ": 1.777 * 1.005}, []),
        ({"uJ": 1.777 * 1.02}, ["uJ"]),
        ({"uJ": float("nan")}, ["uJ"]),
        ({"synops": None}, ["uJ"]),
        ({"rates": []}, ["rates"]),
        ({"rates": [float("nan")]}, ["rates"]),
        ({"rates": "high"}, ["rates"]),
    ],
)
def test_what_is_a_problem_and_what_is_not(change, problems):
    assert submission_problems({**ROW, **change}) == problems


def test_a_row_without_anything_has_every_problem():
    assert submission_problems({}) == list(KEYS)


def test_a_larger_budget_allows_more():
    row = {**ROW, "T": 20, "params": 9_000_000, "seeds": [0, 1]}
    assert submission_problems(row, Budget(10_000_000, 20, 2)) == []


def test_luck_does_not_pay_and_problems_are_not_ranked():
    wide = {**ROW, "team": "wide", "macro_joint": 44.0, "half_width": 8.0}
    narrow = {**ROW, "team": "narrow", "macro_joint": 40.0, "half_width": 1.0}
    alone = {**ROW, "team": "alone", "macro_joint": 90.0, "twin": None}
    unsure = {**ROW, "team": "unsure", "half_width": None}
    board = rank([alone, wide, unsure, narrow])
    assert [(row["team"], row["rank"]) for row in board] == [
        ("narrow", 1),
        ("wide", 2),
        ("alone", None),
        ("unsure", None),
    ]
    assert board[0]["score"] == 39.0
    assert [row["problems"] for row in board] == [[], [], ["twin"], ["seeds"]]


def test_the_other_board_goes_by_energy():
    frugal = {**ROW, "team": "frugal", "macro_joint": 30.0, "synops": 0, "uJ": 0.5193}
    board = rank([ROW, frugal], by="energy")
    assert board[0]["team"] == "frugal"
    assert board[0]["score"] == pytest.approx(30 / 0.5193)
    with pytest.raises(ValueError, match="by must be one of"):
        rank([ROW], by="beauty")


def test_a_submission_is_written_whole_or_not_at_all(tmp_path):
    path = write_submission(tmp_path / "submission.json", ROW)
    assert json.loads(path.read_text()) == ROW
    with pytest.raises(ValueError, match="cannot be written"):
        write_submission(path, {**ROW, "macro_joint": float("nan")})
    assert json.loads(path.read_text()) == ROW
    with pytest.raises(ValueError, match=r"must end in \.json"):
        write_submission(tmp_path / "submission.txt", ROW)
    assert [file.name for file in tmp_path.iterdir()] == ["submission.json"]


# --- from results


def result(seed, score, *, neurons="spiking", data="d0", steps=4, task="animals"):
    def share(value):
        return {"value": value, "low": None, "high": None, "n": 60}

    spikes = {"firing_rate": {"conv 1": 0.1 + 0.01 * seed}} if neurons == "spiking" else None
    return {
        "task": task,
        "seed": seed,
        "metrics": {"test": {name: share(score) for name in ("macro_joint", "accuracy", "miou")}},
        "details": {"test": {"trivial": {"miou": 0.48, "macro_joint": 0.09}}},
        "configuration": {"model": neurons, "seed": seed, "num_steps": steps, "init": f"base-{seed}", "threads": seed},
        "parameters": 1000,
        "cost": {"macs": 1_000_000.0, "acs": 2_000_000.0 + seed},
        "spikes": spikes,
        "seconds": {"train": 60.0 * (seed + 1)},
        "data": {"hash": data, "label": "made up"},
        "versions": {"spikelab": "0"},
    }


def test_a_row_is_made_of_the_results_of_all_seeds():
    twins = [result(seed, 0.5, neurons="ann", steps=1) for seed in (0, 1, 2)]
    row = leaderboard_row([result(0, 0.41), result(1, 0.43), result(2, 0.45)], twin=twins, team="us")
    assert row["macro_joint"] == pytest.approx(43)
    assert row["half_width"] == pytest.approx(4.968, abs=1e-3)
    assert (row["twin"], row["T"], row["params"], row["team"]) == (50.0, 4, 1000, "us")
    assert row["synops"] == 2_000_001
    assert row["uJ"] == pytest.approx((4.6e6 + 0.9 * 2_000_001) / 1e6)
    assert row["rates"] == {"conv 1": pytest.approx(0.11)}
    assert row["train_minutes"] == 2.0
    assert (row["constant_box"], row["trivial"]) == (48.0, 9.0)
    assert submission_problems(row) == []


def test_one_seed_without_a_twin_is_listed_and_not_ranked():
    row = leaderboard_row([result(0, 0.41)])
    assert (row["twin"], row["half_width"]) == (None, None)
    assert submission_problems(row) == ["twin", "seeds"]


@pytest.mark.parametrize(
    ("results", "twin", "words"),
    [
        ([], [], "at least one seed"),
        ([result(0, 0.4), result(0, 0.5)], [], "different seeds"),
        ([result(0, 0.4), result(1, 0.5, steps=8)], [], "differ in num_steps"),
        ([result(0, 0.4), result(1, 0.5, data="d1")], [], "differ in data"),
        ([result(0, 0.4, task="pets")], [], "results of the task 'animals'"),
        ([result(0, 0.4)], [result(0, 0.4, data="d1")], "same data"),
    ],
)
def test_results_that_cannot_be_one_row_are_refused(results, twin, words):
    with pytest.raises(ValueError, match=words):
        leaderboard_row(results, twin=twin)
