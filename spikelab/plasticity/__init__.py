"""Learning rules made for spikes: STDP, ReSuMe, SpikeProp, SLAYER and SuperSpike (chapters 05 to 07)."""

from spikelab.plasticity.resume import resume, resume_step
from spikelab.plasticity.slayer import (
    SlayerConv,
    SlayerDense,
    SlayerNeuron,
    SlayerPool,
    correlate,
    count_targets,
    probability_density,
    slayer_layer,
    spike_count_loss,
)
from spikelab.plasticity.stdp import (
    STDPState,
    clip_weights,
    normalise_sum,
    spike_trace,
    stdp,
    stdp_pairs,
    stdp_step,
    stdp_window,
)

__all__ = [
    "STDPState",
    "SlayerConv",
    "SlayerDense",
    "SlayerNeuron",
    "SlayerPool",
    "clip_weights",
    "correlate",
    "count_targets",
    "normalise_sum",
    "probability_density",
    "resume",
    "resume_step",
    "slayer_layer",
    "spike_count_loss",
    "spike_trace",
    "stdp",
    "stdp_pairs",
    "stdp_step",
    "stdp_window",
]
