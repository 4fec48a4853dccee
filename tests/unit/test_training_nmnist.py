"""``spikelab train nmnist`` and ``spikelab evaluate`` on recordings in N-MNIST's own format."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from dataset_files import write_nmnist
from typer.testing import CliRunner

from spikelab.cli import app
from spikelab.datasets import NMNIST
from spikelab.events import frames, read_events
from spikelab.training import results
from spikelab.training.config import Configuration
from spikelab.training.tasks.nmnist import LOSSES, FrameSet, NMNISTTask, shift_frames

SMALL = ["--model", "smlp", "--hidden", "16", "--steps", "3", "--window-ms", "100", "--batch", "8", "--epochs", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_nmnist(root / "nmnist")
    return root


@pytest.fixture(autouse=True)
def data(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def config(**changes):
    settings = {"task": "nmnist", "model": "smlp", "data": "real", "num_steps": 3, "window_us": 100_000}
    return Configuration(**{**settings, **changes})


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("train",), ("nmnist",)),
        (("train", "nmnist"), ("--resume", "--export", "--result", "torchrun", "Exit status")),
        (("evaluate",), ("--split", "--result", ".safetensors")),
    ],
)
def test_help_explains_the_commands(command, words):
    shown = invoke(*command, "--help")
    assert shown.exit_code == 0
    assert all(word in shown.output for word in words), shown.output


def test_a_run_writes_its_result_its_weights_and_its_pictures():
    done = invoke("train", "nmnist", *SMALL, "--out", "run", "--export", "w.safetensors", "--result", "r/a.json")
    assert done.exit_code == 0, done.output
    assert {"result.json", "metrics.jsonl", "curves.png", "weights.safetensors"} <= set(os.listdir("run"))
    result = results.load("r/a.json")
    assert result == results.load("run/result.json")
    assert result["data"]["label"] == "real N-MNIST"
    assert result["data"]["sizes"] == {"train": 36, "validation": 4, "test": 10}
    assert sum(map(sum, result["confusion"])) == 10
    assert result["configuration"]["model_options"] == {"hidden": [16]}
    assert f"test: accuracy {result['metrics']['test']['accuracy']['value']:.2%}" in done.output
    assert "data: real N-MNIST" in done.output


def test_exported_weights_evaluate_to_what_training_found():
    assert invoke("train", "nmnist", *SMALL, "-o", "run", "--export", "w.safetensors", "-q").exit_code == 0
    trained = results.load("run/result.json")
    done = invoke("evaluate", "w.safetensors", "--result", "e.json")
    assert done.exit_code == 0, done.output
    found = results.load("e.json")
    assert found["kind"] == "evaluate"
    assert found["metrics"]["test"] == trained["metrics"]["test"]
    assert found["confusion"] == trained["confusion"]
    assert found["spikes"] == trained["spikes"]
    validation = invoke("evaluate", "w.safetensors", "--split", "validation", "--batch", "3")
    assert "validation: accuracy" in validation.output
    assert "n = 4" in validation.output


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", ["bptt", "slayer"])
def test_every_rule_and_loss_trains(rule, loss):
    done = invoke("train", "nmnist", *SMALL, "--epochs", "1", "--rule", rule, "--loss", loss, "--out", "run", "-q")
    assert done.exit_code == 0, done.output


def test_options_reach_network_neurons_and_loss():
    options = ["--option", "gain=3", "--option", "tau_ms=20", "--option", "true=2.5", "--option", "false=0"]
    more = ["--rule", "slayer", "--loss", "spike-count", "--slope", "5", "--surrogate", "sigmoid", "--shift", "2"]
    done = invoke("train", "nmnist", *SMALL, *options, *more, "--epochs", "1", "--out", "run")
    assert done.exit_code == 0, done.output
    kept = results.load("run/result.json")["configuration"]
    assert kept["model_options"] == {"hidden": [16], "gain": 3}
    assert kept["neuron_options"] == {"tau_ms": 20}
    assert kept["loss_options"] == {"true": 2.5, "false": 0}
    assert (kept["slope"], kept["surrogate"], kept["shift"], kept["dropout"]) == (5.0, "sigmoid", 2, 0.0)


def test_the_convolutional_network_trains_with_its_own_dropout():
    small = ["--model", "scnn", "--channels", "4,4", "--hidden", "8", "--steps", "2", "--window-ms", "150"]
    done = invoke("train", "nmnist", *small, "--epochs", "1", "--out", "run", "-q")
    assert done.exit_code == 0, done.output
    result = results.load("run/result.json")
    assert result["configuration"]["dropout"] == 0.2
    assert list(result["spikes"]["per_sample"]) == ["conv 1", "conv 2", "dense 1", "output"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "mlp"], "model must be one of 'scnn', 'smlp'"),
        (["--rule", "stdp"], "rule must be one of"),
        (["--loss", "hinge"], "loss must be one of count, membrane, latency, spike-count, got 'hinge'"),
        (["--data", "imaginary"], "kind must be one of"),
        (["--data", "simulated"], "spikelab data make nmnist-simulated"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--hidden", "a,b"], "--hidden must be a number or numbers with commas between, got 'a,b'"),
        (["--option", "gain"], "--option must be NAME=VALUE, got 'gain'"),
        (["--option", "colour=3"], "--option colour is unknown"),
        (["--option", "decay=0.5"], "loss 'count' has no option 'decay'"),
        (["--decision", "last"], "by must be one of"),
        (["--export", "w.pt"], "--export must end in .safetensors"),
        (["--result", "r.txt"], "--result must end in .json"),
        (["--device", "tpu"], "device must be one of"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(arguments, message):
    done = invoke("train", "nmnist", *SMALL, *arguments, "--out", "run", "-q")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert not os.path.exists("run/checkpoint.pt")
    assert not os.path.exists("run/result.json")


def test_a_run_is_not_started_over_or_resumed_with_other_options():
    assert invoke("train", "nmnist", *SMALL, "--out", "run", "-q").exit_code == 0
    again = invoke("train", "nmnist", *SMALL, "--out", "run", "-q")
    assert (again.exit_code, "resume it with --resume" in again.output) == (2, True)
    other = invoke("train", "nmnist", *SMALL, "--out", "run", "-q", "--lr", "0.5", "--resume")
    assert (other.exit_code, "lr: 0.001 there, 0.5 here" in other.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no weights called 'none'"),
        (["none.safetensors"], "cannot be read"),
        (["none.safetensors", "--split", "all"], "--split must be"),
        (["none.safetensors", "--result", "x"], "--result must end in .json"),
    ],
)
def test_evaluate_says_what_is_missing(arguments, message):
    done = invoke("evaluate", *arguments)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.slow
def test_ctrl_c_says_how_to_resume_and_the_resumed_run_equals_an_unbroken_one(tmp_path):
    options = ["train", "nmnist", *SMALL, "--epochs", "60", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spikelab.cli", *options, "--out", "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "stopped by SIGINT" in error
    assert "To go on: spikelab train nmnist --model smlp" in error
    assert error.strip().endswith("--out run --resume")
    assert not (tmp_path / "run" / "result.json").exists()
    assert invoke(*options, "--out", "run", "--resume").exit_code == 0
    assert invoke(*options, "--out", "whole").exit_code == 0
    resumed, unbroken = results.load("run/result.json"), results.load("whole/result.json")
    assert resumed["metrics"] == unbroken["metrics"]
    assert resumed["spikes"] == unbroken["spikes"]
    weights = [safetensors.torch.load_file(f"{run}/weights.safetensors") for run in ("run", "whole")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.slow
def test_the_command_runs_under_torchrun():
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "spikelab.cli", "train", "nmnist", *SMALL, "--out", "run", "--result", "r.json",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = results.load("r.json")
    assert result["hardware"]["processes"] == 2
    assert done.stdout.count("test: accuracy") == 1


def test_batches_are_the_frames_of_the_events_time_first(folder):
    data = NMNISTTask().data(config())
    recordings = NMNIST("train", kind="real")
    inputs, targets = NMNISTTask().batch(config(), data.train, torch.tensor([5, 2]), None, torch.device("cpu"))
    assert inputs.shape == (3, 2, 2, 34, 34)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous()
    for place, index in enumerate((5, 2)):
        expected = frames(read_events(recordings.files[index]), 3, 100_000, mode="binary")
        assert torch.equal(inputs[:, place], expected)
        assert targets[place] == recordings.labels[index]


def test_a_limit_takes_the_same_recordings_for_the_same_seed():
    picked = [NMNISTTask().data(config(train_limit=9, seed=seed)).train for seed in (0, 0, 1)]
    assert [len(split) for split in picked] == [9, 9, 9]
    assert torch.equal(picked[0].frames, picked[1].frames)
    assert not torch.equal(picked[0].frames, picked[2].frames)


def test_the_hash_tells_other_recordings(folder, tmp_path, monkeypatch):
    first = NMNISTTask().data(config()).hash
    shutil.copytree(folder, tmp_path / "other")
    file = next((tmp_path / "other" / "nmnist" / "Test").rglob("*.bin"))
    file.write_bytes(file.read_bytes()[:-5])
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path / "other"))
    assert NMNISTTask().data(config()).hash != first


def test_shifting_moves_what_is_inside_and_loses_what_leaves():
    frame = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 1, 3, 3).expand(3, 2, 1, 3, 3)
    moved = shift_frames(frame, torch.tensor([[1, 0], [0, -2], [0, 0]]))
    assert moved.dtype == torch.uint8
    assert moved[0, 1, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert moved[1, 0, 0].tolist() == [[3, 0, 0], [6, 0, 0], [9, 0, 0]]
    assert torch.equal(moved[2], frame[2])


def test_shifts_reach_both_ends_and_nothing_beyond():
    draws = NMNISTTask().draw(config(shift=2), 400, torch.Generator().manual_seed(0))
    assert sorted(draws.unique().tolist()) == [-2, -1, 0, 1, 2]
    assert NMNISTTask().draw(config(), 4, torch.Generator()) is None


def test_the_baseline_is_the_most_frequent_digit_of_training_in_the_test():
    def split(labels):
        return FrameSet(torch.zeros(len(labels), 1, 2, 34, 34, dtype=torch.uint8), torch.tensor(labels))

    class Data:
        train, test = split([3, 3, 1]), split([1, 1, 1, 3])

    assert NMNISTTask().baseline(Data) == {"name": "always the most frequent digit, 3", "value": 0.25}


def test_a_result_survives_json_with_its_confusion_matrix():
    evidence = {"predicted": torch.tensor([1, 1, 2]), "target": torch.tensor([1, 2, 2])}
    metrics = json.loads(json.dumps(NMNISTTask().metrics(evidence, None)))
    assert metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert metrics["confusion"][2][1] == 1
