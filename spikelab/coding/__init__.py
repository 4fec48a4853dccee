"""Neural codes: from numbers to spikes (encoders) and back (decoders).

Time is the first axis of every spike train, ``[T, B, ...]``. Each code comes with the decoder that undoes
it:

========= ================== ==================== =============================================
code      encoder            decoder              what carries the number
========= ================== ==================== =============================================
rate      ``poisson``        ``rate_decode``      how many spikes
latency   ``latency``        ``latency_decode``   when the only spike comes
phase     ``phase``          ``phase_decode``     at which places of a cycle: binary digits
delta     ``delta``          ``delta_decode``     changes of the signal, up or down
direct    ``direct``         (none needed)        the first layer of the network is the coder
========= ================== ==================== =============================================

``spike_count``, ``first_spike``, ``last_membrane`` and ``current_mean`` read the output of a network.
Explained in chapter 03.
"""

from spikelab.coding.decoders import (
    current_mean,
    delta_decode,
    first_spike,
    last_membrane,
    latency_decode,
    phase_decode,
    rate_decode,
    spike_count,
)
from spikelab.coding.encoders import CODINGS, delta, direct, encode, latency, latency_steps, phase, poisson

__all__ = [
    "CODINGS",
    "current_mean",
    "delta",
    "delta_decode",
    "direct",
    "encode",
    "first_spike",
    "last_membrane",
    "latency",
    "latency_decode",
    "latency_steps",
    "phase",
    "phase_decode",
    "poisson",
    "rate_decode",
    "spike_count",
]
