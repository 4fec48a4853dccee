"""Pictures of any kind as bytes, sets of pictures with one box each, and the cache of pictures at one size."""

import shutil

import dataset_files
import numpy as np
import pytest
import torch
from PIL import Image

from spikelab.datasets import DataError, LocalizationSet, load_pictures, read_picture
from spikelab.datasets import pictures as module
from spikelab.datasets.pictures import Boxed, PictureError, gather, picture_size, require_same_size

COLOUR = (200, 100, 40)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spikelab" / "pictures"


def kept(cache):
    return [entry for entry in cache.iterdir() if not entry.name.startswith(".")] if cache.exists() else []


@pytest.fixture
def some(tmp_path):
    """Four pictures of different sizes."""
    items = []
    for i, size in enumerate([(20, 30), (40, 24), (16, 16), (33, 17)]):
        file = tmp_path / "pictures" / f"p{i}.png"
        dataset_files.write_picture(file, size, i)
        items.append(Boxed(file, f"p{i}", (0.1 * i, 0.2, 0.9, 0.8), size, "cat", "test"))
    return LocalizationSet(items, kind="real", label="four pictures")


def test_pixels_are_channels_rows_columns(tmp_path):
    pixels = dataset_files.write_picture(tmp_path / "a.png", (20, 30))
    read = read_picture(tmp_path / "a.png")
    assert (read.dtype, read.shape) == (torch.uint8, (3, 20, 30))
    assert np.array_equal(read.numpy(), pixels.transpose(2, 0, 1))
    read[0, 0, 0] = 7  # may be written to


def test_gray_is_the_luma(tmp_path):
    pixels = dataset_files.write_picture(tmp_path / "a.png", (20, 30)).astype(float)
    luma = pixels @ [0.299, 0.587, 0.114]
    read = read_picture(tmp_path / "a.png", colour="gray")
    assert read.shape == (1, 20, 30)
    assert np.abs(read[0].numpy() - luma).max() <= 1


def flat(mode, value):
    return Image.new(mode, (6, 4), value)


def sixteen_bits(value):
    return Image.fromarray(np.full((4, 6), value, dtype=np.uint16))


def palette(transparent):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    if transparent:
        image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("gray.jpg", flat("L", 90), (90, 90, 90)),
        ("gray.png", flat("L", 90), (90, 90, 90)),
        ("gray with alpha.png", flat("LA", (90, 255)), (90, 90, 90)),
        ("black and white.png", flat("1", 1), (255, 255, 255)),
        ("opaque.png", flat("RGBA", (*COLOUR, 255)), COLOUR),
        ("half transparent.png", flat("RGBA", (200, 100, 0, 128)), (227, 177, 127)),
        ("transparent.png", flat("RGBA", (*COLOUR, 0)), (255, 255, 255)),
        ("palette.png", palette(False), COLOUR),
        ("palette.gif", palette(False), COLOUR),
        ("transparent palette.png", palette(True), (255, 255, 255)),
        ("cmyk.jpg", flat("CMYK", (0, 128, 255, 0)), (255, 127, 0)),
        ("cmyk.tif", flat("CMYK", (0, 0, 0, 155)), (100, 100, 100)),
        ("16 bit.png", sixteen_bits(30_000), (117, 117, 117)),
        ("dark 16 bit.png", sixteen_bits(200), (1, 1, 1)),
        ("32 bit.tif", flat("I", 65_535), (255, 255, 255)),
    ],
)
def test_every_kind_of_picture_becomes_eight_bits(tmp_path, name, image, expected):
    image.save(tmp_path / name)
    read = read_picture(tmp_path / name).float()
    assert read.shape == (3, 4, 6)
    assert (read - torch.tensor(expected).view(3, 1, 1)).abs().max() <= 2  # JPEG rounds
    luma = float(torch.tensor(expected).float() @ torch.tensor([0.299, 0.587, 0.114]))
    assert (read_picture(tmp_path / name, colour="gray").float() - luma).abs().max() <= 3


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    """Some files of the Oxford-IIIT-Pet set are called .jpg and are not."""
    palette(False).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.jpg")
    assert tuple(read_picture(tmp_path / "a.jpg")[:, 0, 0].tolist()) == COLOUR


TURNS = {  # EXIF's definition: where the first row and the first column of the file belong
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_as_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[module.ORIENTATION] = orientation
    pixels = dataset_files.write_picture(tmp_path / "a.png", (16, 24), exif=exif)
    expected = TURNS[orientation](pixels)
    assert np.array_equal(read_picture(tmp_path / "a.png").numpy(), expected.transpose(2, 0, 1))
    assert picture_size(tmp_path / "a.png") == (expected.shape[:2], orientation)


def turned(path, orientation, size=(16, 24)):
    exif = Image.Exif()
    exif[module.ORIENTATION] = orientation
    dataset_files.write_picture(path, size, exif=exif)
    return path


def test_an_annotation_of_the_turned_picture_is_taken(tmp_path):
    path = turned(tmp_path / "a.jpg", 6)
    assert require_same_size(path, tmp_path / "a.xml", (24, 16)) == (24, 16)


@pytest.mark.parametrize(
    ("orientation", "size", "annotated"),
    [(6, (16, 24), (16, 24)), (3, (16, 24), (16, 24)), (8, (16, 16), (16, 16)), (6, (16, 24), None)],
)
def test_an_annotation_that_may_belong_to_the_unturned_picture_is_not(tmp_path, orientation, size, annotated):
    path = turned(tmp_path / "a.jpg", orientation, size)
    with pytest.raises(DataError, match=r"a\.jpg is turned by its EXIF tag .* a\.xml .* remove the tag") as caught:
        require_same_size(path, tmp_path / "a.xml", annotated)
    assert caught.value.reason == "turned by EXIF"


def test_an_annotation_of_another_size_is_named_with_its_picture(tmp_path):
    dataset_files.write_picture(tmp_path / "a.jpg", (16, 24))
    words = r"a\.xml was made for a picture of 25 x 16 pixels, but a\.jpg has 24 x 16: fetch"
    with pytest.raises(DataError, match=words):
        require_same_size(tmp_path / "a.jpg", tmp_path / "a.xml", (16, 25))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif"])
@pytest.mark.parametrize("left", [0.0, 0.02, 0.5, 0.9])
def test_truncated_pictures_are_named(tmp_path, suffix, left):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * left)])
    with pytest.raises(DataError, match=rf"cut\{suffix} is no whole picture .* fetch the data set again"):
        read_picture(path)


def test_missing_files_and_other_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jpg is missing: fetch the data set again"):
        read_picture(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    for read in (read_picture, picture_size):
        with pytest.raises(DataError, match=r"text\.jpg is no whole picture \(no format that Pillow knows\)"):
            read(tmp_path / "text.jpg")
    with pytest.raises(DataError, match="is no whole picture"):
        read_picture(tmp_path)


def test_pictures_are_stretched_to_rows_and_columns(tmp_path):
    pixels = np.zeros((40, 20, 3), dtype=np.uint8)
    pixels[:10] = 255  # the upper quarter
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png", size=(8, 16))
    assert read.shape == (3, 8, 16)
    assert read[:, 0].min() > 250
    assert read[:, 4:].max() == 0


@pytest.mark.parametrize("size", [7, "44x60", (44,), (44, 0), (44, 60.0), (44, 60, 3)])
def test_wrong_sizes_are_said(some, size):
    with pytest.raises(ValueError, match="size"):
        load_pictures(some, size)
    with pytest.raises(ValueError, match="size"):
        read_picture(some.files[0], size=size)


def test_unknown_colours_are_said(some):
    with pytest.raises(ValueError, match="colour must be one of 'rgb', 'gray', got 'grey'"):
        read_picture(some.files[0], colour="grey")
    with pytest.raises(ValueError, match="colour must be one of"):
        load_pictures(some, (4, 4), colour="hsv")


def test_a_set_gives_pictures_and_boxes(some):
    assert len(some) == 4
    image, box = some[2]
    assert torch.equal(image, read_picture(some.files[2]))
    assert torch.equal(box, torch.tensor([0.2, 0.2, 0.9, 0.8], dtype=torch.float64))
    box += 1
    assert some.boxes.max() == 0.9
    assert (some.sizes.tolist()[1], some.groups[1], some.names[1]) == ([40, 24], "cat", "p1")
    assert torch.equal(some[-1][0], some[3][0])
    assert len(list(some)) == 4
    assert repr(some) == "LocalizationSet: four pictures"
    with pytest.raises(IndexError, match="picture 4 of 4"):
        some[4]


def test_hash_is_that_of_a_copy_and_changes_with_everything_else(some, tmp_path):
    def again(items=None, **change):
        rows = zip(some.files, some.names, some.boxes.tolist(), some.sizes.tolist(), strict=True)
        items = items or [Boxed(file, name, tuple(box), tuple(size), "cat", "test") for file, name, box, size in rows]
        items[1] = items[1]._replace(**change)
        return LocalizationSet(items, kind="real", label="copy")

    assert again().hash == some.hash
    shutil.copytree(tmp_path / "pictures", tmp_path / "elsewhere")
    moved = [item._replace(file=tmp_path / "elsewhere" / item.file.name) for item in items_of(some)]
    assert again(moved).hash == some.hash
    assert again(box=(0.1, 0.2, 0.9, 0.81)).hash != some.hash
    assert again(name="other").hash != some.hash
    assert again(source="polygon").hash != some.hash
    assert again(items_of(some)[::-1]).hash != some.hash
    before = some.hash
    dataset_files.write_picture(some.files[3], (33, 17), 99)
    assert some.hash != before


def items_of(some):
    rows = zip(some.files, some.names, some.boxes.tolist(), some.sizes.tolist(), strict=True)
    return [Boxed(file, name, tuple(box), tuple(size), "cat", "test") for file, name, box, size in rows]


@pytest.mark.parametrize("colour", ["rgb", "gray"])
@pytest.mark.parametrize("cache_it", [True, False])
def test_loaded_pictures_are_those_of_the_files(some, colour, cache_it):
    images, boxes = load_pictures(some, (12, 18), colour=colour, cache=cache_it, progress=False)
    assert (images.dtype, images.shape) == (torch.uint8, (4, 3 if colour == "rgb" else 1, 12, 18))
    for image, file in zip(images, some.files, strict=True):
        assert torch.equal(image, read_picture(file, colour=colour, size=(12, 18)))
    assert boxes.dtype == torch.float32
    assert torch.equal(boxes, some.boxes.float())


def test_stretching_leaves_the_box_on_the_thing(tmp_path):
    pixels = np.zeros((60, 100, 3), dtype=np.uint8)
    pixels[15:45, 70:90] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    item = Boxed(tmp_path / "a.png", "a", (0.7, 0.25, 0.9, 0.75), (60, 100), "cat", "test")
    images, boxes = load_pictures(LocalizationSet([item], kind="real", label="one"), (40, 50), colour="gray")
    rows, columns = np.nonzero(images[0, 0].numpy() > 127)
    found = [columns.min() / 50, rows.min() / 40, (columns.max() + 1) / 50, (rows.max() + 1) / 40]
    assert np.allclose(found, boxes[0].numpy(), atol=1e-6)


def test_pictures_are_made_once(some, cache, monkeypatch):
    first, _ = load_pictures(some, (12, 18))
    assert len(kept(cache)) == 1
    monkeypatch.setattr(module, "read_picture", None)
    again, _ = load_pictures(some, (12, 18))
    assert torch.equal(first, again)


def test_each_size_colour_and_set_is_kept_for_itself(some, cache):
    load_pictures(some, (12, 18))
    load_pictures(some, (18, 12))
    load_pictures(some, (12, 18), colour="gray")
    half = LocalizationSet(items_of(some)[:2], kind="real", label="two")
    assert load_pictures(half, (12, 18))[0].shape == (2, 3, 12, 18)
    assert len(kept(cache)) == 4


def test_changed_boxes_are_not_those_of_the_cache(some):
    load_pictures(some, (12, 18))
    moved = [item._replace(box=(0.0, 0.0, 0.5, 0.5)) for item in items_of(some)]
    _, boxes = load_pictures(LocalizationSet(moved, kind="real", label="moved"), (12, 18))
    assert boxes.tolist() == [[0, 0, 0.5, 0.5]] * 4


def test_writing_to_loaded_pictures_does_not_change_the_cache(some):
    first, _ = load_pictures(some, (12, 18))
    expected = first.clone()
    first.zero_()
    assert torch.equal(load_pictures(some, (12, 18))[0], expected)


def test_without_cache_nothing_is_written(some, cache):
    load_pictures(some, (12, 18), cache=False)
    assert kept(cache) == []


@pytest.mark.parametrize("damage", ["cut", "about"])
def test_damaged_cache_is_made_again(some, cache, damage):
    first = load_pictures(some, (12, 18))[0].clone()
    (folder,) = kept(cache)
    path = folder / ("pictures.npy" if damage == "cut" else "about.json")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(load_pictures(some, (12, 18))[0], first)
    assert len(kept(cache)) == 1


def test_a_damaged_picture_is_named_and_leaves_no_cache(some, cache):
    some.files[2].write_bytes(some.files[2].read_bytes()[:60])
    with pytest.raises(DataError, match=r"p2\.png is no whole picture"):
        load_pictures(some, (12, 18))
    assert kept(cache) == []


def test_gathering_counts_what_it_leaves_out(some):
    items = items_of(some)
    items[3].file.write_bytes(b"GIF89a")

    def read(item):
        if item.name == "p1":
            raise PictureError("p1.xml names no object", "nothing annotated")
        return item

    found, skipped = gather(items, read, lenient=True)
    assert [item.name for item in found] == ["p0", "p2"]
    assert skipped == {"nothing annotated": 1, "damaged picture": 1}
    with pytest.raises(DataError, match=r"p1\.xml names no object, or leave such pictures out with lenient=True"):
        gather(items, read, lenient=False)
