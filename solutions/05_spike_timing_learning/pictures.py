"""Draw the pictures of the wanted results: ``python solutions/05_spike_timing_learning/pictures.py``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch

from spikelab import plotting
from spikelab.neurons import lif
from spikelab.plasticity import clip_weights, resume, spike_trace, stdp_step, stdp_window

HERE = Path(__file__).parent / "images"
TAU = 7.0


def alpha(times: torch.Tensor) -> torch.Tensor:
    """Response to a spike at 0, peak 1 after TAU."""
    s = times.clamp(min=0) / TAU
    return s * torch.exp(1 - s)


def draw_stdp_window():
    """The window of the worked numbers."""
    left = torch.linspace(-80, -0.01, 200, dtype=torch.float64)
    right = -left.flip(0)
    ax = plotting.traces(
        left,
        {"input too late": (left, stdp_window(left)), "input first": (right, stdp_window(right))},
        x_label="Δt = t_post − t_pre (ms)",
        y_label="change of weight",
        markers=False,
        guide=0.0,
    )
    ten = torch.tensor([-10.0, 10.0], dtype=torch.float64)
    ax.plot(ten, stdp_window(ten), "o", color=plotting.INK, zorder=5)
    return ax.figure


def draw_stdp_trace():
    """Two spike trains, their traces, and the weight."""
    pre, post = torch.zeros(2, 100, dtype=torch.float64)
    pre[[12, 20, 62, 80]] = 1
    post[[30, 35, 72]] = 1
    x, y = spike_trace(pre, 20.0), spike_trace(post, 20.0)
    weight = (0.01 * x * post - 0.0105 * y * pre).cumsum(0)
    figure, axes = plotting.panels(3, 1, row_height=1.3, share_x=True)
    time = torch.arange(100, dtype=torch.float64)
    for ax, name, trace, spikes in ((axes[0], "x (input)", x, pre), (axes[1], "y (output)", y, post)):
        plotting.traces(time, {name: trace}, x_label="", y_label=name, markers=False, ax=ax).get_legend().remove()
        fired = spikes.nonzero().squeeze(1)
        ax.plot(fired, [2.1] * len(fired), "v", color=plotting.INK)
        ax.set_ylim(0, 2.5)
    plotting.traces(
        time, {"w": weight}, x_label="time (ms)", y_label="Δw so far", markers=False, ax=axes[2]
    ).get_legend().remove()
    return figure


def draw_stdp_select():
    """Sixty presentations of one volley: the output spike moves forward, and only what comes before it stays."""
    latency = torch.randint(20, (40,), generator=torch.Generator().manual_seed(1))
    volley = torch.zeros(100, 40, dtype=torch.float64)
    volley[latency, torch.arange(40)] = 1
    weight, theta = torch.full((40, 1), 0.5, dtype=torch.float64), 7.4
    epochs = []
    for _ in range(60):
        u = s = torch.zeros(1, dtype=torch.float64)
        state, output = None, []
        for pre in volley:
            u = math.exp(-1 / 10) * (1 - s) * u + pre @ weight
            s = (u > theta).double()
            dw, state = stdp_step(pre, s, state, a_plus=0.05, a_minus=0.075)
            weight = clip_weights(weight + dw)
            theta = theta + 0.1 * (s.item() - 0.01)
            output.append(s)
        epochs.append(torch.cat(output)[:25])
    figure, (left, right) = plotting.panels(1, 2, row_height=2.6)
    plotting.raster(torch.stack(epochs, dim=1), dt_ms=1.0, rows="presentation", ax=left)
    left.set(xlim=(-1, 20), xlabel="output spike (ms)")
    right.axhline(0.5, color=plotting.GREY, linestyle=":", label="before")
    right.plot(latency, weight, "o", color=plotting.BLUE, markersize=5, label="after 60 presentations")
    right.set(xlim=(-1, 20), ylim=(-0.05, 1.05), xlabel="latency of the input (ms)", ylabel="weight")
    right.legend(loc="upper right", fontsize=8)
    return figure


def draw_resume_step():
    """Output spikes over the epochs of a neuron that is taught three spike times."""
    generator = torch.Generator().manual_seed(1)
    pre = (torch.rand(200, 200, generator=generator) < 0.01).double()
    desired = torch.zeros(200, 1, dtype=torch.float64)
    desired[[40, 90, 150]] = 1
    weight = torch.full((200, 1), 0.1, dtype=torch.float64)
    epochs = []
    for _ in range(16):
        output = lif(pre @ weight, beta=math.exp(-1 / TAU), reset="zero").spikes
        epochs.append(output.squeeze(1))
        weight = weight + resume(pre, desired, output, tau_ms=TAU)
    ax = plotting.raster(torch.stack(epochs, dim=1), dt_ms=1.0, rows="epoch")
    for target in (40, 90, 150):
        ax.axvline(target, color=plotting.VERMILLION, linestyle=":", zorder=0)
    ax.set_yticks(range(0, 16, 5))
    return ax.figure


def draw_first_crossing():
    """A potential with two crossings and one without any."""
    time = torch.arange(0, 50, 2.5, dtype=torch.float64)
    twice = 1.2 * alpha(time) + 1.2 * alpha(time - 24)
    never = 0.7 * alpha(time - 4)
    ax = plotting.traces(
        time, {"crosses twice": twice, "never: ∞": never}, x_label="time (ms)", y_label="potential U (θ)", guide=1.0
    )
    k = int((twice > 1).int().argmax()) - 1
    first = (k + ((1 - twice[k]) / (twice[k + 1] - twice[k])).item()) * 2.5
    ax.plot(first, 1.0, "o", color=plotting.VERMILLION, markersize=10, markerfacecolor="none", markeredgewidth=2)
    ax.annotate(f"{first:.2f} ms", (first + 1.2, 0.83), color=plotting.VERMILLION)
    ax.set_ylim(0, 2)
    ax.legend(loc="upper right")
    return ax.figure


def draw_spike_time_gradient():
    """The same potential with and without a little more weight."""
    time = torch.linspace(2, 9, 300, dtype=torch.float64)
    before = 0.6 * alpha(time) + 0.9 * alpha(time - 3)
    after = before + 0.15 * alpha(time)
    ax = plotting.traces(
        time,
        {"w": before, "w₀ + .15": after},
        x_label="time (ms)",
        y_label="potential U (θ)",
        markers=False,
        guide=1.0,
        guide_label="θ",
    )
    hits = [time[int((u > 1).int().argmax())].item() for u in (before, after)]
    ax.annotate(
        "", (hits[1], 1.0), (hits[0], 1.0), arrowprops={"arrowstyle": "->", "color": plotting.VERMILLION, "lw": 2}
    )
    ax.annotate("earlier", (hits[1] - 1.3, 1.06), color=plotting.VERMILLION)
    ax.set_ylim(0.2, 1.8)
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "stdp-window": draw_stdp_window,
        "stdp-trace": draw_stdp_trace,
        "stdp-select": draw_stdp_select,
        "resume-step": draw_resume_step,
        "first-crossing": draw_first_crossing,
        "spike-time-gradient": draw_spike_time_gradient,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
