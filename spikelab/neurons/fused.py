"""The leaky integrate-and-fire sequence as one autograd function, in plain PyTorch.

``integrate_and_fire`` explains the mathematics; this file is about doing it fast: the backward pass is written out, so
that autograd keeps one tensor, the membrane, instead of a graph of T steps, and both passes write into buffers that are
allocated once. Handling the neurons in blocks that fit a core's cache was tried and gained nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from spikelab.surrogate import SpikeFunction, derivative_of


class _LIFSequence(torch.autograd.Function):
    """spikes, membrane, refractory = f(current [T, N], beta, membrane0 [N]); see ``lif_sequence``."""

    @staticmethod
    def forward(ctx, current, beta, membrane0, refractory0, threshold, reset, refractory_steps, spike_grad, leak):
        membrane, spikes = torch.empty_like(current), torch.empty_like(current)
        refractory = refractory0.clone()
        # A neuron found above threshold has fired, unless it was refractory at the time.
        fired0 = ((membrane0 > threshold) & (refractory0 == refractory_steps)).to(current.dtype)
        run_steps(
            current,
            membrane,
            spikes,
            before=membrane0,
            fired=fired0,
            beta=beta if leak else None,
            threshold=threshold,
            reset=reset,
            refractory=refractory,
            refractory_steps=refractory_steps,
        )
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
        carried = run_steps_back(
            grad_current,
            membrane,
            grad_spikes,
            grad_membrane,
            spikes=spikes,
            membrane0=membrane0,
            fired0=fired0,
            beta=beta if leak else None,
            threshold=threshold,
            reset=reset,
            awake=_awake_steps(spikes, refractory0, refractory_steps) if refractory_steps else None,
            spike_grad=spike_grad,
            grad_beta=grad_beta,
        )
        if grad_beta is not None:
            grad_beta = grad_beta.sum().reshape(beta.shape) if beta.numel() == 1 else grad_beta
        return grad_current, grad_beta, carried, None, None, None, None, None, None


def run_steps(
    drives: Iterable[torch.Tensor],
    membrane: Iterable[torch.Tensor],
    spikes: Iterable[torch.Tensor],
    *,
    before: torch.Tensor,
    fired: torch.Tensor | None,
    beta: torch.Tensor | float | None,
    threshold: float,
    reset: str,
    refractory: torch.Tensor | None = None,
    refractory_steps: int = 0,
) -> None:
    """Run the neurons forward, step by step, writing into what is given.

    Args:
        drives: current of each step ``[N]``; the number of spikes' steps is T.
        membrane: where each step's potential goes ``[N]``: rows of ``[T, N]`` to keep them, or two buffers by turns.
        spikes: where each step's spikes go ``[N]``.
        before: potential at the start; left as it is.
        fired: spikes just before the start; None for none.
        beta: decay per step; None for 1, which saves a pass through memory.
        threshold, reset: as in ``lif``.
        refractory: steps left, integers; counted in place.
        refractory_steps: refractory period.

    Used by ``lif_sequence`` and by ``spikelab.models.lean``.
    """
    for drive, now, spike in zip(drives, membrane, spikes, strict=False):
        if refractory_steps:
            awake = refractory == 0
            drive = drive * awake
        if beta is not None or reset == "zero":
            # Multiply, then add: a fused multiply-add would round once less and lose equality with a plain loop.
            torch.mul(before, 1.0 if beta is None else beta, out=now)
            if reset == "zero" and fired is not None:
                now.mul_(1 - fired)
            now.add_(drive)
        else:
            torch.add(before, drive, out=now)
        if reset == "subtract" and fired is not None:
            now.sub_(fired, alpha=threshold)
        torch.gt(now, threshold, out=spike)
        if refractory_steps:
            spike.mul_(awake)
            refractory.sub_(1).clamp_(min=0).masked_fill_(spike.bool(), refractory_steps)
        before, fired = now, spike


def run_steps_back(
    grad_current: torch.Tensor,
    membrane: torch.Tensor,
    grad_spikes: torch.Tensor | None,
    grad_membrane: torch.Tensor | None,
    *,
    beta: torch.Tensor | float | None,
    threshold: float,
    reset: str,
    spike_grad: SpikeFunction,
    spikes: torch.Tensor | None = None,
    membrane0: torch.Tensor | None = None,
    fired0: torch.Tensor | None = None,
    awake: torch.Tensor | None = None,
    grad_beta: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run the gradient backward through the steps; see ``lif`` for the recursion.

    Args:
        grad_current: where the gradient of the current goes ``[T, N]``; may be ``membrane`` itself if ``grad_beta`` is
            not asked for.
        membrane: potential of each step ``[T, N]``.
        grad_spikes, grad_membrane: gradients that arrive ``[T, N]``.
        beta, threshold, reset, spike_grad: as in ``run_steps``.
        spikes, fired0: spikes of each step and before the start; None for none before; for a reset to zero.
        membrane0: potential at the start; for ``grad_beta``.
        awake: which steps were not refractory ``[T, N]``.
        grad_beta: is added to, per neuron ``[N]``.
    Returns:
        The gradient of the potential at the start ``[N]``.
    """
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
            if awake is not None:
                grad.mul_(awake[t])
            grad.add_(carried)
        if grad_membrane is not None:
            grad.add_(grad_membrane[t])
        survives = grad
        before = fired0 if t == 0 else spikes[t - 1] if spikes is not None else None
        if reset == "zero" and before is not None:
            survives = grad * (1 - before)
        if beta is not None:
            carried = torch.mul(survives, beta, out=buffer)
        else:  # awake changes grad below, and what is carried must not change with it
            carried = survives if awake is None else buffer.copy_(survives)
        if grad_beta is not None:
            grad_beta.addcmul_(survives, membrane[t - 1] if t else membrane0)
        if awake is not None:
            grad.mul_(awake[t])
    return carried


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
