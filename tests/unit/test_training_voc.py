"""``spikelab train voc`` and its parts, on pictures in the data set's own format."""

import json
import os
import re
import signal

import pytest
import torch
from dataset_files import write_voc
from PIL import Image
from training_fixtures import (
    WatchedVoc,
    numbers,
    start,
    two_processes,
    voc_configuration,
    weights_of,
    write_scenes,
)
from typer.testing import CliRunner

from spikelab import detection
from spikelab.cli import app
from spikelab.datasets import VOC, DataError, load_scenes
from spikelab.datasets.scene_views import SceneDraws, augment_scenes
from spikelab.detection import Detections, LossWeights, Objects
from spikelab.models import pretrained
from spikelab.models.yolo import YoloOutput
from spikelab.training import loop, results
from spikelab.training.curves import plot_curves
from spikelab.training.detection_sheet import best_score, f_scores, plot_detections, ranked_pictures
from spikelab.training.tasks import voc
from spikelab.training.tasks.voc import VocTask, detections_of, hold_out, loss_options

CPU = torch.device("cpu")
SMALL = ["--size", "32", "--batch", "4", "--epochs", "1", "--threads", "1", "--classes", "cat,dog,bird"]
SMALL += ["--option", "held_out=0.2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_scenes(root)
    return root


@pytest.fixture(autouse=True)
def data(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.chdir(tmp_path)
    # The smallest network there is goes by the name of the smallest that has one.
    monkeypatch.setitem(pretrained.SpikingYolo.__init__.__globals__["YOLO_SIZES"], "tiny", (0.05, (0, 1, 0, 0, 0), 0))


@pytest.fixture
def pictures():
    """Asked for by tests that look at pictures; the others save the second that drawing them takes."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(loop, "save_figure", lambda path, figure: None)
        monkeypatch.setattr(loop, "plot_curves", lambda *_, **__: None)
        monkeypatch.setattr(VocTask, "pictures", lambda *_: {})
    monkeypatch.setattr(voc, "RESAMPLED", 20)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(*more):
    done = invoke("train", "voc", *SMALL, "--out", "run", *more)
    assert done.exit_code == 0, done.output
    return results.load("run/result.json"), done.output


# The command


def test_help_explains_the_command():
    shown = invoke("train", "voc", "--help")
    assert shown.exit_code == 0
    words = ("--neurons", "--decode", "--steps", "--norm", "--shortcut", "--init", "--loss-preset", "--resume")
    for word in (*words, "torchrun", "contact sheet"):
        assert word in shown.output


@pytest.mark.parametrize("neurons", ["spiking", "ann"])
def test_weights_evaluate_to_what_training_found(neurons):
    trained, said = train("--neurons", neurons, "--steps", "2")
    done = invoke("evaluate", "run/weights.safetensors", "--data", "real", "--result", "e.json")
    assert done.exit_code == 0, done.output
    found = results.load("e.json")
    for part in ("details", "metrics"):
        assert found[part]["test"] == trained[part]["test"]
    for part in ("baseline", "spikes", "confusion", "parameters"):
        assert found[part] == trained[part], part
    assert trained["data"]["label"] == "real VOC2007 train, tested on val of VOC2007"
    assert trained["data"]["sizes"] == {"train": 11, "validation": 3, "test": 6}
    for name in voc.METRICS:
        assert f"{name} {trained['metrics']['test'][name]['value']:.2%}" in said
    assert f": {trained['baseline']['value']:.2%}" in said
    layers = len(trained["spikes"]["firing_rate"]) if neurons == "spiking" else 0
    assert (f"(firing rates of {layers} layers 0." in said) == (layers > 8) == (neurons == "spiking")
    cost = trained["cost"]
    assert cost["acs"] == 0 if neurons == "ann" else cost["acs"] > 0
    arithmetic, chip = cost["energy_uj"].values()
    assert arithmetic == pytest.approx((4.6 * cost["macs"] + 0.9 * cost["acs"]) / 1e6)
    assert chip == pytest.approx((cost["macs"] + cost["acs"]) / 400e9 * 1e6)
    assert trained["configuration"]["num_steps"] == (1 if neurons == "ann" else 2)
    assert set(trained["history"][0]["train"]) == {"loss", "found", "n"}
    assert set(trained["history"][0]["validation"]) == {"loss", "ap50", "n"}


def test_training_and_evaluation_draw_a_contact_sheet(pictures):
    _, said = train("--neurons", "ann")
    assert "contact_sheet.png" in said
    assert "curves.png" in said
    done = invoke("evaluate", "run/weights.safetensors", "--pictures", "sheet", "-q")
    assert done.exit_code == 0, done.output
    for place in ("run", "sheet"):
        with Image.open(f"{place}/contact_sheet.png") as sheet:
            sheet.load()
            assert sheet.size[0] > 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "huge"], "size must be one of 'tiny', 'small', 'full', got 'huge'"),
        (["--neurons", "lif"], "--neurons must be one of spiking, ann, relu, leaky_relu, got 'lif'"),
        (["--decode", "guess"], "decode must be one of"),
        (["--neurons", "ann", "--decode", "last_membrane"], "decode must be 'current_mean' or 'rate' for a twin"),
        (["--size", "40"], "size must be a multiple of 32, got 40"),
        (["--size", "big"], "--size must be a side or rows x columns, such as 96 or 88x120, got 'big'"),
        (["--norm", "layer"], "norm must be one of 'bn', 'tdbn', got 'layer'"),
        (["--loss-preset", "mine"], "loss must be one of default, public, paper, got 'mine'"),
        (["--option", "box=hinge"], "box must be one of"),
        (["--option", "held_out=1"], r"held_out must lie in \[0, 0.9\]"),
        (["--option", "blob=1"], "SpikingYolo or its neurons cannot be built .*'blob'"),
        (["--augment", "blur=1"], "augment has an option that pictures cannot be changed by: .*'blur'"),
        (["--augment", "mosaic=2"], r"share must lie in \[0, 1\], got 2"),
        (["--classes", "cat,unicorn"], "classes must be one of"),
        (["--years", "1999"], "years must be one of 'VOC2007', 'VOC2012', got 'VOC1999'"),
        (["--image-set", "trainval"], "VOC2007 has no list 'trainval'"),
        (["--test-set", "train"], "photographs of the test set .* are in the training set"),
        (["--classes", "bird"], "split of .* holds nothing to find .*difficult ones alone"),
        (["--data", "imaginary"], "kind must be one of"),
        (["--init", "nmnist-scnn"], "holds no weights that fit this SpikingYolo: it is of the model 'scnn'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(arguments, message):
    done = invoke("train", "voc", *SMALL, *arguments, "--out", "run", "-q")
    assert done.exit_code == 2, done.output
    assert re.search(message, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output
    assert not os.path.exists("run/checkpoint.pt")


def test_options_reach_network_loss_and_task():
    options = ["initial_charge=0.5", "checkpoint=true", "box=ciou", "object_weight=7", "max_detections=9"]
    more = ["--decode", "rate", "--norm", "tdbn", "--shortcut", "currents", "--reset", "zero", "--steps", "3"]
    more += ["--loss-preset", "public", "--augment", "flip=0.25", "--beta", "0.9", "--size", "32x64"]
    more += [word for item in options for word in ("--option", item)]
    kept, _ = train(*more)
    kept = kept["configuration"]
    network = {"size": "tiny", "decode": "rate", "norm": "tdbn", "shortcut": "currents", "reset": "zero"}
    assert kept["model_options"] == {**network, "initial_charge": 0.5, "checkpoint": True}
    assert kept["loss_options"] == {"box": "ciou", "object_weight": 7}
    assert kept["task_options"]["augment"] == {"flip": 0.25}
    assert (kept["task_options"]["size"], kept["task_options"]["max_detections"]) == ([32, 64], 9)
    assert (kept["loss"], kept["num_steps"], kept["beta"]) == ("public", 3, 0.9)
    model = pretrained.load("run/weights.safetensors").model
    assert (model.decode, model.num_steps, model.checkpoint) == ("rate", 3, True)
    assert torch.equal(model.layout.anchors[0], voc._layout((32, 64), 3).anchors[0])


@pytest.mark.parametrize("neurons", ["relu", "ann"])
def test_a_spiking_network_starts_from_all_of_its_twins_weights(neurons):
    train("--neurons", neurons)
    done = invoke("train", "voc", *SMALL, "--init", "run/weights.safetensors", "--steps", "1", "--out", "snn")
    assert done.exit_code == 0, done.output
    init = results.load("snn/result.json")["init"]
    assert init["model"] == "yolo-ann"
    assert init["taken"] == init["tensors"]


def test_curves_of_many_layers_name_the_first_and_the_last():
    train = {"loss": 1.0, "found": 0.5, "n": 9}
    validation = {"loss": 1.1, "ap50": 0.2, "n": 3}
    record = {"epoch": 1, "train": train, "validation": validation}
    record["firing_rate"] = {f"conv {i}": i / 20 for i in range(1, 13)}
    figure = plot_curves([record, {**record, "epoch": 2}], "ap50", running="found")
    assert [line.get_label() for line in figure.axes[1].lines] == ["train: found", "validation"]
    texts = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert texts == ["first of 12 layers", "last"]
    assert [line.get_ydata()[0] for line in figure.axes[2].lines] == [i / 20 for i in range(1, 13)]


def test_curves_of_a_network_without_spikes_leave_no_empty_panel():
    record = {"epoch": 1, "train": {"loss": 1.0}, "validation": {"loss": 2.0, "ap50": 0.1}, "firing_rate": {}}
    assert len(plot_curves([record], "ap50").axes) == 2


# Going on


def _sabotage(at):
    def sabotage(training, number):
        if training and number == at:
            signal.raise_signal(signal.SIGTERM)

    return sabotage


def test_a_stopped_run_resumes_to_the_numbers_of_an_unbroken_one():
    config = voc_configuration()
    with pytest.raises(loop.Interrupted, match="after batch 2/3 of epoch 2/2"):
        loop.train(WatchedVoc(sabotage=_sabotage(5)), config, out="run")
    resumed = loop.train(WatchedVoc(), config, out="run", resume=True)
    unbroken = loop.train(WatchedVoc(), config)
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    kept = [{**numbers(outcome.result), "details": outcome.result["details"]} for outcome in (resumed, unbroken)]
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_numbers_of_an_unbroken_one():
    killed = start({"voc": "yolo", "out": "run", "signal": ["SIGKILL", True, 5]})
    _, error = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, error
    assert not os.path.exists("run/result.json")
    resumed = loop.train(WatchedVoc(), voc_configuration(), out="run", resume=True)
    unbroken = loop.train(WatchedVoc(), voc_configuration())
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    assert numbers(resumed.result) == numbers(unbroken.result)


@pytest.mark.slow
def test_two_gloo_processes_train_as_one_with_the_joint_batch(tmp_path):
    # The last batch, of 3, is shared 2 to 1. Plain gradient descent, in float64: what rounding does to a first layer is
    # a hundred times as much after some layers of batch normalisation over few places.
    config = {"optimiser": "sgd", "betas": (0.0, 0.0), "lr": 0.001, "epochs": 1, "loss": "paper"}
    order = {"voc": "yolo-ann", "config": config, "task": {"dtype": "float64"}, "report": str(tmp_path / "report")}
    ended = two_processes(order)
    assert [status for status, *_ in ended] == [0, 0], ended
    first, second = (json.loads((tmp_path / f"report.{rank}").read_text()) for rank in range(2))
    alone = loop.train(WatchedVoc(dtype=torch.float64), voc_configuration("yolo-ann", **config))
    assert first["weights"] == second["weights"]
    began, moved = weights_of(pretrained.build(alone.result["configuration"])), 0.0
    for name, value in weights_of(alone.model).items():
        assert torch.allclose(torch.tensor(first["weights"][name]), torch.tensor(value), atol=1e-6, rtol=1e-5), name
        moved = max(moved, float((torch.tensor(value) - torch.tensor(began[name])).abs().max()))
    assert moved > 1e-3
    mine, theirs = first["result"]["history"][0]["train"], alone.result["history"][0]["train"]
    assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert mine["n"] == theirs["n"] == 11


def test_while_it_trains_an_epoch_is_judged_without_the_bootstrap(monkeypatch):
    asked = []
    real = detection.mean_ap_interval
    monkeypatch.setattr(detection, "mean_ap_interval", lambda *a, **k: asked.append(len(a[1])) or real(*a, **k))
    outcome = loop.train(VocTask(), voc_configuration("yolo-ann", epochs=3))
    assert sorted(asked) == [3] * len(voc.METRICS) + [6] * len(voc.METRICS)
    best = outcome.result["history"][outcome.result["best_epoch"] - 1]
    assert best["validation"]["ap50"] == outcome.result["metrics"]["validation"]["ap50"]["value"]


# Data


def test_held_out_pictures_have_their_share_of_every_class():
    generator = torch.Generator().manual_seed(0)
    common, rare = torch.rand(200, generator=generator) < 0.7, torch.rand(200, generator=generator) < 0.1
    things = [["cat"] * int(a) + ["dog"] * int(b) for a, b in zip(common, rare, strict=True)]
    everything = _fake_set(things)
    rest, held = hold_out(everything, 0.1, seed=3)
    assert (len(rest), len(held)) == (180, 20)
    assert set(rest.names) | set(held.names) == set(everything.names)
    with_class = {name: sum(label in labels for labels in held.labels) for label, name in enumerate(held.classes)}
    assert with_class["dog"] == round(0.1 * int(rare.sum())) > 0
    assert abs(with_class["cat"] - 0.1 * int(common.sum())) <= 2
    assert hold_out(everything, 0.1, seed=3)[1].names == held.names
    assert hold_out(everything, 0.1, seed=4)[1].names != held.names
    assert [len(part) for part in hold_out(everything, 0.0, seed=0)] == [200, 0]


def _fake_set(things):
    from spikelab.datasets.scenes import Scene, SceneSet
    from spikelab.datasets.voc import Thing

    scenes = [
        Scene(None, str(i), str(i), (10, 10), tuple(Thing(name, (0.1, 0.2, 0.5, 0.9), False) for name in names), "x")
        for i, names in enumerate(things)
    ]
    return SceneSet(scenes, ("cat", "dog"), kind="real", title="some")


def test_what_is_held_out_depends_on_its_own_seed_alone():
    held = [
        VocTask().data(voc_configuration(seed=seed, task_options={"split_seed": split})).validation.names
        for seed, split in ((0, 0), (1, 0), (0, 5))
    ]
    assert held[0] == held[1] != held[2]


def test_splits_share_no_picture_and_a_limit_takes_some():
    data = VocTask().data(voc_configuration(train_limit=4))
    names = [name for split in (data.train, data.validation, data.test) for name in split.names]
    assert len(set(names)) == len(names) == 4 + 3 + 6
    assert VocTask().data(voc_configuration(train_limit=4)).train.names == data.train.names
    assert VocTask().data(voc_configuration(train_limit=4, seed=1)).train.names != data.train.names


def test_training_pictures_are_kept_larger_than_the_network_takes_them():
    config = voc_configuration(task_options={"detail": 1.5})
    data = VocTask().data(config)
    assert data.train.images.shape[-2:] == (48, 48)
    assert data.test.images.shape[-2:] == (32, 32)
    images, _ = VocTask().batch(config, data.train, torch.arange(2), None, CPU)
    assert images.shape == (2, 3, 32, 32)


def test_an_annotation_says_whose_it_is(folder, tmp_path, monkeypatch):
    write_scenes(tmp_path, train=12)
    for file in (tmp_path / "VOCdevkit" / "VOC2007" / "Annotations").iterdir():
        said = "<annotation><source><annotation>somebody, difficult guessed</annotation></source>"
        file.write_text(file.read_text().replace("<annotation>", said, 1))
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path))
    assert VocTask().data(voc_configuration()).label.endswith("; annotations: somebody, difficult guessed")


# Batches and losses


def test_a_batch_is_an_augmented_view_of_bytes_and_its_boxes_move_with_it():
    config, task = voc_configuration(), VocTask()
    data = task.data(config)
    indices = torch.tensor([3, 0, 7, 4])
    draws = task.draw(config, 4, torch.Generator().manual_seed(0))
    assert 0 < int(draws[:, 8].sum()) < 4  # some mosaics
    images, targets = task.batch(config, data.train, indices, draws, CPU)
    chosen = data.train.images[indices], [data.train.objects[i] for i in indices.tolist()]
    how = SceneDraws(draws[:, :8], draws[:, 8:])
    expected = augment_scenes(*chosen, how, size=(32, 32), pool=(data.train.images, data.train.objects))
    assert torch.equal(images, expected[0])
    for mine, theirs in zip(targets.objects, expected[1], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_picture_looks_alike_whatever_else_is_in_its_batch():
    # So that it does not matter how processes share a batch.
    config, task = voc_configuration(task_options={"augment": {"mosaic": 1.0}}), VocTask()
    train = task.data(config, ("train",)).train
    indices, draws = torch.tensor([1, 8, 5]), task.draw(config, 3, torch.Generator().manual_seed(0))
    together, targets = task.batch(config, train, indices, draws, CPU)
    alone, target = task.batch(config, train, indices[1:2], draws[1:2], CPU)
    assert torch.equal(together[1:2], alone)
    assert torch.equal(targets.objects[1].boxes, target.objects[0].boxes)


def test_difficult_objects_teach_unless_they_shall_not():
    counts = {}
    for difficult in (True, False):
        config = voc_configuration(task_options={"difficult": difficult})
        split = VocTask().data(config, ("test",)).test
        _, targets = VocTask().batch(config, split, torch.arange(6), None, CPU)
        counts[difficult] = [len(one.labels) for one in targets.objects]
        assert sum(len(one.labels) for one in split.objects) == sum(counts[True])
    assert [a - b for a, b in zip(counts[True], counts[False], strict=True)] == [1, 0, 0, 1, 0, 0]


def test_a_loss_has_a_name_and_options_change_one_thing():
    public = loss_options(voc_configuration(loss="public"))
    assert public == detection.public_code_options(32, 3)
    default = loss_options(voc_configuration())
    assert default == public._replace(object_target="iou")
    paper = loss_options(voc_configuration(loss="paper", loss_options={"class_weight": 3, "ignore_above": 0.7}))
    assert paper == detection.YOLOV3_PAPER._replace(weights=LossWeights(1.0, 1.0, 3.0), ignore_above=0.7)
    with pytest.raises(ValueError, match="the loss has no option 'weights'"):
        loss_options(voc_configuration(loss_options={"weights": 1}))


def _heads(objects, layout, size, miss=()):
    """Raw outputs that box and name every object through each prediction that answers for it, but for some objects."""
    heads = []
    options = loss_options(voc_configuration())
    assigned = detection.assign_targets(objects, layout, size, rule=options.rule)
    for answers, anchors, stride in zip(assigned, layout.anchors, layout.strides, strict=True):
        grid = (size[0] // stride, size[1] // stride)
        raw = torch.full((len(objects), len(anchors), 5 + layout.num_classes, *grid), -9.0)
        raw[:, :, :4] = 0
        place = torch.stack((answers.row, answers.column), 1)
        wanted = detection.encode_boxes(answers.boxes, place, anchors[answers.anchor], stride)
        for i, which in enumerate(answers.objects.tolist()):
            if which in miss:
                continue
            at = answers.picture[i], answers.anchor[i], slice(None), answers.row[i], answers.column[i]
            raw[at] = torch.cat((wanted[i], raw[at][4:]))
            raw[at][4], raw[at][5 + answers.labels[i]] = 9.0, 9.0
        heads.append(raw.flatten(1, 2))
    return tuple(heads)


def _scene_batch(config):
    task = VocTask()
    split = task.data(config, ("test",)).test
    _, targets = task.batch(config, split, torch.arange(6), None, CPU)
    return task, split, targets


def test_the_running_metric_is_the_share_of_objects_that_are_boxed_and_named():
    config = voc_configuration(task_options={"size": (64, 64)})
    task, _, targets = _scene_batch(config)
    count = sum(len(one.labels) for one in targets.objects)
    for miss in ((), (0, 3, 4)):
        heads = _heads(targets.objects, targets.layout, (64, 64), miss)
        score = task.score(config, YoloOutput(heads), targets)
        assert score.shape == (6,)
        assert float(score.mean()) == pytest.approx(1 - len(miss) / count)
    other = targets._replace(objects=[one._replace(labels=(one.labels + 1) % 3) for one in targets.objects])
    assert float(task.score(config, YoloOutput(heads), other).mean()) == 0
    nothing = targets._replace(objects=[Objects.none()] * 6)
    assert torch.equal(task.score(config, YoloOutput(heads), nothing), torch.zeros(6))


# Metrics


def test_whoever_finds_everything_has_an_average_precision_of_one():
    config = voc_configuration(task_options={"size": (64, 64)})
    task, split, targets = _scene_batch(config)
    evidence = task.evidence(config, YoloOutput(_heads(targets.objects, targets.layout, (64, 64))), targets)
    found = detections_of(evidence)
    assert [sorted(one.labels.tolist()) for one in found] == [sorted(one.labels.tolist()) for one in split.objects]
    metrics = task.metrics(evidence, split)
    for name in voc.METRICS:
        assert metrics[name]["value"] == pytest.approx(1.0), name
        assert metrics[name]["low"] == metrics[name]["high"] == pytest.approx(1.0)
    details = metrics["details"]
    assert details["left_out"] == ["bird"]
    assert details["per_class"]["cat"]["ap75"] == 1.0
    assert set(details["mistakes"]["counts"].values()) == {0}
    assert details["difficult"] == 2
    assert [quarter["value"] for quarter in details["found_by_area"]] == [1.0] * 4
    assert sum(quarter["n"] for quarter in details["found_by_area"]) == details["objects"] - 2
    assert metrics["confusion"][0][0] == details["per_class"]["cat"]["num_objects"]


def test_each_flavour_is_that_of_the_library_and_the_quick_one_is_the_area():
    config = voc_configuration(task_options={"size": (64, 64)})
    task, split, targets = _scene_batch(config)
    generator = torch.Generator().manual_seed(0)
    heads = tuple(
        head + torch.randn(head.shape, generator=generator)
        for head in _heads(targets.objects, targets.layout, (64, 64), miss=(1, 5))
    )
    evidence = task.evidence(config, YoloOutput(heads), targets)
    options = {"score_threshold": 0.005, "iou_threshold": 0.5, "max_detections": 100}
    direct = detection.detect(heads, targets.layout, **options)
    for mine, theirs in zip(detections_of(evidence), direct, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    metrics = task.metrics(evidence, split)
    for name, how in voc.METRICS.items():
        score = detection.evaluate_detections(direct, split.objects, split.classes, **how)
        assert metrics[name]["value"] == score.mean
        assert metrics[name]["low"] <= score.mean <= metrics[name]["high"]
    assert 0 < metrics["ap50"]["value"] < 1
    assert metrics["ap50"]["value"] != metrics["ap50_voc07"]["value"]
    assert task.quick_metrics(evidence, split)["ap50"]["value"] == metrics["ap50"]["value"]


def test_finding_nothing_scores_zero():
    config = voc_configuration()
    task, split, targets = _scene_batch(config)
    heads = tuple(head - 20 for head in _heads(targets.objects, targets.layout, (32, 32)))
    metrics = task.metrics(task.evidence(config, YoloOutput(heads), targets), split)
    assert {metrics[name]["value"] for name in voc.METRICS} == {0.0}
    assert metrics["details"]["detections_per_picture"] == 0


def test_the_baseline_boxes_each_class_in_its_middle_and_never_looks():
    data = VocTask().data(voc_configuration())
    boxes = torch.cat([one.boxes[one.labels == 1] for one in load_scenes(
        VOC("VOC2007", "train", kind="real", classes=("cat", "dog", "bird")), (32, 32)
    ).objects])  # fmt: skip
    constant = data.test.constant
    assert constant.labels.tolist() == [0, 1, 2]
    assert torch.allclose(constant.boxes[1], boxes.median(0).values)
    assert float(constant.scores.sum()) == pytest.approx(1.0)
    direct = detection.evaluate_detections([constant] * 6, data.test.objects, data.test.classes, flavour="area")
    assert VocTask().baseline(data)["value"] == direct.mean > 0.3  # the dogs are where they always are


def test_an_empty_test_list_is_refused(folder, tmp_path, monkeypatch):
    write_scenes(tmp_path, train=6, validation=1)
    annotation = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000501.xml"
    annotation.write_text(re.sub("<object>.*</object>", "", annotation.read_text()))
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"the test split of .* is empty"):
        VocTask().data(voc_configuration())


def test_all_of_both_archives_trainval_teaches_and_test_tests(tmp_path, monkeypatch):
    write_scenes(tmp_path, train=6, validation=3, test=4)
    lists = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path))
    trained, _ = train("--image-set", "trainval", "--test-set", "test")
    assert trained["data"]["label"] == "real VOC2007 trainval, tested on test of VOC2007"
    assert trained["data"]["sizes"] == {"train": 7, "validation": 2, "test": 4}
    config = voc_configuration(task_options={"image_set": "all", "test_set": "test"})
    with pytest.raises(DataError, match=r"4 photographs of the test set .* are in the training set"):
        VocTask().data(config)


def test_both_years_teach_without_the_pictures_that_are_tested_on(tmp_path, monkeypatch):
    """VOC2012 has copies of pictures of VOC2007's train, val and test lists."""
    write_scenes(tmp_path, train=6, validation=3, test=4)
    cat = [("cat", 2, 3, 18, 17)]
    copies = ["2007_000001", "2007_000501", "2007_000702", "2009_000001"]
    later = write_voc(tmp_path, "VOC2012", dict.fromkeys(copies, cat), size=(36, 48))
    (later / "ImageSets" / "Main").mkdir(parents=True)
    (later / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{name}\n" for name in copies))
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path))
    for test_set, left in (("val", 6 + 2), ("test", 6 + 2)):
        data = VocTask().data(voc_configuration(task_options={"years": ("VOC2007", "VOC2012"), "test_set": test_set}))
        names = {*data.train.names, *data.validation.names}
        assert len(names) == left
        assert "2009_000001" in names
        assert not names & {"2007_000001", {"val": "2007_000501", "test": "2007_000702"}[test_set]}


def test_a_test_list_whose_archive_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    write_scenes(tmp_path, train=6, validation=1)
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path))
    config = voc_configuration(task_options={"test_set": "test"})
    with pytest.raises(DataError, match=r"VOC2007 has no list 'test' .* or run spikelab data fetch VOCdevkit"):
        VocTask().data(config)
    (tmp_path / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").write_text("009990\n")
    with pytest.raises(DataError, match=r"none of the 1 pictures .* run spikelab data fetch VOCdevkit, or take"):
        VocTask().data(config)


# The contact sheet


def _one(boxes, labels, scores=None):
    boxes, labels = torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64)
    return Objects(boxes, labels) if scores is None else Detections(boxes, torch.tensor(scores), labels)


def test_a_pictures_f_counts_hits_against_objects_and_sure_detections():
    left, right, top = [0.0, 0.0, 0.4, 1.0], [0.6, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.1]
    true = _one([left, right], [0, 1])
    cases = [
        (true, _one([left, right], [0, 1], [0.9, 0.9]), 1.0),
        (true, _one([left, right], [0, 0], [0.9, 0.9]), 0.5),  # one right, one wrong, one missed
        (true, _one([left, left, top], [0, 0, 0], [0.9, 0.8, 0.7]), 2 / 5),  # a duplicate and a wrong one
        (true, _one([left, right], [0, 1], [0.9, 0.29]), 2 / 3),
        (true, Detections.none(), 0.0),
        (true._replace(difficult=torch.tensor([False, True])), _one([left, right], [0, 1], [0.9, 0.9]), 1.0),
    ]
    objects, found, expected = zip(*cases, strict=True)
    assert f_scores(found, objects, score=0.3).tolist() == pytest.approx(list(expected))
    assert f_scores([Detections.none()], [Objects.none()], score=0.3).isnan().all()
    rows = ranked_pictures([*found, Detections.none()], [*objects, Objects.none()], score=0.3, columns=2)
    assert {row: [place for place, _ in places] for row, places in rows.items()} == {
        "best": [0, 5],
        "median": [3, 1],
        "worst": [2, 4],
    }


def test_the_best_score_balances_hits_against_what_is_wrong_or_missed():
    left, right, top = [0.0, 0.0, 0.4, 1.0], [0.6, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.1]
    objects = [_one([left, right], [0, 0]), _one([left], [0])]
    found = [_one([left, top, right], [0, 0, 0], [0.9, 0.1, 0.2]), _one([top, left], [0, 0], [0.3, 0.05])]
    # F from .9: 2 / 4, .3: 2 / 5, .2: 4 / 6, .1: 4 / 7, .05: 6 / 8
    assert best_score(found, objects) == pytest.approx(0.05)
    assert best_score(found, [objects[0], objects[1]._replace(difficult=torch.tensor([True]))]) == pytest.approx(0.2)
    assert best_score([Detections.none()] * 2, objects) == 1.0
    assert best_score([_one([top], [0], [0.5]), Detections.none()], objects) == 1.0


def test_a_contact_sheet_names_what_was_found_and_how_sure():
    box = [0.1, 0.1, 0.6, 0.8]
    images = torch.zeros(2, 3, 20, 30, dtype=torch.uint8)
    found = [_one([box, box], [1, 0], [0.87, 0.1]), Detections.none()]
    figure = plot_detections(images, [_one([box], [1])] * 2, found, ["cat", "dog"])
    first, second = figure.axes[:2]
    assert [text.get_text() for text in first.texts] == ["dog 0.87"]
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("F 1.00", "F 0.00")
    assert (len(first.patches), len(second.patches)) == (2, 1)
    assert first.patches[0].get_bbox().extents == pytest.approx([0.1, 0.1, 0.6, 0.8])
