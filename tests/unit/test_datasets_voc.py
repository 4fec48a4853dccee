"""VOC's annotations and lists: what is read, and what is wrong with those that are not."""

import dataset_files
import pytest

from spikelab.datasets import DataError, read_annotation
from spikelab.datasets.voc import (
    image_set,
    photograph,
    pictures_in_both_years,
    read_single,
    single_animals,
    year_folder,
)

SIZE = (20, 30)
CAT = ("cat", 4, 6, 12, 20)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.xml"


def test_boxes_are_half_open_shares(path):
    path.write_text(dataset_files.annotation(SIZE, CAT, ("dog", 1, 1, 30, 20, 1)))
    found = read_annotation(path)
    assert (found.file, found.size) == (path, (20, 30))
    assert [thing.name for thing in found.things] == ["cat", "dog"]
    assert found.things[0].box == (3 / 30, 5 / 20, 12 / 30, 20 / 20)
    assert found.things[1].box == (0, 0, 1, 1)
    assert [thing.difficult for thing in found.things] == [False, True]


def test_parts_of_a_person_are_no_things_and_fractions_are_read(path):
    """VOC2012 has heads, hands and feet inside the object of a person, and some boxes in fractions of pixels."""
    part = "<part><name>head</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>7</xmax><ymax>8</ymax></bndbox></part>"
    text = dataset_files.annotation(SIZE, ("person", 4.5, 6, 12.25, 20))
    path.write_text(text.replace("</object>", f"{part}</object>"))
    (thing,) = read_annotation(path).things
    assert thing.name == "person"
    assert thing.box == (3.5 / 30, 0.25, 12.25 / 30, 1.0)


def test_the_order_of_the_elements_does_not_matter(path):
    box = "<bndbox><ymax>20</ymax><xmax>12</xmax><ymin>6</ymin><xmin>4</xmin></bndbox>"
    path.write_text(
        f"<annotation><object>{box}<name> cat </name></object><size><depth>3</depth><height>20</height>"
        f"<width>30</width></size></annotation>"
    )
    assert read_annotation(path).things[0] == ("cat", (3 / 30, 5 / 20, 12 / 30, 1.0), False)


def written(*things, size=SIZE):
    return dataset_files.annotation(size, *things)


@pytest.mark.parametrize(
    ("text", "words", "reason"),
    [
        (None, "a.xml is missing: fetch the data set again", "annotation missing"),
        ("", "is no whole XML file", "damaged annotation"),
        (written(CAT)[:-40], "is no whole XML file", "damaged annotation"),
        ("<html><body>404</body></html>", "size/width must be a number, it is missing", "damaged annotation"),
        (written(), "names no object", "nothing annotated"),
        (written(CAT, size=(20, 0)), "whole numbers of pixels, got 0 x 20", "damaged annotation"),
        (written(CAT, size=(20.5, 30)), "whole numbers of pixels, got 30 x 20.5", "damaged annotation"),
        (written(CAT, size=("tall", 30)), "size/height must be a number, got 'tall'", "damaged annotation"),
        (written(("cat", 4, 6, "", 20)), "bndbox/xmax must be a number, got ''", "damaged annotation"),
        (written(("cat", 4, 6, "nan", 20)), "bndbox/xmax must be a number, got 'nan'", "damaged annotation"),
        (written(CAT).replace("bndbox", "box"), "bndbox/xmin must be a number, it is missing", "damaged annotation"),
        (written(("", 4, 6, 12, 20)), "an object without a name", "damaged annotation"),
        (written(("cat", 12, 6, 12, 20)), "the cat, xmin 12, ymin 6, xmax 12, ymax 20, has no area", "without area"),
        (written(("cat", 4, 7, 12, 6)), "has no area", "box without area"),
        (written(("cat", 0, 6, 12, 20)), "xmin 0, .* reaches beyond the picture of 30 x 20 pixels", "outside"),
        (written(("cat", 4, 6, 31, 20)), "xmax 31, .* reaches beyond the picture", "box outside the picture"),
        (written(("cat", 4, 6, 12, 21)), "ymax 21, reaches beyond the picture", "box outside the picture"),
        (written(CAT, ("dog", 4, 0, 12, 20)), "the box of the dog, .* reaches beyond", "box outside the picture"),
    ],
)
def test_faults_are_named_with_the_file(path, text, words, reason):
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_annotation(path)
    assert str(path) in str(caught.value)
    assert reason in caught.value.reason


def test_a_list_of_names_without_comments_and_columns(tmp_path):
    path = tmp_path / "cat_train.txt"
    path.write_text("# name, in or out\n000005 -1\n\n000007  1\r\n2007_000063\n")
    assert image_set(path) == ["000005", "000007", "2007_000063"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing"),
        (b"\n# only\n", "it is empty"),
        (b"../../etc/passwd 1\n", "passwd"),
        (b"\xff\xd8\xff", "no"),
    ],
)
def test_lists_that_are_none_are_named(tmp_path, content, words):
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.txt is .*{words}.*: fetch the data set again"):
        image_set(path)


def test_a_folder_that_is_not_vocs_is_named(tmp_path):
    assert year_folder("VOC2012", tmp_path) is None
    (tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(DataError, match=r"VOC2012 is not PASCAL VOC: it holds no Annotations\. Name the folder above"):
        year_folder("VOC2012", tmp_path)
    folder = dataset_files.write_voc(tmp_path, "VOC2007", {"000001": [CAT]})
    assert year_folder("VOC2007", tmp_path) == folder
    with pytest.raises(ValueError, match="year must be one of 'VOC2007', 'VOC2012', got 'VOC2010'"):
        year_folder("VOC2010", tmp_path)


def test_single_animals_show_no_other_object_at_all(tmp_path):
    folder = dataset_files.write_voc(
        tmp_path,
        "VOC2007",
        {
            "000004": [CAT],
            "000001": [("sheep", 1, 1, 9, 9)],
            "000002": [CAT, CAT],
            "000003": [CAT, ("chair", 1, 1, 9, 9, 1)],
            "000005": [("person", 1, 1, 9, 9)],
            "000006": [("bird", 1, 1, 9, 9)],
        },
    )
    (folder / "Annotations" / "._000001.xml").write_bytes(b"\x00\x05\x16\x07")  # what macOS leaves behind
    assert single_animals(folder) == {"000001": "sheep", "000004": "cat", "000006": "bird"}
    assert single_animals(folder, ("cat", "dog")) == {"000004": "cat"}


def test_a_picture_of_one_animal_has_its_box_class_and_year(tmp_path):
    folder = dataset_files.write_voc(tmp_path, "VOC2012", {"2008_000001": [("sofa", 1, 1, 30, 20, 1), CAT]})
    item = read_single(folder, "2008_000001")
    assert item.file == folder / "JPEGImages" / "2008_000001.jpg"
    assert item[1:] == ("2008_000001", (3 / 30, 5 / 20, 12 / 30, 1.0), SIZE, "cat", "VOC2012")


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([CAT, CAT], "but names cat, cat"),
        ([("sofa", 1, 1, 30, 20)], "one of bird, cat, cow, dog, horse, sheep, but names sofa"),
        ([(*CAT, 1)], "but names only difficult objects"),
    ],
)
def test_a_picture_of_something_else_is_named(tmp_path, things, words):
    folder = dataset_files.write_voc(tmp_path, "VOC2012", {"2008_000001": things})
    with pytest.raises(DataError, match=words) as caught:
        read_single(folder, "2008_000001")
    assert caught.value.reason == "not one animal"
    assert "2008_000001.xml" in str(caught.value)


def test_a_photograph_keeps_its_number_from_year_to_year():
    assert photograph("VOC2012", "2007_000063") == photograph("VOC2007", "000063") == "VOC2007/000063"
    assert photograph("VOC2012", "2008_000063") == "VOC2012/2008_000063"


def test_pictures_in_both_years(tmp_path):
    cat = [("cat", 2, 2, 9, 9)]
    dataset_files.write_voc(tmp_path, "VOC2012", {"2007_000063": cat, "2007_000332": cat, "2008_000064": cat})
    with pytest.raises(DataError, match=r"VOC2007 is not PASCAL VOC: it holds no Annotations"):
        pictures_in_both_years(tmp_path / "VOCdevkit")
    dataset_files.write_voc(tmp_path, "VOC2007", {"000063": cat, "000064": cat})
    assert pictures_in_both_years(tmp_path / "VOCdevkit") == {"2007_000063": "000063"}
