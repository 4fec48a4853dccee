"""Figures: units on every axis, nothing told by colour alone, colours that can be read in light and dark."""

import io
import itertools
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spikelab import plotting


@pytest.fixture(autouse=True)
def _course_style():
    with matplotlib.rc_context(plotting.style_parameters()):
        yield
    plt.close("all")


def golden_trace():
    """Chapter 01's trace: decay .8, input .5, reset by subtraction."""
    membrane = torch.tensor([0.5, 0.9, 1.22, 0.476, 0.8808, 1.20464, 0.463712])
    return membrane, (membrane > 1).float()


def draw_every_kind():
    membrane, spikes = golden_trace()
    ones = torch.ones(5)
    return {
        "membrane": plotting.membrane(membrane, spikes=spikes),
        "membrane in ms": plotting.membrane(membrane, dt_ms=0.5, unit="mV", threshold=15.0),
        "raster": plotting.raster(torch.eye(4)),
        "f-I curve": plotting.fi_curve(ones, ones, measured=ones, rheobase=0.1),
        "traces": plotting.traces(ones, {"a": ones}, x_label="time (ms)", y_label="current (nA)"),
        "kernel": plotting.kernel({"ε": ones, "η": -ones}),
        "histogram": plotting.histogram(ones, value_label="weight (θ)"),
    }


# --- colour ---------------------------------------------------------------------------------------------------------


def rgb(colour):
    return np.array(matplotlib.colors.to_rgb(colour))


def contrast(one, other):
    """Contrast ratio of two sRGB colours as the Web Content Accessibility Guidelines define it."""

    def luminance(colour):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def in_dark_mode(colour):
    """What CSS makes of a colour with ``filter: invert(.88) hue-rotate(180deg)`` (Filter Effects, Level 1)."""
    turned = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
    return np.clip(turned @ (0.88 + colour * (1 - 2 * 0.88)), 0, 1)


@pytest.mark.parametrize("colour", [*plotting.PALETTE, plotting.INK, plotting.GREY])
def test_lines_and_text_have_three_to_one_contrast_in_light_and_dark(colour):
    white = rgb(plotting.WHITE)
    assert contrast(rgb(colour), white) >= 3
    assert contrast(in_dark_mode(rgb(colour)), in_dark_mode(white)) >= 3


def test_contrast_measure_gives_the_known_extremes():
    assert contrast(np.zeros(3), np.ones(3)) == pytest.approx(21)
    assert contrast(rgb(plotting.YELLOW), np.ones(3)) < 1.5  # why yellow is a fill and never a line


def test_figures_are_opaque_white_although_the_page_is_dark():
    ax = plotting.membrane(golden_trace()[0])
    picture = io.BytesIO()
    ax.figure.savefig(picture, format="png")
    pixels = plt.imread(io.BytesIO(picture.getvalue()))
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]
    assert pixels[..., 3].min() == 1


# --- axes and units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["membrane", "membrane in ms", "raster", "f-I curve", "traces", "kernel", "histogram"])
def test_axes_are_labelled_and_say_their_unit(kind):
    ax = draw_every_kind()[kind]
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    if kind != "raster":
        assert re.search(r"\(.+\)", ax.get_xlabel())
    if kind not in ("raster", "histogram"):  # an index and a count have no unit
        assert re.search(r"\(.+\)", ax.get_ylabel())


def test_time_axis_is_in_ms_with_a_step_and_in_steps_without():
    membrane, _ = golden_trace()
    in_ms = plotting.membrane(membrane, dt_ms=0.5, start=0.5)
    assert in_ms.get_xlabel() == "time (ms)"
    assert in_ms.lines[0].get_xdata()[[0, -1]].tolist() == [0.5, 3.5]
    in_steps = plotting.membrane(membrane)
    assert in_steps.get_xlabel() == "time (steps)"
    assert in_steps.lines[0].get_xdata()[-1] == 6


def test_threshold_is_drawn_dashed_at_its_value_and_left_out_on_request():
    membrane, _ = golden_trace()
    ax = plotting.membrane(membrane, threshold=1.3)
    (line,) = [line for line in ax.lines if line.get_label() == "_threshold"]
    assert set(line.get_ydata()) == {1.3}
    assert line.is_dashed()
    assert [text.get_text() for text in ax.texts] == ["θ"]
    without = plotting.membrane(membrane, threshold=None)
    assert [line.get_label() for line in without.lines if line.get_label() == "_threshold"] == []


def test_every_spike_is_marked_above_the_curve_at_its_time():
    membrane, spikes = golden_trace()
    ax = plotting.membrane(membrane, spikes=spikes, dt_ms=2.0)
    (marks,) = [line for line in ax.lines if line.get_label() == "_spikes 0"]
    assert marks.get_xdata().tolist() == [4.0, 10.0]
    assert min(marks.get_ydata()) > float(membrane.max())


def test_raster_has_one_mark_for_each_spike_at_its_time_and_neuron():
    spikes = torch.zeros(50, 3)
    spikes[7, 0] = spikes[20, 2] = spikes[49, 2] = 1
    ax = plotting.raster(spikes, dt_ms=0.1)
    (marks,) = ax.lines
    np.testing.assert_allclose(marks.get_xdata(), [0.7, 2.0, 4.9])
    assert marks.get_ydata().tolist() == [0, 2, 2]


def test_raster_tells_off_from_on_by_the_shape_of_the_mark():
    ax = plotting.raster(torch.tensor([1.0, 0.0, -1.0]))
    on, off = ax.lines
    assert (on.get_xdata().tolist(), off.get_xdata().tolist()) == ([0], [2])
    assert on.get_marker() != off.get_marker()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ON", "OFF"]


def test_fi_curve_shows_theory_as_line_and_measurement_as_points():
    ax = plotting.fi_curve([0, 1, 2], [0, 0, 30], measured=[29], measured_drive=[2], rheobase=1.5)
    theory, points, guide = ax.lines
    assert (theory.get_linestyle(), points.get_linestyle()) == ("-", "None")
    assert (points.get_xdata().tolist(), points.get_ydata().tolist()) == ([2], [29])
    assert set(guide.get_xdata()) == {1.5}


def test_six_curves_differ_without_their_colour():
    ax = plotting.traces(
        np.arange(30), {f"{k}": np.arange(30) * k for k in range(6)}, x_label="t (ms)", y_label="U (mV)"
    )
    looks = [(line._unscaled_dash_pattern, line.get_marker()) for line in ax.lines]
    assert all(one != other for one, other in itertools.combinations(looks, 2))
    few = plotting.traces([1, 2], {f"{k}": [k, k] for k in range(6)}, x_label="t (ms)", y_label="U (mV)")
    assert len({line.get_marker() for line in few.lines}) == 6


def test_bars_differ_without_their_colour_and_stand_at_their_groups():
    ax = plotting.bars(["rate", "latency"], {f"{k}": [1 + k, 2] for k in range(6)}, y_label="error (grey values)")
    assert len({bars[0].get_hatch() for bars in ax.containers}) == 6
    assert [text.get_text() for text in ax.get_xticklabels()] == ["rate", "latency"]
    assert [bars[0].get_height() for bars in ax.containers] == [1, 2, 3, 4, 5, 6]


def test_log_log_axes_and_a_curve_with_an_axis_of_its_own():
    ax = plotting.traces(
        [4, 16, 64],
        {"Poisson": [0.2, 0.1, 0.05], "phase": ([4, 8], [0.036, 0.0023])},
        x_label="T (steps)",
        y_label="RMS error (grey value)",
        log="xy",
    )
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.lines[1].get_xdata().tolist() == [4, 8]


def test_histogram_counts_every_value_once_over_common_bins():
    ax = plotting.histogram({"before": torch.randn(500), "after": torch.randn(300) * 2}, bins=20, value_label="w (θ)")
    outlines = [patch for patch in ax.patches if not patch.get_fill()]
    assert [patch.get_data().values.sum() for patch in outlines] == [500, 300]
    assert np.array_equal(outlines[0].get_data().edges, outlines[1].get_data().edges)


def test_kernel_draws_a_tap_at_every_lag():
    ax = plotting.kernel({"ε": torch.tensor([1.0, 0.5, 0.25])}, dt_ms=2.0)
    assert ax.get_xlabel() == "lag (ms)"
    assert ax.lines[0].get_xdata().tolist() == [0, 2, 4]
    assert ax.lines[0].get_ydata().tolist() == [1, 0.5, 0.25]


def test_image_keeps_pixels_sharp_and_names_what_they_mean():
    ax = plotting.image(torch.arange(6.0).reshape(2, 3), value_label="first spike (steps)")
    assert ax.images[0].get_array().shape == (2, 3)
    assert ax.figure.axes[1].get_ylabel() == "first spike (steps)"
    assert plotting.image(np.zeros((2, 2)), limits=(0, 1)).images[0].get_clim() == (0, 1)


def spiral(x, y):
    """x stands still on the line y = x, y on the line y = 0.5 − x; both do at (0.25, 0.25)."""
    return y - x, 0.5 - x - y


def test_phase_plane_draws_each_nullcline_where_its_slope_is_zero():
    where = {"x_range": (-1.0, 1.0), "y_range": (-2.0, 2.0), "x_label": "V (mV)", "y_label": "n"}
    path = torch.tensor([[-0.5, 1.0], [0.0, 0.5]])
    ax = plotting.phase_plane(spiral, **where, names=("V", "n"), path=path, rest=(0.25, 0.25), stable=False)
    first, second = (curves.get_paths()[0].vertices for curves in ax.collections)
    assert np.allclose(first[:, 1], first[:, 0], atol=1e-6)
    assert np.allclose(second[:, 1], 0.5 - second[:, 0], atol=1e-6)
    assert np.ptp(first[:, 0]) > 1.9
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["path", "V stands still", "n stands still"]
    assert np.array_equal(lines["path"].get_xydata(), path)
    assert lines["_start"].get_xydata().tolist() == [[-0.5, 1.0]]
    assert lines["_rest"].get_markerfacecolor() == plotting.WHITE
    assert len({str(lines[f"{name} stands still"]._unscaled_dash_pattern) for name in "Vn"}) == 2
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))
    bare = plotting.phase_plane(spiral, **where, rest=(0.25, 0.25), legend=False)
    assert bare.get_legend() is None
    assert bare.get_lines()[-1].get_markerfacecolor() == plotting.INK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_range": (1.0, -1.0)}, "x_range's length must be positive"),
        ({"path": np.zeros((4, 3))}, r"path must have shape \[T, 2\], got \(4, 3\)"),
        ({"flow": lambda x, y: (x / 0, y)}, "flow must be finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_phase_plane_that_cannot_be_drawn_says_why(change, message):
    where = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "x_label": "V (mV)", "y_label": "n"}
    with pytest.raises(ValueError, match=message):
        plotting.phase_plane(**{"flow": spiral, **where, **change})


def test_panels_share_the_width_of_the_page():
    figure, axes = plotting.panels(2, 3, row_height=2.0, share_x=True)
    assert len(axes) == 6
    assert figure.get_size_inches().tolist() == [plotting.PAGE_WIDTH_INCHES, 4.0]
    assert plotting.raster(torch.eye(3), ax=axes[4]) is axes[4]


# --- manners --------------------------------------------------------------------------------------------------------


def test_tensors_with_gradients_and_arrays_draw_the_same():
    membrane, spikes = golden_trace()
    learned = membrane.clone().requires_grad_()
    one = plotting.membrane(learned, spikes=spikes)
    other = plotting.membrane(membrane.numpy(), spikes=spikes.numpy())
    assert one.lines[0].get_ydata().tolist() == other.lines[0].get_ydata().tolist()


def test_the_same_data_give_the_same_bytes():
    def picture():
        data = io.BytesIO()
        plotting.membrane(*golden_trace()[:1], spikes=golden_trace()[1]).figure.savefig(data, format="png")
        return data.getvalue()

    assert picture() == picture()


def test_import_loads_no_matplotlib_and_drawing_shows_and_prints_nothing(capsys, monkeypatch):
    code = "import sys, spikelab.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a figure was shown"))
    draw_every_kind()
    assert capsys.readouterr() == ("", "")


def test_style_sets_the_notebook_and_nothing_else():
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        assert plotting.style() is None
        assert {key: matplotlib.rcParams[key] for key in ("figure.facecolor", "savefig.transparent")} == {
            "figure.facecolor": plotting.WHITE,
            "savefig.transparent": False,
        }


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.membrane([0.0, NAN]), r"potential must be finite, but 1 of its 2 values"),
        (lambda: plotting.membrane(torch.zeros(2, 3, 4)), r"potential must have shape \[T\] or \[T, N\]"),
        (lambda: plotting.membrane(torch.zeros(0)), r"potential must have shape"),
        (lambda: plotting.membrane(torch.zeros(5, 7)), r"at most 6 curves, got 7"),
        (lambda: plotting.membrane(torch.zeros(5), spikes=torch.zeros(4)), r"spikes must have the shape of potential"),
        (lambda: plotting.membrane(torch.zeros(5, 2), labels=["a"]), r"labels must name each of the 2 curves"),
        (lambda: plotting.membrane(torch.zeros(5), dt_ms=-1), r"dt_ms must be positive \(in ms\), got -1"),
        (lambda: plotting.raster(torch.full((3, 2), 0.5)), r"spikes must hold only -1, 0 and 1, got 0.5"),
        (lambda: plotting.fi_curve([1, 2], [1]), r"rate must have as many values as drive \(2\), got 1"),
        (lambda: plotting.fi_curve([1], [1], measured=[1, 2]), r"measured must have as many values as measured_drive"),
        (lambda: plotting.traces([1], {}, x_label="x", y_label="y"), r"curves must map 1 to 6 names"),
        (lambda: plotting.traces([1], [1], x_label="x", y_label="y"), r"got list"),
        (lambda: plotting.traces([1], {"a": [0]}, x_label="x", y_label="y", log="y"), r"needs values above zero"),
        (lambda: plotting.traces([1], {"a": [1]}, x_label="x", y_label="y", log="z"), r"log must be one of"),
        (lambda: plotting.kernel([]), r"kernels must have one axis and at least one value"),
        (lambda: plotting.kernel({}), r"kernels must be 1 to 6, got 0"),
        (lambda: plotting.histogram([]), r"values must hold at least one number"),
        (lambda: plotting.histogram({}), r"values must hold 1 to 6 sets"),
        (lambda: plotting.histogram([1.0], bins=0), r"bins must be at least 1, got 0"),
        (lambda: plotting.histogram(["a"]), r"values must hold numbers"),
        (
            lambda: plotting.bars(["a", "b"], {"x": [1]}, y_label="y"),
            r"x must have one number for each of the 2 groups",
        ),
        (lambda: plotting.bars(["a"], {"x": [0]}, y_label="y", log=True), r"needs heights above zero"),
        (lambda: plotting.bars(["a"], {}, y_label="y"), r"series must be 1 to 6"),
        (lambda: plotting.image(torch.zeros(3)), r"values must have shape \[H, W\], got \(3,\)"),
        (lambda: plotting.panels(0), r"rows must be at least 1, got 0"),
    ],
)
def test_bad_input_names_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert plt.get_fignums() == []  # checked before a figure is opened


def test_logarithmic_counts_and_bars():
    assert plotting.histogram([1.0, 2.0, 2.0], log=True).get_yscale() == "log"
    assert plotting.bars(["a"], {"x": [1]}, y_label="spikes (count)", log=True, title="t").get_yscale() == "log"


def test_a_saved_picture_is_small_the_same_every_time_and_closed(tmp_path):
    files = []
    for name in ("a.png", "b.png"):
        ax = plotting.traces(range(50), {"curve": range(50)}, x_label="x", y_label="y")
        plotting.save_picture(ax.figure, tmp_path / "new folder" / name)
        files.append((tmp_path / "new folder" / name).read_bytes())
    assert files[0] == files[1]
    assert files[0].startswith(b"\x89PNG")
    assert len(files[0]) < 20_000
    assert sorted(path.name for path in (tmp_path / "new folder").iterdir()) == ["a.png", "b.png"]
    assert not plt.get_fignums()


def test_a_palette_has_two_to_256_colours():
    ax = plotting.traces(range(5), {"curve": range(5)}, x_label="x", y_label="y")
    with pytest.raises(ValueError, match="colours must"):
        plotting.png_bytes(ax.figure, colours=1)
