r"""ReSuMe, the remote supervised method: STDP with a teacher in place of the neuron's own spikes.

.. math:: \Delta w_i = \eta \sum_t (S^d_t - S_t) \, (a + x_{i,t}), \qquad x_{i,t} = \sum_k e^{-k\,dt/\tau} S_{i,t-k}

A wanted spike that is missing strengthens the inputs that preceded it, a spike too many weakens those that preceded
it, and a spike at the right step does both at once: nothing moves. The constant a belongs to every input, active or
not; it raises or lowers the neuron's whole activity.

Explained in chapter 05. Source: Ponulak and Kasiński 2010.
"""

from __future__ import annotations

import math

import torch

from spikelab.plasticity.stdp import ORDERS, spike_trace
from spikelab.validation import require_choice, require_non_negative, require_positive, require_shape, require_tensor


def resume_step(
    pre: torch.Tensor,
    desired: torch.Tensor,
    output: torch.Tensor,
    trace: torch.Tensor | None = None,
    *,
    a: float = 0.05,
    lr: float = 0.02,
    tau_ms: float = 7.0,
    dt_ms: float = 1.0,
    order: str = "add-then-use",
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of ReSuMe while a simulation runs.

    Args:
        pre: input spikes of this step ``[..., I]``.
        desired: the teacher's spikes ``[..., O]``, leading axes as ``pre``.
        output: the neurons' own spikes ``[..., O]``.
        trace: x after the previous step ``[..., I]``; ``None`` before the first.
        a: what every input gets, spikes or not.
        lr: η, learning rate.
        tau_ms: time constant of the trace in ms.
        dt_ms: duration of a step in ms.
        order: ``"add-then-use"`` counts the inputs of this very step, which in ``lif`` can cause a spike at once;
            ``"use-then-add"`` only earlier ones.
    Returns:
        ``(dw [..., I, O], trace [..., I])``.
    Raises:
        ValueError: if shapes do not fit, a constant is out of range or ``order`` is unknown.

    Explained in chapter 05. Source: Ponulak and Kasiński 2010.
    """
    a, lr = require_non_negative("a", a), require_non_negative("lr", lr)
    decay = math.exp(-require_positive("dt_ms", dt_ms, "ms") / require_positive("tau_ms", tau_ms, "ms"))
    require_choice("order", order, ORDERS)
    _check_shapes(pre, desired, output)
    faded = torch.zeros_like(pre) if trace is None else require_shape("trace", trace, pre.shape, "as pre") * decay
    after = faded + pre
    used = faded if order == "use-then-add" else after
    return lr * (a + used).unsqueeze(-1) * (desired - output).unsqueeze(-2), after


def resume(
    pre: torch.Tensor,
    desired: torch.Tensor,
    output: torch.Tensor,
    *,
    a: float = 0.05,
    lr: float = 0.02,
    tau_ms: float = 7.0,
    dt_ms: float = 1.0,
    order: str = "add-then-use",
) -> torch.Tensor:
    """Change of all weights over whole spike trains: the sum of what ``resume_step`` returns.

    Args:
        pre: input spikes ``[T, ..., I]``.
        desired: the teacher's spikes ``[T, ..., O]``.
        output: the neurons' own spikes ``[T, ..., O]``.
        a, lr, tau_ms, dt_ms, order: see ``resume_step``.
    Returns:
        Change of weight ``[..., I, O]``; exactly 0 where every spike is at its place.
    Raises:
        ValueError: as ``resume_step``, or if a train is not finite.

    Explained in chapter 05. Source: Ponulak and Kasiński 2010.
    """
    for name, spikes in (("pre", pre), ("desired", desired), ("output", output)):
        require_tensor(name, spikes, min_dim=2, layout="[T, ..., N]")
    _check_shapes(pre, desired, output)
    a, lr = require_non_negative("a", a), require_non_negative("lr", lr)
    trace = spike_trace(pre, tau_ms, dt_ms=dt_ms, order=order)
    return lr * torch.einsum("t...i,t...o->...io", a + trace, desired - output)


def _check_shapes(pre: torch.Tensor, desired: torch.Tensor, output: torch.Tensor) -> None:
    if desired.shape != output.shape:
        raise ValueError(
            f"desired and output must have one shape, got {tuple(desired.shape)} and {tuple(output.shape)}"
        )
    if pre.dim() < 1 or pre.shape[:-1] != output.shape[:-1]:
        raise ValueError(
            f"pre and output must agree in all axes but the last, got {tuple(pre.shape)} and {tuple(output.shape)}"
        )
