"""The loop: learns, repeats itself bit for bit, survives kills, refuses what it cannot go on from."""

import errno
import json
import os
import signal

import pytest
import torch
from training_fixtures import ThreeTrains, configuration, numbers, start, weights_of

from spikelab import files
from spikelab.files import WriteError
from spikelab.training import checkpoints, loop, results
from spikelab.training.checkpoints import CheckpointError, CheckpointMismatch
from spikelab.training.progress import Progress


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """Content of the checkpoint of a run of one epoch."""
    folder = tmp_path_factory.mktemp("one-epoch")
    loop.train(ThreeTrains(), configuration(epochs=1), out=folder)
    return (folder / "checkpoint.pt").read_bytes()


def test_a_network_learns_and_the_result_says_how_well(tmp_path):
    task = ThreeTrains(train=240)
    outcome = loop.train(task, configuration(epochs=12, dropout=0.0, shift=0), out=tmp_path)
    result = results.load(tmp_path / "result.json")
    assert result == json.loads(json.dumps(outcome.result))
    assert result["metrics"]["test"]["accuracy"]["value"] > 0.6 > result["baseline"]["value"]
    losses = [record["train"]["loss"] for record in result["history"]]
    assert losses[-1] < losses[0] - 0.2
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "curves.png", "metrics.jsonl", "result.json"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == result["history"]


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again = (loop.train(ThreeTrains(), configuration(seed=1)) for _ in range(2))
    other = loop.train(ThreeTrains(), configuration(seed=2))
    assert numbers(first.result) == numbers(again.result)
    assert weights_of(first.model) == weights_of(again.model) != weights_of(other.model)


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loop.train(ThreeTrains(), configuration(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_each_epoch_takes_every_sample_once_in_an_order_of_its_own():
    first, second = loop.epoch_order(3, 0, 50), loop.epoch_order(3, 1, 50)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert not torch.equal(first, second)
    assert torch.equal(first, loop.epoch_order(3, 0, 50))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "checkpoint_s"),
    [
        (["SIGKILL", True, 10], 0.0),  # in the second epoch; a checkpoint after every batch
        (["SIGKILL", True, 10], 1e9),  # the same; a checkpoint at the ends of epochs only
        (["SIGKILL", False, 5], 0.0),  # while the second epoch is validated
    ],
)
def test_a_killed_run_resumes_to_the_numbers_of_an_unbroken_one(kill, checkpoint_s, tmp_path):
    unbroken = loop.train(ThreeTrains(), configuration())
    order = {"out": str(tmp_path / "run"), "checkpoint_s": checkpoint_s}
    killed = start({**order, "signal": kill})
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    state = checkpoints.load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert state["epoch"] == 1, "the kill came in the second epoch"
    assert not (tmp_path / "run" / "result.json").exists()

    resumed = loop.train(ThreeTrains(), configuration(), out=tmp_path / "run", resume=True)
    assert numbers(resumed.result) == numbers(unbroken.result)
    assert weights_of(resumed.model) == weights_of(unbroken.model)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_numbers(tmp_path):
    unbroken = loop.train(ThreeTrains(), configuration())
    for at in (2, 5, 4):  # batches made before each kill
        killed = start({"out": str(tmp_path), "resume": True, "signal": ["SIGKILL", True, at]})
        killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL
    resumed = loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True)
    assert numbers(resumed.result) == numbers(unbroken.result)
    assert weights_of(resumed.model) == weights_of(unbroken.model)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_says_where_and_resumes(name, tmp_path):
    def sabotage(training, number):
        if training and number == 9:
            signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        loop.Interrupted, match=rf"{name} after batch 3/6 of epoch 2/3; saved in .*checkpoint.pt"
    ) as stop:
        loop.train(ThreeTrains(sabotage=sabotage), configuration(), out=tmp_path)
    assert stop.value.signal == getattr(signal, name)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert (tmp_path / "curves.png").exists()
    resumed = loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True)
    assert numbers(resumed.result) == numbers(loop.train(ThreeTrains(), configuration()).result)


def test_a_signal_during_validation_saves_too(tmp_path):
    def sabotage(training, number):
        if not training and number == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(loop.Interrupted, match="after batch 6/6 of epoch 1/3"):
        loop.train(ThreeTrains(sabotage=sabotage), configuration(), out=tmp_path)
    resumed = loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True)
    assert numbers(resumed.result) == numbers(loop.train(ThreeTrains(), configuration()).result)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def sabotage(training, number):
        if training and number == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    # A shell starts its background jobs deaf to Ctrl-C, and tests among them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.train(ThreeTrains(sabotage=sabotage), configuration(), out=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_checkpoint_is_not_overwritten_unless_resuming(one_epoch, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(one_epoch)
    with pytest.raises(CheckpointError, match="there already: resume it with --resume"):
        loop.train(ThreeTrains(), configuration(epochs=1), out=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == one_epoch


def test_a_checkpoint_of_another_configuration_is_refused_with_the_difference(one_epoch, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(one_epoch)
    changed = configuration(epochs=1, lr=0.005, model_options={"hidden": [3]})
    with pytest.raises(CheckpointMismatch) as refusal:
        loop.train(ThreeTrains(), changed, out=tmp_path, resume=True)
    lines = str(refusal.value).splitlines()[1:-1]
    assert lines == ["  lr: 0.02 there, 0.005 here", "  model_options: {} there, {'hidden': [3]} here"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == one_epoch


def test_a_checkpoint_of_other_data_is_refused(one_epoch, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(one_epoch)
    with pytest.raises(CheckpointMismatch, match="data files: s0 there, s7 here"):
        loop.train(ThreeTrains(seed=7), configuration(epochs=1), out=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged"),
        (lambda content: content[:30], "damaged"),
        (lambda content: b"", "no checkpoint of spikelab"),
        (lambda content: b"PK" + content, "no checkpoint of spikelab"),
    ],
    ids=["half", "one bit", "header only", "empty", "foreign"],
)
def test_a_damaged_checkpoint_is_named_and_kept(damage, message, one_epoch, tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = damage(one_epoch)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"checkpoint.pt .*{message}"):
        loop.train(ThreeTrains(), configuration(epochs=1), out=tmp_path, resume=True)
    assert path.read_bytes() == content


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    checkpoints.save_checkpoint(tmp_path / "checkpoint.pt", {"x": Evil()})
    with pytest.raises(CheckpointError, match="no checkpoint of a run"):
        checkpoints.load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "ran").exists()


def test_a_finished_run_resumes_to_its_result_without_training(tmp_path):
    done = loop.train(ThreeTrains(), configuration(), out=tmp_path)
    (tmp_path / "result.json").unlink()
    task = ThreeTrains()
    again = loop.train(task, configuration(), out=tmp_path, resume=True)
    assert numbers(again.result) == numbers(done.result)
    assert task.batches[True] == 0
    assert (tmp_path / "result.json").exists()


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(tmp_path, monkeypatch):
    def sabotage(training, number):
        if training and number == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(loop.Interrupted):
        loop.train(ThreeTrains(sabotage=sabotage), configuration(), out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteError, match=r"checkpoint.pt could not be written: No space left .*Free some space"):
        loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True, checkpoint_s=0)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if "part" in name]

    monkeypatch.undo()
    resumed = loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True)
    assert numbers(resumed.result) == numbers(loop.train(ThreeTrains(), configuration()).result)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match=r"file/run cannot be used.*Give another folder"):
        loop.train(ThreeTrains(), configuration(), out=tmp_path / "file" / "run")


def test_what_a_killed_write_left_is_removed_on_the_next_start(tmp_path):
    (tmp_path / ".checkpoint.pt.part-77.pt").write_bytes(b"half")
    loop.train(ThreeTrains(), configuration(epochs=1), out=tmp_path)
    assert not (tmp_path / ".checkpoint.pt.part-77.pt").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path):
    class Broken(ThreeTrains):
        def loss(self, config, output, targets):
            factor = float("nan") if self.batches[True] == 8 else 1.0
            return super().loss(config, output, targets) * factor

    with pytest.raises(loop.Diverged, match=r"the loss is NaN or infinite in batch 2 of epoch 2 .*lower lr"):
        loop.train(Broken(), configuration(), out=tmp_path)
    assert checkpoints.load_checkpoint(tmp_path / "checkpoint.pt")["epoch"] == 1


def test_a_gradient_that_is_no_number_stops_the_run_before_it_reaches_the_weights():
    class Broken(ThreeTrains):
        def loss(self, config, output, targets):
            loss = super().loss(config, output, targets)
            return loss + (output.membrane - output.membrane.detach()).abs().sqrt().sum() * 0.0  # 0 * inf

    with pytest.raises(loop.Diverged, match="the gradient is NaN or infinite in batch 1 of epoch 1"):
        loop.train(Broken(), configuration())


def test_the_best_validated_weights_are_evaluated_not_the_last(monkeypatch):
    accuracies = iter([0.5, 0.9, 0.7])
    real, seen = loop.evaluate, []

    def scripted(task, config, model, *rest, name, **more):
        found = real(task, config, model, *rest, name=name, **more)
        if name == "validation" and len(seen) < 3:
            seen.append(weights_of(model))
            found.metrics["accuracy"]["value"] = next(accuracies)
        return found

    monkeypatch.setattr(loop, "evaluate", scripted)
    outcome = loop.train(ThreeTrains(), configuration())
    assert outcome.result["best_epoch"] == 2
    assert weights_of(outcome.model) == seen[1] != seen[2]


def test_patience_stops_a_run_that_no_longer_improves(monkeypatch):
    real = loop.evaluate

    def constant(*arguments, **more):
        return real(*arguments, **more)._replace(loss=1.0)

    class Constant(ThreeTrains):
        def metrics(self, evidence, split):
            return {"accuracy": {**super().metrics(evidence, split)["accuracy"], "value": 0.5, "low": 0.4, "high": 0.6}}

    monkeypatch.setattr(loop, "evaluate", constant)
    result = loop.train(Constant(), configuration(epochs=20, patience=2)).result
    assert (result["epochs_run"], result["best_epoch"], result["stopped"]) == (3, 1, "patience")


def test_without_validation_the_last_epoch_counts():
    result = loop.train(ThreeTrains(validation=0), configuration()).result
    assert result["best_epoch"] == 3
    assert list(result["metrics"]) == ["test"]


def test_the_time_limit_ends_a_run_that_can_go_on(tmp_path):
    short = loop.train(ThreeTrains(), configuration(max_seconds=1e-9), out=tmp_path)
    assert short.result["stopped"] == "max_seconds"
    assert short.result["epochs_run"] == 0
    longer = loop.train(ThreeTrains(), configuration(), out=tmp_path, resume=True)
    assert longer.result["stopped"] == "epochs"
    assert numbers(longer.result) == numbers(loop.train(ThreeTrains(), configuration()).result)


def test_clipping_bounds_the_step_of_plain_gradient_descent():
    plain = {"optimiser": "sgd", "betas": (0.0, 0.0), "scheduler": "none", "lr": 1.0, "epochs": 1, "batch": 45}
    start_weights = torch.cat([p.flatten() for p in _initial(configuration(**plain))])
    moved = {}
    for clip in (0.0, 0.01):
        model = loop.train(ThreeTrains(), configuration(**plain, grad_clip=clip)).model
        moved[clip] = float((torch.cat([p.detach().flatten() for p in model.parameters()]) - start_weights).norm())
    assert moved[0.01] == pytest.approx(0.01, rel=1e-3)
    assert moved[0.0] > 0.02


def _initial(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(loop._seed(config.seed, "weights"))
        return [p.detach().clone() for p in ThreeTrains().build(config).parameters()]


def test_a_penalty_on_rates_quietens_the_hidden_layer():
    loud = loop.train(ThreeTrains(), configuration(epochs=8, dropout=0.0)).result
    quiet = loop.train(ThreeTrains(), configuration(epochs=8, dropout=0.0, rate_high=0.05, rate_weight=50.0)).result
    assert quiet["spikes"]["firing_rate"]["dense 1"] < 0.6 * loud["spikes"]["firing_rate"]["dense 1"]


def test_statistics_of_spikes_count_what_the_network_fires():
    outcome = loop.train(ThreeTrains(), configuration(epochs=1))
    test = ThreeTrains().data(configuration()).test
    with torch.no_grad():
        hidden = outcome.model(test.spikes.float().transpose(0, 1)).hidden[0]
    spikes = outcome.result["spikes"]
    assert spikes["per_sample"]["dense 1"] == pytest.approx(float(hidden.sum()) / 21)
    assert spikes["firing_rate"]["dense 1"] == pytest.approx(float(hidden.mean()))
    assert spikes["dead_share"]["dense 1"] == float((hidden.sum((0, 1)) == 0).float().mean())
    assert spikes["neurons"] == {"dense 1": 16, "output": 3}


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd", "adamax"])
def test_every_optimiser_trains_and_resumes_alike(optimiser, tmp_path):
    config = configuration(optimiser=optimiser, weight_decay=0.01)
    state = {"stop": 8}

    def sabotage(training, number):
        if training and number == state["stop"]:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(loop.Interrupted):
        loop.train(ThreeTrains(sabotage=sabotage), config, out=tmp_path)
    resumed = loop.train(ThreeTrains(), config, out=tmp_path, resume=True)
    assert weights_of(resumed.model) == weights_of(loop.train(ThreeTrains(), config).model)


def test_piped_progress_says_a_line_now_and_then_and_one_per_epoch():
    lines = []
    loop.train(ThreeTrains(), configuration(), progress=Progress(lines.append, every_s=1e9, bar=False))
    assert [line.split(" · ")[0] for line in lines[2:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "made up (45 train, 20 validation, 21 test)" in lines[0]
    assert "parameters" in lines[1]
    often = []
    loop.train(ThreeTrains(), configuration(epochs=1), progress=Progress(often.append, every_s=0.0, bar=False))
    batches = [line for line in often if line.startswith("epoch 1/1  ")]
    assert len(batches) == 6
    assert all(word in batches[-1] for word in ("6/6", "loss", "accuracy", "rates", "left"))


def test_a_bar_moves_where_there_is_a_terminal(capsys):
    lines = []
    loop.train(ThreeTrains(), configuration(epochs=1), progress=Progress(lines.append, every_s=0.0, bar=True))
    assert "6/6" in capsys.readouterr().err
    assert len([line for line in lines if line.startswith("epoch 1/1")]) == 1


def test_an_empty_training_split_is_an_error():
    with pytest.raises(ValueError, match="training split of made up is empty"):
        loop.train(ThreeTrains(train=0), configuration())


@pytest.mark.parametrize(("amp", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_mixed_precision_is_for_the_products_of_layers_alone(amp, dtype):
    seen = set()

    class Watched(ThreeTrains):
        def build(self, config):
            net = super().build(config)
            net.first.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
            return net

    outcome = loop.train(Watched(), configuration(amp=amp, epochs=1))
    assert dtype in seen
    assert {weight.dtype for weight in outcome.model.parameters()} == {torch.float32}
