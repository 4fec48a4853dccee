"""VOC and COCO as sets for detection: what is read, what is refused, and that no photograph is on both sides."""

import json

import dataset_files
import pytest
import torch
from PIL import Image

from spikelab.datasets import VOC, Animals, DataError, load_scenes, read_instances, require_apart, split_by_photo
from spikelab.datasets.coco import ANIMALS
from spikelab.datasets.scenes import SceneSet, same_photos
from spikelab.detection import check_objects

CATEGORIES = [(1, "person"), *((16 + i, name) for i, name in enumerate(ANIMALS))]
CAT, DOG, CAR = ("cat", 4, 6, 12, 20), ("dog", 1, 1, 30, 20, 1), ("car", 2, 2, 9, 9)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


def write_list(folder, name, names):
    path = folder / "ImageSets" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in names))


@pytest.fixture
def root(tmp_path):
    """Two years; 2007_000001 is a second copy of 000001, and 2007_000009 of a picture of VOC2007 that is not here."""
    first = dataset_files.write_voc(
        tmp_path, "VOC2007", {"000001": [CAT, DOG], "000002": [CAR], "000003": [], "000004": [CAT, CAR]}
    )
    second = dataset_files.write_voc(
        tmp_path, "VOC2012", {"2007_000001": [CAT], "2007_000009": [DOG], "2010_000001": [CAR]}
    )
    write_list(first, "Main/train", ["000001", "000002", "000077"])
    write_list(first, "Main/val", ["000003", "000004"])
    write_list(second, "SegmentationAug/val", ["2007_000001", "2010_000001"])
    return tmp_path


def test_voc_gives_every_object_by_class(root):
    found = VOC(2007, "train", root=root)
    assert found.names == ["000001", "000002"]
    assert (found.kind, found.skipped) == ("real", {"not there": 1})
    assert found.label == "real VOC2007 train, 2 of 3 pictures, 3 objects of 20 classes"
    wanted = torch.tensor([[3 / 30, 5 / 20, 12 / 30, 1], [0, 0, 1, 1]], dtype=torch.float64)
    assert torch.equal(found.boxes[0], wanted)
    assert [found.classes[label] for label in found.labels[0]] == ["cat", "dog"]
    assert found.difficult[0].tolist() == [False, True]
    assert found.count_by_class()["dog"] == 1
    picture, objects = found[-1]
    assert picture.shape == (3, 20, 30)
    assert check_objects(objects, num_classes=20, in_shares=True).labels.tolist() == [found.classes.index("car")]
    with pytest.raises(IndexError, match="picture 2 of 2"):
        found[2]


def test_a_picture_without_objects_stays_unless_unwanted(root):
    found = VOC("2007", "val", root=root)
    assert found.boxes[0].shape == (0, 4)
    assert found.labels[0].dtype == torch.int64
    assert check_objects(found.objects(0)).difficult.shape == (0,)
    without = VOC("2007", "val", empty=False, root=root)
    assert (without.names, without.label.split(", ")[1]) == (["000004"], "1 picture")
    chosen = VOC("VOC2007", "all", classes=("dog", "cat"), empty=False, root=root)
    assert chosen.names == ["000001", "000004"]
    assert [labels.tolist() for labels in chosen.labels] == [[1, 0], [1]]


def test_a_photograph_of_both_years_is_taken_once(root):
    both = VOC((2007, 2012), "all", root=root)
    assert both.names == ["000001", "000002", "000003", "000004", "2007_000009", "2010_000001"]
    assert both.skipped == {"the same photograph again": 1}
    assert both.label.startswith("real VOC2007 and VOC2012 all, 6 of 7 pictures")


def test_no_photograph_is_trained_and_tested_on(root):
    train, test = VOC(2012, "all", root=root), VOC(2007, "train", root=root)
    with pytest.raises(DataError, match=r"1 photographs .* such as VOC2007/000001: train on train.without\(test\)"):
        require_apart(train, test)
    apart = train.without(test)
    assert apart.names == ["2007_000009", "2010_000001"]
    assert apart.skipped == {"in the other set": 1}
    require_apart(apart, test)
    require_apart(train, VOC(2007, "val", root=root))
    assert same_photos(test, train) == {"VOC2007/000001"}


def write_test_archive(root):
    """What VOC2007's test archive adds: pictures 000005 and 000009, their annotations and the list."""
    folder = dataset_files.write_voc(root, "VOC2007", {"000005": [CAR], "000009": [DOG]})
    write_list(folder, "Main/test", ["000005", "000009"])


def test_pictures_of_2007s_test_list_are_known_by_any_list(root):
    """2007_000009 is VOC2007's test picture 000009, which the list "all" holds too."""
    write_test_archive(root)
    train, test = VOC(2012, "all", root=root), VOC(2007, "test", root=root)
    with pytest.raises(DataError, match="such as VOC2007/000009"):
        require_apart(train, test)
    assert train.without(test).names == ["2007_000001", "2010_000001"]
    assert test.without(train).names == ["000005"]
    with pytest.raises(DataError, match="2 photographs"):
        require_apart(VOC(2007, "all", root=root), test)
    require_apart(VOC(2007, "train", root=root), test)


def test_years_in_two_folders_are_kept_apart_too(root, tmp_path):
    """One year without the other beside it: the number alone tells."""
    test = VOC(2007, "train", root=root)
    other = tmp_path / "other"
    dataset_files.write_voc(other, "VOC2012", {"2007_000001": [CAT], "2008_000001": [CAT]})
    assert VOC(2012, "all", root=other).without(test).names == ["2008_000001"]


def test_a_leak_planted_behind_a_split_is_found(root):
    """Somebody splits by picture instead of by photograph."""
    rows = VOC(2007, "all", root=root), VOC(2012, "all", root=root)
    both = SceneSet([*rows[0].scenes, *rows[1].scenes], rows[0].classes, kind="real", title="both years")
    train, test = both.select(range(1, 7)), both.select([0])
    with pytest.raises(DataError, match=r"1 photographs .* such as VOC2007/000001"):
        require_apart(train, test)
    for seed in range(5):
        require_apart(*split_by_photo(both, (0.5, 0.5), seed))


def test_the_split_goes_by_photograph(root):
    both = VOC((2007, 2012), "all", root=root)
    both.photos[1] = both.photos[0]
    parts = split_by_photo(both, (0.6, 0.4), seed=3)
    assert sorted(name for part in parts for name in part.names) == sorted(both.names)
    assert [len(set(part.photos)) for part in parts] == [3, 2] or [len(part) for part in parts] == [4, 2]
    assert any({"000001", "000002"} <= set(part.names) for part in parts)
    again = split_by_photo(both, (0.6, 0.4), seed=3)
    assert [part.names for part in again] == [part.names for part in parts]
    assert any(split_by_photo(both, (0.6, 0.4), seed=s)[0].names != parts[0].names for s in range(5))
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_photo(both, (0.5, 0.4))


def test_a_seed_gives_the_split_that_it_gave(root):
    """Weights that come with spikelab were trained on such a split."""
    both = VOC((2007, 2012), "all", root=root)
    order = ["2007_000009", "000001", "000002", "000003", "000004", "2010_000001"]  # only VOC2012's copy: in front
    drawn = [order[place] for place in torch.randperm(6, generator=torch.Generator().manual_seed(1)).tolist()]
    first, second = split_by_photo(both, (0.5, 0.5), seed=1)
    assert [set(first.names), set(second.names)] == [set(drawn[:3]), set(drawn[3:])]


def test_the_hash_is_that_of_pictures_and_objects(root, tmp_path):
    found = VOC(2007, "train", root=root)
    assert VOC(2007, "train", root=root).hash == found.hash
    assert found.select([1, 0]).hash != found.hash
    assert VOC(2007, "train", classes=("dog", "cat", "car"), root=root).hash != found.hash
    file = root / "VOCdevkit" / "VOC2007" / "Annotations" / "000002.xml"
    file.write_text(file.read_text().replace("<xmax>9", "<xmax>10"))
    assert VOC(2007, "train", root=root).hash != found.hash


@pytest.mark.parametrize(
    ("things", "words", "reason"),
    [
        ([("unicorn", 1, 1, 5, 5)], "shows a 'unicorn', which is none of the classes aeroplane, ", "unknown class"),
        ([("cat", 12, 6, 4, 20)], "the box of the cat, xmin 12, .* has no area", "box without area"),
        ([CAT, ("dog", 1, 1, 31, 20)], "the box of the dog, .* reaches beyond", "box outside the picture"),
        (None, "no whole XML file", "damaged annotation"),
        ("other size", "made for a picture of 40 x 20 pixels, but 000002.jpg has 30 x 20", "another size"),
        ("no picture", "000002.jpg is missing", "picture missing"),
    ],
)
def test_faulty_pictures_are_refused_or_counted(root, things, words, reason):
    folder = root / "VOCdevkit" / "VOC2007"
    file = folder / "Annotations" / "000002.xml"
    if isinstance(things, list):
        file.write_text(dataset_files.annotation((20, 30), *things))
    elif things is None:
        file.write_text(file.read_text()[:-9])
    elif things == "other size":
        file.write_text(dataset_files.annotation((20, 40), CAT))
    else:
        (folder / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(DataError, match=words) as caught:
        VOC(2007, "train", root=root)
    assert "000002" in str(caught.value)
    assert "lenient=True" in str(caught.value)
    found = VOC(2007, "train", lenient=True, root=root)
    assert found.names == ["000001"]
    (counted,) = set(found.skipped) - {"not there"}
    assert reason in counted


def test_wrong_arguments_and_absent_files(root, tmp_path):
    for arguments, words in (
        (((2008,), "train"), "years must be one of 'VOC2007', 'VOC2012', got 'VOC2008'"),
        (((2007, "VOC2007"), "train"), "each year once"),
        (((), "train"), "at least one"),
    ):
        with pytest.raises(ValueError, match=words):
            VOC(*arguments, root=root)
    with pytest.raises(ValueError, match=r"classes must be one of .* got 'unicorn'"):
        VOC(2007, "train", classes=("cat", "unicorn"), root=root)
    with pytest.raises(ValueError, match="different names"):
        VOC(2007, "train", classes=("cat", "cat"), root=root)
    with pytest.raises(DataError, match=r"no list 'train' .* 'SegmentationAug/val' or image_set='all'"):
        VOC(2012, "train", root=root)
    with pytest.raises(DataError, match=r"no list '../../x'"):
        VOC(2012, "../../x", root=root)
    with pytest.raises(DataError, match=r"no folder VOCdevkit/VOC2007 .* spikelab data fetch VOCdevkit"):
        VOC(2007, "train", kind="real", root=tmp_path / "elsewhere")
    write_list(root / "VOCdevkit" / "VOC2007", "Main/test", ["000500"])
    with pytest.raises(DataError, match=r"none of the 1 pictures .* the first would be 000500.jpg"):
        VOC(2007, "test", root=root)


# --- COCO ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path):
    pictures = {
        "b.jpg": ((20, 30), [(17, 3, 5, 9, 15, 0), (1, 0, 0, 5, 5, 0), (25, 10.5, 2, 4.25, 8, 1)]),
        "a.jpg": ((30, 20), [(16, 0, -0.5, 20.4, 30.5, 0)]),
        "c.jpg": ((20, 20), [(1, 0, 0, 5, 5, 0)]),
        "d.jpg": ((20, 20), []),
    }
    return dataset_files.write_coco(tmp_path, "train", pictures, CATEGORIES)


def test_coco_gives_the_animals(coco, tmp_path):
    found = Animals("train", root=tmp_path)
    assert found.names == ["a", "b"]
    assert found.classes == ANIMALS
    assert found.label == "real COCO animals, train, 2 pictures, 3 objects of 10 classes"
    assert torch.equal(found.boxes[0], torch.tensor([[0, 0, 1, 1]], dtype=torch.float64))  # cut off at the edge
    assert torch.allclose(found.boxes[1][0], torch.tensor([3 / 30, 5 / 20, 12 / 30, 1]).double())
    assert [[found.classes[label] for label in labels] for labels in found.labels] == [["bird"], ["cat", "giraffe"]]
    assert found.difficult[1].tolist() == [False, True]
    assert Animals("train", single=True, root=tmp_path).names == ["a"]
    assert Animals("train", classes=("giraffe",), root=tmp_path).names == ["b"]


def test_vocs_animals_have_cocos_numbers(root):
    found = Animals("all", root=root)  # no folder coco: VOC it is
    assert (found.source, found.classes) == ("voc", ANIMALS[:6])
    assert found.names == ["000001", "000004", "2007_000009"]
    assert [labels.tolist() for labels in found.labels] == [[1, 2], [1], [2]]
    assert found.label.startswith("real VOC2007 and VOC2012 animals, all, 3 of 4 pictures")
    assert Animals("all", source="voc", single=True, root=root).names == ["000004", "2007_000009"]
    with pytest.raises(ValueError, match=r"classes must be one of .* got 'zebra'"):
        Animals("all", source="voc", classes=("zebra",), root=root)


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["annotations"][0].update(bbox=[3, 5, -9, 15]), "object 0 of b.jpg: the box of the cat.* no area"),
        (lambda c: c["annotations"][0].update(bbox=[3, 5, 29, 15]), "reaches beyond the picture of 30 x 20"),
        (lambda c: c["annotations"][0].update(bbox=[40, 5, 3, 3]), "reaches beyond the picture"),
        (lambda c: c["annotations"][0].update(bbox=[3, 5, 9]), r"bbox of four numbers, got \[3, 5, 9\]"),
        (lambda c: c["annotations"][0].update(bbox=[3, 5, 9, "x"]), "bbox of four numbers"),
        (lambda c: c["annotations"][0].update(bbox=[3, 5, 9, float("nan")]), "bbox of four numbers"),
        (lambda c: c["images"][0].update(width=31), "made for a picture of 31 x 20 pixels, but b.jpg has 30 x 20"),
    ],
)
def test_faults_of_one_picture_are_refused_or_counted(coco, tmp_path, change, words):
    changed(coco, change)
    with pytest.raises(DataError, match=words):
        Animals("train", root=tmp_path)
    found = Animals("train", lenient=True, root=tmp_path)
    assert found.names == ["a"]
    assert sum(found.skipped.values()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("images"), "no list of images"),
        (lambda c: c.update(annotations={}), "no list of annotations"),
        (lambda c: c["annotations"][0].update(category_id=99), "object 0 of b.jpg is of category 99, which is not"),
        (lambda c: c["annotations"][0].update(image_id=99), "object 0 is in picture 99, which is not listed"),
        (lambda c: c["annotations"][0].update(image_id="x"), "whole number as image_id, got 'x'"),
        (lambda c: c["images"][0].update(file_name="../b.jpg"), "file_name without folders"),
        (lambda c: c["images"][0].update(height=0), "height and width in whole numbers of pixels, got 0"),
        (lambda c: c["categories"].pop(), "lists no category giraffe|category 25, which is not listed"),
        (None, "is no whole JSON file"),
        ("[]", "no list of images"),
    ],
)
def test_a_file_that_is_none_of_cocos_is_refused(coco, tmp_path, change, words):
    if callable(change):
        changed(coco, change)
    else:
        coco.write_text(coco.read_text()[:-7] if change is None else change)
    with pytest.raises(DataError, match=words) as caught:
        Animals("train", lenient=True, root=tmp_path)
    assert str(coco) in str(caught.value)


def test_coco_absent(coco, tmp_path):
    with pytest.raises(DataError, match=r"instances_val2017.json is missing"):
        Animals("val", root=tmp_path)
    with pytest.raises(ValueError, match="image_set must be one of 'train', 'val', 'all'"):
        Animals("test", root=tmp_path)
    assert read_instances(coco).things(13) == ()


# --- pictures of one size --------------------------------------------------------------------------------------------


def test_pictures_of_mixed_sizes_get_one_size(coco, tmp_path):
    found = Animals("train", root=tmp_path)
    scenes = load_scenes(found, (60, 60), progress=False)
    assert scenes.images.shape == (2, 3, 60, 60)
    assert scenes.images.dtype == torch.uint8
    assert (scenes.images[0, :, :, :10] == 128).all()  # tall: bars left and right
    assert (scenes.images[1, :, :10] == 128).all()
    assert torch.allclose(scenes.objects[0].boxes, torch.tensor([[10 / 60, 0, 50 / 60, 1]]))
    assert scenes.objects[1].boxes.dtype == torch.float32
    again = load_scenes(found, (60, 60), progress=False)
    assert torch.equal(again.images, scenes.images)
    assert len(list((tmp_path / "cache" / "spikelab" / "pictures").glob("[!.]*"))) == 1
    stretched = load_scenes(found, (60, 60), fit="stretch", colour="gray", cache=False)
    assert stretched.images.shape == (2, 1, 60, 60)
    assert torch.equal(stretched.objects[1].boxes, found.boxes[1].float())
    assert len(load_scenes(found.select([]), (8, 8), cache=False).images) == 0
    with pytest.raises(ValueError, match="fit must be one of 'letterbox', 'stretch'"):
        load_scenes(found, (60, 60), fit="crop")


def test_a_damaged_picture_is_named(coco, tmp_path):
    found = Animals("train", root=tmp_path)
    file = tmp_path / "coco" / "train2017" / "a.jpg"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a.jpg is no whole picture"):
        load_scenes(found, (8, 8), cache=False, progress=False)
    Image.new("L", (20, 30)).save(file)  # another mode is none of our business
    assert load_scenes(found, (8, 8), cache=False, progress=False).images.shape == (2, 3, 8, 8)
