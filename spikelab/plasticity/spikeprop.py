r"""SpikeProp: gradient descent on the time of a spike.

Every neuron fires once, at its first crossing of the threshold. Its potential is a sum of responses to the spikes of
its inputs, each arriving over several synapses of different delay d:

.. math:: U(t) = \sum_{i, k} w_{ik}\, \varepsilon(t - t_i - d_k), \qquad \varepsilon(s) = \frac{s}{\tau} e^{1 - s/\tau}

Nudge a weight and the crossing moves. At the crossing U(t) = θ stays true; differentiate both sides (the implicit
function theorem):

.. math:: \frac{\partial t}{\partial w_{ik}} = -\frac{\varepsilon(t - t_i - d_k)}{U'(t)}, \qquad
          \frac{\partial t}{\partial t_i} = \frac{\sum_k w_{ik}\, \varepsilon'(t - t_i - d_k)}{U'(t)}

The second one carries the error to the layer before. Two limits show in the formulas: a potential that only grazes the
threshold (U' near 0) has an unbounded gradient, hence the floor under the slope; and a silent neuron has no crossing
and no gradient at all. Its time is ∞, and ``SpikePropLayer.wake`` handles it apart.

Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from spikelab.validation import (
    require_between,
    require_count,
    require_non_negative,
    require_positive,
    require_shape,
    require_tensor,
)

NEWTON_STEPS = 5  # from a crossing interpolated on the grid, four reach rounding


def epsilon(t_ms: torch.Tensor, tau_ms: float) -> torch.Tensor:
    r"""Response to a spike, :math:`\varepsilon(t) = \frac{t}{\tau} e^{1 - t/\tau}` for t > 0, else 0; it peaks at 1.

    Args:
        t_ms: time since the spike arrived in ms, any shape; −∞ where no spike came.
        tau_ms: time to the peak in ms.
    Returns:
        Response, same shape.
    Raises:
        ValueError: if ``tau_ms`` is not positive.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """
    s = t_ms.clamp(min=0) / require_positive("tau_ms", tau_ms, "ms")
    return s * torch.exp(1 - s)


def epsilon_slope(t_ms: torch.Tensor, tau_ms: float) -> torch.Tensor:
    r"""Its derivative, :math:`\varepsilon'(t) = \frac{1}{\tau} (1 - t/\tau) e^{1 - t/\tau}` for t > 0, else 0.

    Args:
        t_ms: time since the spike arrived in ms, any shape.
        tau_ms: time to the peak in ms.
    Returns:
        Slope per ms, same shape.
    Raises:
        ValueError: if ``tau_ms`` is not positive.

    Explained in chapter 05.
    """
    tau = require_positive("tau_ms", tau_ms, "ms")
    s = t_ms.clamp(min=0) / tau
    return torch.where(t_ms > 0, (1 - s) * torch.exp(1 - s) / tau, torch.zeros_like(s))


def first_crossing(u: torch.Tensor, threshold: float, dt_ms: float = 1.0) -> torch.Tensor:
    """Time at which a sampled potential first exceeds the threshold, by linear interpolation between the samples.

    Args:
        u: potential ``[T, ...]``, sample k at ``k * dt_ms``.
        threshold: θ.
        dt_ms: time between samples in ms.
    Returns:
        Times in ms ``[...]``: 0 where the first sample is above already, infinity where none is.
    Raises:
        ValueError: if ``u`` has no time axis or is not finite, or a constant is not finite or not positive.

    Explained in chapter 05.
    """
    require_tensor("u", u, min_dim=1, layout="[T, ...]")
    dt, theta = require_positive("dt_ms", dt_ms, "ms"), require_between("threshold", threshold, -math.inf, math.inf)
    if len(u) == 0:
        return u.new_full(u.shape[1:], math.inf)
    above = u > theta
    k = above.to(torch.uint8).argmax(0, keepdim=True)  # 0 for a silent neuron too: told apart below
    after, before = u.gather(0, k)[0], u.gather(0, (k - 1).clamp(min=0))[0]
    part = torch.where(after > before, (theta - before) / (after - before).clamp(min=torch.finfo(u.dtype).tiny), 0.0)
    time = (k[0] - 1 + part) * dt
    time = torch.where(k[0] == 0, torch.zeros_like(time), time)
    return torch.where(above.any(0), time, torch.full_like(time, math.inf))


def spike_time_gradient(
    t_ms: float | torch.Tensor, weight: torch.Tensor, t_in_ms: torch.Tensor, tau_ms: float, slope_floor: float = 0.0
) -> torch.Tensor:
    r"""How the spike time of one neuron moves with each weight: :math:`\partial t / \partial w_i = -\varepsilon / U'`.

    Args:
        t_ms: time of the spike in ms.
        weight: weights ``[N]``, in thresholds.
        t_in_ms: arrival times of the inputs in ms ``[N]``.
        tau_ms: τ of the response in ms.
        slope_floor: smallest slope per ms to divide by.
    Returns:
        ``dt/dw [N]`` in ms per unit of weight; 0 for inputs that arrive after the spike, and for a silent neuron
        (``t_ms`` infinite), which has no crossing to move.
    Raises:
        ValueError: if shapes differ, ``tau_ms`` is not positive, or the slope is not: at a first crossing the
            potential rises.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """
    require_tensor("weight", weight, min_dim=1, layout="[N]")
    require_shape("t_in_ms", t_in_ms, weight.shape, "as weight")
    t = float(t_ms)
    if math.isinf(t):
        return torch.zeros_like(weight)
    lag = t - t_in_ms
    slope = max(float((weight * epsilon_slope(lag, tau_ms)).sum()), require_non_negative("slope_floor", slope_floor))
    if not slope > 0:
        raise ValueError(f"t_ms must be a crossing from below, but at {t:g} ms the potential's slope is {slope:g}")
    return -epsilon(lag, tau_ms) / slope


class _SpikeTimes(torch.autograd.Function):
    """times [B, M] = f(arrivals [B, N], weight [N, M]); the gradient is the implicit function theorem's."""

    @staticmethod
    def forward(ctx, arrivals, weight, tau, threshold, t_max, dt, slope_floor):
        grid = torch.arange(0.0, t_max + dt / 2, dt, dtype=weight.dtype, device=weight.device)
        potential = epsilon(grid.reshape(-1, 1, 1) - arrivals, tau) @ weight  # [G, B, M]
        times = first_crossing(potential, threshold, dt)
        fired = torch.isfinite(times)
        low = (torch.where(fired, times, 0.0) / dt).floor() * dt
        high, exact = low + dt, torch.where(fired, times, 0.0)
        for _ in range(NEWTON_STEPS):
            lag = exact.unsqueeze(1) - arrivals.unsqueeze(2)  # [B, N, M]
            value, slope = (epsilon(lag, tau) * weight).sum(1), (epsilon_slope(lag, tau) * weight).sum(1)
            low, high = torch.where(value > threshold, low, exact), torch.where(value > threshold, exact, high)
            newton = exact - (value - threshold) / slope
            inside = (newton >= low) & (newton <= high)  # False for NaN too
            exact = torch.where(inside, newton, (low + high) / 2)
        times = torch.where(fired, exact, math.inf)
        ctx.save_for_backward(arrivals, weight, exact, fired)
        ctx.settings = tau, slope_floor
        return times

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_times):
        arrivals, weight, exact, fired = ctx.saved_tensors
        tau, slope_floor = ctx.settings
        lag = exact.unsqueeze(1) - arrivals.unsqueeze(2)
        rise = epsilon_slope(lag, tau) * weight
        error = torch.where(fired, grad_times / rise.sum(1).clamp(min=slope_floor), 0.0)
        grad_weight = -torch.einsum("bnm,bm->nm", epsilon(lag, tau), error)
        return torch.einsum("bnm,bm->bn", rise, error), grad_weight, None, None, None, None, None


def spike_times(
    t_in_ms: torch.Tensor,
    weight: torch.Tensor,
    delays_ms: torch.Tensor,
    *,
    tau_ms: float = 7.0,
    threshold: float = 1.0,
    t_max_ms: float = 50.0,
    dt_ms: float = 0.25,
    slope_floor: float = 0.05,
) -> torch.Tensor:
    """First spike of every neuron of a layer, differentiable in the weights and in the input times.

    The crossing is bracketed on a grid and then refined on the exact potential, so that ``dt_ms`` decides only whether
    two crossings within one step can be missed, not how precise the time is.

    Args:
        t_in_ms: spike times of the inputs in ms ``[B, N]``; infinity where an input is silent.
        weight: ``[N, K, M]``, in thresholds.
        delays_ms: delay of each of the K synapses of a pair in ms ``[K]``.
        tau_ms: τ of the response in ms.
        threshold: θ.
        t_max_ms: end of the simulation in ms; who has not fired by then is silent.
        dt_ms: step of the grid in ms.
        slope_floor: smallest slope, per ms, that the gradient divides by.
    Returns:
        Times in ms ``[B, M]``; infinity for silent neurons, which pass no gradient.
    Raises:
        ValueError: if shapes do not fit, a time is NaN or a constant is out of range.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """
    require_tensor("weight", weight, min_dim=3, layout="[N, K, M]")
    inputs, synapses, neurons = weight.shape
    require_tensor("delays_ms", delays_ms, min_dim=1, layout="[K]")
    require_shape("delays_ms", delays_ms, (synapses,), "one per synapse of weight [N, K, M]")
    if not isinstance(t_in_ms, torch.Tensor) or t_in_ms.dim() != 2 or t_in_ms.shape[1] != inputs:
        got = tuple(t_in_ms.shape) if isinstance(t_in_ms, torch.Tensor) else type(t_in_ms).__name__
        raise ValueError(f"t_in_ms must have shape [B, {inputs}], one time per input of weight [N, K, M], got {got}")
    if torch.isnan(t_in_ms).any() or (t_in_ms == -math.inf).any():
        raise ValueError("t_in_ms must hold times in ms, or infinity for silence, but it holds NaN or -infinity")
    arrivals = (t_in_ms.to(weight.dtype).unsqueeze(2) + delays_ms.to(weight)).flatten(1)
    return _SpikeTimes.apply(
        arrivals,
        weight.reshape(inputs * synapses, neurons),
        require_positive("tau_ms", tau_ms, "ms"),
        require_positive("threshold", threshold),
        require_positive("t_max_ms", t_max_ms, "ms"),
        require_positive("dt_ms", dt_ms, "ms"),
        require_positive("slope_floor", slope_floor, "per ms"),
    )


class SpikePropLayer(nn.Module):
    """Neurons that fire once, each input connected over several delayed synapses.

    Args:
        in_features: N.
        out_features: M.
        delays_ms: delay of each of the K synapses of a pair.
        signs: one per input, +1 excitatory (weights of 0 or more), -1 inhibitory (0 or less), 0 free; free if not
            given. ``project`` enforces them after an update.
        initial: range of the absolute values of the initial weights, in thresholds. They must be large enough for the
            neurons to fire, or nothing is learned.
        tau_ms, threshold, t_max_ms, dt_ms, slope_floor: see ``spike_times``.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size, a delay, a sign or the range is out of range.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        delays_ms: Sequence[float] = tuple(range(1, 17)),
        signs: Sequence[int] | None = None,
        initial: tuple[float, float] = (0.05, 0.1),
        tau_ms: float = 7.0,
        threshold: float = 1.0,
        t_max_ms: float = 50.0,
        dt_ms: float = 0.25,
        slope_floor: float = 0.05,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        shape = require_count("in_features", in_features), len(delays_ms), require_count("out_features", out_features)
        delays = [require_non_negative("delays_ms", delay, "ms") for delay in delays_ms]
        signs = [0] * in_features if signs is None else list(signs)
        if len(signs) != in_features or not set(signs) <= {-1, 0, 1}:
            raise ValueError(f"signs must hold -1, 0 or 1 for each of {in_features} inputs, got {signs}")
        low, high = initial
        if not 0 <= low <= high:
            raise ValueError(f"initial must be a range (low, high) from 0 upwards, got ({low:g}, {high:g})")
        sizes = low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=generator)
        self.register_buffer("delays", torch.tensor(delays, dtype=torch.float64))
        self.register_buffer("signs", torch.tensor(signs, dtype=torch.float64).reshape(-1, 1, 1))
        self.weight = nn.Parameter(torch.where(self.signs < 0, -sizes, sizes))
        self.constants = {
            "tau_ms": tau_ms,
            "threshold": threshold,
            "t_max_ms": t_max_ms,
            "dt_ms": dt_ms,
            "slope_floor": slope_floor,
        }

    def forward(self, t_in_ms: torch.Tensor) -> torch.Tensor:
        """Spike times in ms ``[B, M]`` of input times ``[B, N]``."""
        return spike_times(t_in_ms, self.weight, self.delays, **self.constants)

    @torch.no_grad()
    def wake(self, misses: torch.Tensor, amount: float = 0.005) -> None:
        """Add ``amount`` per missing spike to every weight of a neuron: what a gradient cannot do for the silent.

        Args:
            misses: spikes missing per neuron ``[M]``.
            amount: added per missing spike, in thresholds.
        """
        self.weight += amount * misses.to(self.weight)
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Set weights of the wrong sign to 0 (Dale's law)."""
        self.weight[self.signs.flatten() > 0] = self.weight[self.signs.flatten() > 0].clamp(min=0)
        self.weight[self.signs.flatten() < 0] = self.weight[self.signs.flatten() < 0].clamp(max=0)


class SpikePropNet(nn.Module):
    """Layers of neurons that fire once; of each hidden layer the last ``inhibitory`` neurons have negative weights.

    Args:
        sizes: neurons per layer, inputs first; (3, 5, 1) solves XOR (with one input as time reference).
        inhibitory: inhibitory neurons per hidden layer. The weights of the inputs keep any sign.
        generator: source of the initial weights.
        options: for every layer, see ``SpikePropLayer``.
    Raises:
        ValueError: if there are fewer than two sizes, or more inhibitory neurons than hidden ones.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (3, 5, 1),
        *,
        inhibitory: int = 1,
        generator: torch.Generator | None = None,
        **options,
    ):
        super().__init__()
        if len(sizes) < 2 or not 0 <= inhibitory <= min(sizes[1:-1], default=inhibitory):
            raise ValueError(
                f"sizes must name two layers or more, the hidden ones with at least inhibitory = {inhibitory} neurons, "
                f"got {tuple(sizes)}"
            )
        self.layers = nn.ModuleList()
        for depth, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            signs = [1] * (inputs - inhibitory) + [-1] * inhibitory if depth else None
            self.layers.append(SpikePropLayer(inputs, outputs, signs=signs, generator=generator, **options))

    def forward(self, t_in_ms: torch.Tensor) -> list[torch.Tensor]:
        """Spike times in ms of every layer, ``[B, M]`` each, the output's last."""
        times = []
        for layer in self.layers:
            times.append(layer(times[-1] if times else t_in_ms))
        return times


class SpikeTimeHistory(NamedTuple):
    """What happened in each epoch, before its update.

    ``errors``: sum of squared time differences in ms², over output neurons that fired; ``misses``: output spikes that
    did not come; ``times``: output times ``[B, M]``; ``solved``: first epoch without a miss and with an error below the
    tolerance, or None.
    """

    errors: list[float]
    misses: list[int]
    times: list[torch.Tensor]
    solved: int | None


def spike_time_loss(times_ms: torch.Tensor, target_ms: torch.Tensor) -> torch.Tensor:
    """Half the sum of squared time differences, over the neurons that fired.

    Args:
        times_ms: spike times ``[B, M]``; infinity for silence, which adds nothing and has no gradient: count it apart.
        target_ms: wanted times ``[B, M]``.
    Returns:
        The loss in ms², a scalar.
    Raises:
        ValueError: if shapes differ.

    Explained in chapter 05.
    """
    require_shape("target_ms", target_ms, times_ms.shape, "as times_ms")
    fired = torch.isfinite(times_ms)
    return 0.5 * (times_ms[fired] - target_ms[fired].to(times_ms)).square().sum()


def train_spike_times(
    net: SpikePropNet,
    t_in_ms: torch.Tensor,
    target_ms: torch.Tensor,
    *,
    lr: float = 0.01,
    epochs: int = 250,
    tolerance_ms2: float = 1.0,
    wake: float = 0.005,
) -> SpikeTimeHistory:
    """Plain gradient descent on all samples at once, until the times are right.

    An output neuron that misses a spike, and a hidden neuron that is silent for every sample, get ``wake`` added to
    their weights per miss; the gradient knows nothing of them.

    Args:
        net: the network, changed in place.
        t_in_ms: input times ``[B, N]``.
        target_ms: wanted output times ``[B, M]``.
        lr: learning rate, in thresholds per ms² and unit of gradient.
        epochs: updates at most.
        tolerance_ms2: stop when the summed squared error falls below, with no spike missing.
        wake: added to the weights of silent neurons per miss; 0 leaves them dead.
    Returns:
        The history, one entry per epoch run.
    Raises:
        ValueError: if shapes do not fit or a constant is out of range.

    Explained in chapter 05. Source: Bohte, Kok and La Poutré 2002.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=require_positive("lr", lr))
    require_positive("tolerance_ms2", tolerance_ms2, "ms²")
    require_non_negative("wake", wake)
    history = SpikeTimeHistory([], [], [], None)
    for epoch in range(require_count("epochs", epochs)):
        layers = net(t_in_ms)
        loss = spike_time_loss(layers[-1], target_ms)
        silent = [torch.isinf(times).sum(0) for times in layers]
        history.errors.append(2 * loss.item())
        history.misses.append(int(silent[-1].sum()))
        history.times.append(layers[-1].detach())
        if history.errors[-1] < tolerance_ms2 and history.misses[-1] == 0:
            return history._replace(solved=epoch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for depth, (layer, misses) in enumerate(zip(net.layers, silent, strict=True)):
            needed = depth == len(net.layers) - 1
            layer.wake(misses if needed else misses * (misses == len(t_in_ms)), wake)
    return history
