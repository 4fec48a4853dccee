"""MNIST's idx files: read as the format says, refused when they are damaged."""

import gzip

import dataset_files
import numpy as np
import pytest

from spikelab.datasets import DataError, read_idx, read_mnist


def test_bytes_by_hand(tmp_path):
    (tmp_path / "x").write_bytes(bytes.fromhex("00000801 00000003 05 00 09"))
    assert read_idx(tmp_path / "x").tolist() == [5, 0, 9]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_values_shape_and_type_come_back(tmp_path, suffix, dtype):
    array = (np.arange(24).reshape(2, 3, 4) * 7 - (0 if dtype == "uint8" else 50)).astype(dtype)
    raw = dataset_files.idx(array)
    (tmp_path / f"x{suffix}").write_bytes(gzip.compress(raw) if suffix else raw)
    found = read_idx(tmp_path / f"x{suffix}")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is no idx file: it begins with nothing"),
        (b"PK\x03\x04", "is no idx file: it begins with 50 4b 03 04"),
        (bytes.fromhex("00000703 00000001"), "is no idx file"),
        (bytes.fromhex("00000803 00000001"), "8 bytes end inside the header of 16"),
        (bytes.fromhex("00000801 00000003 0500"), "holds 2 bytes of values, but its header .3,. asks for 3"),
        (bytes.fromhex("00000801 00000001 0500"), "holds 2 bytes of values"),
    ],
    ids=["empty", "a zip archive", "unknown type", "header cut", "values cut", "too long"],
)
def test_damaged_files(tmp_path, raw, words):
    (tmp_path / "x.bin").write_bytes(raw)
    with pytest.raises(DataError, match=words) as raised:
        read_idx(tmp_path / "x.bin")
    assert str(tmp_path / "x.bin") in str(raised.value)


@pytest.mark.parametrize("part", [slice(0, 40), slice(10, None)])
def test_damaged_gzip(tmp_path, part):
    whole = gzip.compress(dataset_files.idx(np.arange(200, dtype=np.uint8)))
    (tmp_path / "x.gz").write_bytes(whole[part])
    with pytest.raises(DataError, match=r"cannot be unpacked .* fetch it again"):
        read_idx(tmp_path / "x.gz")


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"no file .*x.gz: spikelab data fetch mnist"):
        read_idx(tmp_path / "x.gz")


def test_mnist_gzipped_or_not(tmp_path):
    dataset_files.write_mnist(tmp_path)
    images, labels = read_mnist(tmp_path, "train")
    assert (images.shape, images.dtype, labels.dtype) == ((12, 28, 28), np.uint8, np.int64)
    assert labels.tolist() == [*range(10), 0, 1]
    for file in tmp_path.iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert np.array_equal(read_mnist(tmp_path, "train")[0], images)


def test_files_that_do_not_belong_together(tmp_path):
    dataset_files.write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes((tmp_path / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match=r"test split .* do not belong together: images \(4, 28, 28\), labels \(12,\)"):
        read_mnist(tmp_path, "test")
