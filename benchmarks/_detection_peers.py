"""SNN-YOLOv3 as one writes it with snnTorch, and training steps of it or of spikelab's, measured in this process.

Called by ``benchmarks.detection``: ``python -m benchmarks._detection_peers '["speed", "snntorch", {...}]'``.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import snntorch as snn
import torch
from torch import nn

from spikelab.detection import HeadLayout, Objects, yolo_loss
from spikelab.models.yolo import YOLO_SIZES, SpikingYolo

WIDTH, BLOCKS, _ = YOLO_SIZES["tiny"]
MMAP_THRESHOLD = -3  # of glibc's mallopt
PEERS = ("spikelab", "spikelab, recomputing", "snntorch", "snntorch, layer by layer")


class Unit(nn.Module):
    """Convolution, normalisation and ``snn.Leaky``."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.neuron = snn.Leaky(beta=1.0)
        self.membrane = None

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        current = self.norm(self.convolution(signal))
        if self.membrane is None:
            self.membrane = torch.zeros_like(current)
        spikes, self.membrane = self.neuron(current, self.membrane)
        return spikes


class UnitOfAllSteps(Unit):
    """The same with all steps at once, ``[T·B, ...]``; only the neuron goes through them one by one."""

    num_steps: int

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        current = self.norm(self.convolution(signal))
        # As the picture does not change, the first convolution is computed once.
        steps = current.chunk(self.num_steps) if signal.shape[1] != 3 else [current] * self.num_steps
        membrane, spikes = torch.zeros_like(steps[0]), []
        for step in steps:
            spike, membrane = self.neuron(step, membrane)
            spikes.append(spike)
        return torch.cat(spikes)


class Residual(nn.Module):
    def __init__(self, unit: type[Unit], channels: int) -> None:
        super().__init__()
        self.first = unit(channels, channels // 2, 1)
        self.second = unit(channels // 2, channels, 3)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal + self.second(self.first(signal))


class Stage(nn.Module):
    def __init__(self, unit: type[Unit], before: int, after: int, blocks: int) -> None:
        super().__init__()
        self.down = unit(before, after, 3, 2)
        self.blocks = nn.ModuleList(Residual(unit, after) for _ in range(blocks))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        signal = self.down(signal)
        for block in self.blocks:
            signal = block(signal)
        return signal


class Head(nn.Module):
    def __init__(self, unit: type[Unit], before: int, handed: int, outputs: int, *, pyramid: bool) -> None:
        super().__init__()
        inner = before // 2
        self.lateral = unit(2 * handed, handed, 1) if handed else None
        self.before = nn.ModuleList([unit(before + handed, inner, 1)])
        self.after = nn.ModuleList([unit(4 * inner, inner, 1)]) if pyramid else None
        self.answer = unit(inner, 2 * inner, 3)
        self.output = nn.Conv2d(2 * inner, outputs, 1)

    def forward(self, signal: torch.Tensor, handed: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if self.lateral is not None:
            above = nn.functional.interpolate(self.lateral(handed), scale_factor=2)
            signal = torch.cat((above, signal), 1)
        signal = self.before[0](signal)
        if self.after is not None:
            pooled = [nn.functional.max_pool2d(signal, side, 1, side // 2) for side in (13, 9, 5)]
            signal = self.after[0](torch.cat((*pooled, signal), 1))
        return signal, self.output(self.answer(signal))


class SnntorchYolo(nn.Module):
    """``SpikingYolo("tiny")`` with the same names of weights, in snnTorch's manner: a loop over the steps.

    Args:
        num_steps: T.
        outputs: channels of each of the three heads.
        layer_by_layer: whether each layer takes all steps before the next one begins, instead of the whole network one
            step; the loop is then around each layer's neurons only.
    """

    def __init__(self, num_steps: int, outputs: tuple[int, ...], *, layer_by_layer: bool = False) -> None:
        super().__init__()
        unit = UnitOfAllSteps if layer_by_layer else Unit
        self.num_steps, self.layer_by_layer = num_steps, layer_by_layer
        channels = [round(count * WIDTH) for count in (32, 64, 128, 256, 512, 1024)]
        self.stem = unit(3, channels[0], 3)
        self.stages = nn.ModuleList(
            Stage(unit, before, after, blocks)
            for before, after, blocks in zip(channels, channels[1:], BLOCKS, strict=False)
        )
        self.heads = nn.ModuleList()
        handed = 0
        for place, count in enumerate(outputs):
            self.heads.append(Head(unit, channels[-1 - place], handed, count, pyramid=place == 0))
            handed = channels[-1 - place] // 4
        self.units = [module for module in self.modules() if isinstance(module, Unit)]
        for module in self.units:
            module.num_steps = num_steps

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the heads' mean currents over the steps."""
        drive = (images - 0.5).contiguous(memory_format=torch.channels_last)
        if self.layer_by_layer:
            return [current.unflatten(0, (self.num_steps, -1)).mean(0) for current in self.see(drive)]
        for unit in self.units:
            unit.membrane = None
        steps = [self.see(drive) for _ in range(self.num_steps)]
        return [torch.stack(currents).mean(0) for currents in zip(*steps, strict=True)]

    def see(self, drive: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.stem(drive)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        answers, handed = [], None
        for place, head in enumerate(self.heads):
            handed, current = head(maps[-1 - place], handed)
            answers.append(current)
        return answers


def network(
    peer: str, side: int, num_steps: int, seen: torch.Tensor | None = None
) -> tuple[Callable[[torch.Tensor], Sequence[torch.Tensor]], nn.Module, HeadLayout]:
    """Return what gives the heads of pictures, the module to train, and the heads' layout; all have the same weights.

    The two of snnTorch differ in what batch normalisation sees while it learns: the loop normalises each step by
    itself, for it knows no other; layer by layer it sees all steps, as in spikelab's.

    Args:
        peer: one of ``PEERS``.
        side: of the pictures in pixels.
        num_steps: T.
        seen: pictures whose statistics normalisation is to keep; the network is then in evaluation mode.
    """
    made = {"num_steps": num_steps, "picture": side, "generator": torch.Generator().manual_seed(0)}
    module: nn.Module = SpikingYolo("tiny", checkpoint=peer == "spikelab, recomputing", keep_spikes=False, **made)
    layout = module.layout
    if seen is not None:
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0
        with torch.no_grad():
            module(seen)
    if not peer.startswith("spikelab"):
        weights = module.state_dict()
        module = SnntorchYolo(num_steps, layout.channels, layer_by_layer=peer == "snntorch, layer by layer")
        weights |= {name: value for name, value in module.state_dict().items() if ".neuron." in name}  # snn.Leaky's
        module.load_state_dict(weights)
    module.train(seen is None).to(memory_format=torch.channels_last)
    return (lambda images: module(images).heads) if peer.startswith("spikelab") else module, module, layout


def batch(side: int, pictures: int) -> tuple[torch.Tensor, list[Objects]]:
    """Return coarse noise with three objects in each picture."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(pictures, 3, side // 8, side // 8, generator=draw)
    images = nn.functional.interpolate(images, scale_factor=8)
    objects = []
    for _ in range(pictures):
        corners = torch.rand(3, 2, generator=draw) / 2
        sides = 0.1 + 0.35 * torch.rand(3, 2, generator=draw)  # shares of the picture's
        objects.append(Objects(torch.cat((corners, corners + sides), 1), torch.randint(20, (3,), generator=draw)))
    return images, objects


def speed(peer: str, side: int, pictures: int, num_steps: int, repeats: int, threads: int) -> dict[str, float]:
    """Return a training step's fastest time in ms, its least time of the processor over all threads, and two losses.

    One loss is that of the first step. For the other, normalisation keeps the statistics that it had there in
    spikelab's network: then all peers compute the same.
    """
    step, first = _learner(peer, side, pictures, num_steps, threads)
    walls, processors = zip(*(_seconds(step) for _ in range(repeats)), strict=True)
    images, objects = batch(side, pictures)
    see, _, layout = network(peer, side, num_steps, seen=images)
    with torch.no_grad():
        fixed = yolo_loss(see(images), objects, layout).total.item()
    return {
        "ms": round(1000 * min(walls), 1),
        "processor_ms": round(1000 * min(processors), 1),
        "first_loss": first,
        "loss_with_fixed_statistics": fixed,
    }


def memory(peer: str, side: int, pictures: int, num_steps: int, repeats: int, threads: int) -> dict[str, float]:
    """Return in MiB how far a network, its optimiser and its training steps raise this process's peak memory."""
    # Large tensors go back to the system when they are freed; kept for later use they would count by chance.
    allocator = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(MMAP_THRESHOLD, 2**16)
    torch.set_num_threads(threads)
    layer = nn.Conv2d(8, 8, 3)  # a first step loads parts of torch that take memory for good
    layer(torch.ones(1, 8, 8, 8)).sum().backward()
    torch.optim.Adam(layer.parameters()).step()
    before = _peak_mib()
    step, _ = _learner(peer, side, pictures, num_steps, threads)
    for _ in range(repeats):
        step()
    return {"mib": round(_peak_mib() - before, 1)}


def _learner(peer: str, side: int, pictures: int, num_steps: int, threads: int) -> tuple[Callable[[], float], float]:
    """Return a function that takes one training step, and the loss of the first, which has been taken."""
    torch.set_num_threads(threads)
    see, module, layout = network(peer, side, num_steps)
    images, objects = batch(side, pictures)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = yolo_loss(see(images), objects, layout).total
        loss.backward()
        optimiser.step()
        return loss.item()

    return step, step()


def _seconds(function: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def _peak_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    what, name, settings = json.loads(sys.argv[1])
    print(json.dumps({"speed": speed, "memory": memory}[what](name, **settings)))
