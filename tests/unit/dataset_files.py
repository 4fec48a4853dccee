"""Small data sets in the original formats, written from their descriptions and not with the readers under test."""

import gzip
import struct

import numpy as np


def aer(x, y, p, t):
    """One record of N-MNIST, by hand."""
    return bytes([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255])


def recording(seed, count=60, duration_us=300_000):
    """Bytes of a random recording of 34 x 34 pixels."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, duration_us, count))
    places = rng.integers(0, 34, (count, 2))
    return b"".join(aer(*map(int, (x, y, rng.integers(2), t))) for (x, y), t in zip(places, times, strict=True))


def write_nmnist(folder, train=40, test=10):
    """N-MNIST's folders with random recordings; file i has digit i % 10."""
    for split, count in (("Train", train), ("Test", test)):
        for number in range(1, count + 1):
            path = folder / split / str(number % 10) / f"{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(recording(number + 1000 * (split == "Test")))
    return folder


def idx(array):
    """An idx file's bytes."""
    kinds = {"uint8": 8, "int32": 12, "float32": 13}
    head = bytes([0, 0, kinds[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder, train=12, test=4):
    """MNIST's four files with bright bars; image i has digit i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for i in range(count):
            images[i, 6 : 12 + i % 8, 8 + i % 10 : 12 + i % 10] = 255
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return folder


AEDAT_HEAD = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2017-01-01 00:00:00 (TZ+0000)\r\n"
    b"#!END-HEADER\r\n"
)


def aedat_packet(events, kind=1, overflow=0):
    """One AEDAT 3.1 packet of (x, y, polarity, time, valid)."""
    body = b"".join(struct.pack("<Ii", (x << 17) | (y << 2) | (p << 1) | valid, t) for x, y, p, t, valid in events)
    count = len(events)
    return struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, count, count, sum(event[4] for event in events)) + body


def write_gestures(folder):
    """DVS-Gesture with one person to train on and one to test."""
    place = folder / "DvsGesture"
    place.mkdir(parents=True)
    for user, list_name in ((1, "trials_to_train.txt"), (24, "trials_to_test.txt")):
        name = f"user{user:02}_led"
        first = [(i, 2 * i, i % 2, 1000 + 100 * i, 1) for i in range(20)]
        second = [(100 + i, i, 1, 5000 + 10 * i, 1) for i in range(20)]
        (place / f"{name}.aedat").write_bytes(AEDAT_HEAD + aedat_packet(first) + aedat_packet(second))
        rows = "class,startTime_usec,endTime_usec\r\n2,1000,1500\r\n11,5000,5100\r\n"
        (place / f"{name}_labels.csv").write_text(rows)
        (place / list_name).write_text(f"{name}.aedat\n")
    return folder


def write_heidelberg(path, times, units, labels, keys=("zero", "one"), speakers=None):
    """One file of SHD or SSC."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, dtype, rows in (("times", np.float16, times), ("units", np.uint16, units)):
            ragged = file.create_dataset(f"spikes/{name}", (len(rows),), dtype=h5py.vlen_dtype(dtype))
            for i, row in enumerate(rows):
                ragged[i] = np.asarray(row, dtype=dtype)
        file["labels"] = np.asarray(labels, dtype=np.uint16)
        file["extra/keys"] = [key.encode() for key in keys]
        file["extra/speaker"] = np.asarray(speakers if speakers is not None else [0] * len(labels), dtype=np.uint16)
    return path


def write_picture(path, size=(20, 30), seed=0, **options):
    """A picture of some coarse noise, (H, W) pixels."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), dtype=np.uint8)
    pixels = blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    Image.fromarray(pixels).save(path, **options)
    return pixels


def annotation(size, *things):
    """VOC's XML for a picture of (H, W) pixels; a thing is (name, xmin, ymin, xmax, ymax) or that and difficult."""
    objects = "".join(
        f"<object><name>{name}</name><pose>Left</pose><difficult>{(*rest, 0)[0]}</difficult><bndbox><xmin>{xmin}</xmin>"
        f"<ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax, *rest in things
    )
    height, width = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def write_trimap(path, size=(20, 30), pet=(4, 6, 12, 21)):
    """A trimap whose pet fills rows and columns [y0, x0, y1, x1), with a border of one pixel around it."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.full(size, 2, dtype=np.uint8)
    y0, x0, y1, x1 = pet
    mask[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = 3
    mask[y0:y1, x0:x1] = 1
    Image.fromarray(mask).save(path)
    return mask


def write_pets(root, names, size=(20, 30), heads=True, trimaps=True):
    """The Oxford-IIIT-Pet set with some pictures; the heads are x 8..15 and y 3..7, counted from 1."""
    folder = root / "oxford-iiit-pet"
    (folder / "annotations" / "xmls").mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        write_picture(folder / "images" / f"{name}.jpg", size, seed)
        if heads:
            text = annotation(size, ("cat", 8, 3, 15, 7))
            (folder / "annotations" / "xmls" / f"{name}.xml").write_text(text)
        if trimaps:
            write_trimap(folder / "annotations" / "trimaps" / f"{name}.png", size)
    return folder


def write_pet_lists(root, trainval, test):
    """The set's own lists, with the comments of the original."""
    folder = root / "oxford-iiit-pet" / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, names in (("trainval", trainval), ("test", test), ("list", [*trainval, *test])):
        head = "#Image CLASS-ID SPECIES BREED ID\n" if name == "list" else ""
        (folder / f"{name}.txt").write_text(head + "".join(f"{pet} 1 1 1\n" for pet in names))


def write_voc(root, year, things, size=(20, 30)):
    """One year of VOC: {name: [(class, xmin, ymin, xmax, ymax), ...]}."""
    folder = root / "VOCdevkit" / year
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    for seed, (name, objects) in enumerate(things.items()):
        write_picture(folder / "JPEGImages" / f"{name}.jpg", size, 1000 + seed)
        (folder / "Annotations" / f"{name}.xml").write_text(annotation(size, *objects))
    return folder


def write_coco(root, split, pictures, categories):
    """One split of COCO: {file name: ((H, W), [(category, x, y, width, height, iscrowd), ...])}."""
    import json

    folder = root / "coco"
    content = {"images": [], "annotations": [], "categories": [{"id": n, "name": name} for n, name in categories]}
    for number, (name, (size, objects)) in enumerate(pictures.items()):
        write_picture(folder / f"{split}2017" / name, size, number)
        content["images"].append({"id": 10 + number, "file_name": name, "height": size[0], "width": size[1]})
        for category, x, y, width, height, crowd in objects:
            entry = {"id": len(content["annotations"]), "image_id": 10 + number, "category_id": category}
            content["annotations"].append({**entry, "bbox": [x, y, width, height], "iscrowd": crowd})
    path = folder / "annotations" / f"instances_{split}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
