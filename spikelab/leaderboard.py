r"""The capstone's score: what counts as success, how sure it is, what nothing costs, and a row for the board.

Success at one picture is joint: the class is right **and** the box overlaps the animal's by more than half. It is
averaged inside each true class first and then over the classes that are there, so that a network that only knows the
commonest animal has no more than its share.

A row of the board is made of the result files of ``spikelab train animals``, several seeds of one design, and of those
of its twin without spikes; it is sent nowhere. Numbers of a row that are shares are in points, 0 to 100.

Explained in chapter 14.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spikelab.detection.boxes import iou
from spikelab.detection.metrics import constant_boxes
from spikelab.energy import AC_PJ, MAC_PJ
from spikelab.files import write_atomically
from spikelab.validation import require_between, require_choice, require_count, require_non_negative

THRESHOLD = 0.5
BOXES = ("mean", "median", "best")
KEYS = ("twin", "seeds", "T", "params", "uJ", "rates")
"""Of a row, what ``submission_problems`` may find at fault."""
ENERGY_TOLERANCE = 0.01


class Budget(NamedTuple):
    """What a submission may use.

    Attributes:
        parameters: most trained numbers.
        num_steps: most steps T.
        seeds: fewest runs that differ in their seed alone.
        minutes: most minutes of training for one seed on two cores; shown, and for the reader to check.

    Explained in chapter 14.
    """

    parameters: int = 3_000_000
    num_steps: int = 8
    seeds: int = 3
    minutes: float = 30.0


class SeedInterval(NamedTuple):
    """Mean over seeds and half the width of its confidence interval."""

    mean: float
    half_width: float


class TrivialBaseline(NamedTuple):
    """What an answer scores that never looks: always one class, always one box.

    Attributes:
        label: the commonest class of the training pictures.
        box: ``[4]`` float64, fitted to their boxes.
        accuracy, miou, joint, macro_joint: what it scores on the test pictures, shares of 1.
    """

    label: int
    box: torch.Tensor
    accuracy: float
    miou: float
    joint: float
    macro_joint: float


# --- success ---------------------------------------------------------------------------------------------------------


def joint_hits(
    class_pred: torch.Tensor,
    class_true: torch.Tensor,
    box_pred: torch.Tensor,
    box_true: torch.Tensor,
    threshold: float = THRESHOLD,
) -> torch.Tensor:
    """Return for each picture whether class and box are right, ``[N]`` bool.

    Args:
        class_pred, class_true: ``[N]``, whole numbers.
        box_pred, box_true: ``[N, 4]``, corners in shares of the picture.
        threshold: what the IoU must be above, strictly.
    Raises:
        ValueError: if there is no picture or the lengths differ.

    Explained in chapter 14.
    """
    require_between("threshold", threshold, 0.0, 1.0)
    count = len(class_true)
    for name, value, shape in (
        ("class_true", class_true, (count,)),
        ("class_pred", class_pred, (count,)),
        ("box_pred", box_pred, (count, 4)),
        ("box_true", box_true, (count, 4)),
    ):
        if tuple(value.shape) != shape or not count:
            raise ValueError(
                f"{name} must be {list(shape)}, one for each picture, at least one, got {list(value.shape)}"
            )
    return (class_pred == class_true) & (iou(box_pred, box_true) > threshold)


def joint_success(
    class_pred: torch.Tensor,
    class_true: torch.Tensor,
    box_pred: torch.Tensor,
    box_true: torch.Tensor,
    threshold: float = THRESHOLD,
) -> float:
    r"""Return the macro joint success: the share of pictures with class and box right, in the mean over true classes.

    .. math:: \frac{1}{|K|} \sum_{k \in K} \frac{1}{n_k} \sum_{i:\, y_i = k}
              [\hat y_i = y_i]\,[\mathrm{IoU}_i > \tfrac12]

    Classes without a picture are left out of the mean: they are neither right nor wrong.

    Args:
        class_pred, class_true, box_pred, box_true, threshold: as for ``joint_hits``.
    Returns:
        0 to 1. Three dogs right and one cat with a box of IoU .4: .5 (over pictures it would be .75).

    Explained in chapter 14.
    """
    return macro_mean(joint_hits(class_pred, class_true, box_pred, box_true, threshold), class_true)


def macro_mean(values: torch.Tensor, class_true: torch.Tensor) -> float:
    """Return the mean of values ``[N]`` inside each class, averaged over the classes that are there."""
    return float(torch.stack([values[class_true == label].double().mean() for label in class_true.unique()]).mean())


def trivial_baseline(
    train_labels: torch.Tensor,
    train_boxes: torch.Tensor,
    test_labels: torch.Tensor,
    test_boxes: torch.Tensor,
    *,
    box: str = "best",
    threshold: float = THRESHOLD,
) -> TrivialBaseline:
    """Return what the commonest class and a constant box of the training pictures score on the test pictures.

    Args:
        train_labels, test_labels: ``[N]`` int64. Of equally common classes the first is taken.
        train_boxes, test_boxes: ``[N, 4]``, corners in shares of the picture.
        box: ``"best"`` (highest mean IoU), ``"median"`` or ``"mean"``; see ``detection.constant_boxes``.
        threshold: as for ``joint_hits``.
    Raises:
        ValueError: if there is no picture to fit or to test, or ``box`` is unknown.

    Explained in chapter 14.
    """
    require_choice("box", box, BOXES)
    if not len(train_labels):
        raise ValueError("train_labels must hold at least one picture's class, got none")
    label = int(torch.bincount(train_labels.cpu()).argmax())
    answer = constant_boxes(train_boxes.double())[box]
    boxes = answer.expand(len(test_labels), 4)
    hits = joint_hits(torch.full_like(test_labels, label), test_labels, boxes, test_boxes.to(boxes), threshold)
    return TrivialBaseline(
        label,
        answer,
        float((test_labels == label).double().mean()),
        float(iou(boxes, test_boxes.to(boxes)).mean()),
        float(hits.double().mean()),
        macro_mean(hits, test_labels),
    )


# --- seeds -----------------------------------------------------------------------------------------------------------


def seed_interval(values: Sequence[float], *, confidence: float = 0.95) -> SeedInterval:
    r"""Return the mean over seeds and the half-width of its interval, by Student's t.

    .. math:: \bar x \pm t_{n-1} \frac{s}{\sqrt n}, \qquad s^2 = \frac{1}{n-1} \sum_i (x_i - \bar x)^2

    Args:
        values: the score of each seed, at least two of them and none left out.
        confidence: between 0 and 1.
    Returns:
        Mean and half-width; 41, 43, 45 give 43 ± 4.97.
    Raises:
        ValueError: if there are fewer than two values, or one is not finite.

    Explained in chapter 14. Source: Student, "The probable error of a mean", Biometrika 1908.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"values must be of at least two seeds, got {len(values)}: one says nothing about its spread")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite, got {values}")
    n = len(values)
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return SeedInterval(mean, student_t(n - 1, confidence) * spread / math.sqrt(n))


def student_t(freedom: int, confidence: float = 0.95) -> float:
    """Return the t that encloses, from -t to t, a share of Student's distribution: 12.71, 4.30, 3.18, ... for 95 %.

    Args:
        freedom: degrees of freedom, one less than there are values.
        confidence: that share, above 0 and below 1.
    Raises:
        ValueError: if there is no degree of freedom or the share is none.

    Explained in chapter 14. Source of the sums: Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    require_count("freedom", freedom)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence:g}")
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(freedom)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _enclosed(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _enclosed(angle: float, freedom: int) -> float:
    """Probability that \\|t\\| is below sqrt(freedom) times the tangent of an angle."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


# --- the board -------------------------------------------------------------------------------------------------------


def leaderboard_row(
    results: Sequence[Mapping[str, Any]], *, twin: Sequence[Mapping[str, Any]] = (), team: str = ""
) -> dict[str, Any]:
    """Return one design's row of the board.

    Args:
        results: the result of each seed, as ``spikelab train animals`` writes them (``training.results.load``), of one
            design on one test set.
        twin: likewise of the network without spikes; none leaves ``"twin"`` None, and the row unranked.
        team: a name to show.
    Returns:
        ``team``; ``seeds``, a list; in points ``macro_joint`` (mean), its ``half_width`` (None for one seed),
        ``twin``, ``accuracy``, ``miou``, ``constant_box`` (its mIoU) and ``trivial`` (its macro joint with the
        commonest class); ``T``; ``params``; per picture ``mac_first``, ``synops`` and ``uJ``; ``rates`` of each layer;
        ``train_minutes`` of a seed; ``data``, ``data_hash``; ``spikelab``, the version.
    Raises:
        ValueError: if there is no result, one has no test split or is of another task, or they differ in more than
            their seed.

    Explained in chapter 14.
    """
    _comparable("results", results)
    if twin:
        _comparable("twin", twin)
        if twin[0]["data"]["hash"] != results[0]["data"]["hash"]:
            raise ValueError("twin must be tested on the same data as results: their data hashes differ")
    first = results[0]
    scores = [_points(result, "macro_joint") for result in results]
    interval = seed_interval(scores) if len(scores) > 1 else None
    rates = [(result["spikes"] or {}).get("firing_rate", {}) for result in results]
    costs = [result["cost"] for result in results]
    mac_first, synops = (_mean(cost[name] for cost in costs) for name in ("macs", "acs"))
    row = {
        "team": team,
        "seeds": [result["seed"] for result in results],
        "macro_joint": _mean(scores),
        "half_width": None if interval is None else interval.half_width,
        "twin": _mean(_points(result, "macro_joint") for result in twin) if twin else None,
        "accuracy": _mean(_points(result, "accuracy") for result in results),
        "miou": _mean(_points(result, "miou") for result in results),
        "constant_box": 100 * first["details"]["test"]["trivial"]["miou"],
        "trivial": 100 * first["details"]["test"]["trivial"]["macro_joint"],
        "T": first["configuration"]["num_steps"] if rates[0] else 1,
        "params": first["parameters"],
        "mac_first": mac_first,
        "synops": synops,
        "uJ": (MAC_PJ * mac_first + AC_PJ * synops) / 1e6,
        "rates": {layer: _mean(rate[layer] for rate in rates) for layer in rates[0]},
        "train_minutes": _mean(result["seconds"]["train"] for result in results) / 60,
        "data": first["data"]["label"],
        "data_hash": first["data"]["hash"],
        "spikelab": first["versions"]["spikelab"],
    }
    return row


def submission_problems(row: Mapping[str, Any], budget: Budget | None = None) -> list[str]:
    """Return what is at fault with a row: keys of it, some of ``twin seeds T params uJ rates``, in this order.

    - ``twin``: missing or None; a twin of 0.0 is one.
    - ``seeds``: fewer different ones than the budget asks for.
    - ``T``, ``params``: above the budget, or no positive whole number.
    - ``uJ``: does not follow from ``mac_first`` and ``synops`` at 4.6 and 0.9 pJ, to 1 %.
    - ``rates``: none, or one outside 0 to 1 spikes per neuron and step.

    Args:
        row: as ``leaderboard_row`` returns it, or typed by hand; ``rates`` may be a list.
        budget: ``Budget()`` if not given.

    Explained in chapter 14.
    """
    budget = budget or Budget()
    sound = {
        "twin": _number(row.get("twin")),
        "seeds": _distinct(row.get("seeds")) >= budget.seeds,
        "T": _within(row.get("T"), budget.num_steps),
        "params": _within(row.get("params"), budget.parameters),
        "uJ": _energy_follows(row),
        "rates": _rates(row.get("rates")),
    }
    return [key for key in KEYS if not sound[key]]


def rank(rows: Sequence[Mapping[str, Any]], *, by: str = "joint", budget: Budget | None = None) -> list[dict[str, Any]]:
    """Return the rows in the order of a board, each with its ``rank`` and ``score``; None for those with problems.

    Args:
        rows: as ``leaderboard_row`` returns them.
        by: ``"joint"``: macro joint minus its half-width, so that luck does not pay; or ``"energy"``: macro joint for
            each µJ.
        budget: as for ``submission_problems``.
    Returns:
        Ranked rows, the best first, then unranked ones as they came, with ``problems``.

    Explained in chapter 14.
    """
    require_choice("by", by, ("joint", "energy"))
    ranked, others = [], []
    for row in rows:
        problems = submission_problems(row, budget)
        if not problems and not (_number(row.get("macro_joint")) and _number(row.get("half_width"))):
            problems = ["seeds"]  # without them there is no mean and no interval
        if problems:
            others.append({**row, "rank": None, "score": None, "problems": problems})
            continue
        score = row["macro_joint"] - row["half_width"] if by == "joint" else row["macro_joint"] / row["uJ"]
        ranked.append({**row, "score": score, "problems": []})
    ranked.sort(key=lambda row: -row["score"])
    return [{**row, "rank": place} for place, row in enumerate(ranked, 1)] + others


def write_submission(path: str | os.PathLike, row: Mapping[str, Any]) -> Path:
    """Write a row as a JSON file, whole or not at all.

    Raises:
        ValueError: if the name does not end in ``.json``, or the row holds what JSON cannot say, such as NaN.
        WriteError: if it cannot be written; what was there stays.

    Explained in chapter 14.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"path must end in .json, got {path}")
    try:
        text = json.dumps(dict(row), indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"row cannot be written to {path}: {error}") from error
    return write_atomically(path, text + "\n")


# --- parts -----------------------------------------------------------------------------------------------------------


def _comparable(name: str, results: Sequence[Mapping[str, Any]]) -> None:
    if not results:
        raise ValueError(f"{name} must hold the result of at least one seed, got none")
    seeds = [result["seed"] for result in results]
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"{name} must be of different seeds, got {seeds}")
    designs = []
    for result in results:
        if result["task"] != "animals" or "test" not in result["metrics"]:
            raise ValueError(f"{name} must be results of the task 'animals' with a test split, got {result['task']!r}")
        free = ("seed", "threads", "init")  # weights to start from are of the same seed, so they may be another file
        designs.append({key: value for key, value in result["configuration"].items() if key not in free})
    for result, design in zip(results, designs, strict=True):
        differing = sorted(key for key in design if design[key] != designs[0].get(key))
        if differing or result["data"]["hash"] != results[0]["data"]["hash"]:
            raise ValueError(f"{name} must differ in their seed alone, but differ in {', '.join(differing) or 'data'}")


def _points(result: Mapping[str, Any], name: str) -> float:
    return 100 * result["metrics"]["test"][name]["value"]


def _mean(values: Any) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _distinct(seeds: Any) -> int:
    return len(set(seeds)) if isinstance(seeds, Sequence) and not isinstance(seeds, str) else 0


def _within(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def _energy_follows(row: Mapping[str, Any]) -> bool:
    found = [row.get(key) for key in ("mac_first", "synops", "uJ")]
    if not all(_number(value) and value >= 0 for value in found):
        return False
    macs, acs, micro = (require_non_negative("count", value) for value in found)
    due = (MAC_PJ * macs + AC_PJ * acs) / 1e6
    return abs(micro - due) <= ENERGY_TOLERANCE * due


def _rates(rates: Any) -> bool:
    values = list(rates.values()) if isinstance(rates, Mapping) else rates
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        return False
    return all(_number(rate) and 0 <= rate <= 1 for rate in values)
