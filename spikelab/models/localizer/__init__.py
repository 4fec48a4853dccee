"""Localizers: one box for the one animal of a picture."""

from __future__ import annotations

from spikelab.models.localizer.output import LocalizerOutput

__all__ = ["LocalizerOutput"]
