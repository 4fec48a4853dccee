"""Draw the picture of the welcome page: a cat told by spikes alone, and the box that its spikes put around it.

A line of 240 leaky integrate-and-fire neurons looks at a scene that passes by, like a line camera: each neuron sees
one row of it, and time is the other axis. A neuron's current is the darkness in front of it (and some noise), so the
raster is the picture. Run from the root of the repository: ``python book/_static/hero.py``.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle

from spikelab import plotting
from spikelab.neurons import decay_from_tau, lif

ROWS, STEPS, DT_MS = 240, 640, 0.5  # neurons; time steps and their length
SHOWN = 70  # the neuron whose membrane is drawn, counted from the ground

ELLIPSES = {  # from back to front: centre, radii, turn (radians), stripes per unit of length
    "body": ((1.50, 0.36), (0.62, 0.30), 0.0, 11),
    "haunch": ((1.86, 0.30), (0.29, 0.27), 0.2, 11),
    "chest": ((0.98, 0.27), (0.27, 0.24), 0.3, 0),
    "far paw": ((1.08, 0.08), (0.22, 0.065), 0.0, 0),
    "near paw": ((0.78, 0.09), (0.24, 0.07), 0.0, 0),
    "head": ((0.86, 0.60), (0.285, 0.245), 0.0, 0),
}


def cat() -> np.ndarray:
    """Return how dark each point of a lying tabby cat is, 0 to 1, as ``[ROWS, STEPS]``; row 0 is the ground."""
    y, x = np.meshgrid(np.linspace(-0.04, 1.06, ROWS), np.linspace(0, 1.1 * STEPS / ROWS, STEPS), indexing="ij")
    dark = np.zeros_like(x)

    def cover(u, v, stripes=0.0):
        """Paint what lies inside u² + v² < 1 as a lit ball: dark at its rim and on the side away from the light."""
        inside = u**2 + v**2 < 1
        up = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        light = np.clip(0.75 * up + 0.5 * v - 0.3 * u, 0, 1)
        shade = 0.06 + 0.55 * (1 - light) ** 1.5 + 0.55 * np.exp(-((up / 0.3) ** 2)) + stripes
        dark[inside] = np.clip(shade, 0, 1)[inside]

    for step in np.linspace(0, 1, 60):  # the tail, a string of balls from the ground upwards
        angle, thick = -1.35 + 3.3 * step, 0.085 - 0.02 * step
        cover((x - 2.06 - 0.34 * np.cos(angle)) / thick, (y - 0.40 - 0.33 * np.sin(angle)) / thick)
    for side in (-1, 1):  # the ears, behind the head
        down = np.clip((1.02 - y) / 0.32, 0, 1.2)
        off = side * (x - 0.86) - (0.235 - 0.09 * down)  # from the middle of the ear, outwards positive
        inner = 0.55 * (np.abs(off) < 0.075 * down) * (down > 0.25)
        cover(off / (0.145 * down + 1e-9), np.where((y > 1.02) | (y < 0.66), 2.0, 0.0) + 0 * x, inner)
    for name, ((cx, cy), (rx, ry), turn, wave) in ELLIPSES.items():
        u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / rx
        v = ((y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)) / ry
        bent = x + 0.10 * np.cos(3 * (y - cy) / ry)
        stripes = 0.45 * np.clip(np.cos(wave * bent * 2.2) - 0.35, 0, 1) * (v > -0.35) if wave else 0.0
        if name == "head":
            crown = np.clip((y - 0.70) / 0.1, 0, 1)
            stripes = 0.5 * crown * (np.cos((x - cx) * 62) > 0.2) * (np.abs(x - cx) < 0.15)
            stripes = stripes + 0.4 * (np.abs(y - 0.52 - 0.25 * (np.abs(x - cx) - 0.2)) < 0.010) * (
                np.abs(x - cx) > 0.2
            )
        cover(u, v, stripes)

    face_x, face_y = x - 0.86, y - 0.60
    for side in (-1, 1):
        eye = ((face_x - side * 0.115) / 0.062) ** 2 + ((face_y - 0.035 - side * 0.12 * face_x) / 0.047) ** 2
        dark[eye < 1] = 0.12
        dark[(eye < 1.3) & (eye > 0.75)] = 1.0
        dark[((face_x - side * 0.115) / 0.020) ** 2 + ((face_y - 0.032) / 0.043) ** 2 < 1] = 1.0
        mouth = np.hypot(face_x - side * 0.040, (face_y + 0.100) * 1.0)
        dark[(np.abs(mouth - 0.040) < 0.0085) & (face_y < -0.100)] = 0.95
        for lift in (-0.02, 0.015, 0.05):  # whiskers
            reach = side * face_x
            line = np.abs(face_y + 0.085 - lift - 0.35 * lift / 0.05 * (reach - 0.1) * 0.35)
            dark[(line < 0.006) & (reach > 0.10) & (reach < 0.40)] = 0.85
    nose = (face_y < -0.045) & (face_y > -0.085) & (np.abs(face_x) < 0.042 + (face_y + 0.045))
    dark[nose] = 1.0
    dark[(np.abs(face_x) < 0.006) & (face_y > -0.105) & (face_y < -0.08)] = 0.95
    return dark


def watch(scene: np.ndarray):
    """Return spikes and membrane ``[T, N]`` of the neurons while the scene passes by."""
    generator = torch.Generator().manual_seed(3)
    drive = torch.from_numpy(scene.T.copy())
    beta = decay_from_tau(tau_ms=2.0, dt_ms=DT_MS)
    current = 0.08 + 0.85 * drive + 0.17 * torch.randn(drive.shape, generator=generator, dtype=drive.dtype)
    out = lif(current, beta=beta)
    return out.spikes.numpy(), out.membrane.numpy()


def box_around(spikes: np.ndarray) -> tuple[int, int, int, int]:
    """Return first and last step, lowest and highest neuron of the region that fires more than its surround."""
    width = 13
    window = np.ones(width) / width
    dense = np.apply_along_axis(np.convolve, 0, spikes, window, "same")
    dense = np.apply_along_axis(np.convolve, 1, dense, window, "same")
    steps, neurons = np.nonzero(dense > 0.15)
    return steps.min(), steps.max(), neurons.min(), neurons.max()


def draw(spikes: np.ndarray, membrane: np.ndarray) -> plt.Figure:
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(8.0, 4.6), sharex=True, height_ratios=(4.4, 1), layout="constrained"
    )
    steps, neurons = np.nonzero(spikes)
    top.plot(steps * DT_MS, neurons, "|", color=plotting.INK, markersize=1.35, markeredgewidth=0.75)
    own = np.nonzero(spikes[:, SHOWN])[0]
    top.plot(own * DT_MS, np.full(len(own), SHOWN), "|", color=plotting.VERMILLION, markersize=5, markeredgewidth=1.1)
    left, right, low, high = box_around(spikes)
    top.add_patch(
        Rectangle(
            (left * DT_MS, low), (right - left) * DT_MS, high - low, fill=False, edgecolor=plotting.BLUE, linewidth=2.2
        )
    )
    top.set(ylabel=f"{ROWS} neurons", yticks=[], xlim=(-1, STEPS * DT_MS), ylim=(-3, ROWS + 2))
    top.tick_params(bottom=False)
    below.plot(np.arange(STEPS) * DT_MS, membrane[:, SHOWN], color=plotting.VERMILLION, linewidth=1.0)
    below.axhline(1.0, color=plotting.GREY, linestyle=(0, (4, 3)), linewidth=1.2)
    below.set(ylabel="U (θ)", xlabel="time (ms)", yticks=[0, 1])
    for axes in (top, below):
        axes.grid(False)
    return figure


def main(target: Path) -> None:
    """Simulate, draw and write the picture."""
    with plt.rc_context(plotting.style_parameters()):
        plotting.save_picture(draw(*watch(cat())), target, dpi=180, colours=24)


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".png"))
