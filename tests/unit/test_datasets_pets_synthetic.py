"""The drawn pets: files that every reader of the real set takes, boxes that fit what is seen, the same for everyone."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from spikelab.datasets import drawn_animals as animals
from spikelab.datasets import pets_synthetic as module
from spikelab.datasets.errors import DataError
from spikelab.datasets.pets import Pets, box_from_trimap, read_head_box, read_trimap
from spikelab.datasets.pets_synthetic import draw_pet, inclusive_box, make_synthetic_pets, trimap_of
from spikelab.datasets.voc import read_annotation, single_animals
from spikelab.detection import box_of_mask, constant_boxes, iou

TRAIN, TEST = 14, 6


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKELAB_DATA", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_synthetic_pets(tmp_path_factory.mktemp("pets") / "set", train=TRAIN, test=TEST)


@pytest.fixture
def no_scenery(monkeypatch):
    """Leaves the scene, what is in front of it, and the camera out: what remains is the animal, and quick."""
    monkeypatch.setattr(animals, "paint_background", lambda canvas: None)
    monkeypatch.setattr(animals, "something_in_front", lambda canvas: None)
    monkeypatch.setattr(animals, "photograph", lambda canvas: np.clip(canvas.rgb * 255, 0, 255).astype(np.uint8))


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != module.MANIFEST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def names(folder, split):
    lines = (folder / "oxford-iiit-pet" / "annotations" / f"{split}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if not line.startswith("#")]


def boxes(mask):
    return box_of_mask(torch.from_numpy(mask))


def widened(mask, pixels):
    """A slow second opinion on growing: by the largest of the two distances."""
    rows, columns = np.nonzero(mask)
    grown = np.zeros_like(mask)
    for row, column in zip(rows, columns, strict=True):
        grown[max(row - pixels, 0) : row + pixels + 1, max(column - pixels, 0) : column + pixels + 1] = True
    return grown


# --- files -----------------------------------------------------------------------------------------------------------


def test_every_listed_pet_has_picture_trimap_and_head_in_the_sets_places(made):
    pets = made / "oxford-iiit-pet"
    listed = names(made, "trainval") + names(made, "test")
    assert (len(names(made, "trainval")), len(names(made, "test"))) == (TRAIN, TEST)
    assert len(set(listed)) == TRAIN + TEST
    assert sorted(listed) == sorted(names(made, "list"))
    for folder, suffix in (("images", "jpg"), ("annotations/trimaps", "png"), ("annotations/xmls", "xml")):
        assert sorted(path.name for path in (pets / folder).iterdir()) == sorted(f"{name}.{suffix}" for name in listed)
    for name in listed:
        with Image.open(pets / "images" / f"{name}.jpg") as image:
            assert image.mode == "RGB"
            assert max(image.size) <= 256
            size = image.size
        with Image.open(pets / "annotations" / "trimaps" / f"{name}.png") as trimap:
            assert (trimap.mode, trimap.size) == ("L", size)


def test_the_lists_name_class_species_and_breed_as_the_real_ones_do(made):
    rows = (made / "oxford-iiit-pet" / "annotations" / "list.txt").read_text().splitlines()
    assert rows[0] == "#Image CLASS-ID SPECIES BREED ID"
    ids = {}
    for row in rows:
        if not row.startswith("#"):
            name, *numbers = row.split()
            breed = name.rpartition("_")[0]
            ids.setdefault(breed, tuple(map(int, numbers)))
            assert ids[breed] == tuple(map(int, numbers))
            assert ids[breed][1] == (1 if name[0].isupper() else 2)  # cats are written with a capital
    assert len(ids) == 12
    assert sorted(class_id for class_id, _, _ in ids.values()) == list(range(1, 13))
    for species in (1, 2):
        assert sorted(within for _, kind, within in ids.values() if kind == species) == list(range(1, 7))


def test_the_readers_of_the_real_set_find_the_boxes_that_were_drawn(made):
    folder = made / "oxford-iiit-pet" / "annotations"
    smaller = 0
    for split, count in (("trainval", TRAIN), ("test", TEST)):
        for number in range(count):
            pet = draw_pet(number, split)
            height, width = pet.trimap.shape
            xmin, ymin, xmax, ymax = pet.head
            head = ((xmin - 1) / width, (ymin - 1) / height, xmax / width, ymax / height)
            assert read_head_box(folder / "xmls" / f"{pet.name}.xml") == pytest.approx(head, abs=1e-12)
            trimap = read_trimap(folder / "trimaps" / f"{pet.name}.png")
            assert np.array_equal(trimap, pet.trimap)
            body = box_from_trimap(trimap)
            assert (body[:2] <= torch.tensor(head[:2])).all()
            assert (body[2:] >= torch.tensor(head[2:])).all()
            smaller += iou(torch.tensor(head, dtype=torch.float64), body) < 0.6
    assert smaller > (TRAIN + TEST) / 2


def test_the_loader_takes_the_folder_for_the_real_set(made):
    for target, unit in (("head", 1 / 200), ("body", 1 / 200)):
        parts = {split: Pets(target, split, kind="real", scheme="official", root=made) for split in ("train", "test")}
        assert len(parts["test"]) == TEST
        image, box = parts["test"][0]
        assert image.dtype == torch.uint8
        assert (box[2:] - box[:2]).min() > unit
    with pytest.raises(DataError, match=r"none of the|is missing"):
        Pets("head", "test", kind="real", root=made)  # the course's list holds real names


def test_the_annotation_names_the_species_and_says_where_a_head_is_cut_off(made):
    pet = next(pet for pet in map(draw_pet, range(TRAIN)) if pet.species == "dog")
    found = read_annotation(made / "oxford-iiit-pet" / "annotations" / "xmls" / f"{pet.name}.xml")
    assert [thing.name for thing in found.things] == ["dog"]
    assert found.size == pet.trimap.shape
    for box, cut in (((5, 1, 9, 9), "1"), ((5, 2, 9, 20), "1"), ((2, 2, 30, 9), "1"), ((2, 2, 29, 19), "0")):
        root = ElementTree.fromstring(module.voc_xml("OXIIIT", "x_1", (20, 30), [("cat", box, False)]))
        assert root.findtext("object/truncated") == cut
        assert [int(value.text) for value in root.find("object/bndbox")] == list(box)


def test_vocs_part_shows_one_animal_in_each_picture_and_its_box_is_its_masks(made):
    folder = made / "VOCdevkit" / "VOC2012"
    lists = {
        part: (folder / "ImageSets" / "SegmentationAug" / f"{part}.txt").read_text().split()
        for part in ("train_aug", "val")
    }
    assert {part: len(found) for part, found in lists.items()} == {"train_aug": TRAIN // 3, "val": TEST // 3}
    listed = sorted(lists["train_aug"] + lists["val"])
    assert sorted(single_animals(folder)) == listed
    assert (folder / "ImageSets" / "Main" / "trainval.txt").read_text().split() == lists["train_aug"] + lists["val"]
    for name in listed:
        (thing,) = read_annotation(folder / "Annotations" / f"{name}.xml").things
        classes = np.array(Image.open(folder / "SegmentationClassAug" / f"{name}.png"))
        assert set(np.unique(classes)) == {0, module.VOC_CLASSES[thing.name], 255}
        inside = boxes(classes == module.VOC_CLASSES[thing.name])
        outside = boxes(classes != 0)
        assert iou(torch.tensor(thing.box, dtype=torch.float64), outside) > 0.7
        assert (torch.tensor(thing.box)[:2] <= inside[:2] + 1e-9).all()
        assert (torch.tensor(thing.box)[2:] >= inside[2:] - 1e-9).all()
        with Image.open(folder / "JPEGImages" / f"{name}.jpg") as image:
            assert image.size == classes.shape[::-1]


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_trimaps_border_is_a_band_between_pet_and_background():
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:30, 12:40] = True
    trimap = trimap_of(mask)
    assert boxes(trimap != 2).tolist() == [10 / 50, 8 / 40, 42 / 50, 32 / 40]  # two pixels more on each side
    assert boxes(trimap == 1).tolist() == [15 / 50, 13 / 40, 37 / 50, 27 / 40]  # three less
    assert not (widened(trimap == 1, 1) & (trimap == 2)).any()


def test_where_the_picture_ends_there_is_no_border():
    mask = np.zeros((20, 20), dtype=bool)
    mask[8:, :] = True
    assert (trimap_of(mask)[12:] == 1).all()


def test_a_tail_too_thin_for_a_border_inside_is_still_pet():
    mask = np.zeros((20, 20), dtype=bool)
    mask[10, 5:15] = True
    assert np.array_equal(trimap_of(mask) == 1, mask)


def test_inclusive_boxes_count_from_one():
    mask = np.zeros((9, 7), dtype=bool)
    mask[2, 3] = mask[5, 4] = True
    assert inclusive_box(mask) == (4, 3, 5, 6)
    assert inclusive_box(np.ones((9, 7), dtype=bool)) == (1, 1, 7, 9)


@pytest.mark.parametrize("breed", ["golden_fellow", "dotted_runner", "flat_nosed_bully"])  # cats have whiskers outside
def test_the_mask_is_where_the_animal_changed_the_picture(no_scenery, monkeypatch, breed):
    blue = np.array([0.1, 0.2, 0.9], dtype=np.float32)
    monkeypatch.setattr(
        animals, "paint_background", lambda canvas: canvas.paint(canvas.whole, np.ones((120, 160)), blue)
    )
    chosen = next(b for b in animals.PETS if b.name == breed)
    place = animals.Place("portrait", 0.5, 0.5, 0.4)  # nothing falls on the ground
    picture = animals.draw([chosen], (120, 160), np.random.default_rng(3), places=[place])
    changed = np.abs(picture.image.astype(int) - (blue * 255).astype(int)).max(-1)
    mask = picture.animals[0].mask
    assert (changed[mask] > 20).mean() > 0.999
    assert (changed[~widened(mask, 1)] <= 2).mean() > 0.995
    head = boxes(picture.animals[0].head)
    assert torch.tensor([head[0] + head[2], head[1] + head[3]]).sub(torch.tensor([1.0, 0.8])).abs().max() < 0.12
    assert max(head[2] - head[0], head[3] - head[1]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("breed", animals.PETS + animals.FARM, ids=lambda breed: breed.name)
def test_every_breed_in_every_pose_has_its_size_place_and_a_head(no_scenery, breed):
    for seed, pose in enumerate(animals.POSES):
        place = animals.Place(pose, 0.6, 0.45, 0.55)
        (drawn,) = animals.draw([breed], (72, 96), np.random.default_rng(seed), places=[place]).animals
        head, box = boxes(drawn.head), boxes(drawn.mask)
        assert not (drawn.head & ~drawn.mask).any()
        assert 0.005 < drawn.head.mean() < drawn.mask.mean() or drawn.pose == "portrait"
        if drawn.pose != "portrait":
            assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(0.6, abs=0.1), pose
            assert (box[0] + box[2]) / 2 == pytest.approx(0.45, abs=0.08), pose
            assert (box[1] + box[3]) / 2 == pytest.approx(0.55, abs=0.08), pose
            assert head[1] < (box[1] + box[3]) / 2, pose  # heads are up


def test_what_is_in_front_belongs_to_no_mask_behind(no_scenery, monkeypatch):
    cat, dog = animals.PETS[0], animals.PETS[6]
    places = [animals.Place("sit", 0.8, 0.4, 0.5), animals.Place("sit", 0.8, 0.6, 0.5)]
    behind, front = animals.draw([cat, dog], (96, 128), np.random.default_rng(1), places=places).animals
    assert not (behind.mask & front.mask).any()
    assert not (behind.head & ~behind.mask).any()
    (alone,) = animals.draw([cat], (96, 128), np.random.default_rng(1), places=places[:1]).animals
    assert (alone.mask & ~behind.mask).sum() > 100
    cover = np.zeros((96, 128), dtype=np.float32)
    cover[75:] = 1
    monkeypatch.setattr(animals, "something_in_front", lambda canvas: (cover, np.zeros(3, dtype=np.float32)))
    (cut,) = animals.draw([cat], (96, 128), np.random.default_rng(1), places=places[:1]).animals
    assert np.array_equal(cut.mask, alone.mask & (cover == 0))


def test_nothing_hides_a_head(no_scenery, monkeypatch):
    place = animals.Place("sit", 0.8, 0.5, 0.5)
    (free,) = animals.draw([animals.PETS[1]], (96, 128), np.random.default_rng(1), places=[place]).animals
    monkeypatch.setattr(
        animals, "something_in_front", lambda canvas: (free.head.astype(np.float32), np.zeros(3, dtype=np.float32))
    )
    (drawn,) = animals.draw([animals.PETS[1]], (96, 128), np.random.default_rng(1), places=[place]).animals
    assert np.array_equal(drawn.head, free.head)


def test_breeds_look_different_and_have_fur(no_scenery):
    place = animals.Place("portrait", 0.6, 0.5, 0.4)
    seen = {}
    for breed in animals.PETS:
        picture = animals.draw([breed], (96, 128), np.random.default_rng(5), places=[place])
        coat = picture.image[picture.animals[0].mask].mean(0)
        light = picture.image.mean(-1)
        inside = ~widened(~picture.animals[0].mask, 3)
        assert np.abs(np.diff(light, axis=1))[inside[:, 1:]].mean() > 1.5, breed.name
        seen[breed.name] = coat
    assert seen["Night_Velvet"].mean() < 80 < 140 < seen["snow_cloud"].mean()
    assert seen["Amber_Tabby"][0] > 1.4 * seen["Amber_Tabby"][2]
    assert abs(seen["Silver_Tabby"][0] - seen["Silver_Tabby"][2]) < 15


# --- the same for everyone -------------------------------------------------------------------------------------------


def test_a_picture_depends_on_seed_list_and_number_only():
    first = draw_pet(3)
    draw_pet(4)
    again = draw_pet(3)
    assert first.name == again.name
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.trimap, again.trimap)
    others = [draw_pet(3, "test"), draw_pet(3, seed=1), draw_pet(15)]
    assert len({pet.image.tobytes() for pet in (first, *others)}) == 4
    assert [pet.name for pet in (first, *others)] == [f"{animals.PETS[3].name}_{n}" for n in (1, 1001, 1, 2)]


def test_a_part_of_a_set_is_the_same_as_in_the_whole(made, tmp_path):
    part, whole = contents(make_synthetic_pets(tmp_path / "part", train=3, test=4)), contents(made)
    shared = {name: content for name, content in part.items() if not name.endswith(".txt")}
    assert len(shared) == 7 * 3 + 2 * 3
    assert shared.items() <= whole.items()


def test_the_manifest_names_the_settings_and_their_hash(made):
    manifest = json.loads((made / module.MANIFEST).read_text())
    settings = {name: manifest[name] for name in ("format", "seed", "counts")}
    assert settings["counts"] == {"trainval": 14, "test": 6, "train_aug": 4, "val": 2}
    assert manifest["hash"] == module.settings_hash(settings)
    assert manifest["hash"] != module.settings_hash(settings | {"seed": 1})


def test_drawings_that_change_take_a_new_format():
    """Whoever changes a drawing changes these heads too, and must raise FORMAT, or old sets would be taken for new."""
    heads = {number: draw_pet(number).head for number in (0, 7, 11)}
    known = {2: {0: (1, 1, 70, 83), 7: (80, 45, 129, 89), 11: (52, 38, 155, 110)}}
    assert module.FORMAT in known
    for number, head in known[module.FORMAT].items():
        assert np.abs(np.subtract(heads[number], head)).max() <= 3  # another NumPy may round otherwise


# --- making it -------------------------------------------------------------------------------------------------------


def test_a_finished_set_is_left_alone_and_other_settings_make_it_anew(tmp_path, monkeypatch):
    target = make_synthetic_pets(tmp_path / "set", train=2, test=1)
    first = contents(target)
    draw = module.draw_pet
    monkeypatch.setattr(module, "draw_pet", lambda *a, **k: pytest.fail("made again"))
    make_synthetic_pets(target, train=2, test=1)
    assert contents(target) == first
    monkeypatch.setattr(module, "draw_pet", draw)
    other = contents(make_synthetic_pets(target, train=1, test=1, seed=1))
    assert len(names(target, "trainval")) == 1
    assert not set(first.values()) & {content for name, content in other.items() if name.endswith(".jpg")}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["set", "cache"][:1]


def test_a_set_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    drawn = []

    def break_off(number, split, *, seed):
        drawn.append(number)
        if number == 1:
            raise KeyboardInterrupt
        return draw_pet(number, split, seed=seed)

    monkeypatch.setattr(module, "draw_pet", break_off)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic_pets(tmp_path / "set", train=3, test=1)
    assert drawn == [0, 1]
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_without_a_folder_it_goes_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COUNTS", {"trainval": 1, "test": 1, "train_aug": 1, "val": 1})
    assert make_synthetic_pets() == tmp_path / "cache" / "spikelab" / "pets-synthetic"


def test_a_full_disk_is_noticed_before_the_first_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(DataError, match=r"stand-in for the pets \(1,200 pictures\) needs .* has 1 MB free"):
        make_synthetic_pets(tmp_path / "set")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"train": 0}, "train must be at least 1"), ({"test": 1.5}, "test must be a whole"), ({"seed": -1}, "seed")],
)
def test_wrong_arguments(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        make_synthetic_pets(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


def test_wrong_arguments_of_one_picture():
    with pytest.raises(ValueError, match="split must be one of 'trainval', 'test', got 'val'"):
        draw_pet(0, "val")
    with pytest.raises(ValueError, match="number must be at least 0"):
        draw_pet(-1)


@pytest.mark.slow
def test_two_processes_that_need_the_set_at_once_get_one(tmp_path):
    code = f"""
from spikelab.datasets import pets_synthetic
draw = pets_synthetic.draw_pet
def slowly(*a, **k):
    print("drawn", flush=True)
    return draw(*a, **k)
pets_synthetic.draw_pet = slowly
pets_synthetic.make_synthetic_pets({str(tmp_path / "set")!r}, train=4, test=2)
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(words.count("drawn") for words in said) == [0, 6]


# --- as hard as photographs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """Boxes of heads and bodies, ``[N, 4]``, of pets without scenery."""
    patch = pytest.MonkeyPatch()
    with patch.context() as inner:
        inner.setattr(animals, "paint_background", lambda canvas: None)
        inner.setattr(animals, "photograph", lambda canvas: np.zeros((canvas.height, canvas.width, 3), np.uint8))
        pets = [draw_pet(number) for number in range(120)]
    heads = [box_of_mask(torch.from_numpy(_filled(pet))) for pet in pets]
    return {"head": torch.stack(heads), "body": torch.stack([box_from_trimap(pet.trimap) for pet in pets])}


def _filled(pet):
    mask = np.zeros(pet.trimap.shape, dtype=bool)
    mask[pet.head[1] - 1 : pet.head[3], pet.head[0] - 1 : pet.head[2]] = True
    return mask


@pytest.mark.slow
@pytest.mark.parametrize(("target", "usual", "room"), [("body", 65.0, 6.0), ("head", 37.0, 8.0)])
def test_a_constant_box_scores_about_what_it_scores_on_the_real_pets(many, target, usual, room):
    best = constant_boxes(many[target])["best"]
    assert 100 * iou(best, many[target]).mean() == pytest.approx(usual, abs=room)


@pytest.mark.slow
def test_some_pets_are_small_and_some_are_off_centre(many):
    body, head = many["body"], many["head"]
    area = (body[:, 2:] - body[:, :2]).prod(-1)
    assert 0.03 < (area < 0.25).double().mean() < 0.25
    assert 0.2 < (area > 0.8).double().mean() < 0.6
    aside = ((body[:, 0] + body[:, 2]) / 2 - 0.5).abs()
    assert (aside > 0.15).double().mean() > 0.04
    assert ((head[:, 0] + head[:, 2]) / 2 - 0.5).mean().abs() < 0.06  # to the left as often as to the right
    assert ((head[:, 0] + head[:, 2]) / 2).std() > 0.1
