"""N-MNIST: which files a split holds, in what order, and what is said when they are not what they should be."""

import pickle
from pathlib import Path

import dataset_files
import numpy as np
import pytest
import torch

from spikelab import doctor
from spikelab.datasets import NMNIST, DataError, data_hash, data_root, places, profile
from spikelab.datasets.nmnist import MANIFEST, recordings


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


@pytest.fixture
def real(tmp_path):
    dataset_files.write_nmnist(tmp_path / "data" / "nmnist")
    return tmp_path / "data"


def test_recordings_come_in_mnists_order_with_their_digits(real):
    found = NMNIST("test", root=real)
    assert [file.name for file in found.files] == [f"{number:05}.bin" for number in range(1, 11)]
    assert found.labels.tolist() == [number % 10 for number in range(1, 11)]
    assert found.labels.dtype == torch.int64
    assert (found.kind, found.size, len(found)) == ("real", (34, 34), 10)
    assert found.label == "real N-MNIST, 10 recordings"


def test_a_recording_is_decoded_as_its_bytes_say(real):
    path = real / "nmnist" / "Test" / "1" / "00001.bin"
    path.write_bytes(bytes.fromhex("0a1e8003a9") + dataset_files.aer(33, 20, 0, 1030))
    events, digit = NMNIST("test", root=real)[0]
    assert digit == 1
    assert events.tolist() == [(10, 30, 1, 937), (33, 20, 0, 1030)]


def test_validation_is_a_tenth_of_train_and_train_leaves_it_out(real):
    train, kept = NMNIST("train", root=real), NMNIST("validation", root=real)
    assert (len(train), len(kept)) == (36, 4)
    everything = [recording.path for recording in recordings(real / "nmnist" / "Train")]
    assert sorted(train.files + kept.files, key=lambda path: path.name) == everything
    assert kept.files == NMNIST("validation", root=real).files
    assert kept.files != everything[-4:]  # drawn, not the last
    for split in (train, kept):
        assert [int(file.parent.name) for file in split.files] == split.labels.tolist()


def test_validation_of_the_simulated_set_is_its_end(tmp_path):
    folder = dataset_files.write_nmnist(tmp_path / "nmnist-simulated")
    (folder / MANIFEST).write_text("{}")
    kept = NMNIST("validation", root=tmp_path, kind="simulated")
    assert [file.stem for file in kept.files] == ["00037", "00038", "00039", "00040"]
    assert kept.label.startswith("simulated N-MNIST: MNIST through the DVS simulator")


def test_validation_never_takes_more_than_five_thousand():
    from spikelab.datasets.nmnist import _validation

    assert [_validation(n, "real").sum() for n in (1_000, 60_000)] == [100, 5_000]
    assert np.flatnonzero(_validation(60_000, "simulated")).tolist() == list(range(55_000, 60_000))


def test_real_recordings_come_first_from_the_folder_that_is_named(real, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(real))
    assert NMNIST("test").kind == "real"
    assert data_root() == real


def test_the_cache_folder_is_looked_in_too(tmp_path, monkeypatch):
    dataset_files.write_nmnist(tmp_path / "cache" / "spikelab" / "nmnist")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path / "elsewhere"))
    assert NMNIST("test").files[0].is_relative_to(tmp_path / "cache")


def test_doctor_means_the_same_cache_folder(tmp_path):
    assert places.cache_folder() == doctor.cache_folder({"XDG_CACHE_HOME": str(tmp_path / "cache")})


def test_profile_is_fast_unless_full_is_asked_for(monkeypatch):
    monkeypatch.delenv("SPIKELAB_PROFILE", raising=False)
    assert profile() == "fast"
    monkeypatch.setenv("SPIKELAB_PROFILE", "full")
    assert profile() == "full"
    monkeypatch.setenv("SPIKELAB_PROFILE", "Full")
    with pytest.raises(ValueError, match=r"SPIKELAB_PROFILE must be one of 'fast', 'full', got 'Full'"):
        profile()


def test_a_data_folder_that_is_none_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(tmp_path / "no"))
    with pytest.raises(DataError, match=r"SPIKELAB_DATA=.*no is not a folder: make it"):
        NMNIST("test")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-2], "300|298|cut short"),
        (lambda raw: raw[50:] + raw[:50], "backwards"),
        (lambda raw: dataset_files.aer(34, 0, 0, 0) + raw, "34"),
        (lambda raw: dataset_files.aer(0, 200, 0, 0) + raw, "200"),
    ],
    ids=["cut short", "time runs backwards", "column 34", "row 200"],
)
def test_a_damaged_recording_is_named(real, damage, words):
    found = NMNIST("test", root=real)
    path = found.files[3]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words) as raised:
        found[3]
    assert str(path) in str(raised.value)


def test_no_such_recording(real):
    found = NMNIST("test", root=real)
    assert found[-1][1] == found.labels[9]
    with pytest.raises(IndexError, match=r"recording 10 of 10"):
        found[10]
    assert sum(1 for _ in found) == 10


def test_missing_sets_say_how_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"no folder nmnist in .*: spikelab data fetch nmnist"):
        NMNIST("train", root=tmp_path, kind="real")
    with pytest.raises(DataError, match=r"no folder nmnist-simulated in .*: spikelab data make nmnist-simulated"):
        NMNIST("train", root=tmp_path, kind="simulated")
    with pytest.raises(DataError, match=r"no folder nmnist-simulated in .*cache"):
        NMNIST("train", kind="simulated")


def test_a_set_that_is_not_finished_is_refused(tmp_path):
    dataset_files.write_nmnist(tmp_path / "nmnist-simulated")
    with pytest.raises(DataError, match=r"is not finished \(no MANIFEST.json\): run spikelab data make"):
        NMNIST("train", root=tmp_path, kind="simulated")


def test_unknown_split_and_kind(tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'test', 'validation', got 'valid'"):
        NMNIST("valid", root=tmp_path)
    with pytest.raises(ValueError, match=r"kind must be one of"):
        NMNIST("train", root=tmp_path, kind="recorded")


def test_folders_that_are_not_nmnists_are_refused(real):
    train = real / "nmnist" / "Train"
    (train / "ten").mkdir()
    with pytest.raises(DataError, match=r"ten is no digit's folder"):
        NMNIST("train", root=real)
    (train / "ten").rmdir()
    (train / "1" / "first.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"first.bin: N-MNIST's files are called NUMBER.bin"):
        NMNIST("train", root=real)
    (train / "1" / "first.bin").unlink()
    for file in (real / "nmnist" / "Test").rglob("*.bin"):
        file.unlink()
    with pytest.raises(DataError, match=r"no .bin file in the digits' folders"):
        NMNIST("test", root=real)
    (real / "nmnist" / "Test").rename(real / "nmnist" / "test set")
    with pytest.raises(DataError, match=r"no folder .*Test"):
        NMNIST("test", root=real)


def test_hidden_files_of_a_system_are_passed_over(real):
    before = NMNIST("train", root=real).files
    (real / "nmnist" / "Train" / ".DS_Store").write_bytes(b"x")
    (real / "nmnist" / "Train" / "3" / ".00003.bin.tmp").write_bytes(b"x")
    assert NMNIST("train", root=real).files == before


def test_hash_follows_content_names_and_order_but_not_the_place(real, tmp_path):
    found = NMNIST("test", root=real)
    first = found.hash
    assert len(first) == 16
    copy = dataset_files.write_nmnist(tmp_path / "copy" / "nmnist")
    assert NMNIST("test", root=copy.parent).hash == first == data_hash(found.files, root=found.folder)
    assert data_hash(found.files[::-1], root=found.folder) != first
    path = found.files[0]
    path.rename(path.with_name("00011.bin"))
    assert NMNIST("test", root=real).hash != first
    path.with_name("00011.bin").rename(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert NMNIST("test", root=real).hash != first


def test_hash_is_remembered_and_damaged_notes_are_not_believed(real, tmp_path, monkeypatch):
    first = NMNIST("test", root=real).hash
    (note,) = (tmp_path / "cache" / "spikelab" / "hashes").iterdir()
    monkeypatch.setattr("spikelab.datasets.nmnist.data_hash", lambda *a, **k: pytest.fail("read all files again"))
    assert NMNIST("test", root=real).hash == first
    note.write_text("{}")
    monkeypatch.setattr("spikelab.datasets.nmnist.data_hash", data_hash)
    assert NMNIST("test", root=real).hash == first


def test_hash_of_a_file_that_is_gone(tmp_path):
    with pytest.raises(DataError, match=r"gone.bin cannot be read"):
        data_hash([tmp_path / "gone.bin"])


def test_a_data_set_goes_to_another_process(real):
    found = pickle.loads(pickle.dumps(NMNIST("test", root=real)))
    assert found[2][1] == 3
    assert repr(found) == "NMNIST('test', kind='real'): real N-MNIST, 10 recordings"


def test_importing_the_package_imports_neither_torch_nor_prints():
    import subprocess
    import sys

    code = "import sys, spikelab.datasets, spikelab.cli; assert 'torch' not in sys.modules; dir(spikelab.datasets)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_every_public_name_is_there():
    import spikelab.datasets as package

    assert all(callable(getattr(package, name)) for name in package.__all__)
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match=r"no attribute 'CIFAR'"):
        package.CIFAR  # noqa: B018
    assert Path(package.__file__).parent.name == "datasets"
