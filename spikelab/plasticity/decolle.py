r"""DECOLLE: deep continuous local learning, every layer taught alone and at every step.

A synapse keeps two traces of its input spikes and no history; a neuron keeps its refractoriness:

.. math::
    Q_t &= \beta Q_{t-1} + (1 - \beta) S^{in}_t \\
    P_t &= \alpha P_{t-1} + (1 - \alpha) Q_{t-1} \\
    R_t &= \alpha_r R_{t-1} - (1 - \alpha_r) w_r S_{t-1} \\
    U_t &= W P_t + b + R_t, \qquad S_t = [U_t > 0]

P reads the *old* Q: a spike acts one step after it came. The threshold is 0 and nothing is reset; all refractoriness is
R. P, Q, R and S carry no gradient, so that :math:`\partial U_i / \partial W_{ij} = P_j` is all there is to know, at any
step and whatever came before: memory does not grow with time.

Each layer has a *readout* of its own, a linear map whose random weights never change, and a loss between that readout
and the target. With :math:`y = G \varphi(U)` the update of a weight has three factors, error × post × pre:

.. math:: \Delta w_{ij} \propto -\Bigl[G^\top \frac{\partial L}{\partial y}\Bigr]_i \varphi'(U_i) \, P_j

Spikes are handed on without gradient, so that no layer learns from the loss of another. Where the readout sees
:math:`\sigma(U)` this is the exact gradient of the layer's loss; only a readout of the spikes needs a surrogate.

Two forms of the same network. The *normalised* traces above have area 1. The published ones divide where these
multiply, :math:`Q_t = \beta Q_{t-1} + S^{in}_t / (1-\beta)` and :math:`P_t = \alpha P_{t-1} + Q_{t-1} / (1-\alpha)`,
and are larger by ``trace_gain``; their R takes :math:`w_r S` without the factor :math:`1 - \alpha_r`. ``switch_form``
turns one into the other, ``equivalent_lr`` the learning rate.

Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020 (DECOLLE); paper 1, section III.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from spikelab.surrogate import SpikeFunction, fast_sigmoid
from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_non_negative,
    require_positive,
    require_tensor,
)

LOSSES = ("smooth_l1", "cross_entropy", "mse")
READS = ("sigmoid", "spikes")
INITIAL = ("default", "published", "lsuv")
REGULARISERS = ("published", "later")
ADAMAX_BETAS = (0.0, 0.95)
"""``betas`` of the authors' AdaMax, whose steps are about the learning rate, whatever the size of the gradient."""


class DecolleConstants(NamedTuple):
    """The constants of a layer; the defaults are the authors', for steps of 1 ms.

    Explained in chapter 08.
    """

    alpha: float = 0.97
    """Decay per step of P."""
    beta: float = 0.92
    """Decay per step of Q; the code of paper 1's authors takes .85."""
    alpha_r: float = 0.65
    """Decay per step of R."""
    w_r: float = 1.0
    """Weight of a neuron's own spikes in R."""
    normalised: bool = True
    """Traces of area 1; otherwise the published ones."""

    def at(self, step_ms: float) -> DecolleConstants:
        """The same neuron in steps of ``step_ms`` instead of 1 ms: every decay to that power."""
        decays = {name: decay_to(getattr(self, name), step_ms) for name in ("alpha", "beta", "alpha_r")}
        return self._replace(**decays)

    def other_form(self) -> DecolleConstants:
        """The constants of the other form with the same R; weights have to be rescaled too, see ``switch_form``."""
        w_r = self.w_r * (1 - self.alpha_r) if self.normalised else self.w_r / (1 - self.alpha_r)
        return self._replace(w_r=w_r, normalised=not self.normalised)

    def checked(self) -> DecolleConstants:
        """Return the constants, or raise ValueError if one is out of its range."""
        for name in ("alpha", "beta", "alpha_r"):
            _decay(name, getattr(self, name))
        require_non_negative("w_r", self.w_r)
        return self


DEFAULTS = DecolleConstants()


class Traces(NamedTuple):
    """What a layer remembers of its past.

    Attributes:
        q: first trace of the input spikes ``[B, ...]``, in the input's shape.
        p: second trace, likewise: what the weights multiply.
        r: refractoriness ``[B, ...]``, in the shape of the synapse's output, before any pooling.
        s: spikes of the step before, likewise.
    """

    q: torch.Tensor
    p: torch.Tensor
    r: torch.Tensor
    s: torch.Tensor


def decay_to(decay: float, step_ms: float) -> float:
    """Decay per step of ``step_ms`` of what decays by ``decay`` in 1 ms.

    Args:
        decay: per ms, in [0, 1).
        step_ms: duration of a step in ms.
    Returns:
        ``decay ** step_ms``.
    Raises:
        ValueError: if an argument is out of its range.

    Explained in chapter 08.
    """
    return _decay("decay", decay) ** require_positive("step_ms", step_ms, "ms")


def trace_gain(alpha: float, beta: float) -> float:
    r"""How much larger P is in published than in normalised traces: :math:`1 / ((1 - \alpha)^2 (1 - \beta)^2)`.

    Each of the two filters has the factor 1/(1 - decay) on its input and, at rest under a constant input, once more.

    Args:
        alpha: decay per step of P.
        beta: decay per step of Q.
    Returns:
        The gain; 173,611 for DECOLLE's constants.
    Raises:
        ValueError: if a decay lies outside [0, 1).

    Explained in chapter 08.
    """
    return 1 / ((1 - _decay("alpha", alpha)) * (1 - _decay("beta", beta))) ** 2


def equivalent_lr(lr: float, alpha: float, beta: float) -> float:
    """Learning rate for normalised traces that does what ``lr`` does for published ones, under AdaMax.

    Normalised weights are larger by ``trace_gain`` and AdaMax's steps are about lr, whatever the gradient. Plain
    gradient descent needs the square of the gain instead: its gradient shrinks by as much as the weights grow.

    Args:
        lr: learning rate of the weights in the published form.
        alpha: decay per step of P.
        beta: decay per step of Q.
    Returns:
        ``lr * trace_gain(alpha, beta)``: 1.74e-4 for the papers' 1e-9.
    Raises:
        ValueError: if an argument is out of its range.

    Explained in chapter 08.
    """
    return require_positive("lr", lr) * trace_gain(alpha, beta)


def trace_step(
    q: torch.Tensor, p: torch.Tensor, spikes: torch.Tensor, constants: DecolleConstants = DEFAULTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advance both traces of an input by one step; P takes the Q of the step before.

    Args:
        q: Q after the previous step ``[B, ...]``.
        p: P after the previous step, same shape.
        spikes: input spikes of this step, same shape.
        constants: decays per step, and the form.
    Returns:
        ``(q, p)``, new tensors.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020.
    """
    if constants.normalised:
        return torch.lerp(q, spikes, 1 - constants.beta), torch.lerp(p, q, 1 - constants.alpha)
    to_q, to_p = 1 / (1 - constants.beta), 1 / (1 - constants.alpha)
    return (q * constants.beta).add_(spikes, alpha=to_q), (p * constants.alpha).add_(q, alpha=to_p)


class LayerStep(NamedTuple):
    """One step of a layer.

    Attributes:
        spikes: what the next layer gets ``[B, ...]``, 0 or 1, without gradient.
        membrane: U after pooling or upsampling, same shape; depends on the weights of this layer and on no others.
        traces: what the next step needs.
    """

    spikes: torch.Tensor
    membrane: torch.Tensor
    traces: Traces


class DecolleLayer(nn.Module):
    """Neurons behind a synapse that learn from a loss of their own.

    Calling the layer is ``step``; a forward hook therefore sees the input spikes.

    Args:
        synapse: ``nn.Linear`` or ``nn.Conv2d``; it is applied to the trace P.
        constants: decays per step and the form of the traces.
        after: applied to U before the spike, such as a pooling (the winner of U, not of the spikes) or an upsampling.
        spike_grad: spike function for a readout of the spikes; ``fast_sigmoid(10)`` if not given.
    Raises:
        ValueError: if ``synapse`` is something else or a constant is out of its range.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020.
    """

    def __init__(
        self,
        synapse: nn.Linear | nn.Conv2d,
        *,
        constants: DecolleConstants = DEFAULTS,
        after: nn.Module | None = None,
        spike_grad: SpikeFunction | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(synapse, nn.Linear | nn.Conv2d):
            raise ValueError(f"synapse must be an nn.Linear or nn.Conv2d, got {type(synapse).__name__}")
        self.synapse = synapse
        self.after = after
        self.constants = constants.checked()
        self.spike_grad = fast_sigmoid(10.0) if spike_grad is None else spike_grad

    def rest(
        self, batch: int, input_shape: Sequence[int] | None = None, device: torch.device | str | None = None
    ) -> Traces:
        """Traces of a layer that has seen nothing.

        Args:
            batch: B.
            input_shape: ``(C, H, W)`` of a convolution's input; a linear layer knows its own.
            device: where; the weights' if not given.
        Returns:
            Zeros, in the weights' dtype.
        Raises:
            ValueError: if a convolution gets no shape, or one that does not fit.
        """
        shape = self._input_shape(input_shape)
        weight = self.synapse.weight
        like = {"dtype": weight.dtype, "device": weight.device if device is None else device}
        inputs = (require_count("batch", batch), *shape)
        outputs = (batch, *_output_shape(self.synapse, shape))
        return Traces(*(_zeros(size, like) for size in (inputs, inputs, outputs, outputs)))

    def step(self, spikes: torch.Tensor, traces: Traces, *, in_place: bool = False) -> LayerStep:
        """Advance by one step.

        Args:
            spikes: input of this step ``[B, ...]``.
            traces: from ``rest`` or the step before.
            in_place: overwrite ``traces`` instead of allocating new ones. Whoever needs them later must copy them, and
                autograd refuses to go back through an earlier step.
        Returns:
            ``(spikes, membrane, traces)``.
        """
        return self(spikes, traces, in_place=in_place)

    def forward(self, spikes: torch.Tensor, traces: Traces, *, in_place: bool = False) -> LayerStep:
        """See ``step``."""
        constants = self.constants
        spikes = spikes.to(traces.q.dtype)
        with torch.no_grad():
            to_r = constants.w_r * (1 - constants.alpha_r if constants.normalised else 1)
            if in_place:
                q, p = _trace_step_(traces.q, traces.p, spikes, constants)
                r = traces.r.mul_(constants.alpha_r).sub_(traces.s, alpha=to_r)
            else:
                q, p = trace_step(traces.q, traces.p, spikes, constants)
                r = (traces.r * constants.alpha_r).sub_(traces.s, alpha=to_r)
        u = _fresh_precision(self.synapse, p)
        u = u.add_(r) if u.dtype == r.dtype else u + r  # traces stay precise in mixed precision
        if self.after is None:
            s = _fires(u)
            return LayerStep(s, u, Traces(q, p, r, s))
        s = _fires(u, out=traces.s if in_place else None)  # nobody else has this tensor
        membrane = self.after(u)
        return LayerStep(_fires(membrane), membrane, Traces(q, p, r, s))

    def _input_shape(self, shape: Sequence[int] | None) -> tuple[int, ...]:
        if isinstance(self.synapse, nn.Linear):
            return (self.synapse.in_features,)
        if shape is None or len(shape) != 3 or shape[0] != self.synapse.in_channels:
            wanted = f"({self.synapse.in_channels}, H, W)"
            raise ValueError(f"input_shape must be {wanted} for this convolution, got {shape}")
        return tuple(shape)


class FixedReadout(nn.Module):
    r"""A linear readout whose random weights never change: :math:`U(\pm a / \sqrt{n_{in}})`, bias included.

    The weights are no parameters and are not saved: the seed is enough to draw them again. They come from a generator
    of their own, so that drawing them moves no other random number. ``drawn`` says how many there are.

    Args:
        n_out: numbers read.
        n_in: neurons of the layer.
        seed: of the weights.
        amplitude: a. The largest value a readout of n neurons can reach is about a √n / 4.
        bias: whether there is one.
    Raises:
        ValueError: if a size or the amplitude is out of its range.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020.
    """

    def __init__(self, n_out: int, n_in: int, *, seed: int, amplitude: float = 0.5, bias: bool = True) -> None:
        super().__init__()
        bound = require_positive("amplitude", amplitude) / require_count("n_in", n_in) ** 0.5
        draw = torch.Generator().manual_seed(require_count("seed", seed, 0))
        weight = torch.empty(require_count("n_out", n_out), n_in).uniform_(-bound, bound, generator=draw)
        offset = torch.empty(n_out).uniform_(-bound, bound, generator=draw) if bias else None
        self.drawn = weight.numel() + (n_out if bias else 0)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", offset, persistent=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Read ``[B, n_in]`` or maps ``[B, C, H, W]``, row by row with the channels last -> ``[B, n_out]``."""
        if values.dim() == 4:  # the order in which fast convolutions leave their maps in memory
            values = values.permute(0, 2, 3, 1)
        with torch.autocast(values.device.type, enabled=False):
            return F.linear(values.flatten(1).to(self.weight.dtype), self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"n_in={self.weight.shape[1]}, n_out={self.weight.shape[0]}"


def local_losses(readouts: Sequence[torch.Tensor], target: torch.Tensor, kind: str = "smooth_l1") -> torch.Tensor:
    """The loss of each layer, from its readout alone.

    Args:
        readouts: ``[B, n]`` of each of the L layers.
        target: ``[B, n]``, one-hot for classes; for ``"cross_entropy"`` class indices ``[B]``.
        kind: ``"smooth_l1"`` (DECOLLE's), ``"mse"`` or ``"cross_entropy"``; means over batch and numbers.
    Returns:
        Losses ``[L]``. The gradient of their sum is each layer's own gradient.
    Raises:
        ValueError: if ``kind`` is unknown, there is no readout or the target's shape does not fit.

    Explained in chapter 08.
    """
    require_choice("kind", kind, LOSSES)
    if not len(readouts):
        raise ValueError("readouts must hold at least one layer's, got none")
    wanted = readouts[0].shape[:1] if kind == "cross_entropy" else readouts[0].shape
    if target.shape != wanted:
        raise ValueError(f"target must have shape {tuple(wanted)} for {kind}, got {tuple(target.shape)}")
    loss = {"smooth_l1": F.smooth_l1_loss, "cross_entropy": F.cross_entropy, "mse": F.mse_loss}[kind]
    return torch.stack([loss(readout, target) for readout in readouts])


def activity_regulariser(
    membrane: torch.Tensor,
    *,
    weight: float = 1.0,
    variant: str = "published",
    high: float = 0.01,
    low: float = 0.1,
) -> torch.Tensor:
    r"""Price of membranes that are high, and of a layer that is silent.

    .. math:: \lambda \bigl( c_1 \, \overline{[U + h]_+} + c_2 \, [\,\overline{l - \sigma(U)}\,]_+ \bigr)

    Args:
        membrane: U of a layer ``[B, ...]``.
        weight: λ; 0.5 in some layers of the published networks, 0 in the others.
        variant: ``"published"``: c = (1e-2, 6e-5); ``"later"``: c = (1, 3e-3), as in the authors' code of 2022.
        high: h, how far below the threshold a membrane costs nothing.
        low: l, mean of σ(U) below which a layer counts as silent.
    Returns:
        The price, a scalar.
    Raises:
        ValueError: if ``variant`` is unknown or ``weight`` negative.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020, code.
    """
    require_non_negative("weight", weight)
    above, silent = {"published": (1e-2, 6e-5), "later": (1.0, 3e-3)}[require_choice("variant", variant, REGULARISERS)]
    price = above * F.relu(membrane + high).mean() + silent * F.relu((low - torch.sigmoid(membrane)).mean())
    return weight * price


class DecolleStep(NamedTuple):
    """One step of a network.

    Attributes:
        readouts: ``[B, n]`` of each layer; each depends on the weights of its own layer only.
        membranes: U of each layer, after pooling.
        spikes: of each layer, without gradient.
        state: what the next step needs.
    """

    readouts: list[torch.Tensor]
    membranes: list[torch.Tensor]
    spikes: list[torch.Tensor]
    state: tuple[Traces, ...]


class DecolleOutput(NamedTuple):
    """What the L readouts said while time ran.

    Attributes:
        readouts: at the last step ``[L, B, n]``.
        mean_readouts: mean over the steps after burn-in ``[L, B, n]``.
        votes: at how many steps after burn-in each number was the largest ``[L, B, n]``.
        rates: share of neurons and steps with a spike, by layer.
    """

    readouts: torch.Tensor
    mean_readouts: torch.Tensor
    votes: torch.Tensor
    rates: tuple[float, ...]

    @property
    def decisions(self) -> torch.Tensor:
        """The number that was the largest most often ``[L, B]``; of equals the first."""
        return self.votes.argmax(-1)


class DecolleNetwork(nn.Module):
    """Layers in a row, each with a readout of its own.

    An online network: it learns while time runs. ``rest`` gives the state before the first step, ``step`` takes one.

    Args:
        layers: from the input's side to the output's.
        readouts: one for each layer.
        read: ``"sigmoid"``: readouts see σ(U), and gradients are exact; ``"spikes"``: they see the spikes, through
            each layer's ``spike_grad``.
        input_shape: of a frame without its batch axis; a linear first layer knows how many numbers it takes.
        burn_in: steps before learning starts.
    Raises:
        ValueError: if numbers of layers and readouts differ, ``read`` is unknown or ``burn_in`` negative.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020.
    """

    online = True

    def __init__(
        self,
        layers: Iterable[DecolleLayer],
        readouts: Iterable[FixedReadout],
        *,
        read: str = "sigmoid",
        input_shape: Sequence[int] | None = None,
        burn_in: int = 0,
    ) -> None:
        super().__init__()
        self.layers, self.readouts = nn.ModuleList(layers), nn.ModuleList(readouts)
        if not len(self.layers) or len(self.layers) != len(self.readouts):
            raise ValueError(f"each layer needs a readout, got {len(self.layers)} and {len(self.readouts)}")
        self.read = require_choice("read", read, READS)
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.burn_in = require_count("burn_in", burn_in, 0)

    def rest(self, batch_size: int) -> tuple[Traces, ...]:
        """State before the first step."""
        state, shape = [], self.input_shape
        for layer in self.layers:
            state.append(layer.rest(batch_size, shape))
            shape = tuple(state[-1].s.shape[1:])
            if layer.after is not None:
                with torch.no_grad():
                    shape = tuple(layer.after(state[-1].s[:1]).shape[1:])
        return tuple(state)

    def step(self, frame: torch.Tensor, state: tuple[Traces, ...]) -> tuple[list[torch.Tensor], tuple[Traces, ...]]:
        """Take one step: frame ``[B, ...]`` -> readouts ``[B, n]`` of each layer, and the state."""
        out = self.advance(frame, state)
        return out.readouts, out.state

    def advance(self, frame: torch.Tensor, state: tuple[Traces, ...]) -> DecolleStep:
        """As ``step``, with the layers' membranes and spikes."""
        readouts, membranes, trains, traces = [], [], [], []
        spikes = frame
        for layer, readout, before in zip(self.layers, self.readouts, state, strict=True):
            if isinstance(layer.synapse, nn.Linear):
                spikes = spikes.flatten(1)
            spikes, membrane, after = layer(spikes, before)
            readouts.append(readout(read_membrane(membrane, self.read, layer.spike_grad)))
            membranes.append(membrane)
            trains.append(spikes)
            traces.append(after)
        return DecolleStep(readouts, membranes, trains, tuple(traces))

    def forward(self, frames: Iterable[torch.Tensor]) -> DecolleOutput:
        """Watch frames ``[B, ...]``, one per step, without learning."""
        return watch(self, frames)


@torch.no_grad()
def watch(network: nn.Module, frames: Iterable[torch.Tensor]) -> DecolleOutput:
    """Run an online network over frames without learning; memory does not grow with their number.

    Args:
        network: with ``rest``, ``advance`` and ``burn_in``.
        frames: ``[B, ...]``, one per step; an iterator may make them as it goes. If there are no more than
            ``burn_in`` of them, means and votes are of the last step.
    Returns:
        What the readouts said.
    Raises:
        ValueError: if there is no frame.
    """
    state, steps, total, votes, fired = None, 0, None, None, None
    for frame in frames:
        state = network.rest(len(frame)) if state is None else state
        out = network.advance(frame, state)
        state, now = out.state, torch.stack(out.readouts)
        rates = torch.stack([spikes.mean() for spikes in out.spikes])
        fired = rates if fired is None else fired + rates
        if steps <= network.burn_in:
            total, votes = torch.zeros_like(now), torch.zeros_like(now)
        total += now
        votes.scatter_add_(-1, now.argmax(-1, keepdim=True), torch.ones_like(now[..., :1]))
        steps += 1
    if not steps:
        raise ValueError("frames must hold at least one step, got none")
    counted = max(1, steps - network.burn_in)
    return DecolleOutput(now, total / counted, votes, tuple((fired / steps).tolist()))


class OnlineSummary(NamedTuple):
    """What happened while a network learned from one batch.

    Attributes:
        losses: mean loss of each layer over the steps that learned ``[L]``.
        readouts: at the last step ``[L, B, n]``.
        votes: as in ``DecolleOutput``.
        steps: frames seen, burn-in included.
        updates: how often the weights changed.
    """

    losses: torch.Tensor
    readouts: torch.Tensor
    votes: torch.Tensor
    steps: int
    updates: int


def learn_online(
    network: nn.Module,
    frames: Iterable[torch.Tensor],
    target: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    *,
    burn_in: int | None = None,
    loss: str = "smooth_l1",
    activity: Sequence[float] | None = None,
    variant: str = "published",
    precision: str = "float32",
) -> OnlineSummary:
    """Show one batch to a network that learns at every step after burn-in.

    Args:
        network: an online network, such as ``DecolleNetwork``.
        frames: ``[B, ...]``, one per step; an iterator may make them as it goes.
        target: the same at every step, see ``local_losses``.
        optimiser: of the network's weights, such as ``torch.optim.Adamax(..., betas=ADAMAX_BETAS)``.
        burn_in: first steps, in which traces fill and no weight changes; the network's own if not given.
        loss: see ``local_losses``.
        activity: weight of ``activity_regulariser`` in each layer; none if not given.
        variant: see ``activity_regulariser``.
        precision: ``"float32"`` or ``"bfloat16"`` for the products with the weights; traces stay as they are.
    Returns:
        Losses, last readouts, votes.
    Raises:
        ValueError: if no frame is left after burn-in, or an argument is out of its range.

    Explained in chapter 08.
    """
    burn_in = network.burn_in if burn_in is None else require_count("burn_in", burn_in, 0)
    require_choice("precision", precision, ("float32", "bfloat16"))
    state, steps, losses, votes = None, 0, None, None
    for frame in frames:
        state = network.rest(len(frame)) if state is None else state
        learning = steps >= burn_in
        steps += 1
        mixed = torch.autocast(frame.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with torch.set_grad_enabled(learning), mixed:
            out = network.advance(frame, state)
            state = out.state
            if not learning:
                continue
            now = local_losses(out.readouts, target, loss)
            total = now.sum()
            for weight, membrane in zip(activity or (), out.membranes, strict=activity is not None):
                if weight:
                    total = total + activity_regulariser(membrane, weight=weight, variant=variant)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        with torch.no_grad():
            said = torch.stack([readout.detach() for readout in out.readouts])
            losses = now.detach() if losses is None else losses + now.detach()
            votes = torch.zeros_like(said) if votes is None else votes
            votes.scatter_add_(-1, said.argmax(-1, keepdim=True), torch.ones_like(said[..., :1]))
    if losses is None:
        raise ValueError(f"frames must hold more than the {burn_in} steps of burn-in, got {steps}")
    return OnlineSummary(losses / (steps - burn_in), said, votes, steps, steps - burn_in)


def classify(readouts: torch.Tensor) -> torch.Tensor:
    """Decide by the class whose readout was the largest at most steps.

    Args:
        readouts: ``[T, ..., C]`` over time.
    Returns:
        Class indices ``[...]``; of equally frequent ones the first.
    Raises:
        ValueError: if ``readouts`` has no time axis, no step or is not finite.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020.
    """
    require_tensor("readouts", readouts, min_dim=2, layout="[T, ..., C]")
    if 0 in (len(readouts), readouts.shape[-1]):
        raise ValueError(f"readouts [T, ..., C] must have steps and classes, got {tuple(readouts.shape)}")
    return F.one_hot(readouts.argmax(-1), readouts.shape[-1]).sum(0).argmax(-1)


def read_membrane(membrane: torch.Tensor, read: str, spike_grad: SpikeFunction) -> torch.Tensor:
    """What a readout sees of U: ``"sigmoid"`` or ``"spikes"``."""
    return torch.sigmoid(membrane) if read == "sigmoid" else spike_grad(membrane)


@torch.no_grad()
def initialise_decolle(
    network: nn.Module,
    how: str = "default",
    *,
    generator: torch.Generator | None = None,
    frames: Sequence[torch.Tensor] | torch.Tensor | None = None,
    tolerance: float = 0.1,
) -> None:
    """Draw the weights of a network's layers anew.

    ``"default"``
        PyTorch's own, uniform in ±1/√fan_in, meant for normalised traces.
    ``"published"``
        DECOLLE's of 2020, meant for published traces: convolutions ±1e-2 s with s = 1/(250 √fan_in), biases ±s; linear
        weights 0, biases ±1e-3.
    ``"lsuv"``
        Orthogonal, then, layer after layer, scaled and shifted until U has mean 0 and variance 1 at the last of some
        frames, as in the authors' later code.

    In the form of traces that a choice is not meant for, weights are rescaled by ``trace_gain``, so that the network
    is the same.

    Args:
        network: with ``layers``; for ``"lsuv"`` with ``rest`` and ``advance`` too.
        how: see above.
        generator: source of randomness; torch's own if not given.
        frames: for ``"lsuv"``: ``[B, ...]``, one per step, and enough of them to fill the traces.
        tolerance: for ``"lsuv"``: how far from 1 a variance may end; a mean may end twice as far from 0.
    Raises:
        ValueError: if ``how`` is unknown, ``frames`` are missing or a layer's U cannot be brought there.

    Explained in chapter 08. Source: Kaiser, Mostafa and Neftci 2020, code; Mishkin and Matas 2016 (LSUV).
    """
    require_choice("how", how, INITIAL)
    if how == "lsuv" and (frames is None or not len(frames)):
        raise ValueError("lsuv needs frames, one per step, to see how much U varies")
    for layer in network.layers:
        weight, bias, constants = layer.synapse.weight, layer.synapse.bias, layer.constants
        gain = trace_gain(constants.alpha, constants.beta)
        bound = offset = weight[0].numel() ** -0.5
        scale = bound if constants.normalised else bound / gain
        if how == "published":
            flat = isinstance(layer.synapse, nn.Linear)
            scale, offset = (0.0, 1e-3) if flat else (bound / 250 * 1e-2, bound / 250)
            scale = scale * gain if constants.normalised else scale
        if how == "lsuv":
            start = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)  # rows first in memory
            weight.copy_(nn.init.orthogonal_(start, generator=generator))
            offset = 0.0
        else:
            weight.uniform_(-scale, scale, generator=generator)
        if bias is not None:
            bias.uniform_(-offset, offset, generator=generator)
    for index in range(len(network.layers) if how == "lsuv" else 0):
        _unit_variance(network, index, frames, tolerance)


def _unit_variance(network: nn.Module, index: int, frames: Sequence[torch.Tensor], tolerance: float) -> None:
    """Scale the weights and shift the biases of one layer until its U has variance 1 and mean 0."""
    synapse = network.layers[index].synapse
    for _ in range(30):
        state = network.rest(len(frames[0]))
        for frame in frames:
            out = network.advance(frame, state)
            state = out.state
        u = out.membranes[index]
        variance, mean = float(u.var()), float(u.mean())
        centred = synapse.bias is None or abs(mean) <= 2 * tolerance
        if abs(variance - 1) <= tolerance and centred:
            return
        if not variance > 0:
            raise ValueError(f"U of layer {index} does not vary: do the frames hold spikes, and enough steps?")
        synapse.weight.div_(variance**0.5)
        if synapse.bias is not None:
            synapse.bias.sub_(mean)
    raise ValueError(f"U of layer {index} ends at mean {mean:.3g} and variance {variance:.3g}, not at 0 and 1")


@torch.no_grad()
def switch_form(network: nn.Module) -> nn.Module:
    """Copy a network with its traces in the other form and its weights rescaled: the same spikes at every step.

    Biases and R keep their scale.

    Args:
        network: any module that holds ``DecolleLayer``s.
    Returns:
        The copy.

    Explained in chapter 08.
    """
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, DecolleLayer):
            gain = trace_gain(layer.constants.alpha, layer.constants.beta)
            layer.synapse.weight.mul_(1 / gain if layer.constants.normalised else gain)
            layer.constants = layer.constants.other_form()
    return network


def decolle_mlp(
    sizes: Sequence[int],
    n_out: int,
    *,
    constants: DecolleConstants = DEFAULTS,
    amplitude: float = 0.5,
    readout_seed: int = 0,
    init: str = "default",
    burn_in: int = 0,
    read: str = "sigmoid",
    generator: torch.Generator | None = None,
) -> DecolleNetwork:
    """A perceptron for DECOLLE, such as ``decolle_mlp((2312, 200, 200, 200), 10)`` for N-MNIST.

    Args:
        sizes: numbers of inputs and of neurons of each layer.
        n_out: numbers that each readout gives.
        constants, read, burn_in: see ``DecolleNetwork`` and ``DecolleConstants``.
        amplitude: of the readouts.
        readout_seed: readout k is drawn from ``readout_seed + k``.
        init: ``"default"`` or ``"published"``, see ``initialise_decolle``.
        generator: source of the initial weights.
    Raises:
        ValueError: if an argument is out of its range.

    Explained in chapter 08.
    """
    layers = [DecolleLayer(nn.Linear(a, b), constants=constants) for a, b in itertools.pairwise(sizes)]
    readouts = [
        FixedReadout(n_out, size, seed=readout_seed + k, amplitude=amplitude) for k, size in enumerate(sizes[1:])
    ]
    network = DecolleNetwork(layers, readouts, read=read, burn_in=burn_in)
    initialise_decolle(network, require_choice("init", init, INITIAL[:2]), generator=generator)
    return network


def _fresh_precision(synapse: nn.Module, p: torch.Tensor) -> torch.Tensor:
    """Apply a synapse; in mixed precision with its weights as they are now.

    Autocast keeps reduced copies of the weights until its context ends: a network that learns inside it would go on
    multiplying by the weights of the first step.
    """
    kind = p.device.type
    if not torch.is_autocast_enabled(kind):
        return synapse(p)
    with torch.autocast(kind, torch.get_autocast_dtype(kind), cache_enabled=False):
        return synapse(p)


def _trace_step_(
    q: torch.Tensor, p: torch.Tensor, spikes: torch.Tensor, constants: DecolleConstants
) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``trace_step``, in place: P first, while Q is still the old one."""
    if constants.normalised:
        p.lerp_(q, 1 - constants.alpha)
        q.lerp_(spikes, 1 - constants.beta)
        return q, p
    p.mul_(constants.alpha).add_(q, alpha=1 / (1 - constants.alpha))
    q.mul_(constants.beta).add_(spikes, alpha=1 / (1 - constants.beta))
    return q, p


@torch.no_grad()
def _fires(u: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Spikes, 0 or 1 in U's dtype, without a detour over booleans."""
    return torch.gt(u.detach(), 0, out=torch.empty_like(u) if out is None else out)


def _zeros(size: Sequence[int], like: dict) -> torch.Tensor:
    """Zeros; maps with the channels last in memory, which convolutions on the CPU are faster with."""
    zeros = torch.zeros(size, **like)
    return zeros.contiguous(memory_format=torch.channels_last) if zeros.dim() == 4 else zeros


def _output_shape(synapse: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(synapse, nn.Linear):
        return (synapse.out_features,)
    scale = getattr(synapse, "scale", 1)  # of a synapse that enlarges its input first
    shape = (shape[0], *(scale * side for side in shape[1:]))
    if synapse.padding == "same":
        return (synapse.out_channels, *shape[1:])
    padding = (0, 0) if synapse.padding == "valid" else synapse.padding
    sides = [
        (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, dilation, kernel, stride in zip(
            shape[1:], padding, synapse.dilation, synapse.kernel_size, synapse.stride, strict=True
        )
    ]
    if min(sides) < 1:
        raise ValueError(f"input_shape {shape} is smaller than the convolution's kernel {synapse.kernel_size}")
    return (synapse.out_channels, *sides)


def _decay(name: str, value: float) -> float:
    number = require_between(name, value, 0.0, 1.0, "a decay per step")
    if number == 1:
        raise ValueError(f"{name} must be below 1, got 1 (a trace that never decays has no time constant)")
    return number
