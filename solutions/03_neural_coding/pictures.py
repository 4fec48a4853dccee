"""Draw the pictures of the wanted results: ``python solutions/03_neural_coding/pictures.py``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch

from spikelab import coding, plotting
from spikelab.neurons import LIFState, integrate_and_fire

HERE = Path(__file__).parent / "images"


def draw_poisson():
    """Ten pixels of rising brightness at 200 Hz."""
    brightness = torch.linspace(0.1, 1.0, 10, dtype=torch.float64)
    spikes = coding.poisson(brightness, 200, max_rate_hz=200.0, generator=torch.Generator().manual_seed(0))
    ax = plotting.raster(
        spikes, dt_ms=1.0, rows="pixel", title="brightness .1 (bottom) to 1 (top), 200 Hz at full scale"
    )
    return ax.figure


def draw_latency():
    """Nineteen pixels, one spike each, the two darkest silent."""
    brightness = 0.05 * torch.arange(1, 20, dtype=torch.float64)
    spikes = coding.latency(brightness, 30, tau=20.0, threshold=0.1)
    ax = plotting.raster(spikes, rows="pixel", title="brightness .05 (bottom) to .95 (top), τ = 20, θ = .1")
    ax.set_yticks(range(0, 19, 3))
    return ax.figure


def draw_delta():
    """The sine of the worked number, its reconstruction and its events."""
    time = torch.arange(1000, dtype=torch.float64)
    wave = torch.sin(2 * math.pi * 2 * time / 1000)
    events = coding.delta(wave, 0.11)
    figure, axes = plotting.panels(2, 1, row_height=1.7, share_x=True)
    curves = {"signal": wave, "what the receiver knows": coding.delta_decode(events, 0.11)}
    ax = plotting.traces(time, curves, x_label="", y_label="value", ax=axes[0])
    ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    plotting.raster(events, rows="sender", ax=axes[1])
    return figure


def draw_current_mean():
    """Count and current mean of six steps against the exact output."""
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(200, 40, dtype=torch.float64, generator=generator)
    weight = torch.rand(1, 40, dtype=torch.float64, generator=generator) / 20
    wanted = torch.linspace(0.05, 0.8, 200, dtype=torch.float64)
    x = (x * (wanted / (x @ weight.T).squeeze(1)).unsqueeze(1)).clamp(max=1)
    truth = (x @ weight.T).squeeze(1)
    half = LIFState.rest(x)._replace(membrane=torch.full_like(x, 0.5))
    hidden = integrate_and_fire(x.expand(6, -1, -1), state=half).spikes
    count = coding.rate_decode(integrate_and_fire((hidden @ weight.T).squeeze(2)).spikes)
    labels = {"x_label": "true output W x", "y_label": "decoded output"}
    ax = plotting.traces(truth, {"exact": truth}, markers=False, **labels)
    ax.plot(truth, count, "s", color=plotting.VERMILLION, markersize=4, label="spike count / 6")
    mean = coding.current_mean(hidden, weight).squeeze(1)
    ax.plot(truth, mean, "o", color=plotting.GREEN, markersize=3, label="current mean")
    ax.legend()
    return ax.figure


def draw_activation():
    """Entropy of the count of 64 brightnesses against the gain."""
    ladder = torch.arange(1, 65, dtype=torch.float64) / 64
    gains = [0.05, 0.07, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0]
    bits = []
    for gain in gains:
        counts = integrate_and_fire((gain * ladder).expand(16, -1)).spikes.sum(0)
        share = counts.unique(return_counts=True)[1].double() / counts.numel()
        bits.append(-(share * share.log2()).sum().item())
    ax = plotting.traces(gains, {"bits": bits}, x_label="gain", y_label="entropy of the count (bits)", log="x")
    ax.get_legend().remove()
    return ax.figure


def main() -> None:
    """Draw all pictures."""
    plotting.style()
    drawings = {
        "poisson": draw_poisson,
        "latency": draw_latency,
        "delta": draw_delta,
        "current-mean": draw_current_mean,
        "activation": draw_activation,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
