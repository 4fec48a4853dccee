"""The leaky integrate-and-fire sequence as one autograd function, in plain PyTorch.

``integrate_and_fire`` explains the mathematics; this file is about doing it fast. Two things make it so. The backward pass
is written out, so that autograd keeps one tensor, the membrane, instead of a graph of T steps. And the neurons are
handled in blocks small enough for a core's cache: a block runs through all T steps while its state is still there.
"""

from __future__ import annotations

import torch

from spikelab.surrogate import SpikeFunction, derivative_of

# Elements of a block. Small enough for a block's state, input and output to stay in a core's second-level cache,
# large enough for the arithmetic to outweigh the cost of launching an operation.
BLOCK = 32768


class _LIFSequence(torch.autograd.Function):
    """spikes, membrane, refractory = f(current [T, N], beta, membrane0 [N]); see ``lif_sequence``."""

    @staticmethod
    def forward(ctx, current, beta, membrane0, refractory0, threshold, reset, refractory_steps, spike_grad):
        num_steps, size = current.shape
        membrane = torch.empty_like(current)
        spikes = torch.empty_like(current)
        refractory = refractory0.clone()
        fired0 = (membrane0 > threshold) & (refractory0 == refractory_steps)
        for block in _blocks(size):
            decay = _of(beta, block)
            before, fired = membrane0[block], fired0[block].to(current.dtype)
            left = refractory[block]
            for t in range(num_steps):
                now, spike = membrane[t, block], spikes[t, block]
                # Multiply, then add: a fused multiply-add would round once less and lose equality with a plain loop.
                torch.mul(before, decay, out=now)
                if reset == "zero":
                    now.mul_(1 - fired)
                if refractory_steps:
                    awake = left == 0
                    now.add_(current[t, block] * awake)
                else:
                    now.add_(current[t, block])
                if reset == "subtract":
                    now.sub_(fired, alpha=threshold)
                torch.gt(now, threshold, out=spike)
                if refractory_steps:
                    spike.mul_(awake)
                    left.sub_(1).clamp_(min=0).masked_fill_(spike.bool(), refractory_steps)
                before, fired = now, spike
        ctx.save_for_backward(
            membrane, spikes if refractory_steps or reset == "zero" else None, beta, membrane0
        )
        ctx.refractory0, ctx.fired0 = refractory0, fired0
        ctx.settings = threshold, reset, refractory_steps, spike_grad
        ctx.mark_non_differentiable(refractory)
        return spikes, membrane, refractory

    @staticmethod
    def backward(ctx, grad_spikes, grad_membrane, _):
        membrane, spikes, beta, membrane0 = ctx.saved_tensors
        threshold, reset, refractory_steps, spike_grad = ctx.settings
        num_steps, size = membrane.shape
        grad_current = torch.empty_like(membrane)
        grad_membrane0 = torch.empty_like(membrane0)
        needs_beta = ctx.needs_input_grad[1]
        grad_beta = torch.zeros_like(membrane0) if needs_beta else None
        awake = _awake_steps(spikes, ctx.refractory0, refractory_steps) if refractory_steps else None
        for block in _blocks(size):
            decay = _of(beta, block)
            carried = None  # what step t receives from step t + 1, already times beta
            for t in reversed(range(num_steps)):
                now = membrane[t, block]
                grad = grad_current[t, block]
                torch.mul(derivative_of(spike_grad, now - threshold), grad_spikes[t, block], out=grad)
                if refractory_steps:
                    grad.mul_(awake[t, block])
                grad.add_(grad_membrane[t, block])
                if carried is not None:
                    grad.add_(carried)
                kept = (ctx.fired0[block] if t == 0 else spikes[t - 1, block]) if reset == "zero" else None
                survives = grad if kept is None else grad * (1 - kept.to(grad.dtype))
                if needs_beta:
                    grad_beta[block].addcmul_(
                        survives, membrane0[block] if t == 0 else membrane[t - 1, block]
                    )
                carried = survives * decay
                if refractory_steps:
                    grad.mul_(awake[t, block])
            grad_membrane0[block] = carried
        if needs_beta:
            grad_beta = grad_beta.sum() if beta.numel() == 1 else grad_beta
            grad_beta = grad_beta.reshape(beta.shape)
        return grad_current, grad_beta, grad_membrane0, None, None, None, None, None


def lif_sequence(
    current: torch.Tensor,
    beta: float | torch.Tensor,
    threshold: float,
    reset: str,
    refractory_steps: int,
    spike_grad: SpikeFunction,
    membrane0: torch.Tensor,
    refractory0: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run LIF neurons over ``current`` ``[T, B, ...]`` from a given state; arguments are checked by the caller.

    Returns:
        ``(spikes [T, B, ...], membrane [T, B, ...], refractory [B, ...])``.

    Explained in chapter 01. Use ``spikelab.neurons.lif``.
    """
    shape = current.shape
    size = current[0].numel()
    decay = torch.as_tensor(beta, dtype=current.dtype, device=current.device)
    if decay.numel() > 1:
        decay = decay.expand(shape[1:]).reshape(size)
    spikes, membrane, refractory = _LIFSequence.apply(
        current.reshape(shape[0], size),
        decay,
        membrane0.to(current.dtype).reshape(size),
        refractory0.reshape(size),
        threshold,
        reset,
        refractory_steps,
        spike_grad,
    )
    return spikes.reshape(shape), membrane.reshape(shape), refractory.reshape(shape[1:])


def _blocks(size: int):
    return [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def _of(beta: torch.Tensor, block: slice):
    return beta if beta.numel() == 1 else beta[block]


def _awake_steps(spikes: torch.Tensor, refractory0: torch.Tensor, refractory_steps: int) -> torch.Tensor:
    """Which steps were not refractory ``[T, N]``, recovered from the spikes."""
    awake = torch.empty_like(spikes)
    left = refractory0.clone()
    for t, spike in enumerate(spikes):
        awake[t] = left == 0
        left = torch.where(spike > 0, refractory_steps, (left - 1).clamp(min=0))
    return awake
