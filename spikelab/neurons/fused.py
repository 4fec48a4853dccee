"""The leaky integrate-and-fire sequence as one autograd function, in plain PyTorch.

``integrate_and_fire`` explains the mathematics; this file is about doing it fast: the backward pass is written out, so
that autograd keeps one tensor, the membrane, instead of a graph of T steps, and both passes write into buffers that are
allocated once. Handling the neurons in blocks that fit a core's cache was tried and gained nothing.
"""

from __future__ import annotations

import torch

from spikelab.surrogate import SpikeFunction, derivative_of


class _LIFSequence(torch.autograd.Function):
    """spikes, membrane, refractory = f(current [T, N], beta, membrane0 [N]); see ``lif_sequence``."""

    @staticmethod
    def forward(ctx, current, beta, membrane0, refractory0, threshold, reset, refractory_steps, spike_grad, leak):
        membrane, spikes = torch.empty_like(current), torch.empty_like(current)
        refractory = refractory0.clone()
        before = membrane0
        # A neuron found above threshold has fired, unless it was refractory at the time.
        fired0 = ((membrane0 > threshold) & (refractory0 == refractory_steps)).to(current.dtype)
        fired = fired0
        for drive, now, spike in zip(current, membrane, spikes, strict=True):
            if refractory_steps:
                awake = refractory == 0
                drive = drive * awake
            if leak or reset == "zero":
                # Multiply, then add: a fused multiply-add would round once less and lose equality with a plain loop.
                torch.mul(before, beta, out=now)
                if reset == "zero":
                    now.mul_(1 - fired)
                now.add_(drive)
            else:  # a pass through memory less
                torch.add(before, drive, out=now)
            if reset == "subtract":
                now.sub_(fired, alpha=threshold)
            torch.gt(now, threshold, out=spike)
            if refractory_steps:
                spike.mul_(awake)
                refractory.sub_(1).clamp_(min=0).masked_fill_(spike.bool(), refractory_steps)
            before, fired = now, spike
        # With few steps a state is as large as a part of the sequence: keep of it only what backward will ask for.
        ctx.save_for_backward(
            membrane,
            spikes if reset == "zero" or refractory_steps else None,
            beta,
            membrane0 if ctx.needs_input_grad[1] else None,
            refractory0 if refractory_steps else None,
            fired0 if reset == "zero" else None,
        )
        ctx.settings = threshold, reset, refractory_steps, spike_grad, leak
        ctx.mark_non_differentiable(refractory)
        ctx.set_materialize_grads(False)  # a loss on the spikes alone sends no gradient to the membrane
        return spikes, membrane, refractory

    @staticmethod
    def backward(ctx, grad_spikes, grad_membrane, _):
        membrane, spikes, beta, membrane0, refractory0, fired0 = ctx.saved_tensors
        threshold, reset, refractory_steps, spike_grad, leak = ctx.settings
        grad_current = torch.empty_like(membrane)
        grad_beta = torch.zeros_like(membrane[0]) if ctx.needs_input_grad[1] else None
        awake = _awake_steps(spikes, refractory0, refractory_steps) if refractory_steps else None
        above = torch.empty_like(membrane[0])  # U - theta
        buffer = torch.zeros_like(membrane[0])
        carried = buffer  # what a step receives from the next one: beta * lambda
        for t in reversed(range(len(membrane))):
            grad = grad_current[t]
            if grad_spikes is None:
                grad.copy_(carried)
            else:
                torch.sub(membrane[t], threshold, out=above)
                torch.mul(derivative_of(spike_grad, above), grad_spikes[t], out=grad)
                if refractory_steps:
                    grad.mul_(awake[t])
                grad.add_(carried)
            if grad_membrane is not None:
                grad.add_(grad_membrane[t])
            survives = grad
            if reset == "zero":
                survives = grad * (1 - (spikes[t - 1] if t else fired0))
            carried = torch.mul(survives, beta, out=buffer) if leak or refractory_steps else survives
            if grad_beta is not None:
                grad_beta.addcmul_(survives, membrane[t - 1] if t else membrane0)
            if refractory_steps:
                grad.mul_(awake[t])
        if grad_beta is not None:
            grad_beta = grad_beta.sum().reshape(beta.shape) if beta.numel() == 1 else grad_beta
        return grad_current, grad_beta, carried, None, None, None, None, None, None


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
        isinstance(beta, torch.Tensor) or beta != 1,
    )
    return spikes.reshape(shape), membrane.reshape(shape), refractory.reshape(shape[1:])


def _awake_steps(spikes: torch.Tensor, refractory0: torch.Tensor, refractory_steps: int) -> torch.Tensor:
    """Which steps were not refractory ``[T, N]``, recovered from the spikes."""
    awake = torch.empty_like(spikes)
    left = refractory0.clone()
    for t, spike in enumerate(spikes):
        awake[t] = left == 0
        left = torch.where(spike > 0, refractory_steps, (left - 1).clamp(min=0))
    return awake
