r"""Conversion: a trained network of ReLUs computed by integrate-and-fire neurons, without any training with spikes.

An integrate-and-fire neuron under the constant current z fires at the rate z, cut off at 0 and 1: a ReLU, in steps of
1/T. So the same weights do, once every activation has been brought into [0, 1]:

.. math:: \tilde w_{ij} = w_{ij} \frac{\lambda_i^{l-1}}{\lambda_j^l}, \qquad \tilde b_j = \frac{b_j}{\lambda_j^l},
          \qquad \lambda^0 = 1

with :math:`\lambda_j` the largest activation of channel j on calibration data, or a high percentile of it. The way is

>>> graph = fold_network(model)                              # batch normalisation goes into the weights
>>> scales = activation_scales(graph, images, per="channel", percentile=99.9)
>>> network = ConvertedNetwork(normalize(graph, scales, images[:1]))
>>> result = network(images, 64, report=(16, 32, 64))        # result.outputs[0] is that of 16 steps

or ``convert(model, images)`` in one call.

What can be converted
---------------------
A network in evaluation mode whose ``forward`` takes one tensor ``[B, C, H, W]`` or ``[B, N]`` and is a straight line of
calls, which may branch: ``torch.fx`` follows it, so that it is written as any torch network is. It returns a tensor, or
a tuple, list or dict of them (the heads of a detector).

weighted layers
    ``Conv2d``, ``Linear``, each followed by ``BatchNorm2d`` or ``BatchNorm1d`` or not;
neurons
    ``ReLU``, ``LeakyReLU`` (as modules or functions), by the plain and the signed neuron;
passed on as they are, being linear
    ``AvgPool2d``, ``AdaptiveAvgPool2d``, ``Upsample`` (nearest), ``Flatten`` (from axis 1), ``Identity``, ``Dropout``;
``MaxPool2d``
    emits a spike when the largest count in its window grows: :math:`\max_i N_i[t] - \max_i N_i[t-1]`, with
    :math:`N_i[t]` the spikes of input i so far. Its count is the largest count at every T, so that it adds no error.
    The simpler ``max_pool="or"``, a spike whenever any input fires, is too large: two inputs of rate ½ that take turns
    give 1;
branches
    ``Add`` or ``+``, ``Concat`` or ``torch.cat`` along channels.

Anything else is refused by a ValueError that names the layer and what is allowed: other activations (SiLU, sigmoid,
ReLU6: no neuron here has their rate), a batch normalisation that does not follow a weighted layer of its own,
transposed convolutions, bilinear enlarging, arithmetic on the picture (do it before the call), data-dependent control
flow. A layer that is called twice is converted twice.

Where branches meet
-------------------
Channels of a concatenation keep their scales; the next layer's weights know them. Currents that are added are made in
the units of the neuron that they drive; a spike that joins them (the shortcut of a ResNet) does so by a synapse of its
own, of weight :math:`\lambda_{from} / \lambda_{to}`, a 1×1 convolution of each channel alone. Spikes that are added
(the shortcuts of Darknet) become whole numbers, 0, 1, 2…, if their neurons have one scale in common: each channel takes
the largest of theirs.

The last layer does not fire. Its current, averaged over the steps, is the output, in the units of the ANN.

Explained in chapter 11. Source: Rueckauer et al., Front. Neurosci. 2017 (data-based normalisation); Kim et al.,
Spiking-YOLO, AAAI 2020 (by channel, signed neuron); papers 0 and 2 tell of both.
"""

from __future__ import annotations

import copy
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional as F

from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_positive,
    require_shape,
    require_tensor,
)

INPUT = "input"
"""Name of the picture among the layers of a ``LayerGraph``."""
SCALES = ("channel", "layer")
MAX_POOLS = ("count", "or")
RESETS = ("subtract", "zero")


class Add(nn.Module):
    """Sum of branches of one shape, the shortcut of a residual block; the same as ``+``."""

    def forward(self, *signals: torch.Tensor) -> torch.Tensor:
        """Add signals ``[B, ...]``."""
        return sum(signals[1:], signals[0])


class Concat(nn.Module):
    """Branches one after the other along the channels, the route of YOLO; the same as ``torch.cat(signals, 1)``."""

    def forward(self, *signals: torch.Tensor) -> torch.Tensor:
        """Join signals ``[B, C_i, ...]`` to ``[B, sum of C_i, ...]``."""
        return torch.cat(signals, 1)


WEIGHTED = (nn.Conv2d, nn.Linear)
NEURONS = (nn.ReLU, nn.LeakyReLU)
NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)
UNCHANGED = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.Upsample)
"""Layers whose output channels have the scales of their input channels."""
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
VOCABULARY = (*WEIGHTED, *NORMS, *NEURONS, *UNCHANGED, nn.Flatten, *NOTHING, Add, Concat)


class LayerGraph(nn.Module):
    """A network as a list of layers, each with the names of the layers whose outputs it takes.

    Args:
        layers: modules by name, in the order of computation.
        sources: of each layer, the names of its inputs; ``"input"`` is the picture.
        outputs: name of the layer that is the output, or a tuple, list or dict of names.
        scales: λ ``[C]`` of each neuron's layer, if the network has been normalised; then what a neuron hands on is
            its activation divided by its λ.

    Made by ``fold_network`` and ``normalize``. Explained in chapter 11.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        sources: Mapping[str, Sequence[str]],
        outputs: Any,
        scales: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(dict(layers))
        self.sources = {name: tuple(sources[name]) for name in self.layers}
        self.outputs = outputs
        self.scales = dict(scales or {})

    def forward(self, images: torch.Tensor) -> Any:
        """Compute the output for ``images`` ``[B, ...]``, as the network did from which this was made."""
        return _map(self.outputs, self.activations(images).__getitem__)

    def activations(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs of all layers by name, and of the picture."""
        values = {INPUT: images}
        for name, layer in self.layers.items():
            values[name] = layer(*(values[source] for source in self.sources[name]))
        return values

    @property
    def neurons(self) -> tuple[str, ...]:
        """Names of the layers that will fire, from the input's side."""
        return tuple(name for name, layer in self.layers.items() if isinstance(layer, NEURONS))

    def users(self, name: str) -> list[str]:
        """Names of the layers that take the output of layer ``name``."""
        return [user for user, sources in self.sources.items() if name in sources]


def fold_batch_norm(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | nn.BatchNorm1d) -> nn.Conv2d | nn.Linear:
    r"""Put a batch normalisation, as it works in evaluation, into the weights of the layer before it.

    .. math:: \tilde w = \frac{\gamma w}{\sqrt{\sigma^2 + \epsilon}}, \qquad
              \tilde b = \frac{\gamma (b - \mu)}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
        layer: convolution or linear layer, left as it is.
        norm: batch normalisation of its output, left as it is.
    Returns:
        A new layer with a bias, which does the work of both.
    Raises:
        ValueError: if the numbers of channels differ, or ``norm`` has no running statistics: then it has no fixed
            scale.

    Explained in chapter 11.
    """
    if not isinstance(layer, WEIGHTED):
        raise ValueError(f"layer must be a Conv2d or a Linear, got {type(layer).__name__}")
    if not isinstance(norm, NORMS):
        raise ValueError(f"norm must be a BatchNorm2d or BatchNorm1d, got {type(norm).__name__}")
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("norm must have running statistics (track_running_stats=True): without them it cannot fold")
    require_shape("norm.running_mean", norm.running_mean, (len(layer.weight),), "one for each output channel of layer")
    folded = copy.deepcopy(layer)
    with torch.no_grad():
        gain = (norm.running_var.double() + norm.eps).rsqrt()
        gain = gain if norm.weight is None else gain * norm.weight
        bias = -norm.running_mean.double() if layer.bias is None else layer.bias - norm.running_mean.double()
        bias = gain * bias if norm.bias is None else gain * bias + norm.bias
        folded.weight.copy_(layer.weight * gain.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        folded.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
    return folded


def fold_network(model: nn.Module) -> LayerGraph:
    """Follow a network's ``forward`` and fold its batch normalisations; see the top of this module for what it may be.

    Args:
        model: as trained; left as it is.
    Returns:
        The same function, in evaluation mode, as a list of layers without batch normalisation, with copied weights.
    Raises:
        ValueError: if the network has a part that cannot be converted.

    Explained in chapter 11.
    """
    graph = model if isinstance(model, LayerGraph) else _follow(model)
    layers, renamed = {}, {}
    sources: dict[str, tuple[str, ...]] = {}
    shown = _leaves(graph.outputs)
    for name, layer in graph.layers.items():
        inputs = tuple(renamed.get(source, source) for source in graph.sources[name])
        if isinstance(layer, NOTHING):
            renamed[name] = inputs[0]
        elif isinstance(layer, NORMS):
            before, unfolded = inputs[0], graph.sources[name][0]
            alone = graph.users(unfolded) == [name] and unfolded not in shown
            if not isinstance(layers.get(before), WEIGHTED) or not alone:
                raise ValueError(
                    f"{name} ({type(layer).__name__}) cannot be folded: it must follow a Conv2d or Linear whose output "
                    f"nothing else uses, and follows {before}"
                )
            layers[before] = fold_batch_norm(layers[before], layer)
            renamed[name] = before
        else:
            layers[name], sources[name] = copy.deepcopy(layer), inputs
    outputs = _map(graph.outputs, lambda name: renamed.get(name, name))
    return LayerGraph(layers, sources, outputs, graph.scales).eval()


@torch.no_grad()
def activation_scales(
    graph: LayerGraph,
    images: torch.Tensor,
    *,
    per: str = "channel",
    percentile: float = 99.9,
    batch_size: int = 50,
) -> dict[str, torch.Tensor]:
    """How large the activations of each layer become on calibration data: λ of the normalisation.

    Of a leaky ReLU it is the size that counts, not the sign: a channel that is mostly negative would otherwise seem
    silent. A channel that fires so rarely that the percentile is zero takes its maximum, and one that is silent on all
    of the data the scale of its layer: it may fire on the next picture.

    Args:
        graph: network without batch normalisation, from ``fold_network``.
        images: calibration data ``[N, ...]``, some hundred training pictures.
        per: ``"channel"``, or ``"layer"``: one λ for all channels.
        percentile: share of the activations, of all pictures and places and zeros included, that λ is not smaller than,
            in percent; 100 is the maximum.
        batch_size: pictures at a time.
    Returns:
        λ ``[C]`` by the name of the neurons' layer, positive.
    Raises:
        ValueError: if there is no picture, or a constant is out of its range.

    Explained in chapter 11. Source: by layer Rueckauer et al. 2017, by channel Kim et al. 2020.
    """
    require_tensor("images", images, min_dim=2, layout="[N, ...]")
    require_choice("per", per, SCALES)
    require_between("percentile", percentile, 0, 100, "a percentage; 100 is the maximum")
    require_count("batch_size", batch_size)
    if not len(images):
        raise ValueError("images must hold at least one picture to calibrate on, got none")
    gathered: dict[str, _Largest] = {}
    for batch in images.split(batch_size):
        values = graph.activations(batch)
        for name in graph.neurons:
            by_channel = values[name].abs().transpose(0, 1).flatten(1)
            if name not in gathered:
                gathered[name] = _Largest(len(images) * by_channel.shape[1] // len(batch), percentile / 100, per)
            gathered[name].add(by_channel)
    return {name: largest.scales() for name, largest in gathered.items()}


def normalize(graph: LayerGraph, scales: Mapping[str, torch.Tensor], example: torch.Tensor) -> LayerGraph:
    r"""Rescale weights so that every neuron's activation is divided by its λ, and the output stays what it was.

    .. math:: \tilde w_{ij} = w_{ij} \lambda_i^{l-1} / \lambda_j^l, \qquad \tilde b_j = b_j / \lambda_j^l

    The picture keeps its scale (λ⁰ = 1), and so does the output. Where branches meet, see the top of this module.

    Args:
        graph: network without batch normalisation, from ``fold_network``.
        scales: λ ``[C]`` of each layer of neurons, from ``activation_scales``.
        example: one picture ``[1, ...]`` or more, to learn the shapes from.
    Returns:
        A network of the same function, with its ``scales``.
    Raises:
        ValueError: if a layer of neurons has no scales, or they are not positive or not one for each channel.

    Explained in chapter 11. Source: Kim et al., Spiking-YOLO, AAAI 2020.
    """
    if graph.scales:
        raise ValueError("graph has been normalised already: start from the result of fold_network")
    with torch.no_grad():
        shapes = {name: value.shape for name, value in graph.activations(example[:1]).items()}
    for name in graph.neurons:
        if name not in scales:
            raise ValueError(f"scales must name every layer of neurons; {name} is missing")
        require_tensor(f"scales[{name!r}]", scales[name])
        require_shape(f"scales[{name!r}]", scales[name], shapes[name][1:2], "one for each channel")
        if not (scales[name] > 0).all():
            raise ValueError(f"scales[{name!r}] must be positive, got {float(scales[name].min()):g}: a silent channel?")
    return _Normaliser(graph, scales, shapes).run()


def if_rate(
    current: torch.Tensor,
    num_steps: int,
    *,
    initial_charge: float = 0.0,
    threshold: float = 1.0,
) -> torch.Tensor:
    r"""Rate of an integrate-and-fire neuron with soft reset under a constant current, in closed form.

    .. math:: r = \frac{1}{T} \left\lfloor \frac{zT + v_0}{\theta} \right\rfloor, \text{ from 0 to 1}

    where a membrane that ends exactly at the threshold has not fired, as everywhere in the course: there the count is
    one less.

    Args:
        current: z, of any shape.
        num_steps: T.
        initial_charge: v₀, the membrane before the first step; θ/2 rounds instead of rounding down.
        threshold: θ.
    Returns:
        Spikes per step, in the shape of ``current``.
    Raises:
        ValueError: if a constant is out of its range.

    Explained in chapter 11.
    """
    require_tensor("current", current)
    require_count("num_steps", num_steps)
    threshold = require_positive("threshold", threshold)
    require_between("initial_charge", initial_charge, 0, threshold, "at most the threshold")
    count = torch.ceil((current * num_steps + initial_charge) / threshold) - 1
    return count.clamp(0, num_steps) / num_steps


def signed_if_step(
    current: torch.Tensor,
    membrane: torch.Tensor,
    *,
    slope: float = 0.0,
    threshold: float = 1.0,
    reset: str = "subtract",
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Advance signed integrate-and-fire neurons by one step: integrate, fire, take away what was crossed.

    .. math:: V = V[t-1] + z[t], \quad
              S = \begin{cases} 1 & V > \theta \\ -1 & V < -\theta / \alpha \\ 0 & \text{else} \end{cases}, \quad
              V[t] = \begin{cases} V - \theta & S = 1 \\ V + \theta / \alpha & S = -1 \end{cases}

    The rate is z/θ for a positive and αz/θ for a negative current: a leaky ReLU. With α = 0 the lower threshold is out
    of reach, and the neuron is the plain one, a ReLU; it fires as ``spikelab.neurons.integrate_and_fire`` does, which
    takes the threshold away one step later, before it fires again.

    Args:
        current: z ``[B, ...]`` of this step.
        membrane: V ``[B, ...]`` after the last step and its reset.
        slope: α, of the leaky ReLU, from 0 to 1.
        threshold: θ.
        reset: ``"subtract"``, or ``"zero"``, which throws the surplus away.
    Returns:
        ``(spikes, membrane)``: spikes -1, 0 or 1, and V after the reset.
    Raises:
        ValueError: if shapes differ or a constant is out of its range.

    Explained in chapter 11. Source: Kim et al., Spiking-YOLO, AAAI 2020 (signed neuron with imbalanced threshold).
    """
    require_shape("membrane", membrane, current.shape, "as current")
    return _signed_step(current, membrane, *_constants(slope, threshold, reset))


def signed_if(
    current: torch.Tensor,
    *,
    slope: float = 0.0,
    threshold: float = 1.0,
    initial_charge: float = 0.0,
    reset: str = "subtract",
    membrane: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run signed integrate-and-fire neurons over a sequence; each step is that of ``signed_if_step``.

    Args:
        current: z ``[T, B, ...]``, at least one step.
        slope, threshold, reset: as in ``signed_if_step``.
        initial_charge: membrane before the first step; half of the threshold makes the rate a rounded number.
        membrane: state ``[B, ...]`` to go on from, instead of ``initial_charge``.
    Returns:
        ``(spikes [T, B, ...], membrane [B, ...])``.
    Raises:
        ValueError: if ``current`` has no step or a constant is out of its range.

    Explained in chapter 11.
    """
    require_tensor("current", current, min_dim=1, layout="[T, B, ...]")
    constants = _constants(slope, threshold, reset)
    require_between("initial_charge", initial_charge, 0, threshold, "at most the threshold")
    if not len(current):
        raise ValueError(f"current must hold at least one time step [T, B, ...], got shape {tuple(current.shape)}")
    if membrane is None:
        membrane = torch.full_like(current[0], initial_charge)
    require_shape("membrane", membrane, current.shape[1:], "one step of current")
    spikes = torch.empty_like(current)
    for t, drive in enumerate(current):
        spikes[t], membrane = _signed_step(drive, membrane, *constants)
    return spikes, membrane


class ConvertedOutput(NamedTuple):
    """What a converted network has computed, after each of the reported numbers of steps.

    Attributes:
        steps: the reported numbers of steps.
        outputs: for each of them, the mean current of the last layer so far, in the form of the ANN's output.
        spikes: for each of them, spikes per picture so far, by the name of the layer; those of sign -1 count as well.
        neurons: number of neurons in each layer.
        counts: of each neuron ``[B, ...]``, the sum of its spikes, with their signs, after the last step; times λ and
            divided by the number of steps it approaches the ANN's activation.
    """

    steps: tuple[int, ...]
    outputs: tuple[Any, ...]
    spikes: tuple[dict[str, float], ...]
    neurons: dict[str, int]
    counts: dict[str, torch.Tensor]

    @property
    def output(self) -> Any:
        """Output after the last step."""
        return self.outputs[-1]

    @property
    def rates(self) -> dict[str, float]:
        """Spikes per neuron and step of each layer, over all steps."""
        return {name: count / (self.neurons[name] * self.steps[-1]) for name, count in self.spikes[-1].items()}


class ConvertedNetwork(nn.Module):
    """A normalised network whose ReLUs are integrate-and-fire neurons.

    The picture is a constant current: what depends on it alone, such as the first convolution, is computed once. After
    that, weights meet spikes: whole numbers, unless an average pool has made fractions of them.

    Args:
        graph: from ``normalize``.
        initial_charge: membrane before the first step, from 0 to 1 (the threshold); ½ rounds activations instead of
            rounding all of them down.
        reset: ``"subtract"``, or ``"zero"``, which loses what was above the threshold: shown to be wrong.
        signed: give leaky ReLUs the signed neuron; otherwise the plain one, which cannot say less than zero.
        max_pool: ``"count"`` or ``"or"``, see the top of this module.
    Raises:
        ValueError: if the network has not been normalised or a constant is out of its range.

    Explained in chapter 11.
    """

    def __init__(
        self,
        graph: LayerGraph,
        *,
        initial_charge: float = 0.5,
        reset: str = "subtract",
        signed: bool = True,
        max_pool: str = "count",
    ) -> None:
        super().__init__()
        if not isinstance(graph, LayerGraph) or (graph.neurons and not graph.scales):
            raise ValueError("graph must be the result of normalize; convert(model, images) does all that is needed")
        self.graph = graph
        self.initial_charge = require_between("initial_charge", initial_charge, 0, 1, "at most the threshold, 1")
        self.reset = require_choice("reset", reset, RESETS)
        self.signed = bool(signed)
        self.max_pool = require_choice("max_pool", max_pool, MAX_POOLS)

    @torch.no_grad()
    def forward(self, images: torch.Tensor, num_steps: int, report: Sequence[int] | None = None) -> ConvertedOutput:
        """Show pictures for some steps.

        Args:
            images: pictures ``[B, ...]``, as for the ANN.
            num_steps: T.
            report: rising numbers of steps, the last of them at most T, after which to note the output: a curve of
                accuracy against T from one run. Only T if not given.
        Returns:
            The outputs, and what fired.
        Raises:
            ValueError: if there is no picture, or ``report`` does not rise from 1 to at most ``num_steps``.
        """
        require_tensor("images", images, min_dim=2, layout="[B, ...]")
        require_count("num_steps", num_steps)
        report = (num_steps,) if report is None else tuple(require_count("report", step) for step in report)
        if not report or report[-1] > num_steps or any(b <= a for a, b in itertools.pairwise(report)):
            raise ValueError(f"report must rise and end at {num_steps} or before, got {list(report)}")
        values = self._still(images)
        moving = [name for name in self.graph.layers if name not in values]
        shown = _leaves(self.graph.outputs)
        state: dict[str, Any] = {}
        sums: dict[str, torch.Tensor] = {}
        counts: dict[str, torch.Tensor] = {}
        fired: dict[str, Any] = {}
        outputs, spikes = [], []
        for step in range(1, report[-1] + 1):
            for name in moving:
                signals = [values[source] for source in self.graph.sources[name]]
                values[name] = self._advance(name, signals, state)
                if name in self.graph.scales:
                    counts[name] = counts[name] + values[name] if name in counts else values[name]
                    fired[name] = fired.get(name, 0) + values[name].abs().sum(dtype=torch.float64)
            for name in shown:
                sums[name] = sums[name] + values[name] if name in sums else values[name]
            if step in report:
                outputs.append(_map(self.graph.outputs, lambda name: sums[name] / step))  # noqa: B023 (used at once)
                spikes.append({name: float(count) / len(images) for name, count in fired.items()})
        neurons = {name: count[0].numel() for name, count in counts.items()}
        return ConvertedOutput(report, tuple(outputs), tuple(spikes), neurons, counts)

    def extra_repr(self) -> str:
        return f"initial_charge={self.initial_charge:g}, reset={self.reset!r}, signed={self.signed}"

    def _still(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """What does not change from step to step: the picture, and all that is computed from it without a neuron."""
        values = {INPUT: images}
        for name, layer in self.graph.layers.items():
            sources = self.graph.sources[name]
            if not isinstance(layer, NEURONS) and all(source in values for source in sources):
                values[name] = layer(*(values[source] for source in sources))
        return values

    def _advance(self, name: str, signals: list[torch.Tensor], state: dict[str, Any]) -> torch.Tensor:
        layer = self.graph.layers[name]
        if isinstance(layer, NEURONS):
            if name not in state:
                state[name] = torch.full_like(signals[0], self.initial_charge)
            slope = layer.negative_slope if isinstance(layer, nn.LeakyReLU) and self.signed else 0.0
            spikes, state[name] = _signed_step(signals[0], state[name], *_constants(slope, 1.0, self.reset))
            return spikes
        if isinstance(layer, nn.MaxPool2d) and self.max_pool == "count":
            total, largest = state.get(name, (0.0, 0.0))
            total = total + signals[0]
            state[name] = total, layer(total)
            return state[name][1] - largest
        return layer(*signals)


def convert(
    model: nn.Module,
    images: torch.Tensor,
    *,
    per: str = "channel",
    percentile: float = 99.9,
    batch_size: int = 50,
    **options: Any,
) -> ConvertedNetwork:
    """Convert a trained network: fold, measure, normalise.

    Args:
        model: see the top of this module for what it may be; left as it is.
        images: calibration data ``[N, ...]``, some hundred training pictures.
        per, percentile, batch_size: as in ``activation_scales``.
        options: as in ``ConvertedNetwork``.
    Returns:
        The network in spikes.
    Raises:
        ValueError: if the network has a part that cannot be converted, or a constant is out of its range.

    Explained in chapter 11.
    """
    graph = fold_network(model)
    scales = activation_scales(graph, images, per=per, percentile=percentile, batch_size=batch_size)
    return ConvertedNetwork(normalize(graph, scales, images[:1]), **options).eval()


def _constants(slope: float, threshold: float, reset: str) -> tuple[float, float, bool]:
    """Both thresholds, and whether the reset is soft."""
    slope, threshold = require_between("slope", slope, 0, 1), require_positive("threshold", threshold)
    return threshold, threshold / slope if slope else math.inf, require_choice("reset", reset, RESETS) == "subtract"


def _signed_step(
    current: torch.Tensor, membrane: torch.Tensor, upper: float, lower: float, soft: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    membrane = membrane + current
    up = (membrane > upper).to(membrane.dtype)
    if math.isinf(lower):
        return up, membrane - upper * up if soft else membrane * (1 - up)
    down = (membrane < -lower).to(membrane.dtype)
    spikes = up - down
    return spikes, membrane - upper * up + lower * down if soft else membrane * (1 - up - down)


class _Largest:
    """The largest values of each channel in a stream of known length: all that a high percentile needs."""

    def __init__(self, total: int, share: float, per: str) -> None:
        self.total, self.share, self.per = total, share, per
        self.kept: torch.Tensor | None = None

    def add(self, values: torch.Tensor) -> None:
        """Take values ``[C, n]``."""
        kept = values if self.kept is None else torch.cat([self.kept, values], 1)
        # A layer's percentile may lie among the values of one channel alone.
        channels = len(values) if self.per == "layer" else 1
        needed = channels * self.total - math.floor(self.share * (channels * self.total - 1))
        self.kept = kept.topk(min(needed, kept.shape[1]), dim=1).values

    def scales(self) -> torch.Tensor:
        """λ ``[C]``."""
        assert self.kept is not None
        channels = len(self.kept)
        maximum = self.kept.amax(1)
        if self.per == "layer":
            layer = self._quantile(self.kept.reshape(1, -1), channels * self.total)
            scale = layer if layer > 0 else maximum.max()[None]
            return (scale if scale > 0 else torch.ones_like(scale)).expand(channels).clone()
        scale = self._quantile(self.kept, self.total)
        scale = torch.where(scale > 0, scale, maximum)
        silent = scale.max() if scale.max() > 0 else torch.ones_like(scale.max())
        return torch.where(scale > 0, scale, silent)

    def _quantile(self, kept: torch.Tensor, total: int) -> torch.Tensor:
        """``torch.quantile`` of ``total`` values per row, of which only the largest are at hand."""
        falling = kept.sort(1, descending=True).values
        place = (1 - self.share) * (total - 1)
        after = min(math.ceil(place), falling.shape[1] - 1)
        before = min(math.floor(place), after)
        return torch.lerp(falling[:, before], falling[:, after], place - math.floor(place))


class _Normaliser:
    """One pass through a network, from the picture to the output, with the scale of every signal."""

    def __init__(self, graph: LayerGraph, scales: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size]) -> None:
        self.graph, self.shapes = graph, shapes
        self.wanted = self._shared(scales)
        self.layers: dict[str, nn.Module] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        weights = next(iter(graph.parameters()), torch.zeros(()))
        self.scale = {INPUT: weights.new_ones(shapes[INPUT][1])}

    @torch.no_grad()
    def run(self) -> LayerGraph:
        for name, layer in self.graph.layers.items():
            sources = self.graph.sources[name]
            before = [self.scale[source] for source in sources]
            layer = copy.deepcopy(layer)
            if isinstance(layer, WEIGHTED):
                self.scale[name] = self._driven(name, before[0].new_ones(len(layer.weight)))
                _rescale(layer, before[0], self.scale[name])
            elif isinstance(layer, NEURONS):
                self.scale[name] = self.wanted[name]
                sources = (self._in_units(sources[0], self.scale[name]),)
            elif isinstance(layer, Add):
                self.scale[name] = self._driven(name, torch.stack(before).amax(0))
                sources = tuple(self._in_units(source, self.scale[name]) for source in sources)
            elif isinstance(layer, Concat):
                self.scale[name] = torch.cat(before)
            elif isinstance(layer, nn.Flatten):
                self.scale[name] = before[0].repeat_interleave(self.shapes[name][1] // len(before[0]))
            else:
                self.scale[name] = before[0]
            self.layers[name], self.sources[name] = layer, tuple(sources)
        outputs = _map(self.graph.outputs, lambda name: self._in_units(name, torch.ones_like(self.scale[name])))
        return LayerGraph(self.layers, self.sources, outputs, self.wanted).eval()

    def _in_units(self, source: str, scale: torch.Tensor) -> str:
        """Name of a signal in other units: itself, or a synapse from each channel to itself."""
        if torch.equal(self.scale[source], scale):
            return source
        gain, channels = self.scale[source] / scale, len(scale)
        if len(self.shapes[source]) == 4:
            synapse = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
            weight = gain.reshape(-1, 1, 1, 1)
        else:
            synapse = nn.Linear(channels, channels, bias=False)
            weight = gain.diag()
        synapse.weight = nn.Parameter(weight, requires_grad=False)
        name = f"{source}_scaled_{len(self.layers)}"
        self.layers[name], self.sources[name], self.scale[name] = synapse, (source,), scale
        self.shapes = {**self.shapes, name: self.shapes[source]}
        return name

    def _driven(self, name: str, otherwise: torch.Tensor) -> torch.Tensor:
        """Scale of the neurons that a current drives; ``otherwise`` if it drives none."""
        for user in self.graph.users(name):
            layer = self.graph.layers[user]
            if isinstance(layer, NEURONS):
                return self.wanted[user]
            if isinstance(layer, Add | nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.Upsample):
                found = self._driven(user, otherwise)
                if found is not otherwise:
                    return found
        return otherwise

    def _shared(self, scales: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Give neurons whose spikes are added one scale in common, the largest of theirs."""
        group = {name: {name} for name in self.graph.neurons}
        firing: dict[str, set[str]] = {name: {name} for name in self.graph.neurons}  # whose spikes a signal is a sum of
        for name, layer in self.graph.layers.items():
            sources = self.graph.sources[name]
            if isinstance(layer, UNCHANGED) and sources[0] in firing:
                firing[name] = firing[sources[0]]
            elif isinstance(layer, Add) and all(source in firing for source in sources):
                firing[name] = set().union(*(firing[source] for source in sources))
                together = set().union(*(group[neuron] for neuron in firing[name]))
                group.update(dict.fromkeys(together, together))
        return {name: torch.stack([scales[one] for one in sorted(group[name])]).amax(0) for name in group}


def _rescale(layer: nn.Conv2d | nn.Linear, before: torch.Tensor, after: torch.Tensor) -> None:
    """Weights for inputs divided by ``before`` and outputs divided by ``after``; the bias sees only the output."""
    after = after.to(layer.weight.dtype)
    groups = getattr(layer, "groups", 1)
    rows = before.to(layer.weight.dtype).reshape(groups, -1).repeat_interleave(len(after) // groups, 0)
    gain = rows / after[:, None]
    layer.weight.mul_(gain.reshape(*gain.shape, *[1] * (layer.weight.dim() - 2)))
    if layer.bias is not None:
        layer.bias.div_(after)


class _Tracer(fx.Tracer):
    """Follows a forward into every module but those of the vocabulary and of torch."""

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(module, VOCABULARY) or super().is_leaf_module(module, module_qualified_name)


def _follow(model: nn.Module) -> LayerGraph:
    """Write down the calls of a network's forward."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    model = copy.deepcopy(model).eval()
    model = nn.Sequential(model) if isinstance(model, VOCABULARY) else model
    try:
        calls = _Tracer().trace(model)
    except Exception as error:  # whatever a forward raises when it is handed a placeholder
        raise ValueError(
            f"the forward of {type(model).__name__} cannot be followed ({error}): it must be a straight line of calls "
            "of layers, without decisions that depend on the data or its shape"
        ) from error
    for call in reversed(calls.nodes):
        if call.op not in ("placeholder", "output") and not call.users:
            calls.erase_node(call)
    layers: dict[str, nn.Module] = {}
    sources: dict[str, tuple[str, ...]] = {}
    names: dict[fx.Node, Any] = {}
    outputs: Any = None
    for call in calls.nodes:
        if call.op == "placeholder":
            if names:
                raise ValueError(f"the network must take one tensor, and takes {call.name} as well")
            names[call] = INPUT
        elif call.op == "output":
            outputs = _map(call.args[0], lambda node: _name(node, names))
        elif isinstance(call.target, type) and issubclass(call.target, tuple) and hasattr(call.target, "_fields"):
            arguments = _map((list(call.args), dict(call.kwargs)), lambda node: _name(node, names))
            names[call] = call.target(*arguments[0], **arguments[1])
        else:
            layer, inputs = _layer(call, dict(model.named_modules()))
            _check_layer(call.name, layer)
            name = call.name + "_" if hasattr(nn.ModuleDict, call.name) or call.name == INPUT else call.name
            names[call] = name
            layers[name] = copy.deepcopy(layer)
            if getattr(layer, "inplace", False):
                if len(call.args[0].users) > 1:
                    raise ValueError(
                        f"{call.name} ({type(layer).__name__}) overwrites what others read: set inplace=False"
                    )
                layers[name].inplace = False  # what it would overwrite may be the picture
            sources[name] = tuple(_name(node, names) for node in inputs)
    return LayerGraph(layers, sources, outputs).eval()


def _layer(call: fx.Node, modules: Mapping[str, nn.Module]) -> tuple[nn.Module, Sequence[Any]]:
    """The module that does what a call does, and its inputs."""
    if call.op == "call_module":
        return modules[str(call.target)], call.args
    if call.target in (operator.add, operator.iadd, torch.add) and not call.kwargs:
        return Add(), call.args
    if call.target in (torch.cat, torch.concat) and (call.args[1:] or tuple(call.kwargs.values())) == (1,):
        return Concat(), call.args[0]
    if call.target in (torch.flatten, "flatten") and (call.args[1:] or tuple(call.kwargs.values())) == (1,):
        return nn.Flatten(), call.args[:1]
    if call.target in (F.relu, torch.relu, "relu"):
        return nn.ReLU(), call.args[:1]
    if call.target is F.leaky_relu:
        slope = {**call.kwargs, **dict(zip(("input", "negative_slope"), call.args, strict=False))}
        return nn.LeakyReLU(slope.get("negative_slope", 0.01)), call.args[:1]
    what = call.target if isinstance(call.target, str) else getattr(call.target, "__name__", call.target)
    raise ValueError(f"{call.name} calls {what}, which cannot be converted; {_allowed()}")


def _check_layer(name: str, layer: nn.Module) -> None:
    problem = None
    if not isinstance(layer, VOCABULARY):
        problem = "cannot be converted"
    elif isinstance(layer, nn.Upsample) and layer.mode != "nearest":
        problem = f"has mode {layer.mode!r}; only 'nearest' hands on whole spikes"
    elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        problem = "must flatten from axis 1 to the last"
    elif isinstance(layer, nn.LeakyReLU) and not 0 <= layer.negative_slope <= 1:
        problem = f"has the slope {layer.negative_slope:g}; the signed neuron's lies in [0, 1]"
    elif isinstance(layer, nn.MaxPool2d) and layer.return_indices:
        problem = "must not return indices"
    if problem:
        raise ValueError(f"{name} ({type(layer).__name__}) {problem}; {_allowed()}")


def _allowed() -> str:
    names = ", ".join(sorted(module.__name__ for module in VOCABULARY))
    return f"a network may consist of {names}, +, and torch.cat(…, 1)"


def _name(node: Any, names: Mapping[fx.Node, Any]) -> Any:
    if not isinstance(node, fx.Node) or node not in names:
        raise ValueError(f"a network may only compute with the outputs of its layers, and uses {node!r}")
    return names[node]


def _map(structure: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of nested tuples, lists and dicts."""
    if isinstance(structure, dict):
        return {key: _map(value, function) for key, value in structure.items()}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(_map(value, function) for value in structure))
    if isinstance(structure, list | tuple):
        return type(structure)(_map(value, function) for value in structure)
    return function(structure)


def _leaves(structure: Any) -> list[str]:
    found: list[str] = []
    _map(structure, found.append)
    return found
