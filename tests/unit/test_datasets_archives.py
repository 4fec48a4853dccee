"""Unpacking: what an honest archive holds is there, and what a hostile or broken one holds never is."""

import io
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from spikelab.datasets.archives import unpack
from spikelab.datasets.errors import DataError, FetchError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def zipped(tmp_path, *members):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def tarred(tmp_path, *members):
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info, io.BytesIO(content))
    return path


def everything(place):
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def test_a_zip_archive(tmp_path, folder):
    path = zipped(tmp_path, ("Train/0/00002.bin", b"abc", 0o644 | stat.S_IFREG), ("Train/1/00004.bin", b"", 0))
    assert unpack(path, folder, "zip") == ["Train"]
    assert (folder / "Train/0/00002.bin").read_bytes() == b"abc"
    assert everything(folder) == ["Train/0/00002.bin", "Train/1/00004.bin"]


def test_a_tar_archive(tmp_path, folder):
    members = (".", b"", tarfile.DIRTYPE), ("./A", b"", tarfile.DIRTYPE), ("./A/b.csv", b"1,2", tarfile.REGTYPE)
    assert unpack(tarred(tmp_path, *members), folder, "tar") == ["A"]
    assert (folder / "A/b.csv").read_bytes() == b"1,2"


HONEST = ("a/first.bin", b"x", 0o644 | stat.S_IFREG)
OUT = "holds .*, which leads out of the folder"


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("../evil.bin", 0, OUT),
        ("a/../../evil.bin", 0, OUT),
        ("/tmp/evil.bin", 0, OUT),
        ("C:/evil.bin", 0, OUT),
        ("..\\evil.bin", 0, OUT),
        ("evil.bin", stat.S_IFLNK | 0o777, "holds a link"),
        ("evil.bin", stat.S_IFIFO | 0o644, "holds a device file"),
        ("a/first.bin", 0, "holds a/first.bin 2 times"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unsafe_members_of_a_zip_archive_stop_all_of_it(tmp_path, folder, name, mode, words):
    path = zipped(tmp_path, HONEST, (name, b"/etc/passwd", mode))
    with pytest.raises(FetchError, match=f"archive.zip {words}.*; nothing was unpacked"):
        unpack(path, folder, "zip")
    assert everything(tmp_path) == ["archive.zip"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("../evil.bin", tarfile.REGTYPE, OUT),
        ("a/b/../../../evil.bin", tarfile.REGTYPE, OUT),
        ("/tmp/evil.bin", tarfile.REGTYPE, OUT),
        ("evil", tarfile.SYMTYPE, "holds a link"),
        ("evil", tarfile.LNKTYPE, "holds a link"),
        ("evil", tarfile.CHRTYPE, "holds a device file"),
        ("evil", tarfile.BLKTYPE, "holds a device file"),
        ("evil", tarfile.FIFOTYPE, "holds a device file"),
    ],
)
def test_unsafe_members_of_a_tar_archive_stop_all_of_it(tmp_path, folder, name, kind, words):
    path = tarred(tmp_path, ("a/first.bin", b"x", tarfile.REGTYPE), (name, b"x", kind))
    with pytest.raises(FetchError, match=words):
        unpack(path, folder, "tar")
    assert everything(tmp_path) == ["archive.tar.gz"]


@pytest.mark.parametrize("cut", [0.5, 0.98])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_that_is_cut_short_is_damaged(tmp_path, folder, kind, cut):
    content = bytes(range(256)) * 50
    if kind == "zip":
        path = zipped(tmp_path, ("a.bin", content, 0), ("b.bin", content[::-1], 0))
    else:
        path = tarred(tmp_path, ("a.bin", content, tarfile.REGTYPE), ("b.bin", content[::-1], tarfile.REGTYPE))
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(FetchError, match=rf"{path.name} is damaged .*remove it and fetch it again"):
        unpack(path, folder, kind)


def test_a_flipped_bit_is_damage(tmp_path, folder):
    path = zipped(tmp_path, ("a.bin", bytes(range(256)) * 50, 0))
    raw = bytearray(path.read_bytes())
    raw[60] ^= 4
    path.write_bytes(raw)
    with pytest.raises(FetchError, match="is damaged"):
        unpack(path, folder, "zip")


def test_an_archive_too_large_for_the_disk_is_not_begun(tmp_path, folder, monkeypatch):
    path = zipped(tmp_path, ("a.bin", b"\0" * 10_000_000, 0))
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=55_000_000))
    with pytest.raises(DataError, match=r"unpacking archive.zip needs 10 MB, but the disk of .* has 55 MB free"):
        unpack(path, folder, "zip")
    assert everything(folder) == []
