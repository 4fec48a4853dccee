"""DVS-Gesture, SHD and SSC, read from small files written by hand in their formats."""

import pickle

import dataset_files
import numpy as np
import pytest
from dataset_files import AEDAT_HEAD, aedat_packet

from spikelab.datasets import SHD, SSC, DataError, DVSGesture
from spikelab.datasets.dvs_gesture import read_aedat
from spikelab.events import frames


@pytest.fixture
def gestures(tmp_path):
    dataset_files.write_gestures(tmp_path / "dvs-gesture")
    return tmp_path


def aedat(tmp_path, *packets, head=AEDAT_HEAD):
    path = tmp_path / "x.aedat"
    path.write_bytes(head + b"".join(packets))
    return path


def test_an_event_of_an_aedat_file_by_hand(tmp_path):
    # x = 5, y = 3, ON, valid: 5 << 17 | 3 << 2 | 1 << 1 | 1 = 0x000a000f, little-endian; t = 258 = 0x0102
    head = "0100 0100 08000000 04000000 00000000 01000000 01000000 01000000"
    path = aedat(tmp_path, bytes.fromhex(head + "0f000a00 02010000"))
    assert read_aedat(path).tolist() == [(5, 3, 1, 258)]


def test_packets_follow_each_other_and_other_kinds_are_passed_over(tmp_path):
    first, last = [(1, 2, 0, 10, 1), (127, 127, 1, 20, 1)], [(3, 4, 1, 30, 1)]
    path = aedat(tmp_path, aedat_packet(first), aedat_packet([(9, 9, 1, 25, 1)], kind=0), aedat_packet(last))
    assert read_aedat(path).tolist() == [(1, 2, 0, 10), (127, 127, 1, 20), (3, 4, 1, 30)]


def test_invalid_events_are_left_out(tmp_path):
    path = aedat(tmp_path, aedat_packet([(1, 1, 1, 10, 0), (2, 2, 1, 20, 1)]))
    assert read_aedat(path).tolist() == [(2, 2, 1, 20)]


def test_an_overflow_of_time_adds_two_to_the_31(tmp_path):
    path = aedat(tmp_path, aedat_packet([(1, 1, 1, 7, 1)]), aedat_packet([(1, 1, 1, 7, 1)], overflow=1))
    assert read_aedat(path)["t"].tolist() == [7, 7 + 2**31]


def test_packets_that_overlap_in_time_are_put_in_order(tmp_path):
    path = aedat(tmp_path, aedat_packet([(1, 1, 1, 50, 1)]), aedat_packet([(2, 2, 1, 40, 1)]))
    assert read_aedat(path)["t"].tolist() == [40, 50]


def test_a_file_without_events(tmp_path):
    assert len(read_aedat(aedat(tmp_path))) == 0


PACKET = aedat_packet([(1, 1, 1, 10, 1), (2, 2, 1, 20, 1)])


@pytest.mark.parametrize(
    ("head", "packet", "words"),
    [
        (b"#!AER-DAT2.0\r\n", b"", r"does not begin with .*AER-DAT3.1.* it is no AEDAT 3.1 file"),
        (b"", b"", r"does not begin with"),
        (AEDAT_HEAD[:-6], b"", r"no line .*END-HEADER.* cut short"),
        (AEDAT_HEAD, PACKET[:20], r"cut short: 20 bytes of a packet's head are left"),
        (AEDAT_HEAD, PACKET[:-3], r"claims 2 events of 8 bytes, but 13 bytes are left"),
        (AEDAT_HEAD, PACKET[:4] + b"\7\0\0\0" + PACKET[8:], r"damaged: a packet .* claims 2 events of 7 bytes"),
        (AEDAT_HEAD, PACKET[:20] + b"\xff\xff\xff\xff" + PACKET[24:], r"claims -1 events"),
        (AEDAT_HEAD, aedat_packet([(128, 1, 1, 10, 1)]), r"128"),
    ],
    ids=["2.0", "empty", "head cut", "packet's head cut", "events cut", "odd size", "negative number", "column 128"],
)
def test_damaged_aedat_files_are_named(tmp_path, head, packet, words):
    path = aedat(tmp_path, packet, head=head)
    with pytest.raises(ValueError, match=words) as raised:
        read_aedat(path)
    assert str(path) in str(raised.value)


def test_gestures_are_cut_out_with_times_from_their_start(gestures):
    found = DVSGesture("train", root=gestures)
    assert (len(found), found.labels.tolist(), found.size) == (2, [1, 10], (128, 128))
    assert [found.classes[label] for label in found.labels] == ["right hand wave", "other gestures"]
    events, label = found[0]
    assert label == 1
    assert events["t"].tolist() == [0, 100, 200, 300, 400]  # from 1000 to before 1500
    assert events["y"].tolist() == [0, 2, 4, 6, 8]
    events, _ = found[1]
    assert events["x"].tolist() == list(range(100, 110))
    assert [path.path.name for path in DVSGesture("test", root=gestures).gestures] == ["user24_led.aedat"] * 2
    assert frames(events, 2, 50, size=found.size).sum() == 10


def test_reading_a_gesture_leaves_the_recording_as_it_is(gestures):
    found = DVSGesture("train", root=gestures)
    first = [events["t"].tolist() for events, _ in found]
    assert [events["t"].tolist() for events, _ in found] == first


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("2,1000", r"line 2: '2,1000' is not class,start,end"),
        ("two,1000,2000", r"is not class,start,end"),
        ("12,1000,2000", r"class 12 .* a class is 1 to 11"),
        ("2,2000,1000", r"its end comes after its start"),
    ],
)
def test_damaged_tables_of_gestures_are_named(gestures, rows, words):
    table = gestures / "dvs-gesture" / "DvsGesture" / "user01_led_labels.csv"
    table.write_text(f"class,startTime_usec,endTime_usec\n{rows}\n")
    with pytest.raises(DataError, match=words) as raised:
        DVSGesture("train", root=gestures)
    assert str(table) in str(raised.value)


def test_missing_files_of_dvs_gesture_are_named(gestures, tmp_path):
    place = gestures / "dvs-gesture" / "DvsGesture"
    (place / "user01_led.aedat").unlink()
    with pytest.raises(DataError, match=r"no file .*user01_led.aedat"):
        DVSGesture("train", root=gestures)
    (place / "trials_to_train.txt").unlink()
    with pytest.raises(DataError, match=r"no file .*trials_to_train.txt: unpack DvsGesture.tar.gz again"):
        DVSGesture("train", root=gestures)
    with pytest.raises(DataError, match=r"no folder dvs-gesture in .*: spikelab data fetch dvs-gesture says how"):
        DVSGesture("train", root=tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no file .*gone.aedat"):
        read_aedat(tmp_path / "gone.aedat")


TIMES = [[0.5, 0.25, 1.0], [], [0.125]]
UNITS = [[699, 0, 350], [], [12]]


@pytest.fixture
def shd(tmp_path):
    dataset_files.write_heidelberg(tmp_path / "shd" / "shd_train.h5", TIMES, UNITS, [3, 19, 0], speakers=[4, 4, 5])
    return tmp_path


def test_spoken_digits_become_events_of_700_channels(shd):
    found = SHD("train", root=shd)
    assert found.labels.tolist() == [3, 19, 0]
    assert found.speakers.tolist() == [4, 4, 5]
    assert found.classes == ("zero", "one")
    assert found.label == "Spiking Heidelberg Digits, 3 recordings"
    events, label = found[0]
    assert label == 3
    assert events.tolist() == [(0, 0, 1, 250_000), (699, 0, 1, 500_000), (350, 0, 1, 1_000_000)]
    assert [len(events) for events, _ in found] == [3, 0, 1]
    assert found[-1][0].tolist() == [(12, 0, 1, 125_000)]
    assert frames(events, 2, 500_000, size=found.size).shape == (2, 2, 1, 700)
    with pytest.raises(IndexError, match=r"recording 3 of 3"):
        found[3]


def test_commands_have_a_validation_file(tmp_path):
    dataset_files.write_heidelberg(tmp_path / "ssc" / "ssc_valid.h5", TIMES, UNITS, [34, 0, 1])
    assert SSC("validation", root=tmp_path)[0][1] == 34
    with pytest.raises(DataError, match=r"no file .*ssc_train.h5: spikelab data fetch ssc"):
        SSC("train", root=tmp_path)
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'validation', 'test'"):
        SSC("valid", root=tmp_path)


def test_an_open_set_goes_to_another_process(shd):
    found = SHD("train", root=shd)
    found[0]
    assert pickle.loads(pickle.dumps(found))[2][1] == 0


@pytest.mark.parametrize(
    ("times", "units", "labels", "words"),
    [
        ([[0.5, -0.5]], [[1, 2]], [0], r"recording 0 has a time that is negative"),
        ([[np.nan]], [[1]], [0], r"negative, infinite or no number"),
        ([[0.5]], [[700]], [0], r"recording 0 has channels from 700 to 700, not 0 to 699"),
        ([[0.5, 0.6]], [[1]], [0], r"recording 0 has 2 times, but 1 channels"),
        ([[0.5]], [[1]], [20], r"labels from 20 to 20, not 0 to 19"),
        ([[0.5]], [[1]], [0, 1], r"1 items in spikes/times, but 2 labels"),
    ],
)
def test_damaged_spikes_are_named(tmp_path, times, units, labels, words):
    path = dataset_files.write_heidelberg(tmp_path / "shd" / "shd_test.h5", times, units, labels)
    with pytest.raises(DataError, match=words) as raised:
        SHD("test", root=tmp_path)[0]
    assert str(path) in str(raised.value)


def test_files_that_are_not_hdf5_or_of_another_set(shd, tmp_path):
    import h5py

    path = shd / "shd" / "shd_train.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"shd_train.h5 is no whole HDF5 file .*remove it and fetch it again"):
        SHD("train", root=shd)
    with h5py.File(tmp_path / "shd" / "shd_test.h5", "w") as file:
        file["labels"] = [1]
    with pytest.raises(DataError, match=r"shd_test.h5 has no spikes/times: it is not one of the Spiking Heidelberg"):
        SHD("test", root=shd)
    with pytest.raises(DataError, match=r"no folder shd in .*: spikelab data fetch shd"):
        SHD("train", root=tmp_path / "elsewhere")
