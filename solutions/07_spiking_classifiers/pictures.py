"""Draw the pictures of the wanted results: ``python solutions/07_spiking_classifiers/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch

from spikelab import plotting

HERE = Path(__file__).parent / "images"


def draw_spike_count_loss():
    """Cost of one output neuron against its count, as the true neuron and as a false one."""
    count = torch.arange(0, 101, dtype=torch.float64)
    cost = {
        "the true neuron": 0.5 * ((count - 60) / 300) ** 2 * 300,
        "a false neuron": 0.5 * ((count - 10) / 300) ** 2 * 300,
    }
    ax = plotting.traces(count, cost, x_label="output spikes in T = 300 steps", y_label="cost", markers=False)
    ax.set_ylim(0, 8)
    return ax.figure


def draw_decide():
    """The worked example: class 2 is first."""
    spikes = torch.zeros(12, 3)
    spikes[[4, 9], 2] = 1
    spikes[6, 1] = 1
    ax = plotting.raster(spikes, rows="class")
    ax.set_yticks([0, 1, 2])
    ax.annotate(
        "first spike: class 2",
        (4, 2.18),
        (5.2, 2.5),
        color=plotting.VERMILLION,
        va="center",
        arrowprops={"arrowstyle": "->", "color": plotting.VERMILLION},
    )
    ax.annotate("never", (0.2, 0), color=plotting.GREY, va="center")
    ax.set_ylim(-0.7, 2.9)
    return ax.figure


def draw_rate_penalty():
    """The cost of one neuron against its rate."""
    rate = torch.linspace(0, 0.5, 201, dtype=torch.float64)
    cost = torch.relu(0.05 - rate) ** 2 + torch.relu(rate - 0.2) ** 2
    ax = plotting.traces(
        rate, {"band .05 to .2": cost}, x_label="firing rate (spikes per step)", y_label="cost", markers=False
    )
    ax.axvspan(0.05, 0.2, color=plotting.SKY, alpha=0.25)
    ax.annotate("dead: pushed up", (0.0, 0.0025), (0.02, 0.02), arrowprops={"arrowstyle": "->"})
    return ax.figure


def draw_wilson():
    """93 per cent measured on four numbers of items."""
    z, p = 1.96, 0.93
    _, (ax,) = plotting.panels(row_height=2.4)
    for row, total in enumerate((30, 100, 1000, 10_000)):
        half = z * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
        middle, scale = p + z**2 / (2 * total), 1 + z**2 / total
        low, high = (middle - half) / scale, (middle + half) / scale
        ax.plot([low, high], [row, row], "-", color=plotting.BLUE, linewidth=3)
        ax.plot(p, row, "o", color=plotting.VERMILLION)
    ax.set(yticks=range(4), yticklabels=["30", "100", "1,000", "10,000"], ylim=(-0.6, 3.6))
    ax.set(xlabel="true accuracies that agree with 93 % measured", ylabel="test items")
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "spike-count-loss": draw_spike_count_loss,
        "decide": draw_decide,
        "rate-penalty": draw_rate_penalty,
        "wilson": draw_wilson,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
