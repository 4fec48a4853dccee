"""Pets: boxes from the original files, ways to split, the guard against leaks, and every fault of a file."""

import json
from collections import Counter

import dataset_files
import numpy as np
import pytest
import torch
from PIL import Image

from spikelab.datasets import DataError, Pets, box_from_trimap, course_splits, load_pictures, read_head_box, read_trimap
from spikelab.datasets import pets as module
from spikelab.datasets.pets import FOLDER, SPLITS, TARGETS, breed, names_of_split, share_by_group
from spikelab.datasets.pictures import ORIENTATION
from spikelab.datasets.voc import photograph

HEAD = (7 / 30, 2 / 20, 15 / 30, 7 / 20)  # of dataset_files.write_pets
BODY = (5 / 30, 3 / 20, 22 / 30, 13 / 20)  # with the border
INNER = (6 / 30, 4 / 20, 21 / 30, 12 / 20)
CAT = ("cat", 4, 6, 12, 20)
CAT_BOX = (3 / 30, 5 / 20, 12 / 30, 1.0)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SPIKELAB_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def of_course(name, source=FOLDER, count=4):
    """The first names of one of the course's lists that belong to a folder."""
    return [key.split("/")[1] for key in names_of_split(name) if key.startswith(source)][:count]


def close(boxes, *expected):
    return np.allclose(np.asarray(boxes).reshape(-1, 4), np.asarray(expected))


# Boxes


def test_the_box_of_a_trimap_is_that_of_pet_and_border():
    mask = np.full((10, 20), 2)
    mask[3:6, 4:10] = 3
    mask[4, 5:9] = 1
    assert box_from_trimap(mask).tolist() == [0.2, 0.3, 0.5, 0.6]
    assert box_from_trimap(mask, border=False).tolist() == [0.25, 0.4, 0.45, 0.5]
    assert torch.equal(box_from_trimap(torch.from_numpy(mask)), box_from_trimap(mask.astype(np.uint8)))
    assert box_from_trimap(mask).dtype == torch.float64


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((4, 4), 2), "no pixel is 1"),
        (np.full((4, 4), 3), "no pixel is 1"),
        (np.eye(4, dtype=int), r"1 \(pet\), 2 \(background\) and 3 \(border\) only, got \[0\]"),
        (np.full((4, 4), 255), r"got \[255\]"),
        (np.ones((4, 4, 3), dtype=int), r"shape \[H, W\], got \(4, 4, 3\)"),
    ],
)
def test_masks_without_a_pet_have_no_box(mask, words):
    for border in (True, False):
        with pytest.raises(ValueError, match=words):
            box_from_trimap(mask, border)


def test_a_trimap_is_read_as_it_was_written(root):
    mask = dataset_files.write_trimap(root / "a.png")
    assert np.array_equal(read_trimap(root / "a.png"), mask)
    image = Image.fromarray(mask, mode=None).convert("P")  # some copies have a palette
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.putdata(mask.ravel().tolist())
    image.save(root / "palette.png")
    assert np.array_equal(read_trimap(root / "palette.png"), mask)


def test_faults_of_a_trimap_are_named(root):
    path = root / "a.png"
    with pytest.raises(DataError, match=r"a\.png is missing"):
        read_trimap(path)
    dataset_files.write_trimap(path)
    path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(DataError, match=r"a\.png is no whole picture"):
        read_trimap(path)
    Image.fromarray(np.full((4, 4), 2, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"a\.png: mask must hold a pet: no pixel is 1: correct the file"):
        read_trimap(path)
    dataset_files.write_picture(path)
    with pytest.raises(DataError, match=r"a\.png: mask must have shape \[H, W\]"):
        read_trimap(path)


def test_the_head_counts_pixels_from_one(root):
    (root / "a.xml").write_text(dataset_files.annotation((20, 30), ("cat", 1, 1, 30, 20)))
    assert read_head_box(root / "a.xml") == (0, 0, 1, 1)
    (root / "a.xml").write_text(dataset_files.annotation((20, 30), ("cat", 8, 3, 15, 7)))
    assert close(read_head_box(root / "a.xml"), HEAD)
    (root / "a.xml").write_text(dataset_files.annotation((20, 30), CAT, CAT))
    with pytest.raises(DataError, match=r"a\.xml must hold one box, that of the head, but holds 2"):
        read_head_box(root / "a.xml")


# The course's split


def test_heads_of_the_course(root):
    names = of_course("head_train", count=5)
    dataset_files.write_pets(root, names, trimaps=False)
    found = Pets("head", "train")
    assert found.names == names
    assert close(found.boxes, *[HEAD] * 5)
    assert found.sizes.tolist() == [[20, 30]] * 5
    assert found.groups == [breed(name) for name in names]
    assert set(found.sources) == {"oxford-iiit-pet head"}
    assert (found.kind, found.skipped, found.listed) == ("real", {}, 2671)
    assert found.label == "real pet heads of Oxford-IIIT-Pet, 5 of 2,671 pictures"
    assert found[0][0].shape == (3, 20, 30)


def test_bodies_of_the_course(root):
    names = of_course("body_test", count=3)
    dataset_files.write_pets(root, names, heads=False)
    assert close(Pets("body", "test").boxes, *[BODY] * 3)
    without = Pets("body", "test", border=False)
    assert close(without.boxes, *[INNER] * 3)
    assert without.hash != Pets("body", "test").hash


def test_bodies_to_train_on_come_from_trimaps_polygons_and_voc(root):
    ours = of_course("body_train", count=3)
    older, newer = (of_course("body_train", year, 2) for year in ("VOC2007", "VOC2012"))
    folder = dataset_files.write_pets(root, ours, heads=False)
    polygon = {name: [[0.25, 0.5], [0.75, 0.125], [0.5, 0.875]] for name in ours[1:]}
    (folder / "annotations" / "foreground_polygons.json").write_text(json.dumps(polygon))
    (folder / "annotations" / "trimaps" / f"{ours[2]}.png").unlink()
    for year, names in (("VOC2007", older), ("VOC2012", newer)):
        dataset_files.write_voc(root, year, {name: [CAT] for name in names})
    found = Pets("body", "train")
    by_name = dict(zip(found.names, zip(found.sources, found.boxes.tolist(), strict=True), strict=True))
    assert Counter(found.sources) == {
        "oxford-iiit-pet trimap": 2,
        "oxford-iiit-pet polygon": 1,
        "VOC2007": 2,
        "VOC2012": 2,
    }
    assert by_name[ours[1]][0] == "oxford-iiit-pet trimap"  # although it has a polygon too
    assert close(by_name[ours[1]][1], BODY)
    assert close(by_name[ours[2]][1], (0.25, 0.125, 0.75, 0.875))
    assert close(by_name[older[0]][1], CAT_BOX)
    assert found.label == "real pet bodies of Oxford-IIIT-Pet, VOC2007 and VOC2012, 7 of 2,738 pictures"
    images, boxes = load_pictures(found, (10, 15))
    assert (images.shape, boxes.shape) == ((7, 3, 10, 15), (7, 4))


def test_animals_of_the_course(root):
    names = of_course("animal_validation", "VOC2012", 3)
    dataset_files.write_voc(root, "VOC2012", {name: [CAT] for name in names})
    found = Pets("animal", "validation")
    assert close(found.boxes, *[CAT_BOX] * 3)
    assert (found.groups, found.names) == (["cat"] * 3, names)
    assert found.label == "real single animals of VOC2012, 3 of 150 pictures"


def test_sizes_of_the_courses_lists():
    sizes = {(target, split): len(names_of_split(f"{target}_{split}")) for target in TARGETS for split in SPLITS}
    assert [sizes["head", split] for split in SPLITS] == [2671, 300, 700]
    assert [sizes["body", split] for split in SPLITS] == [2738, 100, 292]
    assert [sizes["animal", split] for split in SPLITS] == [1595, 150, 248]
    assert Counter(key.split("/")[0] for key in names_of_split("body_train")) == {
        FOLDER: 636,
        "VOC2012": 1617,
        "VOC2007": 485,
    }
    assert len(set(names_of_split("pets_paper_test"))) == 1349


def test_no_picture_is_held_out_for_one_target_and_trained_on_for_another():
    """Nor its copy in the other year of VOC."""
    lists = {
        (target, split): [photograph(*key.split("/")) for key in names_of_split(f"{target}_{split}")]
        for target in TARGETS
        for split in SPLITS
    }
    trained = {key for (_, split), names in lists.items() if split == "train" for key in names}
    for (target, split), names in lists.items():
        assert len(set(names)) == len(names)
        if split != "train":
            assert not trained & set(names), (target, split)
        if split == "test":
            validated = {key for (_, other), more in lists.items() if other == "validation" for key in more}
            assert not validated & set(names), target


@pytest.mark.parametrize(
    "copies",
    [
        ("keeshond_104", "keeshond_170"),
        ("Bombay_107", "Bombay_132", "Bombay_19"),
        ("Abyssinian_122", "Abyssinian_172"),
        ("boxer_162", "boxer_172"),  # one of them gray
    ],
)
def test_copies_of_a_picture_are_not_held_out(copies):
    held = {key for target in TARGETS for split in SPLITS[1:] for key in names_of_split(f"{target}_{split}")}
    assert not held & {f"{FOLDER}/{name}" for name in copies}


def test_pictures_of_2007_that_are_also_of_2012_are_left_out():
    """VOC2012 took over pictures of VOC2007: its 2007_NNNNNN is NNNNNN there."""
    lists = [names_of_split(f"{target}_{split}") for target in TARGETS for split in SPLITS]
    older = {key.split("/")[1] for names in lists for key in names if key.startswith("VOC2007")}
    newer = {key.split("/")[1] for names in lists for key in names if key.startswith("VOC2012")}
    assert older
    assert not older & {name.removeprefix("2007_") for name in newer}


@pytest.mark.parametrize(("name", "share"), [("head_test", 700 / 3671), ("head_validation", 300 / 3671)])
def test_each_breed_has_its_share_of_the_heads(name, share):
    counts = Counter(breed(key) for split in SPLITS for key in names_of_split(f"head_{split}"))
    drawn = Counter(map(breed, names_of_split(name)))
    assert len(counts) == 37
    assert all(abs(drawn[kind] - share * count) < 1 for kind, count in counts.items())


def test_each_breed_has_its_share_of_the_bodies():
    """692 trimaps: 200 of American bulldogs, 200 of Bengals, 199 of Abyssinians, and few of the others."""
    drawn = Counter(breed(key).split("/")[1] for key in names_of_split("body_test"))
    assert drawn["american_bulldog"] == drawn["Bengal"] == drawn["Abyssinian"] == 84
    assert len(drawn) == 30


def test_the_test_heads_and_bodies_agree():
    """A picture with both annotations has one role: those that test both are drawn once."""
    tested = [set(names_of_split(f"{target}_test")) for target in ("head", "body")]
    annotated = [
        {key for split in SPLITS for key in names_of_split(f"{target}_{split}")} for target in ("head", "body")
    ]
    assert tested[0] & annotated[1] == tested[1] & annotated[0]
    assert len(tested[0] & tested[1]) > 50


# Other ways to split


def small_set(root, per_breed=10, breeds=("Bengal", "pug", "english_setter"), **options):
    names = [f"{kind}_{number}" for kind in breeds for number in range(1, per_breed + 1)]
    folder = dataset_files.write_pets(root, names, **options)
    half = [name for i, name in enumerate(names) if i % 2]
    dataset_files.write_pet_lists(root, half, [name for name in names if name not in half])
    return folder, names, half


@pytest.mark.parametrize("scheme", ["official", "stratified", "paper"])
@pytest.mark.parametrize("target", ["head", "body"])
def test_splits_share_out_all_pictures(root, scheme, target, monkeypatch):
    _, names, half = small_set(root)
    paper = [f"{FOLDER}/{name}" for name in names[::5]]
    monkeypatch.setattr(module, "names_of_split", {"pets_paper_test": paper}.get)
    splits = {split: Pets(target, split, scheme=scheme) for split in SPLITS}
    assert sorted(name for found in splits.values() for name in found.names) == sorted(names)
    assert all(len(found) for found in splits.values())
    if scheme == "official":
        assert sorted(splits["train"].names + splits["validation"].names) == sorted(half)
    if scheme == "paper":
        assert splits["test"].names == sorted(names[::5])
    if scheme == "stratified":
        assert Counter(splits["test"].groups) == {"Bengal": 2, "pug": 2, "english_setter": 2}
        assert Counter(splits["validation"].groups) == {"Bengal": 1, "pug": 1, "english_setter": 1}
    again = Pets(target, "train", scheme=scheme)
    assert again.names == splits["train"].names


def test_a_share_does_not_depend_on_the_order_of_the_names():
    names = [f"{kind}_{number}" for kind in "abc" for number in range(20)]
    drawn = share_by_group(names, 0.25, 3)
    assert Counter(map(breed, drawn)) == {"a": 5, "b": 5, "c": 5}
    assert share_by_group(reversed(names), 0.25, 3) == drawn
    assert share_by_group(names, 0.25, 4) != drawn


def test_pictures_without_an_annotation_are_only_counted_outside_the_course(root):
    folder, _, half = small_set(root)
    (folder / "annotations" / "xmls" / f"{half[0]}.xml").unlink()
    (folder / "images" / f"{half[1]}.jpg").unlink()
    found = [Pets("head", split, scheme="official") for split in ("train", "validation")]
    assert sum(map(len, found)) == len(half) - 2
    assert sum(one.listed for one in found) == len(half)


def test_a_split_without_any_head_says_why(root):
    folder, _, half = small_set(root)
    for path in (folder / "annotations" / "xmls").iterdir():
        if path.stem not in half:
            path.unlink()
    with pytest.raises(DataError, match=r"none of the 15 pictures .*head boxes were published for the official"):
        Pets("head", "test", scheme="official")


def test_missing_lists_are_named(root):
    dataset_files.write_pets(root, ["pug_1"])
    with pytest.raises(DataError, match=r"trainval\.txt is missing: fetch the data set again"):
        Pets("head", scheme="official")


# Where the files are


def test_folders_that_are_not_the_set_are_named(root):
    with pytest.raises(DataError, match=r"no folder oxford-iiit-pet in .*: spikelab data fetch oxford-iiit-pet"):
        Pets("head", kind="real")
    with pytest.raises(DataError, match=r"no folder VOCdevkit/VOC2012 in .*: spikelab data fetch VOCdevkit, or set"):
        Pets("animal", kind="real")
    (root / FOLDER / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is not the Oxford-IIIT-Pet set: it holds no images and no annotations"):
        Pets("head")
    (root / FOLDER / "images").mkdir()
    with pytest.raises(DataError, match=r"it holds no annotations\. Name the folder above it"):
        Pets("body")
    (root / FOLDER / "annotations").mkdir()
    with pytest.raises(DataError, match=r"none of the 700 pictures of the split 'test' is there"):
        Pets("head", "test")
    (root / "VOCdevkit" / "VOC2012").mkdir(parents=True)
    with pytest.raises(DataError, match=r"VOC2012 is not PASCAL VOC: it holds no JPEGImages and no Annotations"):
        Pets("animal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "tail"}, "target must be one of 'body', 'head', 'animal', got 'tail'"),
        ({"split": "val"}, "split must be one of 'train', 'validation', 'test', got 'val'"),
        ({"scheme": "random"}, "scheme must be one of"),
        ({"kind": "simulated"}, "kind must be one of"),
        ({"target": "animal", "scheme": "paper"}, "scheme must be 'course' for the target 'animal', got 'paper'"),
    ],
)
def test_unknown_words_are_said(arguments, words):
    with pytest.raises(ValueError, match=words):
        Pets(**arguments)


def test_a_copy_elsewhere_is_the_same_set(root, tmp_path):
    names = of_course("head_test", count=3)
    dataset_files.write_pets(root, names)
    dataset_files.write_pets(tmp_path / "other", names)
    assert Pets("head", "test").hash == Pets("head", "test", root=tmp_path / "other").hash
    assert Pets("head", "test").hash != Pets("body", "test").hash


def stand_in(folder):
    """The layout of the stand-in, with files of this test."""
    names = [f"Breed_{i}_{number}" for i in range(3) for number in range(1, 11)]
    dataset_files.write_pets(folder, names)
    dataset_files.write_pet_lists(folder, names[:20], names[20:])
    voc = dataset_files.write_voc(folder, "VOC2012", {f"2012_{i:06}": [CAT] for i in range(12)})
    lists = voc / "ImageSets" / "SegmentationAug"
    lists.mkdir(parents=True)
    for name, numbers in (("train_aug", range(10)), ("val", range(10, 12))):
        (lists / f"{name}.txt").write_text("".join(f"2012_{i:06}\n" for i in numbers))
    (folder / "MANIFEST.json").write_text("{}")
    return folder


def test_without_data_the_stand_in_is_made_and_said(root, tmp_path, monkeypatch):
    from spikelab.datasets import pets_synthetic

    monkeypatch.setattr(pets_synthetic, "make_synthetic_pets", lambda: stand_in(tmp_path / "made"))
    found = Pets("head", "test")
    assert (found.kind, len(found)) == ("synthetic", 10)
    assert found.label == "synthetic stand-in: drawn animals (pet heads), 10 of 10 pictures"


def test_the_stand_in_has_all_targets_splits_and_schemes(root):
    stand_in(root / "pets-synthetic")
    for target, sizes in (("body", (18, 2, 10)), ("head", (18, 2, 10)), ("animal", (9, 1, 2))):
        splits = [Pets(target, split, kind="synthetic") for split in SPLITS]
        assert tuple(map(len, splits)) == sizes, target
        assert len({name for found in splits for name in found.names}) == sum(sizes)
    assert Pets("body", "test", kind="synthetic", scheme="paper").names == Pets("body", "test").names
    assert len(Pets("body", "test", kind="synthetic", scheme="stratified")) == 6


# Faults of the files


def missing(path, picture):
    path.unlink()


def cut(path, picture):
    path.write_bytes(path.read_bytes()[:70])


def xml(*things, size=(20, 30)):
    def write(path, picture):
        path.write_text(dataset_files.annotation(size, *things))

    return write


def mask(values):
    def write(path, picture):
        Image.fromarray(np.resize(np.array(values, dtype=np.uint8), (20, 30))).save(path)

    return write


def other_picture(size=(20, 30), mode="RGB", orientation=None, keep=1.0):
    def write(path, picture):
        exif = Image.Exif()
        if orientation:
            exif[ORIENTATION] = orientation
        Image.new(mode, size[::-1]).save(picture, exif=exif)
        raw = picture.read_bytes()
        picture.write_bytes(raw[: int(len(raw) * keep)])

    return write


FAULTS = {
    "missing trimap": ("body", missing, r"trimaps/NAME\.png is missing: fetch", "trimap missing"),
    "cut trimap": ("body", cut, r"NAME\.png is no whole picture .*: fetch", "damaged trimap"),
    "mask without a pet": ("body", mask([2]), r"NAME\.png: mask must hold a pet: no .*correct", "mask without a pet"),
    "mask of border only": ("body", mask([3, 2]), r"NAME\.png: mask must hold a pet", "mask without a pet"),
    "mask of other values": ("body", mask([0, 1]), r"NAME\.png: mask must hold 1 .* got \[0\]", "damaged trimap"),
    "missing head": ("head", missing, r"xmls/NAME\.xml is missing: fetch", "annotation missing"),
    "cut head": ("head", cut, r"NAME\.xml is no whole XML file .*: fetch", "damaged annotation"),
    "no object": ("head", xml(), r"NAME\.xml names no object: fetch", "nothing annotated"),
    "two heads": ("head", xml(CAT, CAT), r"NAME\.xml must hold one box", "several boxes"),
    "box outside": ("head", xml(("cat", 8, 3, 31, 7)), r"NAME\.xml: .* beyond .*correct", "box outside the picture"),
    "box before": ("head", xml(("cat", 0, 3, 9, 7)), r"NAME\.xml: .* beyond .*correct", "box outside the picture"),
    "box without area": ("head", xml(("cat", 8, 3, 8, 7)), r"NAME\.xml: .* has no area: co", "box without area"),
    "other size": (
        "head",
        xml(CAT, size=(20, 31)),
        r"NAME\.xml was made for .* 31 x 20 .*NAME\.jpg has",
        "another size",
    ),
    "mask of other size": ("body", other_picture((40, 60)), r"NAME\.png was made for .* 30 x 20", "another size"),
    "turned": ("head", other_picture((20, 30), orientation=3), r"NAME\.jpg is turned by its EXIF", "turned by EXIF"),
    "turned aside": ("head", other_picture(orientation=6), r"NAME\.jpg is turned by its EXIF", "turned by EXIF"),
    "not a picture": ("head", other_picture(keep=0.02), r"NAME\.jpg is no whole picture", "damaged picture"),
    "no object in VOC": ("animal", xml(), r"NAME\.xml names no object", "nothing annotated"),
    "two animals": ("animal", xml(CAT, CAT), r"NAME\.xml must name one object", "not one animal"),
    "box outside in VOC": ("animal", xml(("cat", 4, 6, 12, 21)), r"NAME\.xml: .* beyond", "box outside the picture"),
    "annotation missing in VOC": ("animal", missing, r"Annotations/NAME\.xml is missing", "annotation missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_or_counted(root, fault):
    target, spoil, words, reason = FAULTS[fault]
    if target == "animal":
        names = of_course("animal_test", "VOC2012", 4)
        folder = dataset_files.write_voc(root, "VOC2012", {name: [CAT] for name in names})
        annotated, picture = folder / "Annotations" / f"{names[2]}.xml", folder / "JPEGImages" / f"{names[2]}.jpg"
    else:
        names = of_course(f"{target}_test")
        folder = dataset_files.write_pets(root, names)
        part = f"trimaps/{names[2]}.png" if target == "body" else f"xmls/{names[2]}.xml"
        annotated, picture = folder / "annotations" / part, folder / "images" / f"{names[2]}.jpg"
    assert Pets(target, "test").names == names
    spoil(annotated, picture)
    with pytest.raises(DataError, match=words.replace("NAME", names[2])) as caught:
        Pets(target, "test")
    assert "leave such pictures out with lenient=True" in str(caught.value)
    found = Pets(target, "test", lenient=True)
    assert found.names == [name for name in names if name != names[2]]
    assert list(found.skipped.values()) == [1]
    assert reason in next(iter(found.skipped))
    assert " 3 of " in found.label
    assert load_pictures(found, (8, 8))[0].shape == (3, 3, 8, 8)


def test_a_picture_cut_off_in_the_middle_is_named_when_read_and_left_out_when_lenient(root):
    """Its head is whole, so only reading it to its end tells."""
    names = of_course("head_test")
    folder = dataset_files.write_pets(root, names)
    path = folder / "images" / f"{names[1]}.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    found = Pets("head", "test")
    with pytest.raises(DataError, match=rf"{names[1]}\.jpg is no whole picture .*truncated"):
        load_pictures(found, (8, 8))
    with pytest.raises(DataError, match=rf"{names[1]}\.jpg is no whole picture"):
        found[1]
    lenient = Pets("head", "test", lenient=True)
    assert (len(lenient), lenient.skipped) == (3, {"damaged picture": 1})


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_pictures_are_taken(root, mode):
    names = of_course("head_test")
    folder = dataset_files.write_pets(root, names)
    other_picture(mode=mode)(None, folder / "images" / f"{names[1]}.jpg")
    assert load_pictures(Pets("head", "test"), (8, 8))[0].shape == (4, 3, 8, 8)


def test_sixteen_bit_pictures_are_taken(root):
    names = of_course("head_test")
    folder = dataset_files.write_pets(root, names)
    Image.fromarray(np.full((20, 30), 30_000, dtype=np.uint16)).save(root / "a.png")
    (root / "a.png").rename(folder / "images" / f"{names[1]}.jpg")
    assert load_pictures(Pets("head", "test"), (8, 8))[0][1].unique().tolist() == [117]


def test_a_picture_turned_together_with_its_box_is_taken(root):
    """30 x 20 pixels in the file, 20 x 30 shown and annotated."""
    names = of_course("head_test", count=1)
    folder = dataset_files.write_pets(root, names)
    other_picture((30, 20), orientation=6)(None, folder / "images" / f"{names[0]}.jpg")
    found = Pets("head", "test")
    assert found.sizes.tolist() == [[20, 30]]
    assert found[0][0].shape == (3, 20, 30)


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ([[0.1, 0.2], [1.01, 0.5], [0.4, 0.4]], "beyond the picture"),
        ([[0.1, 0.2], [0.1, 0.5], [0.1, 0.4]], "has no area"),
        ([[0.1, 0.2], [0.1]], "is no list of"),
        ([], "is no list of"),
        ("none", "is no list of"),
    ],
)
def test_faults_of_a_polygon_are_named(root, corners, words):
    names = of_course("body_train")
    folder = dataset_files.write_pets(root, names)
    (folder / "annotations" / "trimaps" / f"{names[0]}.png").unlink()
    path = folder / "annotations" / "foreground_polygons.json"
    path.write_text(json.dumps({names[0]: corners}))
    with pytest.raises(DataError, match=rf"foreground_polygons\.json: .*{names[0]} .*{words}"):
        Pets("body", "train")
    assert len(Pets("body", "train", lenient=True)) == 3
    path.write_text("{")
    with pytest.raises(DataError, match=r"foreground_polygons\.json is no JSON"):
        Pets("body", "train")
    path.write_text("[1]")
    with pytest.raises(DataError, match=r"foreground_polygons\.json must hold the polygon of each picture"):
        Pets("body", "train")


def test_if_every_picture_is_faulty_it_is_an_error_all_the_same(root):
    names = of_course("head_test")
    folder = dataset_files.write_pets(root, names)
    for path in (folder / "annotations" / "xmls").iterdir():
        xml()(path, None)
    with pytest.raises(DataError, match=r"were left out \(4 with nothing annotated\)"):
        Pets("head", "test", lenient=True)


# How the lists were drawn


@pytest.fixture
def found():
    """Three breeds: many trimaps but few heads, heads only, a few of both; and VOC's animals."""
    heads = [f"{kind}_{n}" for kind in ("A", "b_c", "D") for n in range(100)]
    trimaps = [f"A_{n}" for n in range(50, 250)] + [f"D_{n}" for n in range(20)]
    animals = {f"2008_{n:06}": "cat" if n % 3 else "dog" for n in range(90)}
    return course_splits.Found(
        heads=heads,
        trimaps=trimaps,
        polygons=[f"b_c_{n}" for n in range(10)] + ["D_3", "A_0"],
        everything=[f"x_{n}" for n in range(2000)],
        animals={"VOC2012": animals, "VOC2007": {"000001": "cow"}},
        tested=[f"2008_{n:06}" for n in range(20)] + ["2008_009999"],
        trained=[f"2008_{n:06}" for n in range(20, 85)],
        copies=[f"{FOLDER}/D_50", f"{FOLDER}/D_51", f"{FOLDER}/A_60", "VOC2012/2008_000030"],
    )


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(course_splits, "HEADS", {"test": 60, "validation": 30})
    monkeypatch.setattr(course_splits, "BODIES", {"test": 88, "validation": 33})
    monkeypatch.setattr(course_splits, "ANIMAL_VALIDATION", 12)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_lists_keep_their_promises(found, few, seed):
    lists = course_splits.draw(found, seed)
    assert [len(lists[f"head_{split}"]) for split in SPLITS] == [210, 30, 60]
    assert [len(lists[f"body_{split}"]) for split in SPLITS[1:]] == [33, 88]
    assert [len(lists[f"animal_{split}"]) for split in SPLITS] == [53, 12, 20]
    assert len(lists["pets_paper_test"]) == 1349
    held = {key for target in TARGETS for split in SPLITS[1:] for key in lists[f"{target}_{split}"]}
    trained = {key for target in TARGETS for key in lists[f"{target}_train"]}
    assert not held & trained
    assert not held & set(found.copies)
    assert set(found.copies) <= trained
    assert {f"{FOLDER}/{name}" for name in found.polygons if name not in found.trimaps} <= trained
    assert Counter(breed(key) for key in lists["head_test"]) == {f"{FOLDER}/{kind}": 20 for kind in ("A", "b_c", "D")}
    assert Counter(breed(key) for key in lists["body_test"]) == {f"{FOLDER}/A": 80, f"{FOLDER}/D": 8}
    assert Counter(found.animals["VOC2012"][key.split("/")[1]] for key in lists["animal_validation"]) == {
        "cat": 8,
        "dog": 4,
    }
    assert "VOC2007/000001" in lists["body_train"]
    assert all(f"VOC2012/2008_{n:06}" in lists["body_train"] for n in range(85, 90))
    assert course_splits.draw(found, seed) == lists


def test_another_seed_draws_other_pictures(found, few):
    assert course_splits.draw(found, 0)["head_test"] != course_splits.draw(found, 1)["head_test"]


def test_too_few_pictures_to_hold_out_are_said(found, few):
    with pytest.raises(ValueError, match="D has too few pictures that may be held out"):
        course_splits.draw(found._replace(copies=[f"{FOLDER}/D_{n}" for n in range(99)]))


def test_copies_are_found_whatever_their_light():
    rng = np.random.default_rng(0)
    pictures = {f"{FOLDER}/{n}": rng.integers(0, 256, (16, 16)).astype(np.uint8) for n in range(600)}
    pictures[f"{FOLDER}/dark copy"] = (pictures[f"{FOLDER}/7"] * 0.5).astype(np.uint8)
    pictures["VOC2012/copy"] = pictures[f"{FOLDER}/590"]
    noisy = pictures[f"{FOLDER}/3"] + rng.normal(0, 14, (16, 16))  # .98 alike: enough among pets, not with VOC
    pictures["VOC2012/similar"] = noisy
    copies = course_splits.find_copies(pictures, pictures.get)
    assert set(copies) == {f"{FOLDER}/7", f"{FOLDER}/dark copy", f"{FOLDER}/590", "VOC2012/copy"}
    pictures[f"{FOLDER}/similar"] = noisy
    assert f"{FOLDER}/3" in course_splits.find_copies(pictures, pictures.get)


def test_the_lists_are_drawn_from_what_is_on_the_disk(root, tmp_path, monkeypatch):
    monkeypatch.setattr(course_splits, "HEADS", {"test": 4, "validation": 2})
    monkeypatch.setattr(course_splits, "BODIES", {"test": 4, "validation": 2})
    monkeypatch.setattr(course_splits, "ANIMAL_VALIDATION", 1)
    monkeypatch.setattr(course_splits, "PAPER_TEST", 5)
    folder, names, _ = small_set(root, breeds=("Bengal", "pug"))
    (folder / "annotations" / "foreground_polygons.json").write_text(json.dumps({names[0]: [[0, 0], [1, 1]]}))
    (folder / "images" / f"{names[1]}.jpg").unlink()
    later = [*(f"2008_{n:06}" for n in range(5)), "2007_000002"]  # the last one is VOC2007's 000002
    voc = dataset_files.write_voc(root, "VOC2012", {name: [CAT] for name in later})
    dataset_files.write_voc(root, "VOC2007", {"000001": [CAT], "000002": [CAT], "000003": [("bird", 1, 1, 9, 9)]})
    lists = voc / "ImageSets" / "SegmentationAug"
    lists.mkdir(parents=True)
    (lists / "train_aug.txt").write_text("2008_000001\n2008_000002\n2008_000003\n")
    (lists / "val.txt").write_text("2008_000000\n")
    written = course_splits.make_course_splits(tmp_path / "lists")
    texts = {path.stem: path.read_text().splitlines() for path in written}
    assert texts["animal_test"] == [
        "# animal_test: 1 pictures, drawn by spikelab.datasets.course_splits",
        "VOC2012/2008_000000",
    ]
    sizes = {name: len(lines) - 1 for name, lines in texts.items()}
    assert sizes == {
        **{"head_train": 13, "head_validation": 2, "head_test": 4},
        **{"body_train": 13 + 1 + 4, "body_validation": 2, "body_test": 4},
        **{"animal_train": 2, "animal_validation": 1, "animal_test": 1, "pets_paper_test": 5},
    }
    assert [line for line in texts["body_train"] if "VOC2007" in line] == ["VOC2007/000001"]
    assert not any(
        names[1] == line.split("/")[-1] for name, lines in texts.items() if "paper" not in name for line in lines
    )
