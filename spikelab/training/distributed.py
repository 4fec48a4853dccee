"""Several processes, one batch: what ``torchrun`` starts trains as one process with the joint batch would.

Every process holds the whole data set and takes every ``size``-th sample of a joint batch. Each weights its loss by its
share of that batch, so that the mean that DistributedDataParallel takes of the gradients is the joint gradient, also
when the last batch does not divide evenly. Dropout draws from a stream of its own in each process. Batch normalisation
uses the statistics of the joint batch: PyTorch's SyncBatchNorm on GPUs, ``JointBatchNorm`` on CPUs, which the former
does not know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class World:
    """The processes of a run and which one this is; alone if ``size`` is 1."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def share(self, items: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a joint batch: every ``size``-th item."""
        return items[self.rank :: self.size]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, item: Any) -> list[Any]:
        """Return what every process brought, in the order of their ranks."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(items, item)
        return items

    def agree(self, model: nn.Module) -> None:
        """Give every process the first one's buffers, such as running means of batch normalisation."""
        if self.size > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model whose gradients are averaged over the processes; the model itself if there is one."""
        if self.size == 1:
            return model
        if device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = JointBatchNorm  # the same weights under the same names
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None, broadcast_buffers=True
        )


class JointBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over what all processes hold, on CPUs; alone or in evaluation it is the ordinary one."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if not (self.training and torch.distributed.is_initialized()):
            return super().forward(maps)
        wide = maps if maps.dtype == torch.float64 else maps.float()
        places = wide.new_tensor(maps.numel() // maps.shape[1])
        joint = _JointSum.apply(torch.cat([wide.sum((0, 2, 3)), places[None]]))
        mean, count = joint[:-1] / joint[-1], joint[-1].detach()
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _JointSum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(maps.dtype)


class _JointSum(torch.autograd.Function):
    """Sum over the processes; every one of them has a share in every other's gradient."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _JointSum.forward(context, gradient)


@contextlib.contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, for the duration of a run.

    Args:
        device: gloo connects CPUs, nccl GPUs.
    Yields:
        The World; a lone process if the environment names no others, or if they are connected already.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    here = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    started = not torch.distributed.is_initialized()
    if started:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield here
    finally:
        if started:
            torch.distributed.destroy_process_group()


def first_process() -> bool:
    """Return whether this is the process that writes and prints: alone, or rank 0 under ``torchrun``."""
    return int(os.environ.get("RANK", "0")) == 0


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of this process.

    Args:
        name: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda"``.
    Raises:
        ValueError: if a GPU is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be one of 'auto', 'cpu', 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but PyTorch finds no GPU: use 'auto' or 'cpu'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
