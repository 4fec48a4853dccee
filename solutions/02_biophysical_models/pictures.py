"""Draw the pictures of the wanted results that the prompts of chapter 02 show.

Run ``python solutions/02_biophysical_models/pictures.py``; the files in ``images/`` come out the same every time.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from spikelab import plotting
from spikelab.neurons import alpha_kernel, hodgkin_huxley, lif_kernels

IMAGES = Path(__file__).parent / "images"


def rate_picture() -> Figure:
    v = torch.linspace(-80, 10, 361, dtype=torch.float64)
    curve = {"α of m": hodgkin_huxley.alpha_m(v)}
    ax = plotting.traces(v, curve, x_label="potential V (mV)", y_label="opening rate (1/ms)")
    ax.plot(-40, 1, "o", markersize=9, markerfacecolor=plotting.WHITE, markeredgecolor=plotting.VERMILLION)
    ax.annotate("0/0 in the formula,\n1 in the axon", (-40, 1), (-62, 2.2), arrowprops={"arrowstyle": "-"})
    ax.get_legend().remove()
    return ax.figure


def axon_picture() -> Figure:
    trace = hodgkin_huxley.simulate(torch.full((3000,), 10.0, dtype=torch.float64), dt_ms=0.02)
    ax = plotting.membrane(trace.v_mv, threshold=None, dt_ms=0.02, start=0.02, unit="mV")
    ax.set(ylabel="potential V (mV)", ylim=(-85, 50))
    return ax.figure


def kernels_picture() -> Figure:
    eps, eta = lif_kernels(0.9, 1.0, 21)
    return plotting.kernel({"ε": eps, "η": eta}).figure


def alpha_picture() -> Figure:
    ax = plotting.kernel(alpha_kernel(10.0), dt_ms=1.0, y_label="ε")
    ax.axhline(0.01, color=plotting.GREY, linestyle="--")
    ax.annotate("77th and last value", (76, 0.01), (50, 0.25), arrowprops={"arrowstyle": "-"})
    ax.annotate("1 at τ = 10 ms", (10, 1), (16, 0.97))
    return ax.figure


def main() -> None:
    plt.switch_backend("agg")
    plotting.style()
    pictures = {
        "alpha-m": rate_picture,
        "axon": axon_picture,
        "srm-kernels": kernels_picture,
        "alpha-kernel": alpha_picture,
    }
    for name, draw in pictures.items():
        plotting.save_picture(draw(), IMAGES / f"{name}.png", dpi=130, colours=128)


if __name__ == "__main__":
    main()
