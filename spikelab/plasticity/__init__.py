"""Learning rules made for spikes: STDP, ReSuMe, SpikeProp, SLAYER and SuperSpike (chapters 05 to 07)."""

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

__all__ = [
    "SlayerConv",
    "SlayerDense",
    "SlayerNeuron",
    "SlayerPool",
    "correlate",
    "count_targets",
    "probability_density",
    "slayer_layer",
    "spike_count_loss",
]
