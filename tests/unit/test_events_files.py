"""Address events as bytes, text and npz: what is read, what is refused, and that nothing half-written stays."""

import errno
import os

import numpy as np
import pytest

from spikelab.events import EVENT, check_events, decode_aer, encode_aer, make_events, read_events, write_events

SUFFIXES = (".bin", ".txt", ".npz")


def random_events(count, seed, *, last_us=300_000, size=(34, 34)):
    rng = np.random.default_rng(seed)
    x, y, p = (rng.integers(0, limit, count) for limit in (size[1], size[0], 2))
    return make_events(x, y, p, np.sort(rng.integers(0, last_us, count)))


# ------------------------------------------------------------------------------------------------------- five bytes


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        ("0a1e8003a9", (10, 30, 1, 937)),  # the first two events of N-MNIST's Train/0/00002.bin
        ("2114800406", (33, 20, 1, 1030)),
        ("05077fffff", (5, 7, 0, 8_388_607)),  # the largest time, OFF
        ("0000ffffff", (0, 0, 1, 8_388_607)),
    ],
)
def test_five_bytes_are_x_y_polarity_and_a_time_of_23_bits(raw, event):
    decoded = decode_aer(bytes.fromhex(raw))
    assert decoded.dtype == EVENT
    assert decoded[0].item() == event
    assert encode_aer(decoded).hex() == raw


def test_row_240_is_no_event_but_8192_us_for_all_that_follow():
    # read so by tonic 1.7.0 as well: x 1, 2, 3 and t 100, 8292, 16385
    raw = "0101000064" + "00f0000000" + "0202800064" + "00f0000000" + "0303000001"
    events = decode_aer(bytes.fromhex(raw))
    assert events["t"].tolist() == [100, 100 + 8192, 1 + 2 * 8192]
    assert events["x"].tolist() == [1, 2, 3]


def test_times_beyond_23_bits_are_written_with_overflow_records():
    events = make_events([1, 2, 3], [4, 5, 6], [0, 1, 0], [2**23 - 1, 2**23, 2**23 + 3 * 2**13])
    raw = encode_aer(events)
    rows = raw[1::5]
    assert list(rows) == [4, 240, 5, 240, 240, 240, 6]
    assert np.array_equal(decode_aer(raw), events)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bytes_come_back_as_the_same_events(seed):
    events = random_events(500, seed, last_us=5 * 2**23, size=(240, 256))
    assert np.array_equal(decode_aer(encode_aer(events), size=(240, 256)), events)


def test_no_bytes_are_no_events():
    assert len(decode_aer(b"")) == 0
    assert encode_aer(decode_aer(b"")) == b""


@pytest.mark.parametrize("left_over", [1, 2, 3, 4])
def test_bytes_that_are_no_whole_number_of_events_are_refused(left_over):
    with pytest.raises(
        ValueError, match=rf"half\.bin: {20 + left_over} bytes.*\({left_over} left over\).*fetch it again"
    ):
        decode_aer(bytes(20 + left_over), source="half.bin")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("2200000001", "event 0 has x = 34, but the sensor has 34 columns"),
        ("0022000001", "event 0 has y = 34, but the sensor has 34 rows"),
        ("0101000005" + "0101000004", "time runs backwards at event 1, from 5 to 4 µs"),
    ],
)
def test_impossible_events_in_bytes_are_refused(raw, message):
    with pytest.raises(ValueError, match=f"^odd.bin: {message}"):
        decode_aer(bytes.fromhex(raw), source="odd.bin")


def test_without_a_size_every_address_of_a_byte_is_read():
    events = decode_aer(bytes.fromhex("ffef000001" + "fff1000002"), size=None)
    assert events["x"].tolist() == [255, 255]
    assert events["y"].tolist() == [239, 241]


@pytest.mark.parametrize(("name", "value"), [("x", 256), ("y", 256), ("y", 240)])
def test_addresses_that_the_format_cannot_hold_are_refused(name, value):
    events = make_events([1], [1], [1], [1])
    events[name] = value
    with pytest.raises(ValueError, match=rf"event 0 has {name} = {value}.*write \.txt or \.npz"):
        encode_aer(events)


# ------------------------------------------------------------------------------------------------------- the array


def test_columns_become_one_array():
    events = make_events([3, 4], [5, 6], [True, False], [7, 8])
    assert events.dtype.names == ("x", "y", "p", "t")
    assert [event.item() for event in events] == [(3, 5, 1, 7), (4, 6, 0, 8)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1, 2], [1], [1], [1]), "four columns of one length"),
        (([0.5], [1], [1], [1]), "x must hold whole numbers"),
        ((["a"], [1], [1], [1]), "x must hold whole numbers"),
        (([40_000], [1], [1], [1]), r"x must lie in -32768\.\.32767, got 40000"),
        (([1], [1], [300], [1]), "p must lie in"),
        (([1], [1], [1], [np.nan]), "t must hold whole numbers"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        make_events(*columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1], [1], [2], [1]), "event 0 has p = 2, but a polarity is 1"),
        (([1, -1], [1, 1], [1, 1], [1, 2]), "event 1 has x = -1, but places count from 0"),
        (([1], [-2], [1], [1]), "event 0 has y = -2"),
        (([1], [1], [1], [-5]), "event 0 has t = -5"),
        (([1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 3, 2]), "time runs backwards at event 2, from 3 to 2 µs"),
        (([1, 9], [1, 1], [0, 0], [1, 3]), "event 1 has x = 9, but the sensor has 9 columns"),
        (([1, 8], [1, 8], [0, 0], [1, 3]), "event 1 has y = 8, but the sensor has 8 rows"),
    ],
)
def test_impossible_events_are_refused_with_place_and_value(columns, message):
    with pytest.raises(ValueError, match=f"^mine: {message}"):
        check_events(make_events(*columns), size=(8, 9), source="mine")


def test_events_of_one_microsecond_are_in_order():
    events = make_events([1, 1], [1, 1], [0, 1], [4, 4])
    assert check_events(events) is events


@pytest.mark.parametrize("thing", [[1, 2], np.zeros(3), np.zeros((2, 2), dtype=EVENT)])
def test_what_is_no_array_of_events_is_refused(thing):
    with pytest.raises(ValueError, match=r"array \[E\] of dtype spikelab.events.EVENT"):
        check_events(thing)


@pytest.mark.parametrize("size", [34, (34,), (0, 34), (3.5, 4), "ab", None])
def test_a_size_is_height_and_width(size):
    events = make_events([1], [1], [1], [1])
    if size is None:
        assert check_events(events, size=None) is events
    else:
        with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
            check_events(events, size=size)


# ------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".NPZ"])
@pytest.mark.parametrize("count", [0, 1, 400])
def test_a_file_comes_back_as_it_was(tmp_path, suffix, count):
    events = random_events(count, seed=count)
    write_events(tmp_path / f"some{suffix}", events)
    assert np.array_equal(read_events(tmp_path / f"some{suffix}", size=(34, 34)), events)
    assert os.listdir(tmp_path) == [f"some{suffix}"]


@pytest.mark.parametrize("suffix", [".txt", ".npz"])
def test_text_and_npz_hold_any_sensor_and_time(tmp_path, suffix):
    events = make_events([1279, 0], [719, 240], [1, 0], [5, 10**12])
    write_events(tmp_path / f"large{suffix}", events)
    assert np.array_equal(read_events(tmp_path / f"large{suffix}"), events)


def test_text_may_hold_remarks_commas_and_empty_lines(tmp_path):
    (tmp_path / "hand.txt").write_text("# by hand\n1 2 0 10\n\n3, 4, 1, 20  # the second\n")
    assert read_events(tmp_path / "hand.txt")["x"].tolist() == [1, 3]


@pytest.mark.parametrize("line", ["1 2 0", "1 2 0 5 6", "1 2 on 5", "1.5 2 0 5"])
def test_a_bad_line_of_text_is_named(tmp_path, line):
    (tmp_path / "hand.txt").write_text(f"1 2 0 1\n{line}\n")
    with pytest.raises(ValueError, match=r"hand\.txt, line 2: expected four whole numbers"):
        read_events(tmp_path / "hand.txt")


@pytest.mark.parametrize("name", ["events.aedat", "events", "events.bin.gz"])
def test_an_unknown_suffix_is_refused_for_reading_and_writing(tmp_path, name):
    for action in (read_events, lambda path: write_events(path, random_events(3, 0))):
        with pytest.raises(ValueError, match=r"unknown suffix '.*'; event files end in \.bin, \.txt, \.npz"):
            action(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_file_cut_short_is_refused_with_its_name(tmp_path):
    write_events(tmp_path / "cut.bin", random_events(20, 0))
    raw = (tmp_path / "cut.bin").read_bytes()
    (tmp_path / "cut.bin").write_bytes(raw[:-2])
    with pytest.raises(ValueError, match=r"cut\.bin: 98 bytes are no whole number"):
        read_events(tmp_path / "cut.bin")


def test_a_damaged_npz_is_refused_with_its_name(tmp_path):
    write_events(tmp_path / "cut.npz", random_events(200, 0))
    whole = (tmp_path / "cut.npz").read_bytes()
    for part in (b"", b"no archive", whole[: len(whole) // 2], whole[:400] + bytes(200) + whole[600:]):
        (tmp_path / "cut.npz").write_bytes(part)
        with pytest.raises(ValueError, match=r"cut\.npz: "):
            read_events(tmp_path / "cut.npz")


def test_an_npz_without_a_column_is_refused(tmp_path):
    np.savez(tmp_path / "part.npz", x=np.zeros(3), y=np.zeros(3), t=np.zeros(3))
    with pytest.raises(ValueError, match=r"part\.npz: array p missing \(found x, y, t\)"):
        read_events(tmp_path / "part.npz")


def test_npz_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([object()]), y=np.zeros(1), p=np.zeros(1), t=np.zeros(1))
    with pytest.raises(ValueError, match=r"evil\.npz: no readable npz archive"):
        read_events(tmp_path / "evil.npz")


def test_the_size_is_checked_when_given(tmp_path):
    for suffix in SUFFIXES:
        write_events(tmp_path / f"wide{suffix}", make_events([40], [1], [1], [1]))
        assert len(read_events(tmp_path / f"wide{suffix}")) == 1
        with pytest.raises(ValueError, match=rf"wide\{suffix}: event 0 has x = 40"):
            read_events(tmp_path / f"wide{suffix}", size=(34, 34))


def test_a_missing_file_is_a_missing_file(tmp_path):
    for suffix in SUFFIXES:
        with pytest.raises(FileNotFoundError):
            read_events(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"old{suffix}"
    write_events(path, random_events(5, 0))
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_events(path, random_events(9, 1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_events_out_of_order_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"events for .*late\.bin: time runs backwards"):
        write_events(tmp_path / "late.bin", make_events([1, 1], [1, 1], [1, 1], [9, 3]))
    assert os.listdir(tmp_path) == []
