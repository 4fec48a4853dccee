"""Spiking neurons, from the passive membrane to Hodgkin and Huxley (chapters 01 and 02)."""

from spikelab.neurons.integrate_and_fire import (
    LIF,
    LIFOutput,
    LIFState,
    decay_from_tau,
    integrate_and_fire,
    lif,
    lif_reference,
    lif_step,
    passive_membrane,
)

__all__ = [
    "LIF",
    "LIFOutput",
    "LIFState",
    "decay_from_tau",
    "integrate_and_fire",
    "lif",
    "lif_reference",
    "lif_step",
    "passive_membrane",
]
