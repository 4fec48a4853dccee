"""Pictures as spike trains, one step at a time, so that memory does not know how many steps there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch

from spikelab.coding import latency_steps
from spikelab.validation import require_choice, require_count, require_positive, require_unit_interval

CODINGS = ("direct", "poisson", "latency")


class CodedFrames:
    """Frames ``[B, C, H, W]`` of T steps, made as they are asked for; going through them again gives the same ones.

    Each picture has a stream of random numbers of its own, so that its spikes do not depend on its neighbours in a
    batch. A GPU draws other numbers than a CPU from the same seed.

    Args:
        images: light in [0, 1] ``[B, C, H, W]``.
        coding: ``"direct"`` (the picture itself in every step), ``"poisson"`` (brightness is a rate) or ``"latency"``
            (one spike, the brighter the earlier, linear over the steps).
        num_steps: T.
        max_rate_hz: rate of a white pixel, for ``"poisson"``.
        step_ms: duration of a step.
        seeds: a whole number for each picture, for ``"poisson"``.
    Raises:
        ValueError: if a value is not allowed, or a white pixel would need more than one spike in a step.

    Explained in chapters 03 and 09.
    """

    def __init__(
        self,
        images: torch.Tensor,
        coding: str,
        num_steps: int,
        *,
        max_rate_hz: float = 1000.0,
        step_ms: float = 1.0,
        seeds: Sequence[int] = (),
    ) -> None:
        self.images = require_unit_interval("images", images)
        self.coding = require_choice("coding", coding, CODINGS)
        self.num_steps = require_count("num_steps", num_steps)
        self.probability = spike_probability(max_rate_hz, step_ms)
        self.seeds = seeds
        if coding == "poisson" and len(seeds) != len(images):
            raise ValueError(f"seeds must be one for each of the {len(images)} pictures, got {len(seeds)}")

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[torch.Tensor]:
        if self.coding == "direct":
            for _ in range(self.num_steps):
                yield self.images
        elif self.coding == "latency":
            times = latency_steps(self.images, self.num_steps, linear=True)
            for step in range(self.num_steps):
                yield (times == step).to(self.images.dtype)
        else:
            generators = [picture_stream(seed, self.images.device) for seed in self.seeds]
            probability = self.images * self.probability
            for _ in range(self.num_steps):
                frame = torch.empty_like(probability)
                for spikes, p, generator in zip(frame, probability, generators, strict=True):
                    torch.bernoulli(p, generator=generator, out=spikes)
                yield frame

    def all(self) -> torch.Tensor:
        """Return all frames at once ``[T, B, C, H, W]``."""
        return torch.stack(tuple(self))


def spike_probability(max_rate_hz: float, step_ms: float) -> float:
    """Return the probability of a spike in a step at the highest rate.

    Raises:
        ValueError: if it would be above 1.
    """
    rate, step = require_positive("max_rate_hz", max_rate_hz, "Hz"), require_positive("step_ms", step_ms, "ms")
    if rate * step > 1000 * (1 + 1e-9):
        raise ValueError(
            f"max_rate_hz must be at most {1000 / step:g} Hz with steps of {step:g} ms (one spike a step), got {rate:g}"
        )
    return min(rate * step / 1000, 1.0)


def picture_stream(seed: int, device: torch.device) -> torch.Generator:
    """Return the stream of random numbers of one picture."""
    digest = hashlib.sha256(f"picture/{int(seed)}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
