"""Data sets: one loader for each, which reads the original files.

========================= ======================================================= =========================
name                      what                                                    loader
========================= ======================================================= =========================
``nmnist``                N-MNIST, recorded                                       :class:`NMNIST`
``nmnist-simulated``      all of MNIST through the DVS simulator                  :class:`NMNIST`
``nmnist-synthetic``      scikit-learn's digits through the DVS simulator         :class:`NMNIST`
``mnist``                 MNIST's images                                          :func:`read_mnist`
``dvs-gesture``           DVS128 Gesture                                          :class:`DVSGesture`
``shd``, ``ssc``          spoken digits and commands through a model of the ear   :class:`SHD`, :class:`SSC`
``oxford-iiit-pet``       cats and dogs: boxes of bodies and heads                :class:`Pets`
``VOCdevkit``             PASCAL VOC 2007 and 2012: objects of 20 classes         :class:`VOC`, :class:`Animals`
``VOCdevkit``             of these the pictures of one animal                     :class:`Pets`
``coco``                  COCO 2017: ten animals                                  :class:`Animals`
``pets-synthetic``        drawn animals in the files of the two                   :class:`Pets`
``scenes-synthetic``      drawn scenes of several objects in the files of the two :class:`VOC`, :class:`Animals`
========================= ======================================================= =========================

They are looked for in the folder that ``$SPIKELAB_DATA`` names and in the cache folder; ``spikelab data`` lists,
fetches, makes and checks them. Names are imported when they are first used, so that the command line stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "DataError": "errors",
    "FetchError": "errors",
    "cache_folder": "places",
    "data_root": "places",
    "profile": "places",
    "data_hash": "files",
    "read_idx": "idx",
    "read_mnist": "idx",
    "NMNIST": "nmnist",
    "load_frames": "frames",
    "open_frames": "frames",
    "make_simulated": "simulated",
    "make_synthetic": "simulated",
    "DVSGesture": "dvs_gesture",
    "SHD": "heidelberg",
    "SSC": "heidelberg",
    "VOC": "detection_sets",
    "Animals": "detection_sets",
    "SceneSet": "scenes",
    "Scenes": "scenes",
    "load_scenes": "scenes",
    "fit_picture": "scenes",
    "window_of": "scenes",
    "into_window": "scenes",
    "out_of_window": "scenes",
    "split_by_photo": "scenes",
    "require_apart": "scenes",
    "read_instances": "coco",
    "draw_scenes": "scene_views",
    "augment_scenes": "scene_views",
    "Digits": "digits",
    "load_digits": "digits",
    "digit_on_canvas": "digits",
    "digit_scenes": "digits",
    "Pets": "pets",
    "box_from_trimap": "pets",
    "read_head_box": "pets",
    "read_trimap": "pets",
    "LocalizationSet": "pictures",
    "load_pictures": "pictures",
    "read_picture": "pictures",
    "read_annotation": "voc",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
