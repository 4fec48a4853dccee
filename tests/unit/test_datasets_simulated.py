"""Simulated and synthetic N-MNIST: the same whoever makes which part of it, and never half-made."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dataset_files
import numpy as np
import pytest

from spikelab.datasets import NMNIST, DataError, make_simulated, make_synthetic
from spikelab.datasets import simulated as module
from spikelab.datasets.nmnist import MANIFEST
from spikelab.events import NMNIST_DVS, encode_aer, read_events


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


@pytest.fixture
def mnist(tmp_path):
    return dataset_files.write_mnist(tmp_path / "mnist")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.bin"))}


def test_every_image_becomes_one_file_in_nmnists_place(mnist, tmp_path):
    target = make_simulated(mnist, tmp_path / "nmnist-simulated", workers=1)
    assert sorted(contents(target)) == sorted(
        f"{split}/{i % 10}/{i + 1:05}.bin" for split, count in (("Train", 12), ("Test", 4)) for i in range(count)
    )
    found = NMNIST("test", root=tmp_path, kind="simulated")
    assert found.labels.tolist() == [0, 1, 2, 3]
    events, _ = found[0]
    assert len(events) > 100
    assert 200_000 < events["t"][-1] < 400_000


def test_the_manifest_says_what_was_made_with_what(mnist, tmp_path):
    target = make_simulated(mnist, tmp_path / "nmnist-simulated", workers=1, seed=3)
    manifest = json.loads((target / MANIFEST).read_text())
    assert manifest["seed"] == 3
    assert manifest["sensor"] == NMNIST_DVS._asdict()
    assert {name: split["recordings"] for name, split in manifest["splits"].items()} == {"Train": 12, "Test": 4}
    assert manifest["splits"]["Test"]["events"] == sum(len(raw) for raw in contents(target / "Test").values()) // 5


def test_a_recording_does_not_depend_on_the_others(mnist, tmp_path):
    whole = contents(make_simulated(mnist, tmp_path / "whole", workers=1))
    first = contents(make_simulated(mnist, tmp_path / "first", workers=1, limit=3))
    test = contents(make_simulated(mnist, tmp_path / "test", workers=1, splits=("test",)))
    assert len(first) == 6
    assert len(test) == 4
    assert first.items() <= whole.items()
    assert test.items() <= whole.items()


def test_splits_numbers_and_seeds_have_randomness_of_their_own():
    image = np.zeros((1, 28, 28), dtype=np.uint8)
    image[0, 8:20, 10:16] = 255
    made = {
        encode_aer(module.simulate(image, [number], split, seed)[0])
        for number, split, seed in ((0, "train", 0), (1, "train", 0), (0, "test", 0), (0, "train", 1), (0, "train", 0))
    }
    assert len(made) == 4


def test_an_interrupted_run_goes_on_to_the_same_files(mnist, tmp_path, monkeypatch):
    whole = contents(make_simulated(mnist, tmp_path / "whole", workers=1))
    monkeypatch.setattr(module, "BLOCK", 5)
    target, blocks = tmp_path / "broken", []

    def interrupt(done, total):
        blocks.append((done, total))
        if len(blocks) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_simulated(mnist, target, workers=1, report=interrupt)
    assert blocks == [(0, 16), (5, 16)]
    assert not (target / MANIFEST).exists()
    assert len(contents(target)) == 5
    kept = {path: path.stat().st_mtime_ns for path in target.rglob("*.bin")}
    make_simulated(mnist, target, workers=1, report=lambda done, total: blocks.append((done, total)))
    assert blocks[2] == (5, 16)
    assert contents(target) == whole
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert json.loads((target / MANIFEST).read_text()) == json.loads((tmp_path / "whole" / MANIFEST).read_text())


def test_a_finished_set_is_left_alone_and_a_part_grows(mnist, tmp_path, monkeypatch):
    target = make_simulated(mnist, tmp_path / "set", workers=1, limit=2)
    assert json.loads((target / MANIFEST).read_text())["splits"]["Train"]["recordings"] == 2
    make_simulated(mnist, target, workers=1)
    assert json.loads((target / MANIFEST).read_text())["splits"]["Train"]["recordings"] == 12
    monkeypatch.setattr(module, "_run", lambda *a: pytest.fail("made again"))
    make_simulated(mnist, target, workers=1)
    make_simulated(mnist, target, workers=1, limit=2)


def test_what_a_killed_process_left_is_cleared_away(mnist, tmp_path):
    target = make_simulated(mnist, tmp_path / "set", workers=1)
    (target / MANIFEST).unlink()
    left = target / "Train" / "3" / ".00004.bin.4711.tmp"
    left.write_bytes(b"\x00\x01")
    (target / "Train" / "3" / "00004.bin").unlink()
    make_simulated(mnist, target, workers=1)
    assert not left.exists()
    assert (target / "Train" / "3" / "00004.bin").stat().st_size % 5 == 0


def test_another_seed_or_sensor_is_refused_with_the_difference(mnist, tmp_path, monkeypatch):
    target = make_simulated(mnist, tmp_path / "set", workers=1)
    before = contents(target)
    with pytest.raises(DataError, match=r"begun with other settings \(seed: 0 there, 1 now; .*Remove the folder"):
        make_simulated(mnist, target, workers=1, seed=1)
    monkeypatch.setattr(module, "NMNIST_DVS", NMNIST_DVS._replace(threshold_on=0.77))
    with pytest.raises(DataError, match=r"sensor: .* there, .*0.77"):
        make_simulated(mnist, target, workers=1)
    assert contents(target) == before


def test_a_folder_with_other_files_is_refused(mnist, tmp_path):
    dataset_files.write_nmnist(tmp_path / "nmnist", train=10, test=10)
    with pytest.raises(DataError, match=r"nmnist holds other files \(no settings.json\)"):
        make_simulated(mnist, tmp_path / "nmnist", workers=1)


def test_without_mnist_or_room_nothing_is_begun(mnist, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no folder mnist in .*: spikelab data fetch mnist"):
        make_simulated(target=tmp_path / "set")
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1_000_000))
    with pytest.raises(DataError, match=r"\(16 recordings to make\) needs .* has 1 MB free"):
        make_simulated(mnist, tmp_path / "set", workers=1)
    assert contents(tmp_path / "set") == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"splits": ("valid",)}, "splits"), ({"workers": 0}, "workers must be at least 1"), ({"limit": 0}, "limit")],
)
def test_wrong_arguments(mnist, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        make_simulated(mnist, tmp_path / "set", **arguments)


@pytest.mark.slow
def test_two_processes_make_the_same_as_one(mnist, tmp_path, monkeypatch):
    whole = contents(make_simulated(mnist, tmp_path / "one", workers=1))
    monkeypatch.setattr(module, "BLOCK", 3)
    assert contents(make_simulated(mnist, tmp_path / "two", workers=2)) == whole


@pytest.mark.slow
def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path):
    mnist = dataset_files.write_mnist(tmp_path / "mnist", train=400, test=1)
    code = f"""
from spikelab.datasets import make_simulated, simulated
simulated.BLOCK = 16
make_simulated({str(mnist)!r}, {str(tmp_path / "killed")!r}, workers=1)
"""
    run = subprocess.Popen([sys.executable, "-c", code])
    train = tmp_path / "killed" / "Train"
    while run.poll() is None and not (train.is_dir() and len(list(train.rglob("*.bin"))) > 20):
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "the run ended before it was killed"
    # The kill may fall into the writing of one file: what it leaves has a name that no reader takes for a recording.
    there = {name: raw for name, raw in contents(tmp_path / "killed").items() if not Path(name).name.startswith(".")}
    assert 20 < len(there) < 401
    assert not (tmp_path / "killed" / MANIFEST).exists()
    for name in there:
        read_events(tmp_path / "killed" / name, size=(34, 34))
    finished = contents(make_simulated(mnist, tmp_path / "killed", workers=1))
    assert there.items() <= finished.items()
    assert finished == contents(make_simulated(mnist, tmp_path / "unbroken", workers=1))


@pytest.fixture
def few_digits(monkeypatch):
    """Thirty digits instead of 1,797."""
    whole = module.small_digits

    def some(seed):
        for split, images, labels in whole(seed):
            yield split, images[:20], labels[:20]

    monkeypatch.setattr(module, "small_digits", some)


def test_the_stand_in_says_that_it_is_one(few_digits):
    found = NMNIST("test")
    assert found.kind == "synthetic"
    assert found.label == "synthetic stand-in: scikit-learn digits through the DVS simulator, 20 recordings"
    train, kept = NMNIST("train"), NMNIST("validation")
    assert (len(train), len(kept)) == (18, 2)
    assert not set(train.files) & set(kept.files)


def test_the_stand_in_is_made_once(few_digits, monkeypatch):
    first = contents(make_synthetic())
    monkeypatch.setattr(module, "small_digits", lambda seed: pytest.fail("made again"))
    assert contents(make_synthetic()) == first
    assert NMNIST("train", kind="synthetic")[0][1] in range(10)


def test_the_stand_in_is_made_again_when_its_settings_change(few_digits, tmp_path, monkeypatch):
    first = contents(make_synthetic())
    monkeypatch.setattr(module, "NMNIST_DVS", NMNIST_DVS._replace(threshold_on=0.9, threshold_off=0.9))
    second = contents(make_synthetic())
    assert sum(map(len, second.values())) < sum(map(len, first.values()))
    assert [path.name for path in (tmp_path / "cache" / "spikelab").iterdir() if not path.name.startswith(".")] == [
        "nmnist-synthetic"
    ]


def test_a_stand_in_that_breaks_off_leaves_nothing(few_digits, tmp_path, monkeypatch):
    calls = []

    def break_off(*job):
        calls.append(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_simulate_block", break_off)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic()
    assert len(calls) == 1
    assert [path.suffix for path in (tmp_path / "cache" / "spikelab").iterdir()] == [".lock"]


def test_digits_fill_twenty_pixels_like_mnists():
    parts = {split: (images, labels) for split, images, labels in module.small_digits(0)}
    assert {split: len(labels) for split, (_, labels) in parts.items()} == {"train": 1397, "test": 400}
    images = np.concatenate([images for images, _ in parts.values()])
    assert images.shape[1:] == (28, 28)
    assert images[:, :4].max() == images[:, :, :4].max() == images[:, 24:].max() == images[:, :, 24:].max() == 0
    assert images.max() == 255
    assert 0.1 < (images > 128).mean() < 0.2  # MNIST: .12
    train, test = ({image.tobytes() for image in images} for images, _ in parts.values())
    assert len(train & test) <= 2  # no picture to learn from is tested on, but for twins
    for _, labels in parts.values():
        assert min(np.bincount(labels, minlength=10)) > len(labels) / 15


def test_the_digits_are_the_same_each_time():
    first, again = (next(iter(module.small_digits(0)))[1] for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next(iter(module.small_digits(1)))[1])


@pytest.mark.slow
def test_two_processes_that_need_the_stand_in_at_once_get_one(tmp_path):
    code = """
import time
from spikelab.datasets import NMNIST, simulated
whole, block = simulated.small_digits, simulated._simulate_block
simulated.small_digits = lambda seed: ((split, images[:20], labels[:20]) for split, images, labels in whole(seed))
def slowly(*job):
    print("made", flush=True)
    time.sleep(0.5)
    return block(*job)
simulated._simulate_block = slowly
print(NMNIST("train").hash)
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[0].split() for run in runs]
    assert all(run.returncode == 0 for run in runs)
    assert said[0][-1] == said[1][-1]
    assert sorted(words.count("made") for words in said) == [0, 2]  # one made both splits, the other waited
    assert len(NMNIST("test", kind="synthetic")) == 20
