"""``spikelab data``: what it prints, where it writes, and how it ends."""

import shutil

import dataset_files
import numpy as np
import pytest
from typer.testing import CliRunner

from spikelab.cli import app
from spikelab.datasets import NMNIST, fetch, simulated
from spikelab.datasets.checks import MOST_FAULTS
from spikelab.datasets.nmnist import MANIFEST


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SPIKELAB_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("list", "where", "fetch", "make", "check")),
        (("fetch",), ("goes on where it broke off", "--root")),
        (
            ("make",),
            (
                "nmnist-simulated",
                "nmnist-synthetic",
                "scenes-synthetic",
                "--mnist",
                "--out",
                "--workers",
                "--limit",
                "--seed",
            ),
        ),
        (("check",), ("Exit status",)),
        (("list",), ("terms",)),
        (("where",), ("folders",)),
    ],
)
def test_help_explains_each_command(command, words):
    status, said = run(*command, "--help")
    assert status == 0
    assert all(word in said for word in words), said


def test_list_says_what_is_here_and_how_to_get_the_rest(data):
    dataset_files.write_mnist(data / "mnist")
    status, said = run("list")
    assert status == 0
    assert f"here: {data / 'mnist'}" in said
    assert "not here: spikelab data fetch nmnist\n" in said
    assert "not here: spikelab data make nmnist-simulated" in said
    assert "not here: spikelab data fetch coco\n" in said
    assert "not here: spikelab data make scenes-synthetic\n" in said
    assert said.count("terms:") == 12
    assert "without" not in said


def test_list_names_the_archives_that_are_not_here(data):
    voc = dataset_files.write_voc(data, "VOC2007", {"000005": [("cat", 1, 1, 9, 9)]})
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("000005\n")
    dataset_files.write_voc(data, "VOC2012", {"2008_000001": [("cat", 1, 1, 9, 9)]})
    said = run("list")[1]
    assert f"here: {voc.parent}\n  without VOCtest_06-Nov-2007.tar: spikelab data fetch VOCdevkit\n" in said


def test_where_names_both_folders_and_the_profile(data, tmp_path, monkeypatch):
    status, said = run("where")
    assert status == 0
    assert f"data folder:  {data}\ncache folder: {tmp_path / 'cache' / 'spikelab'}\n" in said
    monkeypatch.setenv("SPIKELAB_PROFILE", "warp")
    status, said = run("where")
    assert (status, "SPIKELAB_PROFILE must be one of" in said) == (2, True)


def test_simulated_set_from_images_to_recordings(data, tmp_path):
    dataset_files.write_mnist(data / "mnist")
    out = data / "nmnist-simulated"
    status, said = run("make", "nmnist-simulated", "--out", out, "--workers", 1, "--limit", 3)
    assert status == 0, said
    assert "6 of 6 recordings" in said
    assert f"nmnist-simulated: {out}" in said
    assert len(NMNIST("test", kind="simulated")) == 3
    status, said = run("check", "nmnist-simulated")
    assert status == 0, said
    assert "Train: as it was made" in said


def test_only_one_split(data):
    dataset_files.write_mnist(data / "mnist")
    assert run("make", "nmnist-simulated", "--out", data / "x", "--workers", 1, "--split", "test")[0] == 0
    assert not (data / "x" / "Train").exists()


def test_synthetic_set(data, tmp_path, monkeypatch):
    images = np.zeros((3, 28, 28), dtype=np.uint8)
    images[:, 8:20, 10:14] = 255
    some = [(split, images, np.arange(3)) for split in ("train", "test")]
    monkeypatch.setattr(simulated, "small_digits", lambda seed: some)
    status, said = run("make", "nmnist-synthetic")
    assert status == 0, said
    assert str(tmp_path / "cache" / "spikelab" / "nmnist-synthetic") in said
    assert run("check", "nmnist-synthetic")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("make", "nmnist"),
            "must be one of 'nmnist-simulated', 'nmnist-synthetic', 'pets-synthetic', 'scenes-synthetic', got",
        ),
        (("make", "nmnist-simulated"), "no folder mnist in"),
        (("make", "nmnist-simulated", "--split", "valid"), "splits must be one of"),
        (("fetch", "imagenet"), "data set must be one of"),
        (("fetch", "nmnist-simulated"), "is not downloaded but made"),
        (("fetch", "scenes-synthetic"), "spikelab data make scenes-synthetic"),
        (("check", "coco"), "spikelab data fetch coco"),
        (("fetch", "dvs-gesture"), "in a browser"),
        (("check", "nmnist"), "no folder nmnist in"),
        (("check", "imagenet"), "data set must be one of"),
    ],
)
def test_errors_are_one_line_and_status_2(arguments, words):
    status, said = run(*arguments)
    assert status == 2
    assert said.startswith("spikelab: ")
    assert words in said
    assert "Traceback" not in said


def test_fetch_says_what_it_does_and_where_the_set_is(data, monkeypatch):
    def bring(name, *, root, say):
        say("from the second mirror")
        return root / name

    monkeypatch.setattr(fetch, "fetch", bring)
    status, said = run("fetch", "mnist", "--root", data)
    assert (status, said) == (0, f"from the second mirror\nmnist: {data / 'mnist'}\n")


def test_a_missing_package_is_said_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, said = run("make", "nmnist-synthetic")
    assert status == 2
    assert said == "spikelab: reading or fetching data needs sklearn: pip install 'spikelab[data]'\n"


def test_stopping_says_how_to_go_on(data, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulated, "make_simulated", stop)
    assert run("make", "nmnist-simulated") == (130, "spikelab: stopped; the same command goes on from here\n")


def test_check_names_the_damaged_recordings(data):
    dataset_files.write_nmnist(data / "nmnist")
    status, said = run("check", "nmnist")
    assert status == 0
    assert "Train: 40 recordings, 60 events each" in said
    assert "  whole" in said
    broken = data / "nmnist" / "Train" / "3" / "00013.bin"
    broken.write_bytes(broken.read_bytes()[:-1])
    status, said = run("check", "nmnist")
    assert status == 1
    assert f"wrong: {broken}" in said
    assert "NOT whole" in said


def test_check_tells_at_most_twenty_faults_one_by_one(data):
    for path in list(dataset_files.write_nmnist(data / "nmnist").rglob("*.bin"))[:30]:
        path.write_bytes(b"x")
    status, said = run("check", "nmnist")
    assert status == 1
    assert said.count("wrong:") == MOST_FAULTS + 1
    assert "wrong: and 10 more" in said


def test_check_sees_a_change_of_a_made_set(data):
    dataset_files.write_mnist(data / "mnist")
    out = data / "nmnist-simulated"
    run("make", "nmnist-simulated", "--out", out, "--workers", 1, "--limit", 3)
    path = next((out / "Test").rglob("*.bin"))
    path.write_bytes(path.read_bytes()[:-5])
    status, said = run("check", "nmnist-simulated")
    assert status == 1
    assert "wrong: Test: changed since it was made" in said
    (out / MANIFEST).unlink()
    status, said = run("check", "nmnist-simulated")
    assert status == 1
    assert "not finished" in said


def test_check_of_the_other_sets(data):
    dataset_files.write_mnist(data / "mnist")
    dataset_files.write_gestures(data / "dvs-gesture")
    for split in ("train", "test"):
        dataset_files.write_heidelberg(data / "shd" / f"shd_{split}.h5", [[0.5]], [[3]], [1])
    assert "train: 12 images of 28 x 28" in run("check", "mnist")[1]
    assert "train: 2 gestures in 1 recordings" in run("check", "dvs-gesture")[1]
    assert "test: 1 recordings" in run("check", "shd")[1]
    assert [run("check", name)[0] for name in ("mnist", "dvs-gesture", "shd")] == [0, 0, 0]
    dataset_files.write_heidelberg(data / "shd" / "shd_test.h5", [[-0.5]], [[3]], [1])
    (data / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    recording = data / "dvs-gesture" / "DvsGesture" / "user24_led.aedat"
    recording.write_bytes(recording.read_bytes()[:-3])
    for name, words in (("mnist", "t10k-labels"), ("dvs-gesture", "user24_led"), ("shd", "negative")):
        status, said = run("check", name)
        assert status == 1
        assert words in said
    (data / "dvs-gesture" / "DvsGesture" / "trials_to_test.txt").unlink()
    (data / "shd" / "shd_train.h5").unlink()
    assert "trials_to_test" in run("check", "dvs-gesture")[1]
    assert "shd_train" in run("check", "shd")[1]


def test_check_of_annotated_pictures(data):
    pets = dataset_files.write_pets(data, ["pug_1", "pug_2"])
    cat = {"2008_000001": [("cat", 1, 1, 9, 9)]}
    voc = dataset_files.write_voc(data, "VOC2012", cat)
    assert "oxford-iiit-pet/annotations/trimaps/*.png: 2 files" in run("check", "oxford-iiit-pet")[1]
    lists = voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2008_000001\n2008_000002\n")
    (lists / "train.txt").write_text("2008_000001\n")
    said = run("check", "VOCdevkit")[1]
    for words in ("/Annotations/*.xml: 1 files", " train: 1 pictures\n", " val: 1 of 2 pictures\n"):
        assert f"VOC2012{words}" in said
    shutil.rmtree(voc / "ImageSets")
    assert [run("check", name)[0] for name in ("oxford-iiit-pet", "VOCdevkit")] == [0, 0]
    (pets / "images" / "pug_1.jpg").write_bytes(b"")
    (pets / "annotations" / "xmls" / "pug_1.xml").write_text(dataset_files.annotation((20, 30)))
    (pets / "annotations" / "trimaps" / "pug_2.png").unlink()
    (pets / "annotations" / "trimaps" / "pug_1.png").unlink()
    status, said = run("check", "oxford-iiit-pet")
    assert (status, said.count("  wrong: ")) == (1, 3)
    assert all(words in said for words in ("pug_1.jpg is no", "pug_1.xml names no", "no file")), said
    (voc / "Annotations" / "2008_000001.xml").write_text("<")
    assert "wrong: " in run("check", "VOCdevkit")[1]
    for part in ("JPEGImages", "Annotations"):
        (voc / part / "2008_000001").with_suffix(".xml" if part == "Annotations" else ".jpg").unlink()
        (voc / part).rmdir()
    voc.rmdir()
    status, said = run("check", "VOCdevkit")
    assert (status, "holds neither VOC2007 nor VOC2012" in said) == (1, True)


def test_the_stand_in_for_pets_is_made_and_checked(data, monkeypatch):
    from spikelab.datasets import pets_synthetic

    def draw(target, *, seed):
        dataset_files.write_pets(data / "pets-synthetic", ["pug_1"])
        dataset_files.write_voc(data / "pets-synthetic", "VOC2012", {"2012_000001": [("cow", 1, 1, 9, 9)]})
        return data / "pets-synthetic"

    monkeypatch.setattr(pets_synthetic, "make_synthetic_pets", draw)
    status, said = run("make", "pets-synthetic", "--seed", 3)
    assert (status, f"pets-synthetic: {data / 'pets-synthetic'}" in said) == (0, True)
    status, said = run("check", "pets-synthetic")
    assert status == 0, said
    assert "VOC2012/JPEGImages/*.jpg: 1 files" in said


CAT_AND_CUP = {"000000000001.jpg": ((20, 30), [(17, 4, 6, 12, 10, 0), (47, 3, 3, 5, 0.0, 0)])}  # a cup without area
KINDS = [(17, "cat"), (47, "cup")]


def test_check_of_coco(data):
    file = dataset_files.write_coco(data, "val", CAT_AND_CUP | {"000000000002.jpg": ((20, 30), [])}, KINDS)
    status, said = run("check", "coco")
    assert status == 0, said
    assert "train2017: not here\n  val2017: 1 animals in 2 pictures\n" in said
    whole = file.read_text()
    first, second = (data / "coco" / "val2017" / f"00000000000{number}.jpg" for number in (1, 2))
    second.unlink()
    dataset_files.write_picture(first, (20, 31))
    file.write_text(whole.replace("[4, 6, 12, 10]", "[4, 6, 12, 100]"))
    status, said = run("check", "coco")
    assert (status, said.count("  wrong: ")) == (1, 3)
    assert all(words in said for words in (f"{second} is missing", "beyond the picture", "has 31 x 20")), said
    first.write_bytes(first.read_bytes()[:-200])
    assert "000000000001.jpg is no whole picture" in run("check", "coco")[1]
    file.write_text(whole[:-1])
    assert f"wrong: {file} is no whole JSON file" in run("check", "coco")[1]
    file.unlink()
    assert f"wrong: {file} is missing" in run("check", "coco")[1]
    (data / "coco" / "val2017").rename(data / "coco" / "pictures")
    status, said = run("check", "coco")
    assert (status, "holds neither train2017 nor val2017" in said) == (1, True)


def test_the_stand_in_for_scenes_is_made_and_checked(data, monkeypatch):
    from spikelab.datasets import scenes_synthetic

    few = {"VOC2007/train": 2, "VOC2007/val": 1, "VOC2012/trainval": 2, "COCO/train": 2, "COCO/val": 1}
    monkeypatch.setattr(scenes_synthetic, "COUNTS", few)
    out = data / "scenes-synthetic"
    status, said = run("make", "scenes-synthetic", "--out", out, "--seed", 3)
    assert (status, f"scenes-synthetic: {out}" in said) == (0, True)
    status, said = run("check", "scenes-synthetic")
    assert status == 0, said
    assert "VOC2007/JPEGImages/*.jpg: 3 files" in said
    assert "val2017: " in said
    next((out / "coco" / "train2017").iterdir()).unlink()
    (out / "MANIFEST.json").unlink()
    status, said = run("check", "scenes-synthetic")
    assert (status, said.count("  wrong: ")) == (1, 2)
    assert "run spikelab data make scenes-synthetic again" in said
