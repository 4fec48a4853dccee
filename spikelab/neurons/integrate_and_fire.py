r"""Passive membrane, integrate-and-fire and leaky integrate-and-fire neurons.

The membrane of a cell is a resistor and a capacitor in parallel,

.. math:: \tau \frac{dU}{dt} = -U + R I(t), \qquad \tau = RC,

with U measured from rest. Held constant over a step of dt, the current can be integrated exactly:
:math:`U_t = \beta U_{t-1} + (1 - \beta) R I_t` with :math:`\beta = e^{-dt/\tau}`. Learning code measures U in units
of the threshold and absorbs the factor :math:`(1 - \beta) R / \theta` in the weights, which gives the recursion of
``lif``.

Order of operations, everywhere in the course (that of ``snntorch.Leaky(reset_delay=True)``, which is the default):

.. math:: U_t = \beta U_{t-1} + I_t - \theta S_{t-1}, \qquad S_t = [U_t > \theta]

so the reset caused by a spike arrives one step later, and subtraction acts on the potential that has already leaked.
Explained in chapter 01.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from spikelab.neurons.fused import lif_sequence
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_positive,
    require_shape,
    require_tensor,
)

RESETS = ("subtract", "zero", "none")
_BETA_NOTE = "a decay per step; to convert a time constant use decay_from_tau"


class LIFState(NamedTuple):
    """What a neuron carries from one step to the next.

    Attributes:
        membrane: potential after the last step ``[B, ...]``, in the threshold's units.
        refractory: steps for which the neuron stays refractory ``[B, ...]``, integer; zero without a refractory
            period.
    """

    membrane: torch.Tensor
    refractory: torch.Tensor

    @classmethod
    def rest(cls, current: torch.Tensor) -> LIFState:
        """State at rest for one step of input like ``current`` ``[B, ...]``."""
        return cls(torch.zeros_like(current), torch.zeros_like(current, dtype=torch.int32))


class LIFOutput(NamedTuple):
    """What ``lif`` returns.

    Attributes:
        spikes: spike trains ``[T, B, ...]``, 0 or 1.
        membrane: potential after each step ``[T, B, ...]``, before the reset that its spike causes.
        state: state after the last step, to be passed to the next call.
    """

    spikes: torch.Tensor
    membrane: torch.Tensor
    state: LIFState


def decay_from_tau(tau_ms: float, dt_ms: float = 1.0) -> float:
    r"""Decay per step of a membrane with time constant τ: :math:`\beta = e^{-dt/\tau}`.

    Args:
        tau_ms: membrane time constant in ms; ``math.inf`` gives a neuron that does not leak.
        dt_ms: duration of a step in ms.
    Returns:
        β, between 0 and 1.
    Raises:
        ValueError: if ``tau_ms`` or ``dt_ms`` is not positive.

    Explained in chapter 01.
    """
    if tau_ms == math.inf:
        require_positive("dt_ms", dt_ms, "ms")
        return 1.0
    return math.exp(-require_positive("dt_ms", dt_ms, "ms") / require_positive("tau_ms", tau_ms, "ms"))


def passive_membrane(
    current: torch.Tensor,
    *,
    tau_ms: float,
    resistance_mohm: float = 1.0,
    dt_ms: float = 1.0,
    u0_mv: float = 0.0,
    method: str = "exact",
) -> torch.Tensor:
    r"""Potential of an RC membrane, without threshold.

    ``"exact"`` integrates a piecewise constant current without error, :math:`U_t = \beta U_{t-1} + (1-\beta) R I_t`;
    ``"euler"`` replaces β by its first Taylor terms, :math:`1 - dt/\tau`, and diverges for dt > 2τ.

    Args:
        current: injected current ``[T, ...]`` in nA, constant over each step.
        tau_ms: membrane time constant in ms.
        resistance_mohm: membrane resistance in MΩ (MΩ · nA = mV).
        dt_ms: duration of a step in ms.
        u0_mv: potential before the first step, in mV above rest.
        method: ``"exact"`` or ``"euler"``.
    Returns:
        Potential at the end of each step ``[T, ...]``, in mV above rest.
    Raises:
        ValueError: if a constant is not positive, ``current`` has no time axis or is not finite, or ``method`` is
            unknown.

    Explained in chapter 01. Source: paper 3, eq. 1 below threshold.
    """
    require_tensor("current", current, min_dim=1, layout="[T, ...] in nA")
    require_choice("method", method, ("exact", "euler"))
    tau, dt = require_positive("tau_ms", tau_ms, "ms"), require_positive("dt_ms", dt_ms, "ms")
    resistance = require_positive("resistance_mohm", resistance_mohm, "MΩ")
    start = require_between("u0_mv", u0_mv, -math.inf, math.inf)
    beta = math.exp(-dt / tau) if method == "exact" else 1 - dt / tau
    u = torch.full_like(current[0], start) if len(current) else current[:0]
    membrane = torch.empty_like(current)
    for t, drive in enumerate(resistance * current):
        u = beta * u + (1 - beta) * drive
        membrane[t] = u
    return membrane


def lif_step(
    current: torch.Tensor,
    state: LIFState,
    *,
    beta: float | torch.Tensor,
    threshold: float = 1.0,
    reset: str = "subtract",
    refractory_steps: int = 0,
    spike_grad: SpikeFunction | None = None,
) -> tuple[torch.Tensor, LIFState]:
    r"""Advance leaky integrate-and-fire neurons by one step.

    .. math:: U_t = \beta U_{t-1} + I_t - \theta S_{t-1}, \qquad S_t = [U_t > \theta]

    With ``reset="zero"`` the old potential is wiped and the new input kept,
    :math:`U_t = \beta (1 - S_{t-1}) U_{t-1} + I_t`; with ``"none"`` nothing is taken away. The reset carries no
    gradient. For ``refractory_steps`` steps after a spike the neuron ignores its input and does not fire; its
    potential leaks on, and the one reset applies.

    Args:
        current: input current ``[B, ...]``, in units of the threshold's.
        state: state after the previous step; ``LIFState.rest(current)`` at the start.
        beta: decay per step, 0 (no memory) to 1 (no leak): a number, or a tensor that broadcasts to ``current``.
        threshold: θ; the neuron fires when the potential exceeds it.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        refractory_steps: absolute refractory period in steps.
        spike_grad: surrogate gradient; the arctangent with α = 2 if None, as in snnTorch.
    Returns:
        ``(spikes, state)``, the spikes ``[B, ...]`` 0 or 1.
    Raises:
        ValueError: if shapes differ, β lies outside [0, 1], or ``reset`` is unknown.

    Explained in chapter 01. Source: paper 2, eq. 1 to 3, with the leak of paper 3, eq. 1; same order of operations as
    ``snntorch.Leaky(reset_delay=True)``.
    """
    _check(current, beta, threshold, reset, refractory_steps)
    _check_state(current, state)
    return _step(current, state, beta, threshold, reset, refractory_steps, spike_grad or atan())


def _step(current, state, beta, threshold, reset, refractory_steps, spike_grad):
    membrane, refractory = state
    # A neuron found above threshold has fired, unless it was refractory at the time.
    fired = ((membrane > threshold) & (refractory == refractory_steps)).to(membrane.dtype)
    awake = (refractory == 0).to(membrane.dtype)
    if reset == "zero":
        membrane = (1 - fired) * membrane
    membrane = beta * membrane + awake * current
    if reset == "subtract":
        membrane = membrane - fired * threshold
    spikes = awake * spike_grad(membrane - threshold)
    counting_down = (refractory - 1).clamp(min=0)
    refractory = torch.where(spikes > 0, torch.full_like(refractory, refractory_steps), counting_down)
    return spikes, LIFState(membrane, refractory)


def lif_reference(
    current: torch.Tensor,
    *,
    beta: float | torch.Tensor,
    threshold: float = 1.0,
    reset: str = "subtract",
    refractory_steps: int = 0,
    spike_grad: SpikeFunction | None = None,
    state: LIFState | None = None,
) -> LIFOutput:
    """Same as ``lif``, as a loop over ``lif_step`` that can be read: the reference that ``lif`` is tested against.

    Arguments, result and errors are those of ``lif``. Explained in chapter 01.
    """
    state = _check_sequence(current, beta, threshold, reset, refractory_steps, state)
    spike_grad = spike_grad or atan()
    spikes, membrane = [], []
    for drive in current:
        fired, state = _step(drive, state, beta, threshold, reset, refractory_steps, spike_grad)
        spikes.append(fired)
        membrane.append(state.membrane)
    return LIFOutput(torch.stack(spikes), torch.stack(membrane), state)


def lif(
    current: torch.Tensor,
    *,
    beta: float | torch.Tensor,
    threshold: float = 1.0,
    reset: str = "subtract",
    refractory_steps: int = 0,
    spike_grad: SpikeFunction | None = None,
    state: LIFState | None = None,
) -> LIFOutput:
    r"""Run leaky integrate-and-fire neurons over a whole sequence.

    Each step is that of ``lif_step``; the sequence is one differentiable operation, which keeps only the membrane for
    the backward pass. With :math:`g^S, g^U` the gradients of spikes and membrane, it runs

    .. math:: \lambda_t = \varphi'(U_t - \theta)\, g^S_t + g^U_t + \beta\, \lambda_{t+1}, \qquad
              \frac{\partial L}{\partial I_t} = \lambda_t

    (times :math:`1 - S_t` on the last term under reset to zero), and
    :math:`\partial L / \partial \beta = \sum_t \lambda_t U_{t-1}`. The reset carries no gradient, as in snnTorch.

    Args:
        current: input current ``[T, B, ...]``, in units of the threshold's; ``[T]`` is a single neuron.
        beta: decay per step in [0, 1]: a number, or a tensor that broadcasts to ``current[0]``; learnable if it
            requires grad.
        threshold: θ; a neuron fires when its potential exceeds it.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        refractory_steps: absolute refractory period in steps: after a spike the neuron ignores its input for as long.
        spike_grad: surrogate gradient; the arctangent with α = 2 if None. snnTorch's work too.
        state: state to start from; at rest if None.
    Returns:
        ``LIFOutput(spikes, membrane, state)``: spikes and membrane ``[T, B, ...]``, and the state after the last step,
            so that ``lif(b, state=lif(a).state)`` continues where ``lif(a)`` stopped.
    Raises:
        ValueError: if ``current`` has no time step or is not finite, if the state's shape is another, if β lies outside
            [0, 1], the threshold is not positive, or ``reset`` is unknown.

    Explained in chapter 01; its gradient in chapter 06. Source: paper 2, eq. 1 to 3, with the leak of paper 3, eq. 1.
    """
    state = _check_sequence(current, beta, threshold, reset, refractory_steps, state, finite=False)
    spikes, membrane, refractory = lif_sequence(
        current,
        beta,
        float(threshold),
        reset,
        refractory_steps,
        spike_grad or atan(),
        state.membrane,
        state.refractory,
    )
    # NaN and infinity never leave a membrane, so its last value tells whether any input was bad, at 1/T of the cost;
    # and they never leave a sum, which is faster than asking each. It may overflow alone: then they are asked.
    last = membrane[-1].detach()
    if not torch.isfinite(last.sum()) and not torch.isfinite(last).all():
        require_tensor("current", current, min_dim=1, layout="[T, B, ...]")
        require_tensor("state.membrane", state.membrane)
        raise ValueError(f"current is so large that the membrane overflowed {current.dtype}: scale the weights down")
    return LIFOutput(spikes, membrane, LIFState(membrane[-1], refractory))


def integrate_and_fire(
    current: torch.Tensor,
    *,
    threshold: float = 1.0,
    reset: str = "subtract",
    refractory_steps: int = 0,
    spike_grad: SpikeFunction | None = None,
    state: LIFState | None = None,
) -> LIFOutput:
    """Run integrate-and-fire neurons: ``lif`` without leak, β = 1.

    Arguments, result and errors are those of ``lif``. Explained in chapter 01. Source: paper 2, eq. 1.
    """
    return lif(
        current,
        beta=1.0,
        threshold=threshold,
        reset=reset,
        refractory_steps=refractory_steps,
        spike_grad=spike_grad,
        state=state,
    )


class LIF(nn.Module):
    """``lif`` as a layer that holds its constants, and no state.

    Args:
        beta: decay per step in [0, 1]: a number, or a tensor that broadcasts to one step of the input.
        learn_beta: make β a parameter; it is clamped to [0, 1] in the forward pass, as in snnTorch.
        threshold, reset, refractory_steps, spike_grad: as in ``lif``.
    Raises:
        ValueError: as ``lif``.

    Explained in chapter 06.
    """

    def __init__(
        self,
        beta: float | torch.Tensor,
        *,
        learn_beta: bool = False,
        threshold: float = 1.0,
        reset: str = "subtract",
        refractory_steps: int = 0,
        spike_grad: SpikeFunction | None = None,
    ):
        super().__init__()
        _check_constants(beta, threshold, reset, refractory_steps)
        value = torch.as_tensor(beta, dtype=torch.get_default_dtype()).clone()
        if learn_beta:
            self.beta = nn.Parameter(value)
        else:
            self.register_buffer("beta", value)
        self.threshold = float(threshold)
        self.reset = reset
        self.refractory_steps = refractory_steps
        self.spike_grad = spike_grad or atan()

    def forward(self, current: torch.Tensor, state: LIFState | None = None) -> LIFOutput:
        """Run the layer over ``current`` ``[T, B, ...]``; see ``lif``."""
        return lif(
            current,
            beta=self.beta.clamp(0, 1),
            threshold=self.threshold,
            reset=self.reset,
            refractory_steps=self.refractory_steps,
            spike_grad=self.spike_grad,
            state=state,
        )

    def extra_repr(self) -> str:
        beta = f"{float(self.beta):g}" if self.beta.numel() == 1 else f"tensor {tuple(self.beta.shape)}"
        return f"beta={beta}, threshold={self.threshold:g}, reset={self.reset!r}, spike_grad={self.spike_grad}"


def _check_constants(beta, threshold, reset, refractory_steps) -> None:
    require_choice("reset", reset, RESETS)
    require_positive("threshold", threshold)
    require_count("refractory_steps", refractory_steps, minimum=0)
    if isinstance(beta, torch.Tensor) and beta.numel() > 1:
        require_tensor("beta", beta)
        if beta.min() < 0 or beta.max() > 1:
            low, high = float(beta.min()), float(beta.max())
            raise ValueError(f"beta must lie in [0, 1], got values from {low:g} to {high:g} ({_BETA_NOTE})")
    else:
        require_between("beta", beta, 0, 1, _BETA_NOTE)


def _check(current, beta, threshold, reset, refractory_steps, finite: bool = True) -> None:
    if finite:
        require_tensor("current", current)
    elif not isinstance(current, torch.Tensor) or not current.is_floating_point():
        require_tensor("current", current, layout="[T, B, ...]")
    _check_constants(beta, threshold, reset, refractory_steps)


def _check_state(step: torch.Tensor, state: LIFState) -> None:
    require_shape("state.membrane", state.membrane, step.shape, "one step of current")
    require_shape("state.refractory", state.refractory, step.shape, "one step of current")


def _check_sequence(current, beta, threshold, reset, refractory_steps, state, finite: bool = True) -> LIFState:
    _check(current, beta, threshold, reset, refractory_steps, finite)
    if current.dim() == 0 or current.shape[0] == 0:
        raise ValueError(f"current must hold at least one time step [T, B, ...], got shape {tuple(current.shape)}")
    if isinstance(beta, torch.Tensor) and beta.numel() > 1:
        try:
            fits = torch.broadcast_shapes(beta.shape, current.shape[1:]) == current.shape[1:]
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"beta must broadcast to one step of current {tuple(current.shape[1:])}, got shape {tuple(beta.shape)}"
            )
    if state is None:
        return LIFState.rest(current[0])
    _check_state(current[0], state)
    return state
