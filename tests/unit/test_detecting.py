"""``spikelab detect``: any picture in, drawn boxes and JSON out."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from spikelab import detecting
from spikelab.cli import app
from spikelab.datasets.pictures import read_picture
from spikelab.detecting import Detector, Found, default_weights, detect_pictures, draw
from spikelab.detection import Detections
from spikelab.models import pretrained
from spikelab.training.config import Configuration
from spikelab.training.tasks import voc

SIZE = (0.05, (0, 1, 0, 0, 0), 0)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights(task="voc", model="yolo-ann", **options):
    """A file of fresh weights, and what it was made with."""
    if task == "voc":
        options = {"model_options": {"size": SIZE}, "num_steps": 1, "task_options": {"size": [64, 96]}, **options}
    config = Configuration(task=task, model=model, **options)
    pretrained.save("w.safetensors", pretrained.build(config.as_dict()), {"configuration": config.as_dict()})
    return "w.safetensors"


def picture(name, size=(60, 40), mode="RGB", **options):
    """A file of (width, height) pixels, its left half black."""
    image = Image.new("RGB", size, "white")
    image.paste("black", (0, 0, size[0] // 2, size[1]))
    image.convert(mode).save(name, **options)
    return name


@pytest.fixture
def seen(monkeypatch):
    """Networks that see two things, in shares of the picture they are given, and one on a grey bar."""

    def found(output, layout, options):
        boxes = torch.tensor([[0.5, 0.5, 0.75, 1.0], [0.25, 0.25, 0.5, 0.75], [0.0, 0.0, 0.1, 0.1]])
        sure = torch.tensor([0.4, 0.9, 0.8])
        keep = sure > options["score_threshold"]
        return [Detections(boxes[keep], sure[keep], torch.tensor([7, 11, 14])[keep])]

    monkeypatch.setattr(voc, "detect", found)


def invoke(*arguments):
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


# Boxes


@pytest.mark.parametrize("size", [(60, 40), (30, 80), (96, 64), (1200, 30)])
def test_boxes_are_in_pixels_of_the_picture_whatever_its_shape(size, seen):
    found = Detector(weights())(picture("a.png", size), score=0.3)
    # The network's picture has 96 columns and 64 rows, the original in its middle, as large as it fits.
    scale = min(96 / size[0], 64 / size[1])
    wide, high = round(size[0] * scale), round(size[1] * scale)
    left, top = (96 - wide) // 2, (64 - high) // 2

    def back(box):
        edges = [
            ((box[0] * 96 - left) / wide, size[0]),
            ((box[1] * 64 - top) / high, size[1]),
            ((box[2] * 96 - left) / wide, size[0]),
            ((box[3] * 64 - top) / high, size[1]),
        ]
        return [min(max(share, 0), 1) * side for share, side in edges]

    expected = [back([0.25, 0.25, 0.5, 0.75]), back([0.0, 0.0, 0.1, 0.1]), back([0.5, 0.5, 0.75, 1.0])]
    kinds, scores = ["dog", "person", "cat"], [0.9, 0.8, 0.4]
    there = [i for i, box in enumerate(expected) if box[2] > box[0] and box[3] > box[1]]
    assert found.classes == [kinds[i] for i in there]
    assert found.scores == pytest.approx([scores[i] for i in there])
    for mine, i in zip(found.boxes.tolist(), there, strict=True):
        assert mine == pytest.approx(expected[i], abs=1e-4)


def test_a_box_on_the_grey_bars_is_none(seen):
    assert Detector(weights())(picture("a.png", (30, 80))).classes == ["dog", "cat"]


def test_only_what_is_sure_enough_is_found(seen):
    detector = Detector(weights())
    assert detector(picture("a.png"), score=0.5).classes == ["dog", "person"]
    assert detector("a.png", score=0.95).boxes.shape == (0, 4)
    with pytest.raises(ValueError, match="score must lie in"):
        detector("a.png", score=30)


@pytest.mark.parametrize(
    ("name", "size", "mode"),
    [
        ("a.png", (60, 40), "L"),
        ("a.png", (60, 40), "RGBA"),
        ("a.png", (60, 40), "LA"),
        ("a.png", (60, 40), "P"),
        ("a.png", (60, 40), "1"),
        ("a.png", (60, 40), "I;16"),
        ("a.jpg", (60, 40), "CMYK"),
        ("a.gif", (60, 40), "P"),
        ("a.webp", (61, 43), "RGB"),
        ("a.png", (1, 1), "RGB"),
        ("a.png", (2, 900), "RGB"),
        ("a.png", (900, 3), "L"),
        ("a.png", (8000, 20), "RGB"),
        ("a.tif", (60, 40), "F"),
        ("a.tif", (60, 40), "LAB"),
        ("猫 und Hund é.bmp", (60, 40), "RGB"),
    ],
)
def test_a_picture_of_any_mode_and_size_is_drawn_at_its_own_size(name, size, mode, seen):
    if mode == "I;16":
        Image.effect_noise(size, 50).convert("I").point(lambda value: value * 200).convert("I;16").save(name)
    else:
        picture(name, size, mode)
    (record,) = detect_pictures([name], Detector(weights()), out="out")
    assert (record["width"], record["height"]) == size
    with Image.open(record["drawn"]) as drawn:
        assert (drawn.size, drawn.mode, drawn.format) == (size, "RGB", "PNG")


@pytest.mark.parametrize(("orientation", "size"), [(3, (60, 40)), (5, (40, 60)), (6, (40, 60)), (8, (40, 60))])
def test_a_turned_photograph_is_seen_as_it_is_shown(orientation, size, seen):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (record,) = detect_pictures([picture("a.jpg", (60, 40), exif=exif)], Detector(weights()), out="out")
    assert (record["width"], record["height"]) == size
    with Image.open(record["drawn"]) as drawn:
        assert drawn.size == size


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame_is_seen(name):
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("lime", "red", "blue")]
    frames[0].save(name, save_all=True, append_images=frames[1:], duration=40)
    assert Image.open(name).n_frames == 3
    drawn = draw(name, Found(torch.zeros(0, 4), [], []))
    red, green, blue = drawn.getpixel((30, 20))
    assert green > 240 > 20 > max(red, blue)


@pytest.mark.parametrize("clear", [0, bytes([0, *range(1, 256)])])
def test_what_is_transparent_is_white(clear):
    image = Image.new("P", (60, 40), 1)
    image.putpalette([0, 0, 0, 255, 0, 0] + [0, 0, 255] * 254)
    image.paste(0, (0, 0, 30, 40))
    image.save("a.png", transparency=clear)
    drawn = draw("a.png", Found(torch.zeros(0, 4), [], []))
    assert drawn.getpixel((10, 10)) == (255, 255, 255)
    red, green, blue = drawn.getpixel((50, 10))
    assert red == 255
    assert green == blue == (0 if clear == 0 else 254)


def test_colours_stay_true_where_nothing_is_drawn():
    Image.effect_noise((80, 60), 90).convert("RGB").save("a.png")
    box = torch.tensor([[20.0, 30.0, 50.0, 50.0]], dtype=torch.float64)
    drawn = draw("a.png", Found(box, [0.5], ["cat"])).load()
    original = Image.open("a.png").load()
    inside = [(x, y) for x in range(24, 46) for y in range(36, 46)]
    far = [(x, y) for x in range(70, 80) for y in range(60)]
    assert all(drawn[place] == original[place] for place in inside + far)
    edge = {drawn[20, y] for y in range(30, 50)}
    assert len(edge) == 1
    assert edge != {original[20, y] for y in range(30, 50)}
    assert drawn[19, 40] == original[19, 40]  # the box ends where it ends
    assert drawn[49, 40] == edge.pop()
    assert drawn[50, 40] == original[50, 40]


# Networks


def test_a_real_network_answers_and_the_same_way_as_in_its_evaluation():
    torch.manual_seed(0)
    detector = Detector(weights(model="yolo", num_steps=2))
    with torch.no_grad():
        for head in detector.model.heads:
            head.output.bias.add_(3.0)
    found = detector(picture("a.png", (96, 64)), score=0.01)
    light = read_picture("a.png")[None].float() / 255
    with torch.no_grad():
        output = detector.model(light)
    task = voc.VocTask()
    targets = voc.Targets([], voc._layout((64, 96), 20))
    config = detector.config
    direct = voc.detections_of(task.evidence(config, output, targets))[0]
    sure = direct.scores > 0.01
    assert 0 < int(sure.sum()) == len(found.classes)
    assert found.scores == pytest.approx(direct.scores[sure].tolist())
    expected = direct.boxes[sure].double() * torch.tensor([96, 64, 96, 64])
    assert torch.allclose(found.boxes, expected, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in pretrained.shipped() if name.startswith(("pets-", "voc-"))])
def test_shipped_weights_find_something_to_say(name):
    found = Detector(name)(picture("a.png", (120, 80)), score=0.0)
    assert len(found.classes) >= 1
    assert bool((found.boxes[:, 2:] <= torch.tensor([120, 80])).all())
    if name.startswith("pets-"):
        assert found.scores == [None]
        assert found.classes == [{"head": "head", "body": "pet", "animal": "animal"}[name.rpartition("-")[2]]]


def test_a_network_of_class_and_box_names_one_animal():
    detector = Detector(weights("animals", "animals", num_steps=2, model_options={"channels": [8, 8, 8, 8, 8]}))
    found = detector(picture("a.png", (120, 80)))
    assert len(found.classes) == 1
    assert found.classes[0] in ("bird", "cat", "dog", "horse", "sheep", "cow")
    assert 0 < found.scores[0] <= 1


def test_weights_that_find_nothing_in_pictures_are_refused():
    done = invoke(picture("a.png"), "--weights", "nmnist-scnn")
    assert done.exit_code == 2
    assert "weights of the task 'nmnist', which finds nothing in pictures: take weights of voc" in done.output


def test_weights_of_voc_come_first(monkeypatch):
    there = ["animals-start", "pets-ours-body", "voc-a", "voc-b", "voc-long-a"]
    monkeypatch.setattr(pretrained, "shipped", lambda: there)
    assert default_weights() == "voc-long-a"
    monkeypatch.setattr(pretrained, "shipped", lambda: there[:4])
    assert default_weights() == "voc-a"
    monkeypatch.setattr(pretrained, "shipped", lambda: there[:2])
    assert default_weights() == "pets-ours-body"
    monkeypatch.setattr(pretrained, "shipped", lambda: [])
    with pytest.raises(ValueError, match="no weights come with"):
        default_weights()


def test_a_network_that_says_no_numbers_is_told_of():
    detector = Detector(weights())
    with torch.no_grad():
        detector.model.heads[0].output.bias.fill_(float("nan"))
    (record,) = detect_pictures([picture("a.png")], detector)
    assert "NaN" in record["error"]


# The command


def test_the_command_draws_writes_and_says_what_it_found(seen):
    done = invoke(picture("a.png"), picture("b.jpg"), "--weights", weights(), "--out", "out", "--json", "j/found.json")
    assert done.exit_code == 0, done.output
    assert "a.png: dog 0.90, person 0.80, cat 0.40 -> out/a-found.png" in done.output
    kept = json.loads(Path("j/found.json").read_text())
    assert (kept["weights"], kept["task"], kept["score"]) == ("w.safetensors", "voc", 0.3)
    first, second = kept["pictures"]
    assert (first["file"], first["width"], first["height"], first["drawn"]) == ("a.png", 60, 40, "out/a-found.png")
    assert first["objects"][0] == {"class": "dog", "score": 0.9, "box": [15.0, 10.0, 30.0, 30.0]}
    assert second["file"] == "b.jpg"
    assert first["seconds"] > 0


def test_bad_files_are_told_of_and_the_others_go_on(seen, tmp_path):
    (tmp_path / "junk.jpg").write_text("no picture")
    whole = (tmp_path / picture("b.png", (300, 200))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    mends = {
        "junk.jpg": "is no picture in a format that can be read: save it as JPEG or PNG",
        "cut.png": "is damaged (image file is truncated): copy or download it again",
        "empty.png": "is an empty file: copy or download it again",
        "folder": "is a folder: name the pictures in it, such as folder/*.jpg",
        "none.png": "there is no such file: check the name and the folder",
        "b.png/none.png": "there is no such file: check the name and the folder",
    }
    bad = list(mends)
    done = invoke(*bad, picture("a.png"), "--weights", weights(), "--out", "out")
    assert done.exit_code == 1
    for name, mend in mends.items():
        assert f"spikelab: {name}: {mend}\n" in done.output
    assert "Traceback" not in done.output
    kept = json.loads(Path("out/detections.json").read_text())["pictures"]
    assert [one["file"] for one in kept if "error" in one] == bad
    assert kept[-1]["objects"]


def test_pictures_of_one_name_do_not_overwrite_each_other_nor_themselves(seen, tmp_path):
    (tmp_path / "x").mkdir()
    names = [picture("a.png"), picture("a.jpg"), picture("x/A.png"), picture("a-found.png")]
    before = [(tmp_path / name).read_bytes() for name in names]
    done = invoke(*names, "--weights", weights(), "--out", ".")
    assert done.exit_code == 0, done.output
    assert [(tmp_path / name).read_bytes() for name in names] == before
    drawn = [one["drawn"] for one in json.loads((tmp_path / "detections.json").read_text())["pictures"]]
    assert len({name.lower() for name in drawn}) == 4
    assert all((tmp_path / name).is_file() for name in drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none"], "no weights called 'none' come with spikelab"),
        (["--weights", "none.safetensors"], "none.safetensors cannot be read"),
        (["--weights", "w.safetensors", "--score", "2"], "score must lie in [0, 1]"),
        (["--weights", "w.safetensors", "--device", "tpu"], "device must be one of"),
        (["--weights", "w.safetensors", "--out", "a.png/x"], "a.png/x cannot be used as a folder: Not a directory"),
        (
            ["--weights", "w.safetensors", "--out", "a.png"],
            "a.png cannot be used as a folder: it is a file. Give another",
        ),
        (["--weights", "w.safetensors", "--json", "a.png"], "(--json) must end in .json, got 'a.png'"),
        (["--weights", "w.safetensors", "--json", "d.json"], "(--json) must not be a folder, got 'd.json'"),
    ],
)
def test_what_cannot_be_done_at_all_is_an_error(arguments, message, seen):
    weights()
    Path("d.json").mkdir()
    done = invoke(picture("a.png"), *arguments)
    assert done.exit_code == 2, done.output
    assert "->" not in done.output  # it is said before any work is done
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_folder_that_may_not_be_written_is_said_first(monkeypatch, seen):
    monkeypatch.setattr(detecting.os, "access", lambda path, mode: mode == os.R_OK)
    done = invoke(picture("a.png"), "--weights", weights(), "--out", "out")
    assert done.exit_code == 2
    assert "spikelab: out may not be written to. Give another folder, or change its rights." in done.output


def test_a_file_that_may_not_be_read_is_told_of(monkeypatch, seen):
    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    name, there = picture("a.png"), weights()
    monkeypatch.setattr(Image, "open", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    done = invoke(name, "--weights", there)
    assert done.exit_code == 1
    assert "spikelab: a.png: may not be read (Permission denied): change its rights\n" in done.output


def test_ctrl_c_keeps_what_was_found(monkeypatch, seen):
    work = Detector.__call__

    def stopped(self, path, **options):
        if path.name == "c.png":
            raise KeyboardInterrupt
        return work(self, path, **options)

    monkeypatch.setattr(Detector, "__call__", stopped)
    done = invoke("none.png", picture("b.png"), picture("c.png"), picture("d.png"), "--weights", weights())
    assert done.exit_code == 130
    assert "spikelab: stopped after 2 of 4 pictures" in done.output
    kept = json.loads(Path("detected/detections.json").read_text())["pictures"]
    assert [one["file"] for one in kept] == ["none.png", "b.png"]
    assert sorted(path.name for path in Path("detected").iterdir()) == ["b-found.png", "detections.json"]


def test_a_name_that_is_no_unicode_can_be_written_down(seen, tmp_path):
    name = os.fsdecode(b"a \xff.png")
    os.rename(picture("a.png"), name)
    done = invoke(name, picture("猫 1.png"), "--weights", weights())
    assert done.exit_code == 0, done.output
    text = Path("detected/detections.json").read_text(encoding="utf-8")
    assert [one["file"] for one in json.loads(text)["pictures"]] == [name, "猫 1.png"]
    assert "猫 1.png" in text


def test_a_large_picture_is_seen_without_a_warning_and_a_huge_one_refused(monkeypatch, seen, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow refuses more than twice as many
    large, huge = detect_pictures([picture("a.png"), picture("b.png", (80, 60))], Detector(weights()))
    assert large["objects"]
    assert huge["error"] == "has too many pixels, more than 4,000: make it smaller"
    assert not [one for one in recwarn if issubclass(one.category, Image.DecompressionBombWarning)]


def test_without_a_word_the_weights_are_those_that_come_with_it(monkeypatch, seen):
    monkeypatch.setattr(detecting, "default_weights", lambda: weights())
    assert invoke(picture("a.png")).exit_code == 0
    assert json.loads(Path("detected/detections.json").read_text())["weights"] == "w.safetensors"
