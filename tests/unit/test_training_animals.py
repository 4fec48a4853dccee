"""``spikelab train animals`` and its parts, and how single animals are split, on pictures in the sets' own formats."""

import os
import re
import shutil
import signal
from types import SimpleNamespace

import dataset_files
import pytest
import torch
from PIL import Image
from training_fixtures import numbers, weights_of
from typer.testing import CliRunner

from spikelab import detection
from spikelab.cli import app
from spikelab.datasets import DataError
from spikelab.datasets import single_animals as splitting
from spikelab.datasets.coco import ANIMALS
from spikelab.datasets.scenes import out_of_window
from spikelab.datasets.single_animals import animal_source, coco_of_shared, single_animals
from spikelab.leaderboard import joint_success, leaderboard_row, submission_problems
from spikelab.models.animals import AnimalOutput
from spikelab.training import loop, results
from spikelab.training.config import Configuration
from spikelab.training.tasks.animals import AnimalsTask, AnimalTargets, class_weights

SIX = ANIMALS[:6]
SMALL = ["--size", "24x32", "--batch", "6", "--epochs", "2", "--threads", "1", "--channels", "6,8"]
BY_MODEL = {
    ("start", "spiking"): [*SMALL, "--steps", "2"],
    ("start", "ann"): SMALL,
    ("reference", "spiking"): [*SMALL, "--steps", "2"],
}
CPU = torch.device("cpu")
HEIGHT, WIDTH = 20, 40


def write_animals(root):
    """VOC: 40 pictures of one animal, most of them dogs, and two of two; COCO: 12 of one animal, three of VOC's six."""
    generator = torch.Generator().manual_seed(0)

    def box():
        x, y = torch.randint(1, 10, (2,), generator=generator).tolist()
        return x, y, x + 25, y + 9

    for year, count, begin in (("VOC2007", 25, 0), ("VOC2012", 15, 25)):
        things = {}
        for number in range(begin, begin + count):
            name = SIX[number % 6] if number % 2 else "dog"
            later = "2007_000003" if number == 30 else f"2010_{number:06}"  # the first is a copy of VOC2007's 000003
            things[f"{number:06}" if year == "VOC2007" else later] = [(name, *box())]
        things[f"{year[-2:]}9999"] = [("cat", *box()), ("dog", *box())]
        dataset_files.write_voc(root, year, things, (HEIGHT, WIDTH))
    categories = [(16 + place, name) for place, name in enumerate(ANIMALS)]
    for split, animals in (("train", (0, 2, 6, 7, 7, 8, 8, 9, 9, 9)), ("val", (1, 7))):
        pictures = {
            f"{split}{place:012}.jpg": ((HEIGHT, WIDTH), [(16 + animal, 4.0, 4.0, 20.0, 10.0, 0)])
            for place, animal in enumerate(animals)
        }
        pictures[f"{split}_two.jpg"] = ((HEIGHT, WIDTH), [(16, 4, 4, 20, 10, 0), (24, 1, 1, 9, 9, 0)])
        dataset_files.write_coco(root, split, pictures, categories)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_animals(root)
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
        monkeypatch.setattr(AnimalsTask, "pictures", lambda *_: {})


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(model="start", neurons="spiking", *more, out="run"):
    done = invoke(
        "train", "animals", "--model", model, "--neurons", neurons, *BY_MODEL[model, neurons], *more, "-o", out
    )
    assert done.exit_code == 0, done.output
    return results.load(f"{out}/result.json"), done.output


def configuration(**changes):
    settings = {"model": "animals-ann", "data": "real", "loss": "ce+giou", "num_steps": 2, "beta": 1.0, "epochs": 2}
    settings |= {"batch": 6, "threads": 1, "model_options": {"design": "start", "channels": (6, 8)}}
    settings["task_options"] = {"size": (24, 32), "augment": {"flip": 0.5}, **changes.pop("task_options", {})}
    return Configuration(task="animals", **{**settings, **changes})


# --- the splits


def test_single_animals_of_voc_are_split_by_photograph():
    splits = single_animals("voc", kind="real")
    assert [len(split) for split in splits] == [27, 4, 8]  # 40, of which one photograph is in both years
    names = [name for split in splits for name in split.names]
    assert len(set(names)) == 39
    photos = [set(split.photos) for split in splits]
    assert sum(map(len, photos)) == len(photos[0] | photos[1] | photos[2])
    assert ("000003" in names) != ("2007_000003" in names)
    assert splits.train.classes == SIX
    assert all(len(labels) == 1 for split in splits for labels in split.labels)


def test_the_split_follows_its_seed_and_nothing_else():
    first, again, other = (single_animals("voc", kind="real", seed=seed) for seed in (0, 0, 1))
    assert first.test.names == again.test.names
    assert first.test.names != other.test.names
    assert len(first.test) == len(other.test)


def test_coco_is_tested_on_its_own_validation_pictures():
    splits = single_animals("coco", kind="real")
    assert all(name.startswith("val") for name in splits.test.names)
    assert all(name.startswith("train") for name in splits.train.names + splits.validation.names)
    assert splits.train.classes == ANIMALS
    assert len(splits.test) == 2


def test_a_photograph_on_both_sides_is_refused(monkeypatch):
    monkeypatch.setattr(splitting, "split_by_photo", lambda found, shares, seed: [found, found, found])
    with pytest.raises(DataError, match=r"of the test set .* are in the training set"):
        single_animals("voc", kind="real")


def test_a_part_of_coco_is_no_source_and_all_of_it_is(monkeypatch):
    assert animal_source() == "voc"
    assert animal_source("coco") == "coco"
    monkeypatch.setattr(splitting, "ENOUGH", 10)
    assert animal_source() == "coco"
    assert animal_source(kind="synthetic") == "voc"
    with pytest.raises(ValueError, match="source must be one of"):
        animal_source("pets")


def test_the_shift_of_domain_is_cocos_pictures_of_vocs_animals():
    shifted = coco_of_shared(kind="real")
    assert shifted.classes == SIX
    assert sorted(name for labels in shifted.labels for name in (SIX[label] for label in labels)) == [
        "bird",
        "cat",
        "dog",
    ]


def test_too_few_pictures_are_named(tmp_path, monkeypatch):
    dataset_files.write_voc(tmp_path, "VOC2007", {"000001": [("dog", 1, 1, 9, 9)]})
    dataset_files.write_voc(tmp_path, "VOC2012", {"2010_000001": [("cat", 1, 1, 9, 9)]})
    with pytest.raises(DataError, match="too few pictures of one animal to split"):
        single_animals("voc", kind="real", root=tmp_path)


# --- the command


@pytest.mark.parametrize(("model", "neurons"), BY_MODEL)
def test_weights_evaluate_to_what_training_found(model, neurons):
    trained, said = train(model, neurons)
    assert invoke("evaluate", "run/weights.safetensors", "--result", "e.json", "-q").exit_code == 0
    found = results.load("e.json")
    assert found["metrics"]["test"] == trained["metrics"]["test"]
    assert found["details"]["test"] == trained["details"]["test"]
    assert found["confusion"] == trained["confusion"]
    assert found["baseline"] == trained["baseline"]
    assert found["spikes"] == trained["spikes"]
    assert trained["data"]["label"] == "real VOC2007 and VOC2012 animals, one to a picture"
    assert trained["data"]["sizes"] == {"train": 27, "validation": 4, "test": 8}
    assert trained["configuration"]["task_options"]["source"] == "voc"
    for name in ("macro_accuracy", "joint", "accuracy", "miou", "success50", "gain"):
        assert f"{name} {trained['metrics']['test'][name]['value']:.2%}" in said
    cost = trained["cost"]
    assert cost["energy_pj"] == pytest.approx(4.6 * cost["macs"] + 0.9 * cost["acs"])
    assert (cost["acs"] == 0) == (cost["chip_energy_j"] == 0) == (neurons == "ann")
    assert (trained["spikes"] is None) == (neurons == "ann")


def test_weights_that_meet_other_pictures_are_doubted(folder, tmp_path, monkeypatch):
    """All there is is split at random, so one picture more gives another split, with learned pictures in its test."""
    train()
    assert "another split" not in invoke("evaluate", "run/weights.safetensors", "-q").output
    train("start", "spiking", "--train-limit", "9", out="few")
    assert "another split" not in invoke("evaluate", "few/weights.safetensors", "-q").output
    shutil.copytree(folder / "VOCdevkit", tmp_path / "data" / "VOCdevkit")
    dataset_files.write_voc(tmp_path / "data", "VOC2007", {"000701": [("cat", 2, 3, 27, 12)]}, (HEIGHT, WIDTH))
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path / "data"))
    done = invoke("evaluate", "run/weights.safetensors", "--result", "e.json", "-q")
    assert done.exit_code == 0, done.output
    assert "spikelab: the weights are of another split" in done.output
    assert "(train, validation, test: [27, 4, 8] then, [28, 4, 8] here)" in done.output
    assert "learned from" in results.load("e.json")["trained_on"]["doubt"]


def test_the_result_says_where_it_fails():
    trained, _ = train()
    test, details = trained["metrics"]["test"], trained["details"]["test"]
    assert sum(map(sum, trained["confusion"])) == 8 == sum(details["mistakes"].values())
    assert details["mistakes"]["none"] == round(8 * test["joint"]["value"])
    assert details["mistakes"]["none"] + details["mistakes"]["box"] == round(8 * test["accuracy"]["value"])
    assert set(details["classes"]) | set(details["absent"]) == set(SIX)
    assert sum(one["n"] for one in details["classes"].values()) == 8
    joint = [one["joint"] for one in details["classes"].values()]
    assert test["macro_joint"]["value"] == pytest.approx(sum(joint) / len(joint))
    assert trained["baseline"]["value"] == details["trivial"]["macro_joint"]
    assert details["trivial"]["class"] == "dog"
    assert details["constants"]["best"] == pytest.approx(details["trivial"]["miou"], abs=1e-6)


def test_results_of_three_seeds_and_a_twin_are_a_row_of_the_board():
    runs = [train("start", "spiking", "--seed", seed, "--epochs", 1, "-q", out=f"s{seed}")[0] for seed in range(3)]
    twin = train("start", "ann", "--epochs", 1, "-q", out="twin")[0]
    row = leaderboard_row(runs, twin=[twin])
    assert submission_problems(row) == []
    assert row["seeds"] == [0, 1, 2]
    assert row["uJ"] == pytest.approx(sum(run["cost"]["energy_pj"] for run in runs) / 3e6)


def test_pictures_from_elsewhere_are_a_test_of_their_own():
    train()
    done = invoke("evaluate", "run/weights.safetensors", "--data", "coco-shift", "--result", "e.json")
    assert done.exit_code == 0, done.output
    found = results.load("e.json")
    assert found["data"]["name"] == "animals-coco-shift"
    assert found["data"]["sizes"]["test"] == 3
    assert found["data"]["label"] == "real COCO animals, one to a picture, of VOC's six"
    assert found["trained_on"]["name"] == "animals-voc"
    assert found["details"]["test"]["absent"] == ["horse", "sheep", "cow"]
    done = invoke("evaluate", "run/weights.safetensors", "--data", "coco-shift", "--split", "train")
    assert done.exit_code == 2
    assert "with no other split" in done.output


def test_ten_animals_are_learned_from_coco():
    result, _ = train("start", "ann", "--source", "coco", "--epochs", "1")
    assert len(result["confusion"]) == 10
    assert result["data"]["name"] == "animals-coco"


def test_a_spiking_network_starts_from_its_twin():
    train("start", "ann", out="twin")
    init = train("start", "spiking", "--init", "twin/weights.safetensors")[0]["init"]
    assert init["taken"] == init["tensors"]
    assert init["model"] == "animals-ann"


@pytest.mark.slow
def test_training_and_evaluation_draw_a_contact_sheet(pictures):
    train("start", "ann")
    assert invoke("evaluate", "run/weights.safetensors", "--pictures", "sheet", "-q").exit_code == 0
    for place in ("run", "sheet"):
        with Image.open(f"{place}/contact_sheet.png") as sheet:
            sheet.load()
            assert sheet.size[0] > 600


def test_the_contact_sheet_says_what_each_was_taken_for(pictures):
    task, config, samples, _, targets = batch_of()
    classes = torch.nn.functional.one_hot(targets.labels, 6).float().roll(1, 0)
    evidence = task.evidence(config, AnimalOutput(targets.boxes, classes), targets)
    figure = task.pictures(config, samples, evidence)["contact_sheet.png"]
    titles = {axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")} - {""}
    true, said = ([SIX[label] for label in labels.tolist()] for labels in (targets.labels, targets.labels.roll(1)))
    wanted = {f"1.00 {a}" if a == b else f"1.00 {a}, not {b}" for a, b in zip(true, said, strict=True)}
    assert titles <= wanted
    assert any("not" in title for title in titles)


def test_options_reach_network_loss_and_augmentation():
    options = ["--option", "blocks=0", "--option", "diou=3", "--option", "smoothing=0.1", "--decode", "last_current"]
    more = ["--augment", "zoom=0.3", "--keep", "0.7", "--balance", "1", "--fit", "stretch", "--epochs", "1"]
    kept = train("reference", "spiking", *options, *more)[0]["configuration"]
    assert kept["model_options"] == {"design": "reference", "decode": "last_current", "channels": [6, 8], "blocks": 0}
    assert kept["loss_options"] == {"diou": 3, "smoothing": 0.1}
    task = {key: kept["task_options"][key] for key in ("augment", "keep", "balance", "fit")}
    assert task == {"augment": {"zoom": 0.3}, "keep": 0.7, "balance": 1.0, "fit": "stretch"}
    assert (kept["loss"], kept["scheduler"]) == ("ce+diou", "cosine")


def test_what_the_model_has_stays_if_nothing_is_said():
    kept = train("reference", "spiking", "--epochs", "1")[0]["configuration"]
    assert kept["task_options"]["augment"]["zoom"] == 0.5
    kept = train("start", "ann", "--epochs", "1", "--augment", "none", out="none")[0]["configuration"]
    assert kept["task_options"]["augment"] == {}
    assert kept["num_steps"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "large"], "--model must be one of start, reference, got 'large'"),
        (["--neurons", "relu"], "--neurons must be one of spiking, ann, got 'relu'"),
        (["--source", "pets"], "source must be one of 'auto', 'coco', 'voc', got 'pets'"),
        (["--data", "imaginary"], "kind must be one of"),
        (["--size", "big"], "--size must be a side or rows x columns, such as 96 or 88x120, got 'big'"),
        (["--size", "4x32"], "size must be at least 8, got 4"),
        (["--fit", "crop"], "fit must be one of 'letterbox', 'stretch', got 'crop'"),
        (["--loss", "giou"], "loss must be one of ce\\+giou, ce\\+diou, ce\\+ciou, got 'giou'"),
        (["--loss", "ce+diou", "--option", "giou=1"], "has no option 'giou'; it has diou, smoothing"),
        (["--option", "smoothing=1"], "smoothing must lie in"),
        (["--decode", "first"], "decode must be one of"),
        (["--option", "blocks=1"], "blocks are for the design 'reference'"),
        (["--option", "depth=3"], "AnimalNet or its neurons cannot be built .*'depth'"),
        (["--balance", "2"], "balance must lie in"),
        (["--keep", "0.3"], "keep must be above 0.5 and at most 1, got 0.3"),
        (["--split-seed", "-1"], "split_seed must be at least 0"),
        (["--augment", "blur=1"], "augment has an option that pictures cannot be changed by: .*'blur'"),
        (["--init", "nmnist-scnn"], "holds no weights that fit this AnimalNet"),
        (["--result", "r.txt"], "--result must end in .json"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(arguments, message):
    done = invoke("train", "animals", *SMALL, *arguments, "--out", "run", "-q")
    assert done.exit_code == 2, done.output
    assert re.search(message, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output
    assert not os.path.exists("run/checkpoint.pt")


def test_help_explains_the_command():
    shown = invoke("train", "animals", "--help")
    assert shown.exit_code == 0
    for word in ("--neurons", "--source", "--size", "--steps", "--init", "torchrun", "macro joint"):
        assert word in shown.output


def test_a_stopped_run_resumes_to_the_numbers_of_an_unbroken_one():
    class Stopped(AnimalsTask):
        batches = 0

        def batch(self, config, split, indices, draws, device):
            self.batches += draws is not None
            if self.batches == 7 and draws is not None:
                signal.raise_signal(signal.SIGTERM)
            return super().batch(config, split, indices, draws, device)

    config = configuration(model="animals")
    with pytest.raises(loop.Interrupted, match="after batch 2/5 of epoch 2/2"):
        loop.train(Stopped(), config, out="run")
    resumed, unbroken = loop.train(AnimalsTask(), config, out="run", resume=True), loop.train(AnimalsTask(), config)
    assert weights_of(resumed.model) == weights_of(unbroken.model)
    assert numbers(resumed.result) == numbers(unbroken.result)


# --- the task


def batch_of(split="test", draws=None, **changes):
    task, config = AnimalsTask(), configuration(**changes)
    samples = getattr(task.data(config, (split,)), split)
    return task, config, samples, *task.batch(config, samples, torch.arange(len(samples)), draws, CPU)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_boxes_are_scored_in_the_original_picture(fit):
    task, config, samples, images, targets = batch_of(task_options={"fit": fit})
    assert images.shape == (8, 3, 24, 32)
    classes = torch.nn.functional.one_hot(targets.labels, 6).float()
    evidence = task.evidence(config, AnimalOutput(targets.boxes, classes), targets)
    assert evidence["score"].mean().item() == pytest.approx(1)
    wanted = torch.cat(single_animals("voc", kind="real").test.boxes).float()
    assert torch.allclose(evidence["truth"], wanted, atol=1e-5)
    bars = 0 if fit == "stretch" else 4 / 24  # 20 x 40 in 24 x 32 is 16 x 32
    whole = torch.tensor([0.0, bars, 1.0, 1 - bars]).expand(8, 4)
    found = task.evidence(config, AnimalOutput(whole, classes), targets)["boxes"]
    assert torch.allclose(found, torch.tensor([0.0, 0.0, 1.0, 1.0]), atol=1e-6)
    assert torch.allclose(out_of_window(whole[0], samples.windows[0]), found[0], atol=1e-6)


def test_what_is_answered_on_the_bars_is_cut_off_and_swapped_corners_are_put_in_order():
    task, config, _, _, targets = batch_of()
    strange = torch.tensor([1.3, 1.2, -0.1, -0.2]).expand(8, 4)
    evidence = task.evidence(config, AnimalOutput(strange, torch.zeros(8, 6)), targets)
    assert torch.equal(evidence["boxes"], torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(8, 4))


def test_the_running_score_averages_to_the_metric():
    task, config, samples, _, targets = batch_of("train")
    generator = torch.Generator().manual_seed(2)
    classes = torch.nn.functional.one_hot(targets.labels, 6).float()
    classes[torch.rand(27, generator=generator) < 0.4] = 0.0
    boxes = torch.where(
        torch.rand(27, 1, generator=generator) < 0.3, torch.rand(27, 4, generator=generator), targets.boxes
    )
    evidence = task.evidence(config, AnimalOutput(boxes, classes), targets)
    metrics = task.metrics(evidence, samples)
    assert 0.1 < metrics["macro_joint"]["value"] < 0.9
    assert evidence["score"].mean().item() == pytest.approx(metrics["macro_joint"]["value"])
    plain = joint_success(evidence["predicted"], evidence["target"], evidence["boxes"], evidence["truth"])
    assert metrics["macro_joint"]["value"] == pytest.approx(plain)
    assert metrics["macro_joint"]["low"] < plain < metrics["macro_joint"]["high"]


def test_the_interval_is_that_of_classes_drawn_anew():
    task, _, samples, _, _ = batch_of("train")
    labels = torch.tensor([0, 1]).repeat_interleave(200)
    hits = torch.zeros(400, dtype=torch.bool)
    hits[:100] = True  # class 0: half of 200; class 1: none
    truth = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(400, 4)
    evidence = {"boxes": truth, "truth": truth, "target": labels, "predicted": torch.where(hits, labels, 5)}
    found = task.metrics(evidence, SimpleNamespace(**{**vars(samples), "names": [""] * 400}))["macro_joint"]
    half = 1.96 * 0.5 * (0.25 / 200) ** 0.5
    assert found["value"] == 0.25
    assert (found["low"], found["high"]) == (
        pytest.approx(0.25 - half, abs=0.005),
        pytest.approx(0.25 + half, abs=0.005),
    )


def test_a_flip_moves_the_box_with_the_animal():
    draws = torch.zeros(27, 8)
    draws[:, 0], draws[:, 1] = 1, 1
    _, _, samples, images, targets = batch_of("train", draws)
    plain = samples.images.float() / 255
    assert torch.allclose(images, plain.flip(-1), atol=1e-5)
    assert torch.allclose(targets.boxes, detection.flip_boxes(samples.boxes), atol=1e-6)
    assert targets.windows is None


def test_weights_of_classes_are_one_in_the_mean_over_pictures():
    counts = torch.tensor([1.0, 4.0, 16.0, 0.0])
    assert class_weights(counts, 0).tolist() == [1.0] * 4
    for balance in (0.5, 1.0):
        weights = class_weights(counts, balance)
        assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
        assert weights[0] / weights[2] == pytest.approx(16**balance)
        assert torch.isfinite(weights).all()


def test_the_loss_is_the_weighted_class_and_the_box():
    task, config = AnimalsTask(), configuration(loss="ce+diou", loss_options={"diou": 3.0})
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(4, 6, generator=generator)
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.6]]).repeat(4, 1)
    truth = torch.tensor([[0.2, 0.1, 0.5, 0.9]]).repeat(4, 1)
    labels, weights = torch.tensor([0, 1, 1, 5]), torch.tensor([2.0, 0.5, 0.5, 1.0])
    targets = AnimalTargets(truth, labels, None, weights, torch.ones(4))
    crossed = -classes.log_softmax(1)[torch.arange(4), labels]
    wanted = (crossed * weights).sum() / 4 + 3 * (1 - detection.diou(boxes, truth)).mean()
    assert task.loss(config, AnimalOutput(boxes, classes), targets).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_a_few_pictures_can_be_learned_by_heart():
    task, config = AnimalsTask(), configuration(model_options={"design": "start", "channels": (16, 32)})
    samples = task.data(config, ("train",)).train
    chosen = torch.tensor([place for place, name in enumerate(samples.names) if not name.startswith("2010")])
    images, targets = task.batch(config, samples, chosen, None, CPU)  # the other year repeats the pictures
    model = task.build(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(60):
        loss = task.loss(config, model(images), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    evidence = task.evidence(config, model(images), targets)
    assert len(chosen) > 10
    assert (evidence["score"] > 0).all()
