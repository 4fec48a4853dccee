"""The picture of the welcome page is what its script draws from a simulation."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"


@pytest.fixture(scope="module")
def hero():
    spec = importlib.util.spec_from_file_location("hero", STATIC / "hero.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_picture_is_the_one_that_the_script_draws(hero, tmp_path):
    hero.main(tmp_path / "hero.png")
    with Image.open(tmp_path / "hero.png") as new, Image.open(STATIC / "hero.png") as old:
        assert new.size == old.size
        difference = np.asarray(new.convert("L"), float) - np.asarray(old.convert("L"), float)
    assert np.abs(difference).mean() < 2  # of 255: room for another version's fonts, not for other spikes


def test_box_comes_from_the_spikes_and_fits_the_cat(hero):
    scene = hero.cat()
    spikes, _ = hero.watch(scene)
    left, right, low, high = hero.box_around(spikes)
    neurons, steps = np.nonzero(scene)
    true = (steps.min(), steps.max(), neurons.min(), neurons.max())
    shared = (min(right, true[1]) - max(left, true[0])) * (min(high, true[3]) - max(low, true[2]))
    union = (right - left) * (high - low) + (true[1] - true[0]) * (true[3] - true[2]) - shared
    assert shared / union > 0.85
    assert hero.box_around(np.roll(spikes, 60, axis=0)) == (left + 60, right + 60, low, high)


def test_picture_is_light_enough_for_a_welcome_page():
    assert (STATIC / "hero.png").stat().st_size < 150_000
