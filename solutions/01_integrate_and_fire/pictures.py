"""Draw the pictures of the wanted results that the prompts of chapter 01 show.

Run ``python solutions/01_integrate_and_fire/pictures.py``; the files in ``images/`` come out the same every time.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from spikelab import plotting
from spikelab.neurons import lif, lif_rate_hz, passive_membrane

IMAGES = Path(__file__).parent / "images"


def membrane_picture() -> Figure:
    ax = None
    for dt_ms, marker in ((1.0, "."), (5.0, "s")):
        current = torch.full((round(80 / dt_ms),), 2.0)
        u = passive_membrane(current, tau_ms=20.0, resistance_mohm=10.0, dt_ms=dt_ms)
        time = dt_ms * torch.arange(1, len(u) + 1)
        if ax is None:
            ax = plotting.traces(
                time, {f"dt = {dt_ms:g} ms": u}, x_label="time (ms)", y_label="membrane potential U (mV)", markers=False
            )
        else:
            ax.plot(time, u, marker, color=plotting.VERMILLION, fillstyle="none", label=f"dt = {dt_ms:g} ms")
    for at_ms, value in ((20, 12.64), (60, 19.00)):
        ax.annotate(f"{value:.2f} mV", (at_ms, value), (at_ms + 1.5, value - 2.4))
    ax.set_ylim(0, 21)
    ax.legend(loc="lower right")
    return ax.figure


def lif_picture() -> Figure:
    figure, axes = plotting.panels(2, 1, row_height=2.2, share_x=True)
    for reset, ax in zip(("subtract", "zero"), axes, strict=True):
        out = lif(torch.full((12,), 0.5), beta=0.8, reset=reset)
        plotting.membrane(out.membrane, spikes=out.spikes, title=f'reset = "{reset}"', ax=ax)
        ax.set(ylim=(0, 1.6), ylabel="U (θ)")
    axes[0].set_xlabel("")
    return figure


def rate_picture() -> Figure:
    drive = torch.linspace(0, 60, 601)
    ax = plotting.fi_curve(drive, lif_rate_hz(drive, 20.0, 15.0, 2.0), rheobase=15.0, label="τ = 20 ms, t_ref = 2 ms")
    ax.plot(20, lif_rate_hz(20.0, 20.0, 15.0, 2.0), "o", color=plotting.VERMILLION)
    ax.annotate("(20, 33.64)", (20, 33.64), (22, 26))
    return ax.figure


def identify_picture() -> Figure:
    currents = torch.logspace(-1.5, 0.5, 81)
    once = torch.zeros(400, len(currents))
    once[0] = currents
    answers = {
        "a single pulse": lif(once, beta=0.9).spikes.amax(0),
        "a constant current": lif(currents.expand(400, -1), beta=0.9).spikes.amax(0),
    }
    ax = plotting.traces(currents, answers, x_label="current I", y_label="spikes at all?", log="x", markers=False)
    ax.set(yticks=[0, 1], yticklabels=["no", "yes"], ylim=(-0.1, 1.6), xticks=[0.1, 1.0], xticklabels=["0.1", "1"])
    ax.legend(loc="upper left")
    return ax.figure


def main() -> None:
    plt.switch_backend("agg")
    plotting.style()
    pictures = {
        "passive-membrane": membrane_picture,
        "lif-sequence": lif_picture,
        "firing-rate": rate_picture,
        "identify-neuron": identify_picture,
    }
    for name, draw in pictures.items():
        plotting.save_picture(draw(), IMAGES / f"{name}.png", dpi=130, colours=128)


if __name__ == "__main__":
    main()
