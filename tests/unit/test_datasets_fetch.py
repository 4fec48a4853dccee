"""Downloading, from a server that fails on demand."""

import errno
import hashlib
import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests

from spikelab.datasets import DataError, FetchError
from spikelab.datasets.fetch import NOTE, fetch
from spikelab.datasets.files import read_json
from spikelab.datasets.manifest import DATA_SETS, DataSet, RemoteFile

CONTENT = bytes(range(256)) * 4096  # 16 pieces of 64 KiB


class Server:
    """Serves ``files``; ``plan`` says what to do with the next requests, one word each."""

    def __init__(self):
        self.files, self.plan, self.asked, self.ranges = {}, [], [], True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *request: None  # a client that hangs up is no news
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        name, wanted = request.path.strip("/"), request.headers.get("Range")
        self.asked.append((name, wanted))
        word = self.plan.pop(0) if self.plan else "serve"
        content = self.files.get(name)
        if content is None or word.isdigit():
            request.send_error(int(word) if word.isdigit() else 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        end = start + (len(content) - start) // 2 if word == "half" else len(content)
        request.wfile.write(content[start:end])


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def plain(server):
    """A data set of one file, x.bin."""
    server.files["x.bin"] = CONTENT
    return one_file(RemoteFile("x.bin", (f"{server.address}/x.bin",), sha256=sha256(CONTENT), holds=("x.bin",)))


def one_file(file):
    return DataSet("thing", "a thing", (file,), "", "", "")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def bring(entry, tmp_path, **options):
    return fetch(entry, root=tmp_path, pause_s=0, progress=False, **options)


def files(tmp_path):
    folder = tmp_path / "thing"
    return sorted(path.name for path in folder.iterdir() if path.name != NOTE) if folder.exists() else []


def test_a_file_arrives_with_its_checksum_noted(plain, tmp_path):
    folder = bring(plain, tmp_path)
    assert (folder / "x.bin").read_bytes() == CONTENT
    assert files(tmp_path) == ["x.bin"]
    assert read_json(folder / NOTE) == {"x.bin": {"sha256": sha256(CONTENT)}}


def test_what_is_there_is_not_fetched_again(plain, server, tmp_path):
    bring(plain, tmp_path)
    lines = []
    bring(plain, tmp_path, say=lines.append)
    assert len(server.asked) == 1
    assert lines == ["x.bin: there already (x.bin)"]


def test_a_broken_connection_goes_on_where_it_ended(plain, server, tmp_path):
    server.plan = ["half", "half"]
    assert (bring(plain, tmp_path) / "x.bin").read_bytes() == CONTENT
    assert server.asked == [("x.bin", None), ("x.bin", "bytes=524288-"), ("x.bin", "bytes=786432-")]


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(plain, server, tmp_path):
    server.plan = ["half", "500", "500"]
    with pytest.raises(FetchError, match=r"the same command goes on") as raised:
        bring(plain, tmp_path)
    assert str(tmp_path / "thing" / ".x.bin.part") in str(raised.value)
    assert files(tmp_path) == [".x.bin.part"]
    assert (bring(plain, tmp_path) / "x.bin").read_bytes() == CONTENT
    assert server.asked[-1] == ("x.bin", "bytes=524288-")
    assert files(tmp_path) == ["x.bin"]


def test_a_server_that_cannot_go_on_sends_it_all_again(plain, server, tmp_path):
    server.plan, server.ranges = ["half"], False
    assert (bring(plain, tmp_path) / "x.bin").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_a_part_that_is_whole_or_too_long(plain, server, tmp_path, extra):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / ".x.bin.part").write_bytes(CONTENT + extra)
    assert (bring(plain, tmp_path) / "x.bin").read_bytes() == CONTENT
    assert len(server.asked) == (2 if extra else 1)


def test_the_next_mirror_is_asked_and_goes_on(server, tmp_path):
    server.files["copy.bin"] = server.files["x.bin"] = CONTENT
    urls = (f"{server.address}/x.bin", f"{server.address}/gone.bin", f"{server.address}/copy.bin")
    server.plan = ["half", "500", "500"]
    lines = []
    entry = one_file(RemoteFile("x.bin", urls, sha256=sha256(CONTENT), holds=("x.bin",)))
    assert (bring(entry, tmp_path, say=lines.append) / "x.bin").read_bytes() == CONTENT
    assert server.asked[-2:] == [("gone.bin", "bytes=524288-"), ("copy.bin", "bytes=524288-")]
    assert [line for line in lines if "500" in line or "404" in line] == [
        f"{urls[0]}: the server answers 500 Internal Server Error",
        f"{urls[1]}: the server answers 404 Not Found",
    ]


def test_when_all_mirrors_fail_each_is_named(server, tmp_path):
    urls = (f"{server.address}/a", f"{server.address}/b")
    with pytest.raises(FetchError) as raised:
        bring(one_file(RemoteFile("x.bin", urls, holds=("x.bin",))), tmp_path)
    assert all(f"{url}: the server answers 404" in str(raised.value) for url in urls)
    assert "put it at" in str(raised.value)
    assert files(tmp_path) == []


def test_no_network(tmp_path, monkeypatch):
    def unreachable(*args, **options):
        raise requests.ConnectionError("Failed to resolve 'data.example'")

    monkeypatch.setattr(requests, "get", unreachable)
    with pytest.raises(FetchError, match=r"the address is unknown: is there a network\?") as raised:
        bring(one_file(RemoteFile("x.bin", ("https://data.example/x.bin",), holds=("x.bin",))), tmp_path)
    assert "Check the network" in str(raised.value)
    assert files(tmp_path) == []


def test_a_port_where_nobody_listens(server, tmp_path):
    server.http.server_close()
    server.http.shutdown()
    entry = one_file(RemoteFile("x.bin", (f"{server.address}/x.bin",), holds=("x.bin",)))
    with pytest.raises(FetchError, match=r"no connection"):
        bring(entry, tmp_path)
    assert files(tmp_path) == []


def test_a_server_that_falls_silent(plain, tmp_path, monkeypatch):
    def silent(*args, **options):
        raise requests.ReadTimeout("read timed out")

    monkeypatch.setattr(requests, "get", silent)
    with pytest.raises(FetchError, match=r"no answer in time"):
        bring(plain, tmp_path)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_leaves_nothing(server, tmp_path, kind):
    server.files["x.bin"] = CONTENT[:-1] + b"?"
    published = hashlib.new(kind, CONTENT).hexdigest()
    entry = one_file(RemoteFile("x.bin", (f"{server.address}/x.bin",), holds=("x.bin",), **{kind: published}))
    with pytest.raises(FetchError, match=f"wrong checksum, expected {kind}:{published}"):
        bring(entry, tmp_path)
    assert files(tmp_path) == []
    assert len(server.asked) == 1


def test_a_wrong_part_is_thrown_away_and_fetched_from_the_start(plain, server, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / ".x.bin.part").write_bytes(b"something else" * 1000)
    assert (bring(plain, tmp_path) / "x.bin").read_bytes() == CONTENT
    assert server.asked == [("x.bin", "bytes=14000-"), ("x.bin", None)]


def test_without_a_published_checksum_the_measured_one_is_said(server, tmp_path):
    server.files["x.bin"] = CONTENT
    lines = []
    entry = one_file(RemoteFile("x.bin", (f"{server.address}/x.bin",), holds=("x.bin",)))
    bring(entry, tmp_path, say=lines.append)
    assert f"x.bin: sha256 {sha256(CONTENT)} measured; no checksum is published, compare" in "\n".join(lines)


def test_too_little_room_is_said_before_the_download(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=50_500_000))
    with pytest.raises(DataError, match=r"downloading x.bin needs 1 MB, but the disk of .* has 50 MB free"):
        bring(plain, tmp_path)
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_is_said_and_gets_its_room_back(plain, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(io.RawIOBase):
        write = staticmethod(full)

    real = open

    def opened(path, mode="r", *args, **options):
        file = real(path, mode, *args, **options)
        if not str(path).endswith(".x.bin.part"):
            return file
        file.close()
        return Full()

    monkeypatch.setattr("builtins.open", opened)
    with pytest.raises(DataError, match=r"the disk of .*thing is full .* Free some space"):
        bring(plain, tmp_path)
    assert files(tmp_path) == []


def archive(**members):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as opened:
        for name, content in members.items():
            opened.writestr(name.replace("__", "/"), content)
    return raw.getvalue()


def packed(server, content, holds=("Train",)):
    server.files["x.zip"] = content
    md5 = hashlib.md5(content).hexdigest()
    return one_file(RemoteFile("x.zip", (f"{server.address}/x.zip",), md5=md5, unpack="zip", holds=holds))


def test_an_archive_is_unpacked_and_removed(server, tmp_path):
    entry = packed(server, archive(Train__0__a="one", Train__1__b="two"))
    lines = []
    folder = bring(entry, tmp_path, say=lines.append)
    assert files(tmp_path) == ["Train"]
    assert (folder / "Train/1/b").read_text() == "two"
    assert "its MD5 is right" in "\n".join(lines)
    assert lines[-1] == "x.zip: unpacked Train"


def test_an_archive_put_there_by_hand_is_checked_and_unpacked(server, tmp_path):
    content = archive(Train__0__a="one")
    by_hand = RemoteFile("x.zip", (), md5=hashlib.md5(content).hexdigest(), unpack="zip", holds=("Train",))
    entry = one_file(by_hand)._replace(by_hand="Open the page and download x.zip")
    with pytest.raises(FetchError, match=r"Open the page and download x.zip, put it at .*x.zip, and run this again"):
        bring(entry, tmp_path)
    place = tmp_path / "thing" / "x.zip"
    place.write_bytes(content[:-4])
    with pytest.raises(FetchError, match=r"has the wrong md5: .* remove it and fetch it again"):
        bring(entry, tmp_path)
    assert files(tmp_path) == ["x.zip"]
    place.write_bytes(content)
    assert (bring(entry, tmp_path) / "Train/0/a").read_text() == "one"
    assert server.asked == []


def test_an_unsafe_archive_leaves_only_itself(server, tmp_path):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as opened:
        opened.writestr("Train/0/a", "one")
        opened.writestr("../../evil", "two")
    with pytest.raises(FetchError, match=r"leads out of the folder"):
        bring(packed(server, raw.getvalue()), tmp_path)
    assert files(tmp_path) == ["x.zip"]
    assert not list(tmp_path.parent.rglob("evil"))


def test_an_archive_of_something_else_is_said(server, tmp_path):
    with pytest.raises(FetchError, match=r"holds Other, but no Train: is it the right file\?"):
        bring(packed(server, archive(Other__a="one")), tmp_path)
    assert files(tmp_path) == ["x.zip"]


def test_unpacking_that_was_killed_is_done_again(server, tmp_path):
    entry = packed(server, archive(Train__0__a="one"))
    left = tmp_path / "thing" / "..x.zip.unpacked.part" / "Train"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    bring(entry, tmp_path)
    assert files(tmp_path) == ["Train"]
    assert [path.name for path in (tmp_path / "thing" / "Train").iterdir()] == ["0"]


def test_archives_that_share_their_outer_folder_lie_side_by_side(server, tmp_path):
    """VOC's archives of 2007 and 2012 both hold VOCdevkit."""
    files_of = []
    for year in ("VOC2007", "VOC2012"):
        content = archive(**{f"VOCdevkit__{year}__a.txt": year})
        server.files[f"{year}.zip"] = content
        about = {"md5": hashlib.md5(content).hexdigest(), "unpack": "zip", "inside": "VOCdevkit", "holds": (year,)}
        files_of.append(RemoteFile(f"{year}.zip", (f"{server.address}/{year}.zip",), **about))
    entry = DataSet("thing", "a thing", tuple(files_of), "", "", "")
    folder = bring(entry, tmp_path)
    assert files(tmp_path) == ["VOC2007", "VOC2012"]
    assert [(folder / year / "a.txt").read_text() for year in files(tmp_path)] == ["VOC2007", "VOC2012"]
    bring(entry, tmp_path)
    assert len(server.asked) == 2
    wrong = files_of[0]._replace(holds=("VOC2010",))
    with pytest.raises(FetchError, match=r"holds VOCdevkit, but no VOCdevkit/VOC2010: is it the right file"):
        bring(one_file(wrong), tmp_path)


def voc2007(server, part, *names):
    """One of VOC2007's two archives, which unpack into one folder; each has a list and pictures of its own."""
    content = archive(
        **{f"VOCdevkit__VOC2007__ImageSets__Main__{part}.txt": part, "VOCdevkit__VOC2007__readme": part},
        **{f"VOCdevkit__VOC2007__JPEGImages__{name}.jpg": name for name in names},
    )
    server.files[f"{part}.zip"] = content
    holds = (f"VOC2007/ImageSets/Main/{part}.txt", f"VOC2007/JPEGImages/{names[0]}.jpg")
    about = {"md5": hashlib.md5(content).hexdigest(), "unpack": "zip", "inside": "VOCdevkit", "holds": holds}
    return RemoteFile(f"{part}.zip", (f"{server.address}/{part}.zip",), **about)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_archives_of_one_folder_are_laid_together(server, tmp_path, order):
    both = voc2007(server, "trainval", "000005", "000007"), voc2007(server, "test", "000001", "000002")
    alone, entry = one_file(both[order[0]]), DataSet("thing", "a thing", both, "", "", "")
    folder = bring(alone, tmp_path) / "VOC2007"
    first = (folder / "readme").read_text()
    (folder / "JPEGImages" / "mine.jpg").write_text("mine")
    bring(entry, tmp_path)
    names = ["000001", "000002", "000005", "000007"]
    assert [(folder / "JPEGImages" / f"{name}.jpg").read_text() for name in names] == names
    assert sorted(path.name for path in (folder / "ImageSets" / "Main").iterdir()) == ["test.txt", "trainval.txt"]
    assert ((folder / "readme").read_text(), (folder / "JPEGImages" / "mine.jpg").read_text()) == (first, "mine")
    assert files(tmp_path) == ["VOC2007"]
    bring(entry, tmp_path)
    assert len(server.asked) == 2


def test_laying_together_that_broke_off_is_done_again(server, tmp_path, monkeypatch):
    trainval, test = voc2007(server, "trainval", "000005"), voc2007(server, "test", "000001", "000002", "000003")
    entry = DataSet("thing", "a thing", (trainval, test), "", "", "")
    folder = bring(one_file(trainval), tmp_path) / "VOC2007"
    replace = os.replace

    def broken(source, target):
        if str(target).endswith("000003.jpg"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        bring(entry, tmp_path)
    assert sorted(path.stem for path in (folder / "JPEGImages").iterdir()) == ["000002", "000005"]
    monkeypatch.setattr(os, "replace", replace)
    bring(entry, tmp_path)
    assert sorted(path.stem for path in (folder / "JPEGImages").iterdir()) == ["000001", "000002", "000003", "000005"]
    assert len(server.asked) == 2  # the archive was still there
    assert files(tmp_path) == ["VOC2007"]


def test_the_archives_of_voc_are_told_apart():
    entry = DATA_SETS["VOCdevkit"]
    assert [file.name for file in entry.files if "2007" in file.name] == [
        "VOCtrainval_06-Nov-2007.tar",
        "VOCtest_06-Nov-2007.tar",
    ]
    held = [set(file.holds) for file in entry.files]
    assert not any(one & other for i, one in enumerate(held) for other in held[i + 1 :])
    assert all(file.size > 10**8 and file.sha256 and file.md5 for file in entry.files)


def test_sets_that_are_made_are_not_fetched(tmp_path):
    with pytest.raises(FetchError, match=r"is not downloaded but made: spikelab data make nmnist-simulated"):
        fetch("nmnist-simulated", root=tmp_path)
    with pytest.raises(ValueError, match=r"data set must be one of 'nmnist', .*, got 'imagenet'"):
        fetch("imagenet", root=tmp_path)


def test_dvs_gesture_says_what_a_person_has_to_do(tmp_path):
    words = r"Open https://ibm.ent.box.com/\S+ in a browser and download DvsGesture.tar.gz, put it at"
    with pytest.raises(FetchError, match=words):
        fetch("dvs-gesture", root=tmp_path)


def test_the_manifest_is_well_formed():
    for name, entry in DATA_SETS.items():
        assert entry.name == name
        assert entry.about
        assert entry.licence
        assert bool(entry.make) != bool(entry.files)
        for file in entry.files:
            assert file.holds
            assert file.urls or entry.by_hand
            assert all(
                url.startswith("https://") or file.sha256 for url in file.urls
            )  # on the way nobody may change it
            assert len(set(file.urls)) == len(file.urls)
            for checksum, length in ((file.sha256, 64), (file.md5, 32)):
                assert checksum is None or (len(checksum) == length and set(checksum) <= set("0123456789abcdef"))
            assert file.sha256 or file.md5
            assert file.unpack or file.holds == (file.name,)
