"""The frames slider: drawn beforehand, linked in the browser, described for those who cannot see it."""

import base64
import html
import io
import re

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import ipywidgets
import matplotlib.pyplot as plt
from ipywidgets.embed import dependency_state

from spikelab import plotting
from spikelab.widgets import frames_slider

BETAS = [0.5, 0.8, 0.9]


def draw(beta):
    ax = plotting.membrane(np.cumsum(beta ** np.arange(50)), threshold=10.0)
    ax.set_ylim(0, 12)
    return ax.figure


def describe(beta):
    return f'With "β" = {beta} the potential settles at {1 / (1 - beta):.0f} θ'


@pytest.fixture(scope="module")
def slider():
    return frames_slider(draw, BETAS, label="decay β", unit="per ms", alt=describe)


def frames(box):
    return [frame.value for frame in box.children[1].children]


def alt_texts(box):
    return [html.unescape(re.search(r' alt="([^"]*)"', frame)[1]) for frame in frames(box)]


def pictures(box):
    return [base64.b64decode(re.search(r"base64,([^\"]+)", frame)[1]) for frame in frames(box)]


def test_slider_offers_every_value_with_its_unit(slider):
    control = slider.children[0]
    assert isinstance(control, ipywidgets.SelectionSlider)
    assert [text for text, _ in control.options] == ["0.5 per ms", "0.8 per ms", "0.9 per ms"]
    assert control.description == "decay β"
    assert control.readout


def test_moving_the_slider_moves_the_picture_in_the_browser_alone(slider):
    control, stack = slider.children
    page = dependency_state(slider)  # what the static page gets
    (link,) = [model["state"] for model in page.values() if model["model_name"] == "LinkModel"]
    assert link["source"] == [f"IPY_MODEL_{control.model_id}", "index"]
    assert link["target"] == [f"IPY_MODEL_{stack.model_id}", "selected_index"]
    assert isinstance(stack, ipywidgets.Stack)
    assert len(stack.children) == len(BETAS)


def test_first_frame_belongs_to_the_first_value_or_to_start():
    control, stack = frames_slider(draw, BETAS, label="β", alt=describe).children
    assert (control.index, stack.selected_index) == (0, 0)
    control, stack = frames_slider(draw, BETAS, label="β", alt=describe, start=0.9).children
    assert (control.index, stack.selected_index) == (2, 2)


def test_each_frame_carries_its_own_alt_text(slider):
    assert alt_texts(slider) == [describe(beta) for beta in BETAS]


def test_one_alt_text_for_all_gets_label_value_and_unit():
    box = frames_slider(draw, [0.5, 0.9], label="decay", unit="per step", alt="Potential against time.")
    assert alt_texts(box) == [
        "Potential against time. decay: 0.5 per step",
        "Potential against time. decay: 0.9 per step",
    ]


def test_frames_are_opaque_png_of_one_size_in_the_order_of_the_values(slider):
    images = [plt.imread(io.BytesIO(png)) for png in pictures(slider)]
    assert len({image.shape for image in images}) == 1
    assert all(image[0, 0, :3].tolist() == [1, 1, 1] for image in images)
    blue = [(image[..., 2] - image[..., 0] > 0.4).any(axis=1).argmax() for image in images]
    assert blue[0] > blue[1] > blue[2]  # the curve climbs higher the less it forgets


def test_a_frame_of_a_line_figure_stays_below_forty_kilobytes(slider):
    assert max(map(len, pictures(slider))) < 40_000


def test_the_same_call_gives_the_same_bytes(slider):
    assert frames(frames_slider(draw, BETAS, label="β", alt=describe)) == frames(slider)


def test_every_figure_is_closed_also_when_drawing_fails():
    plt.close("all")
    frames_slider(draw, BETAS, label="β", alt=describe)

    def fails_at_last(beta):
        figure = draw(beta)
        if beta > 0.85:
            raise RuntimeError("no such neuron")
        return figure

    with pytest.raises(RuntimeError, match="no such neuron"):
        frames_slider(fails_at_last, BETAS, label="β", alt=describe)
    assert plt.get_fignums() == []


def test_texts_can_be_values():
    box = frames_slider(lambda _: draw(0.5), ["rate", "latency"], label="code", alt="Raster")
    assert [text for text, _ in box.children[0].options] == ["rate", "latency"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": []}, "values must hold at least one value"),
        ({"draw": "figure"}, "draw must be a function of one value, got str"),
        (
            {"draw": lambda beta: plt.subplots()[1]},
            r"draw must return a matplotlib Figure, got Axes \(return ax.figure\)",
        ),
        ({"draw": lambda beta: None}, "draw must return a matplotlib Figure, got NoneType"),
        ({"alt": None}, r"alt must describe the frame .* got None at β: 0.5"),
        ({"alt": "  "}, "alt must describe the frame"),
        ({"alt": lambda beta: ""}, "alt must describe the frame"),
        ({"label": ""}, "label must say what the slider changes"),
        ({"start": 0.7}, r"start must be one of the values \[0.5, 0.8, 0.9\], got 0.7"),
        ({"dpi": 0}, "dpi must be positive"),
    ],
)
def test_bad_input_names_argument_value_and_what_is_allowed(change, message):
    plt.close("all")
    call = {"draw": draw, "values": BETAS, "label": "β", "alt": describe, **change}
    with pytest.raises(ValueError, match=message):
        frames_slider(call.pop("draw"), call.pop("values"), **call)
    assert plt.get_fignums() == []


def test_missing_alt_text_is_an_error_and_not_a_silent_picture():
    with pytest.raises(ValueError, match="alt must describe"):
        frames_slider(draw, BETAS, label="β")
