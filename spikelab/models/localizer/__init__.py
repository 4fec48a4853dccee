"""Localizers: one box for the one animal of a picture."""

from __future__ import annotations

from spikelab.models.localizer.decolle import VARIANTS, DecolleLocalizer, SurrogateLocalizer
from spikelab.models.localizer.output import LocalizerOutput
from spikelab.models.localizer.spiking import SpikingLocalizer

__all__ = ["VARIANTS", "DecolleLocalizer", "LocalizerOutput", "SpikingLocalizer", "SurrogateLocalizer"]
