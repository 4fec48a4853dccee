"""``spikelab train pets`` and its parts, on pictures in the data set's own format."""

import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn
from training_fixtures import (
    WatchedPets,
    numbers,
    pets_configuration,
    start,
    two_processes,
    weights_of,
    write_pets,
)
from typer.testing import CliRunner

from spikelab import coding, detection
from spikelab.cli import app
from spikelab.datasets.augment import apply_views
from spikelab.datasets.pets import Pets
from spikelab.models import pretrained
from spikelab.models.localizer import LocalizerOutput
from spikelab.training import loop, results
from spikelab.training.contact_sheet import plot_contact_sheet
from spikelab.training.distributed import JointBatchNorm
from spikelab.training.frames import CodedFrames
from spikelab.training.tasks.pets import PetsTask, PictureSet, fitted_constants

SMALL = ["--size", "24x32", "--batch", "6", "--epochs", "2", "--threads", "1"]
OURS = [*SMALL, "--channels", "6,8,8"]
FRAMES = [*SMALL, "--channels", "4,6,8,6,4,4", "--steps", "6", "--step-ms", "10", "--max-rate-hz", "100"]
BY_MODEL = {
    "ours": [*OURS, "--steps", "2"],
    "ann": OURS,
    "bptt": FRAMES,
    "decolle": [*FRAMES, "--option", "burn_in=2"],
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_pets(root)
    return root


@pytest.fixture(autouse=True)
def data(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures():
    """Asked for by tests that look at pictures; the others save the second that drawing them takes."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(loop, "save_figure", lambda path, figure: None)
        monkeypatch.setattr(loop, "plot_curves", lambda *_, **__: None)
        monkeypatch.setattr(PetsTask, "pictures", lambda *_: {})


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(model, *more):
    done = invoke("train", "pets", "--model", model, *BY_MODEL[model], "--out", "run", *more)
    assert done.exit_code == 0, done.output
    return results.load("run/result.json"), done.output


# The command


def test_help_explains_the_command():
    shown = invoke("train", "pets", "--help")
    assert shown.exit_code == 0
    for word in ("--target", "--size", "--steps", "--init", "--resume", "--augment", "torchrun", "contact sheet"):
        assert word in shown.output


@pytest.mark.parametrize("model", BY_MODEL)
def test_weights_evaluate_to_what_training_found(model):
    trained, said = train(model)
    done = invoke("evaluate", "run/weights.safetensors", "--result", "e.json")
    assert done.exit_code == 0, done.output
    found = results.load("e.json")
    assert found["metrics"]["test"] == trained["metrics"]["test"]
    assert found["details"]["test"] == trained["details"]["test"]
    assert found["baseline"] == trained["baseline"]
    assert found["spikes"] == trained["spikes"]
    assert trained["data"]["label"] == "real pet heads of Oxford-IIIT-Pet"
    assert trained["data"]["sizes"] == {"train": 14, "validation": 5, "test": 6}
    for name in ("gain", "skill", "success50", "success75", "miou_inclusive"):
        assert f"{name} {trained['metrics']['test'][name]['value']:.2%}" in said
    assert f": {trained['baseline']['value']:.2%}" in said
    cost = trained["cost"]
    assert cost["seconds_per_sample"] > 0
    assert cost["acs"] == 0 if model == "ann" else cost["acs"] > 0
    assert cost["energy_pj"] == pytest.approx(4.6 * cost["macs"] + 0.9 * cost["acs"])
    assert cost["macs"] == found["cost"]["macs"]


def test_training_and_evaluation_draw_a_contact_sheet(pictures):
    _, said = train("ann")
    assert "contact_sheet.png" in said
    done = invoke("evaluate", "run/weights.safetensors", "--pictures", "sheet", "-q")
    assert done.exit_code == 0, done.output
    for place in ("run", "sheet"):
        with Image.open(f"{place}/contact_sheet.png") as sheet:
            sheet.load()
            assert sheet.size[0] > 600


def test_pictures_in_other_batches_and_other_processes_spike_alike():
    train("decolle")
    ways = [("--batch", "6"), ("--batch", "2")]
    scores = []
    for way in ways:
        assert invoke("evaluate", "run/weights.safetensors", *way, "--result", "e.json", "-q").exit_code == 0
        scores.append(results.load("e.json")["metrics"]["test"]["miou"]["value"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_a_result_of_decolle_scores_every_layer():
    result, _ = train("decolle")
    layers = result["details"]["test"]["miou_by_layer"]
    assert {name: len(layers[name]) for name in layers} == {"last step": 6, "mean over steps": 6}
    assert layers["last step"][-1]["value"] == result["metrics"]["test"]["miou"]["value"]
    assert len(result["spikes"]["firing_rate"]) == 6
    assert result["configuration"]["rule"] == "decolle"
    assert (result["configuration"]["optimiser"], result["configuration"]["betas"]) == ("adamax", [0.0, 0.95])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "yolo"], "--model must be one of ours, ann, bptt, decolle, got 'yolo'"),
        (["--target", "tail"], "target must be one of 'head', 'body', 'animal', got 'tail'"),
        (["--scheme", "mine"], "scheme must be one of"),
        (["--size", "8x8x8"], "--size must be a side or rows x columns, such as 96 or 88x120, got '8x8x8'"),
        (["--size", "4x32"], "size must be at least 8, got 4"),
        (["--colour", "sepia"], "colour must be one of 'rgb', 'gray', got 'sepia'"),
        (["--coding", "morse"], "coding must be one of 'direct', 'poisson', 'latency', got 'morse'"),
        (["--coding", "poisson"], "model 'ours' takes the picture itself: coding must be 'direct'"),
        (["--step-ms", "5"], "max_rate_hz must be at most 200 Hz with steps of 5 ms"),
        (["--loss", "smooth_l1+hinge"], "loss must be made of smooth_l1, giou, diou, ciou, joined by"),
        (["--option", "ciou=2"], r"loss 'smooth_l1\+giou' has no option 'ciou'; it has smooth_l1, giou"),
        (["--option", "amplitude=2"], "SpikingLocalizer or its neurons cannot be built .*'amplitude'"),
        (["--option", "alpha=0.9"], "SpikingLocalizer or its neurons cannot be built .*'alpha'"),
        (["--option", "burn_in"], "--option must be NAME=VALUE, got 'burn_in'"),
        (["--decision", "mean"], "decision 'mean' is for networks with a readout in each layer"),
        (["--augment", "blur=1"], "augment has an option that pictures cannot be changed by: .*'blur'"),
        (["--augment", "flip=2"], r"flip must lie in \[0, 1\], got 2"),
        (["--data", "imaginary"], "kind must be one of"),
        (["--init", "none"], "no weights called 'none' come with spikelab"),
        (["--init", "none.safetensors"], "none.safetensors cannot be read"),
        (["--init", "nmnist-scnn"], "holds no weights that fit this SpikingLocalizer: it is of the model 'scnn'"),
        (["--model", "decolle", "--size", "26x32"], "size"),
        (["--model", "decolle", "--steps", "3", "--option", "burn_in=3"], "num_steps must be above the 3 steps"),
        (["--model", "decolle", "--rate-weight", "1"], "rate_weight must be 0 for a network that learns online"),
        (["--model", "decolle", "--option", "blocks=2"], "DecolleLocalizer or its neurons cannot be built .*'blocks'"),
        (["--export", "w.pt"], "--export must end in .safetensors"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(arguments, message):
    channels = [] if "decolle" in arguments else ["--channels", "6,8"]
    done = invoke("train", "pets", *SMALL, *channels, *arguments, "--out", "run", "-q")
    assert done.exit_code == 2, done.output
    assert re.search(message, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output
    assert not os.path.exists("run/checkpoint.pt")


def test_options_reach_network_neurons_loss_and_augmentation():
    options = ["--option", "burn_in=1", "--option", "alpha=0.9", "--option", "smooth_l1=3", "--option", "amplitude=2"]
    more = ["--betas", "0,0.9", "--augment", "flip=0.25", "--colour", "rgb", "--decision", "mean", "--lr", "0.5"]
    done = invoke("train", "pets", "--model", "decolle", *FRAMES, *options, *more, "--epochs", "1", "-o", "run")
    assert done.exit_code == 0, done.output
    kept = results.load("run/result.json")["configuration"]
    assert kept["model_options"] == {"channels": [4, 6, 8, 6, 4, 4], "burn_in": 1, "amplitude": 2}
    assert kept["neuron_options"] == {"alpha": 0.9}
    assert kept["loss_options"] == {"smooth_l1": 3}
    assert kept["betas"] == [0.0, 0.9]
    assert kept["task_options"]["augment"] == {"flip": 0.25}
    assert kept["task_options"]["size"] == [24, 32]
    assert (kept["decision"], kept["lr"]) == ("mean", 0.5)
    model = pretrained.load("run/weights.safetensors").model
    assert model.layers[0].constants.alpha == pytest.approx(0.9**10)


@pytest.mark.parametrize(("model", "zoom"), [("ann", 0.4), ("bptt", None)])
def test_without_a_word_pictures_are_augmented_as_the_model_says(model, zoom):
    kept, _ = train(model, "--epochs", "1", "-q")
    augment = kept["configuration"]["task_options"]["augment"]
    assert augment["flip"] == 0.5
    assert augment.get("zoom") == zoom
    assert augment["brightness"] > 0


# Weights to start from


def test_a_run_starts_from_weights_and_says_which(folder):
    first, _ = train("ours")
    done = invoke("train", "pets", "--model", "ann", *OURS, "--init", "run/weights.safetensors", "--out", "twin")
    assert done.exit_code == 0, done.output
    init = results.load("twin/result.json")["init"]
    assert (init["file"], init["model"], init["data"]) == ("weights.safetensors", "ours", first["data"])
    assert init["taken"] == init["tensors"]
    assert f"init: {init['taken']} of {init['tensors']} tensors" in done.output
    assert first["init"] is None


def test_tensors_of_another_shape_stay_fresh():
    config = pets_configuration().as_dict()
    source = pretrained.build(config)
    pretrained.save("w.safetensors", source, {"configuration": config})
    wider = pretrained.build({**config, "model_options": {"channels": [6, 8, 9]}})
    fresh = {name: value.clone() for name, value in wider.state_dict().items()}
    said = pretrained.start_from(wider, "w.safetensors")
    taken = {name for name, value in wider.state_dict().items() if value.shape == source.state_dict()[name].shape}
    assert 0 < len(taken) == said["taken"] < said["tensors"]
    for name, value in wider.state_dict().items():
        assert torch.equal(value, source.state_dict()[name] if name in taken else fresh[name]), name


def test_a_resumed_run_needs_the_weights_that_it_started_from_no_more(tmp_path):
    config = pets_configuration()
    pretrained.save("w.safetensors", pretrained.build(config.as_dict()), {"configuration": config.as_dict()})
    config = pets_configuration(init="w.safetensors", seed=1)
    unbroken = loop.train(WatchedPets(), config)
    with pytest.raises(loop.Interrupted):
        loop.train(WatchedPets(sabotage=_sabotage(4)), config, out="run")
    os.remove("w.safetensors")
    resumed = loop.train(WatchedPets(), config, out="run", resume=True)
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    assert resumed.result["init"] == unbroken.result["init"] is not None


# Going on


def _sabotage(at):
    def sabotage(training, number):
        if training and number == at:
            signal.raise_signal(signal.SIGTERM)

    return sabotage


@pytest.mark.parametrize("model", ["ours", "decolle"])
def test_a_stopped_run_resumes_to_the_numbers_of_an_unbroken_one(model):
    config = pets_configuration(model)
    with pytest.raises(loop.Interrupted, match="after batch 2/3 of epoch 2/2"):
        loop.train(WatchedPets(sabotage=_sabotage(5)), config, out="run")
    resumed = loop.train(WatchedPets(), config, out="run", resume=True)
    unbroken = loop.train(WatchedPets(), config)
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    kept = [{**numbers(outcome.result), "details": outcome.result["details"]} for outcome in (resumed, unbroken)]
    assert kept[0] == kept[1]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ours", "decolle"])
@pytest.mark.parametrize("kill", [["SIGKILL", True, 5], ["SIGKILL", False, 2]])
def test_a_killed_run_resumes_to_the_numbers_of_an_unbroken_one(model, kill):
    killed = start({"pets": model, "out": "run", "signal": kill})
    _, error = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, error
    assert not os.path.exists("run/result.json")
    config = pets_configuration(model)
    resumed = loop.train(WatchedPets(), config, out="run", resume=True)
    unbroken = loop.train(WatchedPets(), config)
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    assert numbers(resumed.result) == numbers(unbroken.result)


def test_a_checkpoint_of_another_size_or_target_is_refused_with_the_difference():
    train("ann")
    done = invoke("train", "pets", "--model", "ann", *OURS, "--size", "32x32", "--out", "run", "--resume")
    assert done.exit_code == 2
    assert "task_options: " in done.output
    assert "'size': [24, 32]" in done.output
    assert "'size': [32, 32]" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ann", "ours", "bptt", "decolle"])
def test_two_gloo_processes_train_as_one_with_the_joint_batch(model, tmp_path):
    # Batches of 5 are shared 3 to 2. Plain gradient descent: Adam's step of a gradient near 0 hangs on its rounding.
    # float64, since the order of sums differs, and rounding grows where batch normalisation sees few places or a
    # membrane is near its threshold.
    config = {"batch": 5, "optimiser": "sgd", "betas": (0.0, 0.0), "lr": 0.1}
    order = {"pets": model, "config": config, "task": {"dtype": "float64"}, "report": str(tmp_path / "report")}
    ended = two_processes(order)
    assert [status for status, *_ in ended] == [0, 0], ended
    first, second = (json.loads((tmp_path / f"report.{rank}").read_text()) for rank in range(2))
    alone = loop.train(WatchedPets(dtype=torch.float64), pets_configuration(model, **config))
    assert first["weights"] == second["weights"]
    moved = 0.0
    began = {
        name: value.tolist() for name, value in pretrained.build(alone.result["configuration"]).state_dict().items()
    }
    for name, value in weights_of(alone.model).items():
        assert torch.allclose(torch.tensor(first["weights"][name]), torch.tensor(value), atol=1e-5, rtol=1e-4), name
        moved = max(moved, float((torch.tensor(value) - torch.tensor(began[name])).abs().max()))
    assert moved > 1e-3
    for mine, theirs in zip(first["result"]["history"], alone.result["history"], strict=True):
        assert mine["train"]["loss"] == pytest.approx(theirs["train"]["loss"], abs=1e-5)
        assert mine["train"]["n"] == theirs["train"]["n"] == 14


@pytest.mark.slow
def test_the_command_runs_under_torchrun():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = ["spikelab.cli", "train", "pets", "--model", "ann", *OURS, "--out", "run"]
    done = subprocess.run(
        [*torchrun, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert results.load("run/result.json")["hardware"]["processes"] == 2
    assert done.stdout.count("test: miou ") == 1


# Learning online


class Counting(PetsTask):
    """Keeps the weights as they are when each step's answer is made."""

    def __init__(self):
        self.model, self.seen = None, []

    def build(self, config):
        self.model = super().build(config)
        return self.model

    def answer(self, readouts):
        self.seen.append([p.detach().clone() for p in self.model.parameters()])
        return super().answer(readouts)


def test_every_step_after_burn_in_is_learned_from_and_none_before():
    task = Counting()
    config = pets_configuration("decolle", epochs=1, batch=14)
    fresh = [p.detach().clone() for p in task.build(config).parameters()]
    outcome = loop.train(task, config)
    assert len(task.seen) == config.num_steps - 3
    assert all(torch.equal(a, b) for a, b in zip(task.seen[0], fresh, strict=True))
    for before, after in zip(task.seen, [*task.seen[1:], list(outcome.model.parameters())], strict=True):
        assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_lsuv_fits_the_weights_to_the_training_pictures_and_other_ways_do_not():
    channels = {"channels": (4, 6, 8, 6, 4, 4), "burn_in": 12}
    task, config = PetsTask(), pets_configuration("decolle", num_steps=30, model_options={**channels, "init": "lsuv"})
    model, data = task.build(config), task.data(config)
    before = [p.detach().clone() for p in model.parameters()]
    task.prepare(config, model, data, CPU)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    frames, _ = task.batch(config, data.train, torch.arange(6), None, CPU)
    state = model.rest(6)
    for frame in frames:
        out = model.advance(frame, state)
        state = out.state
    assert [float(u.detach().var()) for u in out.membranes] == pytest.approx([1] * 6, abs=0.15)
    plain = pets_configuration("decolle")
    model = task.build(plain)
    before = weights_of(model)
    task.prepare(plain, model, data, CPU)
    assert weights_of(model) == before


def test_the_loop_learns_as_decolle_itself_does():
    from spikelab.plasticity import learn_online

    config = pets_configuration("decolle", epochs=1, batch=14)
    task = PetsTask()
    learned = loop.train(task, config)
    model = task.build(config)
    data = task.data(config)
    draws = task.draw(config, 14, loop.stream(config.seed, "draw", 0, 0))
    frames, boxes = task.batch(config, data.train, loop.epoch_order(config.seed, 0, 14), draws, CPU)
    optimiser = torch.optim.Adamax(model.parameters(), lr=config.lr, betas=config.betas)
    summary = learn_online(model, frames, boxes, optimiser)
    assert weights_of(model) == weights_of(learned.model)
    loss = learned.result["history"][0]["train"]["loss"]
    assert float(summary.losses.sum()) == pytest.approx(loss, rel=1e-5)


# Frames


def _light(count=3):
    return torch.rand(count, 1, 5, 6, generator=torch.Generator().manual_seed(0))


def test_poisson_frames_fire_at_the_rate_of_the_light():
    frames = CodedFrames(_light(), "poisson", 4000, max_rate_hz=500, step_ms=1, seeds=[1, 2, 3]).all()
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    expected = _light() * 0.5
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((frames.mean(0) - expected).abs() < 5 * error).all()


def test_a_picture_spikes_alike_in_any_batch_and_every_time():
    together = CodedFrames(_light(), "poisson", 20, seeds=[7, 8, 9])
    alone = CodedFrames(_light()[1:2], "poisson", 20, seeds=[8])
    assert torch.equal(together.all(), together.all())
    assert torch.equal(together.all()[:, 1:2], alone.all())
    same_light = CodedFrames(_light()[:1].expand(2, -1, -1, -1), "poisson", 20, seeds=[7, 8]).all()
    assert not torch.equal(same_light[:, 0], same_light[:, 1])


def test_frames_are_made_one_at_a_time():
    made = iter(CodedFrames(torch.ones(1, 1, 100, 100), "poisson", 10**9, seeds=[0]))
    assert next(made).shape == next(made).shape == (1, 1, 100, 100)
    assert len(CodedFrames(_light(), "direct", 10**9)) == 10**9


def test_other_codes_are_those_of_chapter_3():
    assert torch.equal(CodedFrames(_light(), "latency", 9).all(), coding.latency(_light(), 9, linear=True))
    assert torch.equal(CodedFrames(_light(), "direct", 4).all(), coding.direct(_light(), 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coding": "phase"}, "coding must be one of"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"max_rate_hz": 1001.0}, "max_rate_hz must be at most 1000 Hz with steps of 1 ms"),
        ({"seeds": [1]}, "seeds must be one for each of the 3 pictures, got 1"),
        ({"images": torch.full((1, 1, 2, 2), 2.0)}, r"images must lie in \[0, 1\]"),
    ],
)
def test_frames_that_cannot_be_made_are_refused(changes, message):
    settings = {"images": _light(), "coding": "poisson", "num_steps": 3, "seeds": [1, 2, 3], **changes}
    with pytest.raises(ValueError, match=message):
        CodedFrames(**settings)


# Batches, losses and metrics


def test_a_batch_is_an_augmented_view_of_bytes_and_its_box_moves_with_it():
    config, task = pets_configuration(), PetsTask()
    data = task.data(config)
    assert data.train.images.dtype == torch.uint8
    assert data.train.images.shape == (14, 3, 24, 32)
    indices = torch.tensor([3, 0, 7])
    draws = task.draw(config, 3, torch.Generator().manual_seed(1))
    images, boxes = task.batch(config, data.train, indices, draws, CPU)
    expected = apply_views(data.train.images[indices], data.train.boxes[indices], draws)
    assert torch.equal(images, expected[0])
    assert torch.equal(boxes, expected[1])
    assert not torch.allclose(boxes, data.train.boxes[indices])
    plain, boxes = task.batch(config, data.train, indices, None, CPU)
    assert torch.equal(plain, data.train.images[indices].float() / 255)
    assert torch.equal(boxes, data.train.boxes[indices])


@pytest.mark.parametrize(("augment", "columns"), [({"flip": 0.5}, 9), ({}, 1)])
def test_drawn_spikes_have_a_seed_for_each_picture(augment, columns):
    config = pets_configuration("decolle")
    object.__setattr__(config, "task_options", {**config.task_options, "augment": augment})
    task = PetsTask()
    draws = task.draw(config, 40, torch.Generator().manual_seed(0))
    assert draws.shape == (40, columns)
    assert len(draws[:, -1].unique()) == 40
    frames, _ = task.batch(config, task.data(config).train, torch.tensor([2, 2]), draws[:2], CPU)
    assert not torch.equal(frames.all()[:, 0], frames.all()[:, 1])


def test_a_limit_takes_pictures_but_constants_see_all_boxes():
    picked = [PetsTask().data(pets_configuration(train_limit=5, seed=seed)).train for seed in (0, 0, 1)]
    assert [len(split) for split in picked] == [5, 5, 5]
    assert torch.equal(picked[0].images, picked[1].images)
    assert not torch.equal(picked[0].images, picked[2].images)
    everything = detection.constant_boxes(Pets("head", "train", kind="real").boxes)
    assert all(torch.equal(picked[0].constants[name], box) for name, box in everything.items())


def test_constants_are_fitted_to_boxes_of_the_kind_that_is_tested():
    masks, others = _boxes(30) * 0.5, _boxes(90, 1)
    train = SimpleNamespace(boxes=torch.cat([others, masks]), sources=["VOC2012"] * 90 + ["trimap"] * 30)
    found = fitted_constants(train, SimpleNamespace(sources=["trimap"] * 5))
    assert all(torch.equal(found[name], box) for name, box in detection.constant_boxes(masks).items())


def _boxes(count, seed=0):
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return corners.flatten(1)


def test_losses_are_weighted_sums_over_their_parts_and_the_layers():
    truth, answers = _boxes(6), torch.stack([_boxes(6, seed) for seed in (1, 2)])
    config = pets_configuration(loss="smooth_l1+giou", loss_options={"smooth_l1": 3})
    one = LocalizerOutput(answers[1])
    smooth = nn.functional.smooth_l1_loss
    parts = [3 * smooth(a, truth) + detection.giou_loss(a, truth) for a in answers]
    assert float(PetsTask().loss(config, one, truth)) == pytest.approx(float(parts[1]))
    layers = PetsTask().answer(list(answers))
    assert torch.equal(layers.boxes, answers[1])
    assert float(PetsTask().loss(config, layers, truth)) == pytest.approx(float(parts[0] + parts[1]))


def _metrics(predicted, truth, config=None, **more):
    task = PetsTask()
    constants = {name: torch.tensor([0.25, 0.25, 0.75, 0.75]) for name in ("mean", "median", "best")}
    names = [f"Cat_{k}" for k in range(len(truth))]
    split = PictureSet(torch.zeros(len(truth), 1, 20, 20, dtype=torch.uint8), truth, constants, names)
    evidence = task.evidence(config or pets_configuration(), LocalizerOutput(predicted, **more), truth)
    return task.metrics(evidence, split)


def test_metrics_compare_with_the_constant_box_on_the_same_pictures():
    truth, predicted = _boxes(40), _boxes(40, 1)
    found = _metrics(predicted, truth)
    ious = detection.iou(predicted, truth)
    constant = detection.iou(torch.tensor([0.25, 0.25, 0.75, 0.75]), truth)
    assert found["miou"]["value"] == pytest.approx(float(ious.mean()))
    assert found["miou"]["low"] < found["miou"]["value"] < found["miou"]["high"]
    assert found["success50"]["value"] == float((ious > 0.5).double().mean())
    assert found["gain"]["value"] == pytest.approx(float(ious.mean() - constant.mean()), abs=1e-6)
    assert found["skill"]["value"] == pytest.approx(
        float((ious.mean() - constant.mean()) / (1 - constant.mean())), abs=1e-6
    )
    pixels = [detection.to_pixels(boxes, (20, 20)) for boxes in (predicted, truth)]
    assert found["miou_inclusive"]["value"] == pytest.approx(float(detection.iou(*pixels, inclusive=True).mean()))
    details = found["details"]
    assert sum(details["iou_histogram"]) == 40
    assert details["constants"]["best"]["miou"] == pytest.approx(float(constant.double().mean()))
    smallest = detection.area(truth).argsort()[:10]
    assert details["miou_by_area"][0]["value"] == pytest.approx(float(ious[smallest].mean()))
    centres = (truth[:, :2] + truth[:, 2:]) / 2
    assert details["centre_spread"]["true"] == pytest.approx(centres.std(0, correction=0).tolist())
    best = details["contact_sheet"]["best"][0]
    assert best == {"name": f"Cat_{int(ious.argmax())}", "iou": pytest.approx(float(ious.max()))}
    assert details["contact_sheet"]["worst"][-1]["iou"] == pytest.approx(float(ious.min()))
    json.dumps(found)


def test_perfect_boxes_have_skill_1_and_wild_ones_are_cut_off():
    truth = _boxes(8)
    found = _metrics(truth[:, [2, 1, 0, 3]], truth)  # corners swapped
    assert found["miou"]["value"] == pytest.approx(1)
    assert found["skill"]["value"] == pytest.approx(1)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(8, 4)
    assert _metrics(5 * whole - 2, whole)["miou"]["value"] == 1
    assert _metrics(torch.full((8, 4), float("nan")), truth)["miou"]["value"] == 0


def test_a_mean_over_steps_may_decide():
    truth, readouts = _boxes(8), torch.stack([_boxes(8, 1), _boxes(8, 2)])
    output = {"readouts": readouts, "mean_readouts": torch.stack([_boxes(8, 3), truth])}
    last, mean = (_metrics(readouts[-1], truth, pets_configuration(decision=way), **output) for way in ("", "mean"))
    assert mean["miou"]["value"] == pytest.approx(1)
    assert last["miou"]["value"] < 1
    layers = mean["details"]["miou_by_layer"]
    assert layers["last step"][1]["value"] == pytest.approx(last["miou"]["value"])
    assert layers["mean over steps"][1]["value"] == pytest.approx(1)


# Pictures, batch normalisation


def test_a_contact_sheet_shows_best_median_and_worst_with_their_boxes():
    images = torch.arange(20, dtype=torch.uint8).view(-1, 1, 1, 1).expand(20, 3, 4, 6)
    truth, predicted = _boxes(20), _boxes(20, 1)
    ious = torch.linspace(0, 0.95, 20)[torch.randperm(20, generator=torch.Generator().manual_seed(0))]
    figure = plot_contact_sheet(images, truth, predicted, ious, columns=3)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == [f"IoU {x:.2f}" for x in (0.95, 0.9, 0.85, 0.55, 0.5, 0.45, 0.1, 0.05, 0.0)]
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["best", "median", "worst"]
    best = int(ious.argmax())
    ax = figure.axes[0]
    assert int(ax.images[0].get_array()[0, 0, 0]) == best
    for patch, boxes in zip(ax.patches, (truth, predicted), strict=True):
        x, y = patch.get_xy()
        corners = [x, y, x + patch.get_width(), y + patch.get_height()]
        assert corners == pytest.approx(boxes[best].tolist())
    few = plot_contact_sheet(images[:2, :1], truth[:2], predicted[:2], ious[:2])
    assert len(few.axes) == 6


def test_joint_batch_normalisation_of_one_process_is_the_ordinary_one(tmp_path):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(5, 3, 4, 4, generator=generator) * 2 + 1
    runs = []
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for kind in (nn.BatchNorm2d, JointBatchNorm):
            norm, inputs = kind(3), maps.clone().requires_grad_()
            for _ in range(2):
                out = norm(inputs)
            (out * torch.arange(16.0).view(4, 4)).sum().backward()
            runs.append([out, inputs.grad, norm.weight.grad, *norm.state_dict().values(), norm.eval()(maps)])
    finally:
        torch.distributed.destroy_process_group()
    for ordinary, joint in zip(*runs, strict=True):
        assert torch.allclose(joint, ordinary, atol=1e-4, rtol=1e-4)
