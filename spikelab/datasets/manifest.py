"""What data sets there are, where their files come from, and how to know them again.

Addresses and checksums are those that the sets' pages and their widely used readers give. Where only an MD5 is
published it is checked, and the SHA-256 that was measured is printed; where nothing is published, both are printed for
comparison. No checksum here was made up or measured on a copy of unknown origin.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from spikelab.validation import require_choice


class RemoteFile(NamedTuple):
    """One file to download.

    Attributes:
        name: its name on disk.
        urls: addresses of the same bytes, the one to try first in front.
        size: bytes, if published.
        sha256, md5: checksums, if published.
        unpack: what to do with it: nothing, or unpack it into the data set's folder.
        inside: the folder of the archive whose content is wanted; all of the archive if empty.
        holds: what the data set's folder holds once this file is in place, and not before.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    unpack: Literal["", "zip", "tar"] = ""
    inside: str = ""
    holds: tuple[str, ...] = ()


class DataSet(NamedTuple):
    """A data set.

    Attributes:
        name: what ``spikelab data`` calls it, and its folder.
        title: what people call it.
        files: what to download; empty if it is made here.
        about: what is in it.
        licence: its terms.
        homepage: where it is described.
        by_hand: what a person has to do where no program may download it.
        make: the name under which ``spikelab data make`` makes it, or nothing.
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    about: str
    licence: str
    homepage: str
    by_hand: str = ""
    make: str = ""


def data_set(name: str) -> DataSet:
    """Return the entry of a data set.

    Raises:
        ValueError: if there is none of that name.
    """
    return DATA_SETS[require_choice("data set", name, tuple(DATA_SETS))]


def _mnist(name: str, size: int, sha256: str, md5: str) -> RemoteFile:
    places = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    return RemoteFile(name, tuple(place + name for place in places), size, sha256, md5, holds=(name,))


def _nmnist(folder: str, key: str, md5: str) -> RemoteFile:
    url = f"https://data.mendeley.com/public-files/datasets/468j46mzdv/files/{key}/file_downloaded"
    return RemoteFile(f"{folder}.zip", (url,), md5=md5, unpack="zip", holds=(folder,))


def _heidelberg(name: str, md5: str) -> RemoteFile:
    places = ("https://zenkelab.org/datasets/", "https://compneuro.net/datasets/")
    urls = tuple(f"{place}{name}.h5.zip" for place in places)
    return RemoteFile(f"{name}.h5.zip", urls, md5=md5, unpack="zip", holds=(f"{name}.h5",))


def _pets(name: str, md5: str) -> RemoteFile:
    places = ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/", "https://thor.robots.ox.ac.uk/pets/")
    urls = tuple(f"{place}{name}.tar.gz" for place in places)
    return RemoteFile(f"{name}.tar.gz", urls, md5=md5, unpack="tar", holds=(name,))


def _voc(year: int, name: str, size: int, sha256: str, md5: str, *holds: str) -> RemoteFile:
    places = (f"https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/", "https://data.pjreddie.com/files/")
    urls = tuple(place + name for place in places)
    held = tuple(f"VOC{year}/{part}" for part in holds) or (f"VOC{year}",)
    return RemoteFile(name, urls, size, sha256, md5, unpack="tar", inside="VOCdevkit", holds=held)


def _coco(path: str, size: int, sha256: str, md5: str, holds: str) -> RemoteFile:
    # The official host has no certificate of its own name; the first address is the same store under one that has.
    places = ("https://s3.amazonaws.com/images.cocodataset.org/", "http://images.cocodataset.org/")
    urls = tuple(place + path for place in places)
    return RemoteFile(path.rpartition("/")[2], urls, size, sha256, md5, unpack="zip", holds=(holds,))


_GESTURES = "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794"

DATA_SETS: dict[str, DataSet] = {
    entry.name: entry
    for entry in (
        DataSet(
            "nmnist",
            "N-MNIST",
            (
                _nmnist("Train", "39c25547-014b-4137-a934-9d29fa53c7a0", "20959b8e626244a1b502305a9e6e2031"),
                _nmnist("Test", "05a4d654-7e03-4c15-bdfa-9bb2bcbea494", "69ca8762b2fe404d9b9bad1103e97832"),
            ),
            "60,000 + 10,000 recordings of MNIST on a screen before a moving event camera, 34 x 34 pixels, 0.3 s",
            "CC BY-SA 4.0",
            "https://www.garrickorchard.com/datasets/n-mnist (files: https://doi.org/10.17632/468j46mzdv.1)",
        ),
        DataSet(
            "nmnist-simulated",
            "simulated N-MNIST",
            (),
            "60,000 + 10,000 recordings: MNIST through the DVS simulator, in N-MNIST's files",
            "that of MNIST",
            "chapter 04",
            make="nmnist-simulated",
        ),
        DataSet(
            "nmnist-synthetic",
            "synthetic stand-in for N-MNIST",
            (),
            "1,397 + 400 recordings: scikit-learn's digits through the DVS simulator, in N-MNIST's files",
            "that of scikit-learn's load_digits (UCI, Optical Recognition of Handwritten Digits)",
            "chapter 04",
            make="nmnist-synthetic",
        ),
        DataSet(
            "mnist",
            "MNIST",
            (
                _mnist(
                    "train-images-idx3-ubyte.gz",
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                ),
                _mnist(
                    "train-labels-idx1-ubyte.gz",
                    28_881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                ),
                _mnist(
                    "t10k-images-idx3-ubyte.gz",
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    "9fb629c4189551a2d022fa330f9573f3",
                ),
                _mnist(
                    "t10k-labels-idx1-ubyte.gz",
                    4_542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
            ),
            "60,000 + 10,000 images of handwritten digits, 28 x 28 pixels",
            "CC BY-SA 3.0",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        DataSet(
            "dvs-gesture",
            "DVS128 Gesture",
            (
                RemoteFile(
                    "DvsGesture.tar.gz",
                    (),
                    md5="8a5c71fb11e24e5ca5b11866ca6c00a1",
                    unpack="tar",
                    holds=("DvsGesture",),
                ),
            ),
            "11 gestures of 29 people under three lights, recorded with a DVS128 of 128 x 128 pixels (AEDAT 3.1)",
            "CC BY 4.0",
            "http://www.research.ibm.com/dvsgesture/",
            by_hand=f"Its page lets only people download. Open {_GESTURES} in a browser and download DvsGesture.tar.gz",
        ),
        DataSet(
            "shd",
            "Spiking Heidelberg Digits",
            (
                _heidelberg("shd_train", "f3252aeb598ac776c1b526422d90eecb"),
                _heidelberg("shd_test", "1503a5064faa34311c398fb0a1ed0a6f"),
            ),
            "about 10,000 spoken digits (English and German) through a model of the cochlea, 700 channels",
            "CC BY 4.0",
            "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/",
        ),
        DataSet(
            "ssc",
            "Spiking Speech Commands",
            (
                _heidelberg("ssc_train", "d102be95e7144fcc0553d1f45ba94170"),
                _heidelberg("ssc_valid", "b4eee3516a4a90dd0c71a6ac23a8ae43"),
                _heidelberg("ssc_test", "a35ff1e9cffdd02a20eb850c17c37748"),
            ),
            "105,829 spoken commands of 35 kinds through a model of the cochlea, 700 channels",
            "CC BY 4.0",
            "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/",
        ),
        DataSet(
            "oxford-iiit-pet",
            "Oxford-IIIT-Pet",
            (
                _pets("images", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
                _pets("annotations", "95a8c909bbe2e81eed6a22bccdf3f68f"),
            ),
            "7,349 pictures of cats and dogs of 37 breeds, a trimap of each, and the box of the head of half of them",
            "CC BY-SA 4.0 (the pictures are their owners')",
            "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        ),
        DataSet(
            "VOCdevkit",
            "PASCAL VOC 2007 and 2012",
            (
                # Both archives of VOC2007 unpack into one folder: each is told by files that only it has.
                _voc(
                    2007,
                    "VOCtrainval_06-Nov-2007.tar",
                    460_032_000,
                    "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
                    "c52e279531787c972589f7e41ab4ae64",
                    "ImageSets/Main/trainval.txt",
                ),
                _voc(
                    2007,
                    "VOCtest_06-Nov-2007.tar",
                    451_020_800,
                    "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
                    "b6e924de25625d8de591ea690078ad9f",
                    "ImageSets/Main/test.txt",
                    "JPEGImages/000001.jpg",
                ),
                _voc(
                    2012,
                    "VOCtrainval_11-May-2012.tar",
                    1_999_639_040,
                    "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                    "6cd6e144f989b92b3379bac3b3de84fd",
                ),
            ),
            "pictures with boxes of the objects of 20 classes: 5,011 of VOC2007 to train and validate on and 4,952 to "
            "test on, and 17,125 of VOC2012",
            "Flickr's terms of use",
            "http://host.robots.ox.ac.uk/pascal/VOC/",
        ),
        DataSet(
            "coco",
            "COCO 2017",
            (
                _coco(
                    "annotations/annotations_trainval2017.zip",
                    252_907_541,
                    "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                    "f4bbac642086de4f52a3fdda2de5fa2c",
                    "annotations",
                ),
                _coco(
                    "zips/val2017.zip",
                    815_585_330,
                    "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                    "442b8da7639aecaf257c1dceb8ba8c80",
                    "val2017",
                ),
                _coco(
                    "zips/train2017.zip",
                    19_336_861_798,
                    "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                    "cced6f7f71b7629ddf16f17bbcfab6b2",
                    "train2017",
                ),
            ),
            "118,287 + 5,000 pictures (19 GB + 0.8 GB, the small part first), with boxes of the objects of 80 classes",
            "CC BY 4.0 (annotations), Flickr's terms of use (pictures)",
            "https://cocodataset.org/#download",
        ),
        DataSet(
            "pets-synthetic",
            "synthetic stand-in for pets and animals",
            (),
            "1,200 drawn animals with their trimaps, heads and boxes, in the files of Oxford-IIIT-Pet and VOC2012",
            "that of spikelab",
            "chapter 09",
            make="pets-synthetic",
        ),
        DataSet(
            "scenes-synthetic",
            "synthetic stand-in for scenes with several objects",
            (),
            "285 drawn scenes of animals and things that hide each other, in the files of PASCAL VOC and COCO",
            "that of spikelab",
            "chapter 10",
            make="scenes-synthetic",
        ),
    )
}
