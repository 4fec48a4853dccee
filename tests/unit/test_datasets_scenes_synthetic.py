"""The drawn scenes: what VOC's and COCO's readers find in them is what is seen, and the same for everyone."""

import numpy as np
import pytest
import torch

from spikelab.datasets import VOC, Animals, DataError, load_scenes, read_picture, require_apart
from spikelab.datasets import drawn_animals as animals
from spikelab.datasets import scenes_synthetic as module
from spikelab.datasets.coco import ANIMALS
from spikelab.datasets.drawn_scenes import Canvas
from spikelab.datasets.drawn_things import THINGS, Thing
from spikelab.datasets.scenes_synthetic import class_of, draw_scene, make_synthetic_scenes
from spikelab.detection import check_objects, iou

FEW = {"VOC2007/train": 4, "VOC2007/val": 3, "VOC2012/trainval": 6, "COCO/train": 4, "COCO/val": 2}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_synthetic_scenes(tmp_path_factory.mktemp("scenes") / "scenes-synthetic", counts=FEW, progress=False)


@pytest.fixture
def found_there(made, monkeypatch):
    monkeypatch.setenv("SPIKELAB_DATA", str(made.parent))


def test_voc_reads_what_was_drawn(found_there):
    train = VOC(2007, "train")
    assert train.kind == "synthetic"
    assert train.label.startswith("synthetic stand-in: drawn VOC2007 train, 4 pictures, ")
    for number in range(len(train)):
        scene = draw_scene(number, "VOC2007/train")
        objects = check_objects(train.objects(number), num_classes=20, in_shares=True)
        assert [train.classes[label] for label in objects.labels] == [class_of(one) for one in scene.found]
        assert objects.difficult.tolist() == [one.seen < 0.55 for one in scene.found]
        height, width = scene.image.shape[:2]
        for box, one in zip(objects.boxes, scene.found, strict=True):
            rows, columns = np.nonzero(one.mask)
            wanted = [
                columns.min() / width,
                rows.min() / height,
                (columns.max() + 1) / width,
                (rows.max() + 1) / height,
            ]
            assert torch.allclose(box, torch.tensor(wanted).double(), atol=1e-9)
            assert one.seen >= 0.3
        shown = read_picture(train.files[number]).permute(1, 2, 0).numpy()
        assert np.abs(shown.astype(int) - scene.image).mean() < 8  # what JPEG changes
    assert len(VOC(2007, "trainval")) == 7
    assert load_scenes(train, (64, 64), progress=False).images.shape == (4, 3, 64, 64)


def test_the_copies_between_the_years_are_listed(found_there):
    val, later = VOC(2007, "val"), VOC(2012, "trainval")
    assert len(later) == 6
    with pytest.raises(DataError, match="2 photographs"):
        require_apart(later, val)
    require_apart(later.without(val), val)
    both = VOC((2007, 2012), "trainval")
    assert both.skipped == {"the same photograph again": 4}
    copy, original = later.photos.index(val.photos[0]), val.files[0]
    assert torch.equal(read_picture(later.files[copy]), read_picture(original))


def test_coco_reads_the_animals(found_there):
    train = Animals("train")
    assert (train.source, train.kind, train.classes) == ("coco", "synthetic", ANIMALS)
    assert [train.classes[int(train.labels[i][train.labels[i] == i][0])] for i in range(4)] == list(ANIMALS[:4])
    scene = draw_scene(1, "COCO/train")
    (first, *_) = [one for one in scene.found if class_of(one) in ANIMALS]
    rows, columns = np.nonzero(first.mask)
    assert int(columns.min()) == round(float(train.boxes[1][0][0]) * scene.image.shape[1])
    assert int(rows.max()) + 1 == round(float(train.boxes[1][0][3]) * scene.image.shape[0])
    require_apart(train, Animals("val"))


def test_a_set_is_the_same_again_and_a_part_of_a_larger_one(made, tmp_path):
    part = make_synthetic_scenes(tmp_path / "part", counts=dict.fromkeys(FEW, 1), progress=False)
    for name in ("VOCdevkit/VOC2007/JPEGImages/000001.jpg", "VOCdevkit/VOC2007/Annotations/000001.xml"):
        assert (part / name).read_bytes() == (made / name).read_bytes()
    inode = (made / "MANIFEST.json").stat().st_ino
    assert make_synthetic_scenes(made, counts=FEW, progress=False) == made
    assert (made / "MANIFEST.json").stat().st_ino == inode  # left as it is
    assert not np.array_equal(
        draw_scene(0, "COCO/val", seed=1).image[:90, :90], draw_scene(0, "COCO/val").image[:90, :90]
    )


def test_it_is_made_where_nothing_else_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COUNTS", dict.fromkeys(FEW, 2))
    assert len(VOC(2007, "train")) == 2
    folder = tmp_path / "cache" / "spikelab" / "scenes-synthetic"
    before = (folder / "MANIFEST.json").stat().st_mtime_ns
    assert len(Animals("val")) == 2
    assert (folder / "MANIFEST.json").stat().st_mtime_ns == before


def test_wrong_counts():
    with pytest.raises(ValueError, match=r"counts must be one of 'VOC2007/train'"):
        make_synthetic_scenes(counts={"VOC2008/train": 3})
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_synthetic_scenes(counts={"COCO/val": 0})


@pytest.mark.parametrize("kind", THINGS)
def test_a_thing_is_where_its_mask_says_and_can_be_hidden(kind, monkeypatch):
    monkeypatch.setattr(animals, "paint_background", lambda canvas: None)
    monkeypatch.setattr(animals, "something_in_front", lambda canvas: None)
    canvas = Canvas((120, 160), np.random.default_rng(3))
    canvas.rgb += 0.5
    thing = Thing(canvas, kind, animals.Place("", 0.6, 0.5, 0.5))
    thing.paint()
    changed = np.abs(canvas.rgb - 0.5).max(-1) > 0.02
    assert changed[thing.mask > 0.9].mean() > 0.85
    rows, columns = np.nonzero(thing.mask > 0.5)
    box = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).double()
    high = 0.6 * 120
    wide = {"bottle": 0.28, "chair": 0.54, "tvmonitor": 1.14}[kind] * high
    wanted = torch.tensor([80 - wide / 2, 60 - high / 2, 80 + wide / 2, 60 + high / 2]).double()
    assert iou(box, wanted) > 0.9
    places = [animals.Place("", 0.5, 0.5, 0.5)] * 2
    behind, front = animals.draw([kind, kind], (96, 96), np.random.default_rng(1), places=places).animals
    assert front.seen == 1
    assert behind.seen < 0.35
    assert not (behind.mask & front.mask).any()
