"""Frames from files: the same as from events, made once, never half-written."""

import errno
from types import SimpleNamespace

import dataset_files
import numpy as np
import pytest
import torch

from spikelab.datasets import NMNIST, DataError, load_frames, open_frames
from spikelab.datasets import frames as module
from spikelab.events import frames as frames_of


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset_files.write_nmnist(tmp_path / "nmnist", train=20, test=10)
    return NMNIST("test", root=tmp_path)


def cached(tmp_path):
    folder = tmp_path / "cache" / "spikelab" / "frames"
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.exists() else []


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("mode", ["binary", "count"])
@pytest.mark.parametrize(("num_steps", "window_us"), [(10, 30_000), (7, 12_345.6), (1, 300_000), (300, 1_000)])
def test_frames_are_those_of_the_events(found, mode, num_steps, window_us, cache):
    made, labels = load_frames(found, num_steps, window_us, mode=mode, cache=cache)
    assert (made.dtype, made.shape) == (torch.uint8, (10, num_steps, 2, 34, 34))
    assert torch.equal(labels, found.labels)
    for i, (events, _) in enumerate(found):
        assert torch.equal(made[i].float(), frames_of(events, num_steps, window_us, mode=mode))


def test_the_second_time_no_recording_is_read(found, monkeypatch):
    first, _ = load_frames(found, 10, 30_000)
    monkeypatch.setattr(NMNIST, "__getitem__", lambda self, index: pytest.fail(f"read recording {index} again"))
    again, _ = load_frames(found, 10, 30_000)
    assert torch.equal(first, again)


def test_a_changed_file_makes_new_frames(found):
    first, _ = load_frames(found, 10, 30_000)
    path = found.files[4]
    path.write_bytes(dataset_files.recording(777))
    again, _ = load_frames(found, 10, 30_000)
    assert not torch.equal(first[4], again[4])
    assert torch.equal(first[5], again[5])


def test_steps_window_and_mode_have_frames_of_their_own(found):
    binary, _ = load_frames(found, 5, 60_000)
    count, _ = load_frames(found, 5, 60_000, mode="count")
    short, _ = load_frames(found, 5, 10_000)
    assert count.sum() > binary.sum() > short.sum()
    assert torch.equal(count.clamp(max=1), binary)


def test_indices_choose_and_order(found):
    everything, labels = load_frames(found, 10, 30_000)
    some, some_labels = load_frames(found, 10, 30_000, indices=[7, 2])
    assert torch.equal(some, everything[[7, 2]])
    assert torch.equal(some_labels, labels[[7, 2]])
    with pytest.raises(ValueError, match=r"indices must lie in 0..9, got 10"):
        load_frames(found, 10, 30_000, indices=[0, 10])


def test_batches_come_from_disk_in_any_order(found):
    everything, labels = load_frames(found, 10, 30_000)
    opened = open_frames(found, 10, 30_000)
    assert isinstance(opened._packed, np.memmap)
    assert (len(opened), opened.shape) == (10, (10, 10, 2, 34, 34))
    assert torch.equal(opened.labels, labels)
    for indices in ([3, 0, 3], torch.tensor([9, 1]), slice(2, 5)):
        expected = everything[indices]
        assert torch.equal(opened.batch(indices), expected)


def test_more_recordings_than_one_piece_are_unpacked(found, monkeypatch):
    packed = np.packbits(np.random.default_rng(0).integers(0, 2, (2500, 1, 2 * 34 * 34), dtype=np.uint8), axis=-1)
    opened = module.Frames(packed, torch.zeros(2500), (2500, 1, 2, 34, 34), "binary")
    expected = np.unpackbits(packed, axis=-1, count=2 * 34 * 34).reshape(2500, 1, 2, 34, 34)
    assert np.array_equal(opened.batch().numpy(), expected)


def test_packed_frames_take_an_eighth(found, tmp_path):
    load_frames(found, 10, 30_000)
    (folder,) = cached(tmp_path)
    assert (folder / "frames.npy").stat().st_size < 10 * 10 * 2 * 34 * 34 / 8 + 200
    assert module.clear_frames() > 0
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "about", "shape"])
def test_damaged_frames_are_made_again(found, tmp_path, damage):
    first, _ = load_frames(found, 10, 30_000)
    (folder,) = cached(tmp_path)
    if damage == "cut":
        raw = (folder / "frames.npy").read_bytes()
        (folder / "frames.npy").write_bytes(raw[: len(raw) // 2])
    elif damage == "about":
        (folder / "about.json").write_text("{")
    else:
        np.save(folder / "frames.npy", np.zeros((10, 10, 3), dtype=np.uint8))
    again, _ = load_frames(found, 10, 30_000)
    assert torch.equal(first, again)
    assert [entry.name for entry in cached(tmp_path)] == [folder.name]


def test_a_damaged_recording_leaves_no_frames(found, tmp_path):
    found.files[8].write_bytes(b"\x00" * 7)
    with pytest.raises(ValueError, match=found.files[8].name):
        load_frames(found, 10, 30_000)
    assert cached(tmp_path) == []
    found.files[8].write_bytes(dataset_files.recording(1))
    load_frames(found, 10, 30_000)
    assert len(cached(tmp_path)) == 1


def test_a_full_disk_is_said_and_leaves_nothing(found, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_fill", full)
    with pytest.raises(DataError, match=r"the disk of .* is full .* Free some space"):
        load_frames(found, 10, 30_000)
    assert cached(tmp_path) == []


def test_too_little_room_is_said_before(found, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"the cache of 10 recordings needs .* has 0 MB free"):
        load_frames(found, 10, 30_000)
    assert cached(tmp_path) == []


def test_without_a_cache_folder_frames_are_made_all_the_same(found, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.warns(UserWarning, match=r"frames are not kept: .* set XDG_CACHE_HOME"):
        made, _ = load_frames(found, 10, 30_000)
    assert made.sum() > 0


def test_counts_that_do_not_fit_are_an_error(found):
    found.files[0].write_bytes(dataset_files.aer(1, 1, 1, 5) * 256)
    with pytest.raises(DataError, match=r"256 events in one cell do not fit"):
        load_frames(found, 1, 300_000, mode="count")
    made, _ = load_frames(found, 1, 300_000, mode="binary")
    assert made[0].sum() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_steps": 0, "window_us": 1000}, "num_steps must be at least 1"),
        ({"num_steps": 5, "window_us": 0}, "window_us must be positive"),
        ({"num_steps": 5, "window_us": 1000, "mode": "signed"}, "mode must be one of 'binary', 'count'"),
    ],
)
def test_wrong_arguments(found, arguments, words):
    with pytest.raises(ValueError, match=words):
        load_frames(found, **arguments)
