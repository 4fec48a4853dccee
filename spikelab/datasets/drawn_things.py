"""Things that stand among the drawn animals and are to be found like them: bottles, chairs and monitors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikelab.datasets.drawn_scenes import Canvas, any_hue, mix, rectangle, rgb, step


class Place(NamedTuple):
    """How large an animal is in a picture, and where.

    Attributes:
        pose: how it stands, sits or lies; ``"portrait"`` shows head and chest.
        share: the larger of its width and height, as a share of the picture's; of a portrait, that of its head.
        across, down: where its middle is (of a portrait: that of its head), as a share of width and height.
    """

    pose: str
    share: float
    across: float
    down: float


class Thing:
    """One thing on a canvas, with coverages ``[H, W]`` as the animals have them; it has no head.

    Args:
        canvas: where.
        kind: one of ``THINGS``.
        place: how large and where; its pose does not matter.
    """

    def __init__(self, canvas: Canvas, kind: str, place: Place) -> None:
        self.canvas, self.breed, self.pose = canvas, kind, ""
        self.high = place.share * canvas.height
        aspect = {"bottle": 0.3, "chair": 0.55, "tvmonitor": 1.15}[kind]
        self.high = min(self.high, place.share * canvas.width / aspect)
        middle = np.array([place.across * canvas.width, place.down * canvas.height])
        half = np.minimum([aspect * self.high / 2, self.high / 2], [canvas.width / 2, canvas.height / 2])
        self.x, self.y = np.clip(middle, half, np.array([canvas.width, canvas.height]) - half).tolist()
        self.mask = np.zeros((canvas.height, canvas.width), dtype=np.float32)
        self.head = np.zeros_like(self.mask)

    def paint(self) -> None:
        """Paint it, and its shadow on the ground."""
        canvas, unit = self.canvas, self.high
        x, y = (canvas.x - self.x) / unit, (canvas.y - self.y) / unit  # its height is 1, from -1/2 to 1/2
        wide = {"bottle": 0.18, "chair": 0.32, "tvmonitor": 0.35}[self.breed]
        near = np.sqrt((x / (1.3 * wide)) ** 2 + ((y - 0.48) / 0.07) ** 2)
        canvas.darken(canvas.whole, 0.5 * step(1.2, 0.3, near))
        getattr(self, f"_{self.breed}")(x, y)

    def hide(self, coverage: np.ndarray) -> None:
        """Take away what something else covers."""
        self.mask *= 1 - coverage

    def _put(self, d: np.ndarray, colour: np.ndarray) -> None:
        """Paint a piece, d in heights of the thing."""
        coverage = np.clip(0.5 - d * self.high, 0, 1).astype(np.float32)
        self.canvas.paint(self.canvas.whole, coverage, colour)
        self.mask += coverage * (1 - self.mask)

    def _lit(self, across: np.ndarray, half: float) -> np.ndarray:
        """Return light on something round, about an upright axis."""
        nx = np.clip(across / half, -0.98, 0.98)
        return self.canvas.shade(nx, 0 * nx, np.sqrt(1 - nx**2))[..., None]

    def _bottle(self, x: np.ndarray, y: np.ndarray) -> None:
        random = self.canvas.random
        glass = any_hue(random, (0.2, 0.8), (0.2, 0.7))
        shoulder = random.uniform(-0.2, -0.08)
        neck = 0.045 + 0.095 * step(shoulder - 0.08, shoulder + 0.06, y)
        self._put(np.maximum(np.abs(x) - neck, np.abs(y) - 0.5), glass * self._lit(x, 0.15))
        self._put(
            rectangle(x, y + 0.46, 0.055, 0.04, 0.01), any_hue(random, (0.2, 0.9), (0.4, 0.9)) * self._lit(x, 0.06)
        )
        label = any_hue(random, (0.0, 0.5), (0.6, 1.0)) * self._lit(x, 0.15)
        self._put(rectangle(x, y - 0.2, 0.138, random.uniform(0.08, 0.15)), label)
        self._put(rectangle(x + 0.08, y - 0.15, 0.012, 0.25, 0.01), mix(glass, rgb("ffffff"), 0.7))

    def _chair(self, x: np.ndarray, y: np.ndarray) -> None:
        random = self.canvas.random
        wood = any_hue(random, (0.1, 0.6), (0.25, 0.75))
        grain = 1 + 0.08 * self.canvas.fine[..., None]
        for side in (-1, 1):
            self._put(rectangle(x - side * 0.15, y - 0.3, 0.016, 0.17), wood * 0.6)
            self._put(rectangle(x - side * 0.235, y, 0.022, 0.5, 0.01), wood * 0.9 * grain)
        slats = random.integers(2, 5)
        for slat in np.linspace(-0.44, -0.12, slats):
            self._put(rectangle(x, y - slat, 0.22, 0.03, 0.01), wood * grain)
        seat = mix(wood, any_hue(random, (0.2, 0.8), (0.3, 0.9)), 0.7 * (random.random() < 0.6))
        self._put(rectangle(x, y - 0.06, 0.27, 0.05, 0.02), seat * (1.1 - 1.5 * (y - 0.02))[..., None])

    def _tvmonitor(self, x: np.ndarray, y: np.ndarray) -> None:
        random = self.canvas.random
        dark = any_hue(random, (0.0, 0.1), (0.05, 0.25))
        self._put(rectangle(x, y - 0.47, 0.22, 0.03, 0.02), dark * 1.3)
        self._put(rectangle(x, y - 0.36, 0.05, 0.12), dark)
        self._put(rectangle(x, y + 0.09, 0.57, 0.41, 0.02), dark * 1.15)
        first, second = any_hue(random, (0.4, 0.9), (0.3, 0.9)), any_hue(random, (0.2, 0.9), (0.2, 1.0))
        shown = mix(first, second, step(-0.2, 0.2, np.sin(random.uniform(4, 16) * x + 6 * y) + self.canvas.broad))
        self._put(rectangle(x, y + 0.09, 0.53, 0.37, 0.01), shown * (1.0 - 0.25 * y)[..., None])


THINGS = ("bottle", "chair", "tvmonitor")
