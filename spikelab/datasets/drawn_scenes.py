"""Meadows, rooms, beaches and the things that lie about there, drawn with numpy: where the drawn animals are.

A shape is a signed distance d in pixels, negative inside, so that its coverage, ``clip(1/2 - d, 0, 1)``, has smooth
edges. Everything in a picture comes from one ``numpy.random.Generator``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

Window = tuple[slice, slice]


class Canvas:
    """Colours, coordinates of the pixels' middles, a light, and noise to draw with.

    Args:
        size: ``(H, W)``.
        generator: everything that is left to chance comes from it.

    Attributes:
        rgb: float32 ``[H, W, 3]``, about 0 to 1.
        x, y: ``[H, W]``, px.
        light: where light comes from, a unit vector (right, down, towards us).
        broad, fine: smooth noise ``[H, W]``, about -1 to 1, with hills a fifth and a sixteenth of the picture apart.
        grain: ``[H, W]``, a random number for each pixel, deviation 1.
    """

    def __init__(self, size: tuple[int, int], generator: np.random.Generator) -> None:
        self.height, self.width = size
        self.random = generator
        self.rgb = np.zeros((*size, 3), dtype=np.float32)
        self.y, self.x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32) + 0.5
        self.broad = self.smooth(max(size) / 5)
        self.fine = self.smooth(max(size) / 16)
        noise = generator.standard_normal((256, 256), dtype=np.float32)
        self.grain = np.tile(noise, (1 + self.height // 256, 1 + self.width // 256))[: self.height, : self.width]
        smeared = sum(np.roll(noise, step, axis=1) for step in range(9)) / 3
        self._hair = np.asarray(Image.fromarray(smeared).resize((512, 512), Image.Resampling.BICUBIC))
        angle, height = generator.uniform(-2.2, 2.2), generator.uniform(0.45, 0.95)
        light = np.array([0.7 * np.sin(angle), -height, 0.75], dtype=np.float32)
        self.light = light / np.linalg.norm(light)

    @property
    def whole(self) -> Window:
        return slice(0, self.height), slice(0, self.width)

    def smooth(self, cell: float) -> np.ndarray:
        """Return smooth noise ``[H, W]``, about -1 to 1, whose hills are ``cell`` px apart."""
        return noise_field(self.random, (self.height, self.width), cell)

    def window(self, left: float, top: float, right: float, bottom: float) -> Window | None:
        """Return the part of the canvas that a rectangle covers, or ``None``."""
        x0, x1 = max(int(left) - 1, 0), min(int(right) + 2, self.width)
        y0, y1 = max(int(top) - 1, 0), min(int(bottom) + 2, self.height)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def paint(self, where: Window, coverage: np.ndarray, colour: np.ndarray) -> None:
        """Lay a colour ``[3]`` or ``[h, w, 3]`` over a window, by its coverage ``[h, w]``."""
        part = self.rgb[where]
        part += coverage[..., None] * (colour - part)

    def darken(self, where: Window, amount: np.ndarray) -> None:
        """Take a share of the light, ``[h, w]``, from a window."""
        self.rgb[where] *= (1 - amount)[..., None]

    def hair(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Return hair, deviation 1, at places measured in strands: along them and across."""
        return self._hair[(across * 2).astype(np.int32) & 511, (along * 2).astype(np.int32) & 511]

    def strands(self, where: Window, angle: float, width: float, stretch: float = 1.0) -> np.ndarray:
        """Return hair in a window, ``width`` px thick, that lies along ``angle`` (0 right, pi/2 down)."""
        x, y = self.x[where], self.y[where]
        along = (x * np.cos(angle) + y * np.sin(angle)) / (width * stretch)
        across = (-x * np.sin(angle) + y * np.cos(angle) + 3 * self.fine[where]) / width
        return self.hair(along, across)

    def shade(self, nx: np.ndarray, ny: np.ndarray, nz: np.ndarray) -> np.ndarray:
        """Return how bright a surface is whose normal is (right, down, towards us)."""
        lit = np.maximum(nx * self.light[0] + ny * self.light[1] + nz * self.light[2], 0)
        return (0.5 + 0.6 * lit) * (0.8 + 0.2 * step(0.0, 0.6, nz))


class Solid(NamedTuple):
    """Capsules in a window: distance d (px) from their blend, and its surface's normal (right, down, towards us)."""

    where: Window
    d: np.ndarray
    nx: np.ndarray
    ny: np.ndarray
    nz: np.ndarray

    @property
    def coverage(self) -> np.ndarray:
        return np.clip(0.5 - self.d, 0, 1)


def noise_field(random: np.random.Generator, size: tuple[int, int], cell: float) -> np.ndarray:
    """Return smooth noise ``[H, W]``, about -1 to 1, whose hills are ``cell`` px apart."""
    rows, columns = int(size[0] / cell) + 3, int(size[1] / cell) + 3
    coarse = Image.fromarray(random.uniform(-1.3, 1.3, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))


def rgb(text: str) -> np.ndarray:
    """Return a colour ``[3]`` from ``"RRGGBB"``."""
    return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)], dtype=np.float32)


def any_hue(random: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """Draw a colour ``[3]`` of any hue."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (random.random() + np.array([0, 1 / 3, 2 / 3])))
    colourful = random.uniform(*saturation)
    return (random.uniform(*value) * (1 - colourful + colourful * wheel)).astype(np.float32)


def step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, and a smooth climb between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """Return colours between ``a`` (weight 0) and ``b`` (weight 1)."""
    weight = np.asarray(weight, dtype=np.float32)
    return a + (weight[..., None] if weight.ndim else weight) * (b - a)


def ellipse(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    """Return about the distance of points from an ellipse around the origin."""
    near = np.sqrt((x / rx) ** 2 + (y / ry) ** 2)
    slope = np.sqrt((x / rx**2) ** 2 + (y / ry**2) ** 2) + 1e-6
    return np.where(near < 0.05, -min(rx, ry), near * (near - 1) / slope)


def rectangle(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float, corner: float = 0.0) -> np.ndarray:
    """Return the distance of points from a rectangle around the origin with rounded corners."""
    qx, qy = np.abs(x) - half_width + corner, np.abs(y) - half_height + corner
    return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - corner


def polygon(x: np.ndarray, y: np.ndarray, corners: np.ndarray, radius: float) -> np.ndarray:
    """Return about the distance of points from a convex polygon ``[K, 2]`` that is ``radius`` px wider all around."""
    corners = np.asarray(corners, dtype=np.float32)
    edges = np.roll(corners, -1, axis=0) - corners
    turn = float(np.sign(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])) or 1.0
    sides = [
        turn * (ey * (x - cx) - ex * (y - cy)) / max(float(np.hypot(ex, ey)), 1e-3)
        for (cx, cy), (ex, ey) in zip(corners, edges, strict=True)
    ]
    return np.maximum.reduce(sides) - radius


def capsules(canvas: Canvas, bones: Sequence[Sequence[float]], blend: float, margin: float) -> Solid | None:
    """Return capsules, joined smoothly over ``blend`` px, or ``None`` if they are off the canvas.

    Args:
        canvas: where.
        bones: ``[K, 6]``: x, y and radius of one end, then of the other, px.
        blend: how far from each other they already join, px.
        margin: how much wider than the capsules the window is, px.
    """
    bones = np.asarray(bones, dtype=np.float32)
    ends = bones.reshape(-1, 3)
    low, high = (ends[:, :2] - ends[:, 2:]).min(0) - margin, (ends[:, :2] + ends[:, 2:]).max(0) + margin
    where = canvas.window(*low, *high)
    if where is None:
        return None
    x, y = canvas.x[where], canvas.y[where]
    total = nx = ny = 0.0
    for ax, ay, ar, bx, by, br in bones:
        ex, ey = bx - ax, by - ay
        t = np.clip(((x - ax) * ex + (y - ay) * ey) / max(ex * ex + ey * ey, 1e-6), 0, 1)
        dx, dy, r = x - ax - t * ex, y - ay - t * ey, ar + t * (br - ar)
        d = np.sqrt(dx * dx + dy * dy) - r
        weight = np.exp(np.clip(d / -blend, -60, 60))
        total = total + weight
        nx, ny = nx + weight * dx / r, ny + weight * dy / r
    nx, ny = nx / total, ny / total
    tilt = 0.9 / np.maximum(np.sqrt(nx * nx + ny * ny), 0.9)  # never quite edge on: hair stands out there
    nx, ny = nx * tilt, ny * tilt
    return Solid(where, -blend * np.log(total), nx, ny, np.sqrt(1 - nx * nx - ny * ny))


def paint_background(canvas: Canvas) -> None:
    """Paint a scene with some things in it, a little out of focus."""
    random = canvas.random
    scene = random.choice((_meadow, _room, _textile, _sand, _lights), p=(0.28, 0.32, 0.16, 0.14, 0.1))
    horizon = random.uniform(0.22, 0.6) * canvas.height
    scene(canvas, horizon)
    for _ in range(random.integers(1, 6)):
        _thing(canvas, horizon)
    sharp = Image.fromarray((np.clip(canvas.rgb, 0, 1) * 255).astype(np.uint8))
    soft = sharp.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.8)))
    canvas.rgb = np.asarray(soft, dtype=np.float32) / 255


def something_in_front(canvas: Canvas) -> tuple[np.ndarray, np.ndarray] | None:
    """Return coverage ``[H, W]`` and colour of grass, a post, leaves, an edge or a ball in front; or nothing."""
    random, x, y = canvas.random, canvas.x, canvas.y
    height, width = canvas.height, canvas.width
    kind = random.choice(("", "grass", "post", "leaves", "edge", "ball"), p=(0.55, 0.15, 0.06, 0.08, 0.08, 0.08))
    place = random.uniform(0.05, 0.95) * width
    colour = any_hue(random, (0.2, 0.8), (0.3, 0.9))
    if kind == "grass":
        blades = canvas.strands(canvas.whole, np.pi / 2 + random.uniform(-0.2, 0.2), 2.2, 3.0)
        d = height * random.uniform(0.82, 0.95) - y + 0.08 * height * blades
        colour = rgb("5f8f3a") * (0.9 + 0.15 * blades)[..., None]
    elif kind == "post":
        half = random.uniform(0.02, 0.05) * width
        aside = x - place + random.uniform(-0.1, 0.1) * (y - height / 2)
        d = np.abs(aside) - half
        colour = rgb("8a6a48") * (1 - 0.3 * np.clip(aside / half, -1, 1) ** 2)[..., None]
    elif kind == "leaves":
        tips = random.uniform((-0.2, 0.15), (0.2, 0.45), (5, 2)) * (width, height)
        solid = capsules(canvas, [(place, height, 2, place + a, height - b, 0.035 * width) for a, b in tips], 1.0, 2)
        d = np.full((height, width), 9.0, dtype=np.float32)
        d[solid.where] = solid.d
        colour = rgb("3f7a3c") * (1 + 0.2 * canvas.fine)[..., None]
    elif kind == "edge":
        slope = random.uniform(-0.12, 0.12)
        d = height * random.uniform(0.85, 0.95) - y + slope * (x - width / 2) + 2 * canvas.broad
        colour = colour * (1 + 0.1 * canvas.fine)[..., None]
    elif kind == "ball":
        r, middle = random.uniform(0.06, 0.12) * height, height * random.uniform(0.8, 0.95)
        d = np.hypot(x - place, y - middle) - r
        colour = colour * _round(canvas, x - place, y - middle, d, r)[..., None]
    else:
        return None
    return np.clip(0.5 - d, 0, 1).astype(np.float32), colour


def photograph(canvas: Canvas) -> np.ndarray:
    """Return the canvas as a camera would, with white balance, exposure, vignette, focus and noise: uint8."""
    random = canvas.random
    warmth = random.normal(0, 0.05)
    gain = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32) * np.float32(np.exp(random.normal(0, 0.14)))
    across, down = canvas.x / canvas.width - 0.5, canvas.y / canvas.height - 0.5
    vignette = 1 - random.uniform(0, 0.6) * (across**2 + down**2)
    beam = 1 + random.uniform(0, 0.25) * (across * np.sign(canvas.light[0]) - down)
    light = np.clip(np.clip(canvas.rgb, 0, 1) * (vignette * beam)[..., None] * gain, 0, 1)
    curve = (np.arange(1024) / 1023) ** np.exp(random.normal(0, 0.12)) * 255
    developed = Image.fromarray(curve.astype(np.uint8)[(light * 1023).astype(np.int32)])
    focused = np.asarray(developed.filter(ImageFilter.GaussianBlur(random.uniform(0.0, 0.6))), dtype=np.float32)
    noise = random.uniform(0.5, 5) * np.roll(canvas.grain, 77, axis=1)
    return np.clip(focused + noise[..., None], 0, 255).astype(np.uint8)


def _meadow(canvas: Canvas, horizon: float) -> None:
    random = canvas.random
    sky = mix(rgb("8fb8e0"), rgb("e8eef2"), np.clip(canvas.y / horizon, 0, 1)) * (1 + 0.05 * canvas.broad[..., None])
    hedge = rgb("2f5a2a") * random.uniform(0.8, 1.3) * (1 + 0.35 * canvas.fine + 0.25 * canvas.broad)[..., None]
    canvas.rgb = mix(sky, hedge, step(-3, 3, canvas.y - 0.55 * horizon + 0.2 * horizon * canvas.broad))
    depth = np.clip((canvas.y - horizon) / (canvas.height - horizon), 0, 1)
    blades = canvas.strands(canvas.whole, np.pi / 2, 1.6, 1.6)
    grass = rgb(random.choice(("5c8a36", "76963f", "8a8f46")))
    grass = grass * ((0.75 + 0.35 * depth + 0.13 * blades * (0.3 + depth)) * (1 + 0.15 * canvas.broad))[..., None]
    canvas.rgb = mix(canvas.rgb, grass, step(-2, 2, canvas.y - horizon + 3 * canvas.fine))
    if random.random() < 0.5:
        flowers = Image.fromarray(((canvas.grain > 2.6) & (canvas.y > horizon)).astype(np.uint8) * 230)
        petals = np.asarray(flowers.filter(ImageFilter.MaxFilter(3)), np.float32) / 255
        canvas.paint(canvas.whole, petals, any_hue(random, (0.2, 0.7), (0.85, 1.0)))


def _room(canvas: Canvas, horizon: float) -> None:
    random = canvas.random
    wall, stripes = any_hue(random, (0.05, 0.35), (0.55, 0.9)), random.random() < 0.4
    paper = np.sign(np.sin(canvas.x * random.uniform(0.15, 0.5))) if stripes else canvas.broad
    canvas.rgb = wall * (1 + 0.05 * paper + 0.06 * canvas.broad)[..., None]
    if random.random() < 0.6:  # a window, or a painting
        x, y = random.uniform(0.1, 0.9) * canvas.width, random.uniform(0.15, 0.7) * horizon
        half = random.uniform(0.08, 0.2) * canvas.width, random.uniform(0.2, 0.45) * horizon
        d = rectangle(canvas.x - x, canvas.y - y, *half)
        canvas.paint(canvas.whole, np.clip(0.5 - d, 0, 1), any_hue(random, (0.0, 0.3), (0.25, 0.95)))
        far, near = any_hue(random, (0.1, 0.5), (0.6, 1.0)), any_hue(random, (0.2, 0.6), (0.3, 0.8))
        canvas.paint(canvas.whole, np.clip(-3.5 - d, 0, 1), mix(far, near, step(-0.4, 0.4, canvas.broad)))
    floor = rgb(random.choice(("9c6b3f", "c49a6c", "6e4a2f", "a8a39a", "8d5f52")))
    depth = np.maximum(canvas.y - horizon, 0) + 8
    gaps = np.sin(2 * np.pi * (canvas.x - canvas.width / 2) * random.uniform(2, 4) / depth) > 0.985
    gaps = gaps.astype(np.float32) * (random.random() < 0.6)
    wood = canvas.strands(canvas.whole, 0.05, 1.5, 2.0)
    floor = floor * (0.9 + 0.05 * wood + 0.1 * canvas.broad - 0.25 * gaps)[..., None]
    canvas.rgb = mix(canvas.rgb, floor, np.clip(canvas.y - horizon, 0, 1))
    skirting = np.clip(3 - np.abs(canvas.y - horizon), 0, 1)
    canvas.paint(canvas.whole, skirting, any_hue(random, (0, 0.15), (0.5, 0.95)))


def _textile(canvas: Canvas, horizon: float) -> None:
    """A blanket, or a sofa, that fills the picture."""
    random = canvas.random
    a, b = any_hue(random, (0.1, 0.7), (0.3, 0.85)), any_hue(random, (0.1, 0.7), (0.25, 0.9))
    turn, period = random.uniform(0, np.pi), random.uniform(14, 45)
    u = canvas.x * np.cos(turn) + canvas.y * np.sin(turn) + 5 * canvas.broad
    v = -canvas.x * np.sin(turn) + canvas.y * np.cos(turn) + 5 * canvas.fine
    wave = np.sin(2 * np.pi * u / period)
    if random.random() < 0.5:
        wave = (wave + np.sin(2 * np.pi * v / period)) / 1.6
    weave = 0.05 * np.sin(u * 2.1) * np.sin(v * 2.1)
    folds = 0.2 * canvas.broad + 0.1 * canvas.fine
    canvas.rgb = mix(a, b, step(-0.15, 0.15, wave) * random.uniform(0.2, 0.9)) * (1 + weave + folds)[..., None]


def _sand(canvas: Canvas, horizon: float) -> None:
    """A beach, or snow."""
    random = canvas.random
    ground, far = rgb(random.choice(("d8c49c", "e9edf2", "b9a07a"))), rgb(random.choice(("4f86a8", "8fa9b8", "5b6e5a")))
    sky = mix(rgb("b9d3e8"), rgb("eef1f0"), np.clip(canvas.y / horizon, 0, 1))
    sea = far * (1 + 0.1 * canvas.fine)[..., None]
    canvas.rgb = mix(sky, sea, step(-2, 2, canvas.y - 0.7 * horizon + 4 * canvas.broad))
    ripple = 0.04 * np.sin(canvas.y * 0.5 + 4 * canvas.broad)
    ground = ground * (0.95 + 0.04 * canvas.grain + ripple + 0.08 * canvas.broad)[..., None]
    canvas.rgb = mix(canvas.rgb, ground, step(-2, 2, canvas.y - horizon + 5 * canvas.broad))


def _lights(canvas: Canvas, horizon: float) -> None:
    """Dusk, with lamps out of focus."""
    random = canvas.random
    canvas.rgb = any_hue(random, (0.2, 0.6), (0.15, 0.4)) * (1 + 0.5 * canvas.broad)[..., None]
    for _ in range(random.integers(8, 20)):
        x, y, r = random.uniform((0, 0, 4), (canvas.width, canvas.height, 16))
        where = canvas.window(x - r, y - r, x + r, y + r)
        d = np.hypot(canvas.x[where] - x, canvas.y[where] - y) - r
        glow = random.uniform(0.25, 0.7) * np.clip(0.5 - d, 0, 1)
        canvas.paint(where, glow, any_hue(random, (0.1, 0.6), (0.7, 1.0)))


def _thing(canvas: Canvas, horizon: float) -> None:
    """Put something on the ground that is no animal: a ball, a box, a cushion, a bush, a stone or a plant."""
    random = canvas.random
    size = random.uniform(0.05, 0.2) * max(canvas.height, canvas.width)
    x, y = random.uniform(0, canvas.width), random.uniform(max(horizon, 0.3 * canvas.height), canvas.height)
    kind = random.choice(("ball", "box", "cushion", "bush", "stone", "plant"))
    colour, other = any_hue(random, (0.15, 0.9), (0.3, 0.95)), any_hue(random, (0.0, 0.5), (0.5, 1.0))
    where = canvas.window(x - 1.8 * size, y - 2.2 * size, x + 1.8 * size, y + 1.3 * size)
    px, py = canvas.x[where] - x, canvas.y[where] - y
    shadow = np.sqrt((px / (1.2 * size)) ** 2 + ((py - 0.85 * size) / (0.3 * size)) ** 2)
    canvas.darken(where, 0.45 * step(1.2, 0.4, shadow))
    if kind == "ball":
        d = np.hypot(px, py) - 0.8 * size
        bands = step(-0.05, 0.05, np.sin(4 * px / size + 2 * py / size))
        colour = mix(colour, other, bands * (random.random() < 0.6))
    elif kind == "box":
        d = rectangle(px, py, size * random.uniform(0.6, 1.1), size * random.uniform(0.5, 0.9))
        colour = colour * (1 - 0.25 * step(0.1 * size, 0.05 * size, np.abs(py)))[..., None]
    elif kind == "cushion":
        d = rectangle(px, py, size, 0.75 * size, 0.35 * size) + 2 * canvas.fine[where]
        colour = colour * (1 + 0.1 * np.sin(px * 0.8) * np.sin(py * 0.8))[..., None]
    elif kind == "bush":
        leaves = canvas.strands(where, np.pi / 2, 1.8)
        d = np.hypot(px, py * 1.1) - size + 0.35 * size * canvas.fine[where] + 1.5 * leaves
        colour = (colour if random.random() < 0.4 else rgb("3f6b35")) * (0.9 + 0.2 * leaves)[..., None]
    elif kind == "stone":
        d = ellipse(px, py - 0.3 * size, size, 0.6 * size) + 0.2 * size * canvas.broad[where]
        colour = any_hue(random, (0, 0.12), (0.4, 0.75)) * (1 + 0.15 * canvas.fine[where])[..., None]
    else:
        tips = random.uniform((-1.0, 0.9), (1.0, 1.9), (5, 2)) * size
        stems = [(x, y - 0.3 * size, 0.05 * size, x + a, y - b, 0.16 * size) for a, b in tips]
        solid = capsules(canvas, stems, 1.0, 2)
        if solid is not None:
            green = rgb("4f8a45") * canvas.shade(solid.nx, solid.ny, solid.nz)[..., None]
            canvas.paint(solid.where, solid.coverage, green)
        d = np.maximum(np.abs(px) - 0.5 * size + 0.15 * py, np.abs(py - 0.2 * size) - 0.6 * size)
    canvas.paint(where, np.clip(0.5 - d, 0, 1), colour * _round(canvas, px, py, d, 0.8 * size)[..., None])


def _round(canvas: Canvas, x: np.ndarray, y: np.ndarray, d: np.ndarray, radius: float) -> np.ndarray:
    """Return light on something that is about as round as a ball."""
    rim, away = np.clip(1 + d / radius, 0, 1), np.maximum(np.hypot(x, y), 1e-3)
    return canvas.shade(x / away * rim, y / away * rim, np.sqrt(1 - rim**2))


def chain(points: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the bones that join neighbouring points, ``[K - 1, 2 * len(point)]``."""
    return np.array([(*a, *b) for a, b in itertools.pairwise(points)], dtype=float)
