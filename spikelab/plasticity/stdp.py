r"""Spike-timing-dependent plasticity: what came before is strengthened, what came after is weakened.

With :math:`\Delta t = t_\text{post} - t_\text{pre}` every pair of spikes contributes

.. math:: W(\Delta t) = A_+ e^{-\Delta t / \tau_+} \; (\Delta t > 0), \qquad
          -A_- e^{\Delta t / \tau_-} \; (\Delta t < 0), \qquad 0 \; (\Delta t = 0)

A synapse needs no list of spikes for that, only two traces that fade by :math:`e^{-dt/\tau}` per step and grow by 1
with each spike, x with those of the input and y with the neuron's own:

.. math:: \Delta w = \sum_t A_+ x_t S^\text{post}_t - A_- y_t S^\text{pre}_t

The sum over pairs and the sum over steps are equal if each step decays the traces, *uses* them, and then adds the
present spikes. In the other order the spikes of the same step count as well, each pair with :math:`A_+ - A_-`.

Explained in chapter 05. Source: Song, Miller and Abbott 2000; Morrison, Diesmann and Gerstner 2008.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from spikelab.validation import require_choice, require_non_negative, require_positive, require_tensor

ORDERS = ("use-then-add", "add-then-use")


class STDPState(NamedTuple):
    """Traces of the input spikes ``[..., I]`` and of the output spikes ``[..., O]``, present step included."""

    pre: torch.Tensor
    post: torch.Tensor

    @classmethod
    def rest(cls, pre: torch.Tensor, post: torch.Tensor) -> STDPState:
        """No spike yet; shapes as of one step's spikes."""
        return cls(torch.zeros_like(pre), torch.zeros_like(post))


def stdp_window(
    dt_ms: torch.Tensor | float,
    *,
    a_plus: float = 0.01,
    a_minus: float = 0.0105,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
) -> torch.Tensor:
    r"""Change of weight by one pair of spikes.

    Args:
        dt_ms: :math:`t_\text{post} - t_\text{pre}` in ms, a number or a tensor of any shape.
        a_plus: strengthening just after 0.
        a_minus: weakening just before 0, as a positive number.
        tau_plus: decay of the strengthening in ms.
        tau_minus: decay of the weakening in ms.
    Returns:
        Change of weight, same shape; 0 at 0.
    Raises:
        ValueError: if an amplitude is negative, a time constant not positive, or ``dt_ms`` not finite.

    Explained in chapter 05. Source: Song, Miller and Abbott 2000.
    """
    if not isinstance(dt_ms, torch.Tensor):
        dt_ms = torch.tensor(float(dt_ms), dtype=torch.float64)
    require_tensor("dt_ms", dt_ms)
    a_plus, a_minus, tau_plus, tau_minus = _checked_window(a_plus, a_minus, tau_plus, tau_minus)
    # Each branch sees only its own side: far away on the other one the exponential would overflow.
    stronger = a_plus * torch.exp(-dt_ms.clamp(min=0) / tau_plus)
    weaker = -a_minus * torch.exp(dt_ms.clamp(max=0) / tau_minus)
    return torch.where(dt_ms > 0, stronger, torch.where(dt_ms < 0, weaker, torch.zeros_like(dt_ms)))


def stdp_pairs(
    pre: torch.Tensor,
    post: torch.Tensor,
    *,
    a_plus: float = 0.01,
    a_minus: float = 0.0105,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    dt_ms: float = 1.0,
) -> torch.Tensor:
    """Change of one synapse's weight as the sum of ``stdp_window`` over all pairs of spikes.

    The definition, written out: T² work for what ``stdp`` does in T.

    Args:
        pre: input spikes ``[T]``.
        post: output spikes ``[T]``.
        a_plus, a_minus, tau_plus, tau_minus: the window, see ``stdp_window``.
        dt_ms: duration of a step in ms.
    Returns:
        Change of weight, a scalar.
    Raises:
        ValueError: if the trains are not one-dimensional and of one length, or a constant is out of range.

    Explained in chapter 05. Source: Song, Miller and Abbott 2000.
    """
    require_tensor("pre", pre, min_dim=1, layout="[T]")
    require_tensor("post", post, min_dim=1, layout="[T]")
    if pre.dim() != 1 or pre.shape != post.shape:
        raise ValueError(f"pre and post must both have shape [T], got {tuple(pre.shape)} and {tuple(post.shape)}")
    t = torch.arange(len(pre), dtype=pre.dtype, device=pre.device) * require_positive("dt_ms", dt_ms, "ms")
    window = stdp_window(
        t.unsqueeze(0) - t.unsqueeze(1), a_plus=a_plus, a_minus=a_minus, tau_plus=tau_plus, tau_minus=tau_minus
    )
    return pre @ window @ post


def stdp_step(
    pre: torch.Tensor,
    post: torch.Tensor,
    state: STDPState | None = None,
    *,
    a_plus: float = 0.01,
    a_minus: float = 0.0105,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    dt_ms: float = 1.0,
    order: str = "use-then-add",
) -> tuple[torch.Tensor, STDPState]:
    """One step of STDP while a simulation runs.

    Args:
        pre: input spikes of this step ``[..., I]``.
        post: output spikes of this step ``[..., O]``, leading axes as ``pre``.
        state: traces after the previous step; ``None`` before the first.
        a_plus, a_minus, tau_plus, tau_minus: the window, see ``stdp_window``.
        dt_ms: duration of a step in ms.
        order: ``"use-then-add"`` equals the sum over pairs: simultaneous spikes do not count. With
            ``"add-then-use"`` they do: right where an input can cause a spike within its own step, as in ``lif``.
    Returns:
        ``(dw [..., I, O], state)``: the change of each weight, not yet applied, and the new traces.
    Raises:
        ValueError: if shapes do not fit, a constant is out of range or ``order`` is unknown.

    Explained in chapter 05. Source: Morrison, Diesmann and Gerstner 2008.
    """
    a_plus, a_minus, tau_plus, tau_minus = _checked_window(a_plus, a_minus, tau_plus, tau_minus)
    require_choice("order", order, ORDERS)
    dt = require_positive("dt_ms", dt_ms, "ms")
    _check_shapes(pre, post, "[..., I]", "[..., O]")
    x, y = STDPState.rest(pre, post) if state is None else state
    if x.shape != pre.shape or y.shape != post.shape:
        raise ValueError(
            f"state must hold traces of shape {tuple(pre.shape)} and {tuple(post.shape)}, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    x, y = x * math.exp(-dt / tau_plus), y * math.exp(-dt / tau_minus)
    after = STDPState(x + pre, y + post)
    if order == "add-then-use":
        x, y = after
    dw = a_plus * x.unsqueeze(-1) * post.unsqueeze(-2) - a_minus * pre.unsqueeze(-1) * y.unsqueeze(-2)
    return dw, after


def stdp(
    pre: torch.Tensor,
    post: torch.Tensor,
    *,
    a_plus: float = 0.01,
    a_minus: float = 0.0105,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    dt_ms: float = 1.0,
    order: str = "use-then-add",
) -> torch.Tensor:
    """Change of all weights over whole spike trains; the weights do not act back on the spikes meanwhile.

    Args:
        pre: input spikes ``[T, ..., I]``.
        post: output spikes ``[T, ..., O]``, axes between as ``pre``.
        a_plus, a_minus, tau_plus, tau_minus, dt_ms, order: see ``stdp_step``.
    Returns:
        Change of weight ``[..., I, O]``: the sum of what ``stdp_step`` returns.
    Raises:
        ValueError: as ``stdp_step``, or if a train is not finite.

    Explained in chapter 05. Source: Morrison, Diesmann and Gerstner 2008.
    """
    require_tensor("pre", pre, min_dim=2, layout="[T, ..., I]")
    require_tensor("post", post, min_dim=2, layout="[T, ..., O]")
    _check_shapes(pre, post, "[T, ..., I]", "[T, ..., O]")
    a_plus, a_minus, tau_plus, tau_minus = _checked_window(a_plus, a_minus, tau_plus, tau_minus)
    x = spike_trace(pre, tau_plus, dt_ms=dt_ms, order=order)
    y = spike_trace(post, tau_minus, dt_ms=dt_ms, order=order)
    return a_plus * torch.einsum("t...i,t...o->...io", x, post) - a_minus * torch.einsum("t...i,t...o->...io", pre, y)


def spike_trace(
    spikes: torch.Tensor, tau_ms: float, *, dt_ms: float = 1.0, order: str = "use-then-add"
) -> torch.Tensor:
    r"""A fading memory of spikes, as it stands when a step uses it.

    .. math:: x_t = \sum_{k \ge 1} e^{-k\,dt/\tau} S_{t-k}

    with "use-then-add"; with "add-then-use" the sum starts at k = 0.

    Args:
        spikes: spike trains ``[T, ...]``.
        tau_ms: time constant in ms.
        dt_ms: duration of a step in ms.
        order: see ``stdp_step``.
    Returns:
        Trace ``[T, ...]``.
    Raises:
        ValueError: if ``spikes`` has no time axis or is not finite, a constant is not positive or ``order`` is unknown.

    Explained in chapter 05.
    """
    require_tensor("spikes", spikes, min_dim=1, layout="[T, ...]")
    decay = math.exp(-require_positive("dt_ms", dt_ms, "ms") / require_positive("tau_ms", tau_ms, "ms"))
    require_choice("order", order, ORDERS)
    trace, used = torch.zeros_like(spikes[0]) if len(spikes) else None, []
    for step in spikes:
        trace = trace * decay
        after = trace + step
        used.append(trace if order == "use-then-add" else after)
        trace = after
    return torch.stack(used) if used else spikes.clone()


def clip_weights(weight: torch.Tensor, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Hard bounds: the simplest brake of a rule that would otherwise run away.

    Args:
        weight: weights, any shape.
        low, high: smallest and largest weight.
    Returns:
        The weights, limited.
    Raises:
        ValueError: if ``low`` exceeds ``high``.

    Explained in chapter 05.
    """
    if not low <= high:
        raise ValueError(f"low must not exceed high, got {low:g} and {high:g}")
    return weight.clamp(low, high)


def normalise_sum(weight: torch.Tensor, total: float | torch.Tensor) -> torch.Tensor:
    """Scale the weights into each neuron so that they sum to ``total``: who gains, takes from the others.

    Args:
        weight: weights ``[..., I, O]``, zero or more; the sum runs over the inputs I.
        total: sum wanted, a positive number, or a tensor that fits ``[..., 1, O]``.
    Returns:
        Weights ``[..., I, O]``; a neuron whose weights are all 0 keeps them.
    Raises:
        ValueError: if a weight is negative or ``total`` is not positive.

    Explained in chapter 05.
    """
    require_tensor("weight", weight, min_dim=2, layout="[..., I, O]")
    if weight.numel() and weight.min() < 0:
        raise ValueError(f"weight must be zero or more to be scaled to a sum, got {float(weight.min()):g}")
    if not isinstance(total, torch.Tensor):
        total = require_positive("total", total)
    elif not (total > 0).all():
        raise ValueError(f"total must be positive, got {float(total.min()):g}")
    sums = weight.sum(-2, keepdim=True)
    return weight * torch.where(sums > 0, total / sums.clamp(min=torch.finfo(weight.dtype).tiny), 1.0)


def _checked_window(a_plus: float, a_minus: float, tau_plus: float, tau_minus: float) -> tuple[float, ...]:
    return (
        require_non_negative("a_plus", a_plus),
        require_non_negative("a_minus", a_minus),
        require_positive("tau_plus", tau_plus, "ms"),
        require_positive("tau_minus", tau_minus, "ms"),
    )


def _check_shapes(pre: torch.Tensor, post: torch.Tensor, pre_layout: str, post_layout: str) -> None:
    for name, spikes, layout in (("pre", pre, pre_layout), ("post", post, post_layout)):
        if not isinstance(spikes, torch.Tensor) or not spikes.is_floating_point():
            got = spikes.dtype if isinstance(spikes, torch.Tensor) else type(spikes).__name__
            raise ValueError(f"{name} must be a floating-point tensor {layout}, got {got}")
    if pre.dim() < 1 or pre.shape[:-1] != post.shape[:-1]:
        raise ValueError(
            f"pre {pre_layout} and post {post_layout} must agree in all axes but the last, "
            f"got {tuple(pre.shape)} and {tuple(post.shape)}"
        )
