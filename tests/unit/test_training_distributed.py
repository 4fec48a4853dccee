"""Two processes that share a batch train as one process with the whole batch does."""

import json

import pytest
import torch
from training_fixtures import ThreeTrains, configuration, numbers, two_processes, weights_of

from spikelab.training import loop
from spikelab.training.checkpoints import CheckpointMismatch
from spikelab.training.distributed import World, pick_device

# No dropout: each process has a stream of its own. Batches of 7 are shared 4 to 3; the last one has a single sample, so
# that one process has none.
CONFIG = {
    "epochs": 2,
    "batch": 7,
    "dropout": 0.0,
    "rate_low": 0.3,
    "rate_high": 0.3,
    "rate_weight": 1.0,
    "grad_clip": 0.5,
}
TASK = {"train": 29, "dtype": "float64"}  # in float64 a rounding error cannot tip a membrane over the threshold


@pytest.mark.slow
def test_two_gloo_processes_have_the_loss_and_the_weights_of_one_with_the_joint_batch(tmp_path):
    order = {"out": str(tmp_path / "run"), "config": CONFIG, "task": TASK, "report": str(tmp_path / "report")}
    ended = two_processes(order)
    assert [status for status, *_ in ended] == [0, 0], ended
    first, second = (json.loads((tmp_path / f"report.{rank}").read_text()) for rank in range(2))
    alone = loop.train(ThreeTrains(train=29, dtype=torch.float64), configuration(**CONFIG))

    assert first["weights"] == second["weights"]
    for name, value in weights_of(alone.model).items():
        assert torch.allclose(torch.tensor(first["weights"][name]), torch.tensor(value), atol=1e-5, rtol=0), name
    for mine, theirs in zip(first["result"]["history"], alone.result["history"], strict=True):
        for split in ("train", "validation"):
            assert mine[split]["loss"] == pytest.approx(theirs[split]["loss"], abs=1e-6)
            assert mine[split]["accuracy"] == theirs[split]["accuracy"]
            assert mine[split]["n"] == theirs[split]["n"]
    assert first["result"]["metrics"]["test"]["accuracy"] == alone.result["metrics"]["test"]["accuracy"]
    assert first["result"]["spikes"] == second["result"]["spikes"] == alone.result["spikes"]
    assert first["result"]["hardware"]["processes"] == 2
    # One process wrote, and its checkpoint belongs to two.
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == first["result"]
    with pytest.raises(CheckpointMismatch, match="processes: 2 there, 1 here"):
        loop.train(
            ThreeTrains(train=29, dtype=torch.float64), configuration(**CONFIG), out=tmp_path / "run", resume=True
        )


@pytest.mark.slow
def test_two_processes_stopped_by_a_signal_to_one_resume_together(tmp_path):
    config = {**CONFIG, "dropout": 0.3}
    plain = {"config": config, "task": TASK}
    ended = two_processes({**plain, "out": str(tmp_path / "run"), "signal": ["SIGTERM", True, 7]})
    assert all("Interrupted: stopped by SIGTERM after batch 2/5 of epoch 2/2" in error for _, _, error in ended), ended
    for name, order in (("resumed", {"out": str(tmp_path / "run"), "resume": True}), ("unbroken", {})):
        ended = two_processes({**plain, **order, "report": str(tmp_path / name)})
        assert [status for status, *_ in ended] == [0, 0], ended
    reports = [json.loads((tmp_path / f"{name}.0").read_text()) for name in ("resumed", "unbroken")]
    assert reports[0]["weights"] == reports[1]["weights"]
    assert numbers(reports[0]["result"]) == numbers(reports[1]["result"])


def test_the_shares_of_a_batch_are_disjoint_and_complete():
    joint = torch.arange(7)
    shares = [World(rank, 3).share(joint).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="PyTorch finds no GPU: use 'auto' or 'cpu'"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device must be one of"):
        pick_device("tpu")
