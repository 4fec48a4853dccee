"""Draw the pictures of the wanted results: ``python solutions/04_event_vision/pictures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np

from spikelab import plotting
from spikelab.events import frames, make_events

HERE = Path(__file__).parent / "images"


def moving_bar(count=2000, spread=5.8, rows=(8, 26), seed=0):
    """Events of a vertical bar that moves to the right: ON at its front, OFF at its back."""
    draw = np.random.default_rng(seed)
    t = np.sort(draw.integers(0, 100_000, count))
    p = draw.integers(0, 2, count)
    x = np.clip(np.round(5 + 23 * t / 100_000 + draw.normal(0, spread, count)), 0, 33)
    return make_events(x, draw.integers(*rows, count), p, t)


def draw_decode_aer():
    """Five bytes in boxes, and what each bit means."""
    figure, axes = plotting.panels(1, 1, row_height=1.9)
    ax = axes[0]
    ax.set(xlim=(-0.3, 41.3), ylim=(-1.9, 2.0))
    ax.axis("off")
    bits = "".join(f"{byte:08b}" for byte in bytes.fromhex("0a1e8003a9"))
    fills = [plotting.SKY] * 8 + [plotting.ORANGE] * 8 + [plotting.YELLOW] + [plotting.WHITE] * 23
    for i, (bit, fill) in enumerate(zip(bits, fills, strict=True)):
        left = i + 0.25 * (i // 8)
        ax.add_patch(matplotlib.patches.Rectangle((left, -0.45), 0.96, 0.9, facecolor=fill, edgecolor=plotting.INK))
        ax.text(left + 0.48, 0, bit, ha="center", va="center", fontsize=8)
    for i, byte in enumerate(("0a", "1e", "80", "03", "a9")):
        ax.text(8.25 * i + 4, 1.1, byte, ha="center", va="center", family="monospace", fontsize=13)
    for middle, text in ((4, "x = 10"), (12.25, "y = 30"), (17, "ON"), (29.5, "3 · 256 + 169 = 937 µs")):
        ax.text(middle, -1.2, text, ha="center", va="center")
    return figure


def draw_frames():
    """Three frames of a narrow moving bar, OFF and ON."""
    bar = moving_bar(700, 1.2, (10, 24))
    bar["x"] = np.clip(bar["x"] + np.where(bar["p"] == 1, 2, -2), 0, 33)
    counts = frames(bar, 3, 33_334)
    figure, axes = plotting.panels(2, 3, row_height=1.75)
    for row, name in enumerate(("OFF", "ON")):
        for step in range(3):
            plotting.image(counts[step, row], limits=(0, 3), title=f"{name}, step {step}", ax=axes[3 * row + step])
    return figure


def draw_dvs_pixel():
    """A pixel's log light, its reference and its events."""
    time = np.arange(120)
    signal = 0.75 * np.sin(2 * np.pi * time / 80) + 0.25 * np.sin(2 * np.pi * time / 23)
    reference, track, events = signal[0], [], []
    for step, value in enumerate(signal):
        n = int((value - reference) / 0.2)
        reference += n * 0.2
        track.append(reference)
        events += [(step, np.sign(n))] * abs(n)
    curves = {"log light": signal, "reference": np.array(track)}
    ax = plotting.traces(time, curves, x_label="time (steps)", y_label="log I", markers=False)
    ax.lines[1].set_drawstyle("steps-post")
    for sign, height, mark, name in ((1, 1.35, "^", "ON"), (-1, -1.35, "v", "OFF")):
        fired = [step for step, s in events if s == sign]
        ax.plot(fired, [height] * len(fired), mark, color=plotting.INK, markersize=5, label=name)
    ax.set_ylim(-1.6, 1.6)
    ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return ax.figure


def draw_shuffle_time():
    """Column against time, before and after."""
    bar = moving_bar()
    shuffled = np.random.default_rng(0).permutation(bar["t"])
    figure, axes = plotting.panels(1, 2, row_height=2.4, share_y=True)
    for ax, t, title in ((axes[0], bar["t"], "as recorded"), (axes[1], shuffled, "times shuffled")):
        ax.plot(t / 1000, bar["x"], ".", color=plotting.BLUE, markersize=2.5, linestyle="none")
        ax.set(xlabel="time (ms)", ylabel="column x" if ax is axes[0] else "", title=title)
    return figure


def main() -> None:
    """Draw all pictures."""
    import matplotlib.pyplot as plt

    plotting.style()
    HERE.mkdir(exist_ok=True)
    drawings = {
        "decode-aer": draw_decode_aer,
        "frames": draw_frames,
        "dvs-pixel": draw_dvs_pixel,
        "shuffle-time": draw_shuffle_time,
    }
    for name, draw in drawings.items():
        plotting.save_picture(draw(), HERE / f"{name}.png")
        plt.close("all")


if __name__ == "__main__":
    main()
