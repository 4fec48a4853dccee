"""Result files hold what a result must hold, or are refused by name."""

import copy
import json

import pytest
from training_fixtures import ThreeTrains, configuration

from spikelab.files import write_atomically
from spikelab.training import loop, results
from spikelab.training.results import ResultError


@pytest.fixture(scope="module")
def result():
    return loop.train(ThreeTrains(), configuration(epochs=1)).result


def test_a_written_result_reads_back_the_same(result, tmp_path):
    results.write(tmp_path / "new" / "r.json", result)
    assert results.load(tmp_path / "new" / "r.json") == result
    assert (tmp_path / "new" / "r.json").read_text().endswith("}\n")


def test_a_result_says_on_what_and_how_it_was_made(result):
    assert result["data"]["sizes"] == {"train": 45, "validation": 20, "test": 21}
    assert result["configuration"] == configuration(epochs=1).as_dict()
    assert result["hardware"]["threads"] == 1
    assert result["hardware"]["cpu"]
    assert set(result["versions"]) == {"python", "torch", "spikelab", "commit"}
    assert result["parameters"] == 12 * 16 + 16 + 16 * 3 + 3
    assert result["seconds"]["total"] >= result["seconds"]["train"] > 0


def _without(path):
    def change(result):
        *folders, name = path.split(".")
        for folder in folders:
            result = result[folder]
        del result[name]

    return change


def _with(path, value):
    def change(result):
        *folders, name = path.split(".")
        for folder in folders:
            result = result[folder]
        result[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("seed"), "seed is missing"),
        (_without("data.hash"), "data.hash is missing"),
        (_without("metrics.test.accuracy"), "metrics.test.accuracy is missing"),
        (_without("metrics.test.accuracy.n"), "metrics.test.accuracy.n is missing"),
        (_with("seed", "0"), "seed must be int, got '0'"),
        (_with("parameters", True), "parameters must be int, got True"),
        (_with("data", []), "data must be an object, got list"),
        (_with("schema_version", 99), "schema_version is 99, this version of spikelab reads 1"),
        (_with("kind", "guess"), "kind must be one of train, evaluate"),
        (_with("metrics", {}), "metrics is empty"),
        (_with("metrics.test.accuracy.low", 2.0), "must have low <= value <= high"),
        (_with("metrics.test.accuracy.low", None), "must have both low and high, or neither"),
        (_with("metrics.test.accuracy.value", float("inf")), "value must be finite"),
        (_with("confusion", [[1, 2], [3]]), "confusion must be a square"),
        (_with("baseline", {"name": "x"}), "baseline.value is missing"),
        (_with("spikes", {"per_sample": {}}), "spikes.firing_rate is missing"),
        (_with("date", "yesterday"), "date must be a date"),
    ],
)
def test_an_incomplete_result_is_refused_by_field(change, message, result, tmp_path):
    broken = copy.deepcopy(result)
    change(broken)
    path = tmp_path / "r.json"
    with pytest.raises(ResultError, match=message):
        results.write(path, broken)
    assert not path.exists()
    path.write_text(json.dumps(broken))
    with pytest.raises(ResultError, match=f"r.json: .*{message}"):
        results.load(path)


def test_what_is_no_result_is_refused_by_file(tmp_path):
    with pytest.raises(ResultError, match=r"none.json cannot be read: No such file"):
        results.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"schema_version": 1,')
    with pytest.raises(ResultError, match=r"half.json is no JSON file"):
        results.load(tmp_path / "half.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ResultError, match=r"list.json: the file must be an object"):
        results.load(tmp_path / "list.json")


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("kept.txt", "old")]
