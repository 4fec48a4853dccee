"""Event vision: recordings of a dynamic vision sensor, read, written, framed, changed and simulated.

Explained in chapter 04.
"""

from spikelab.events.aer import decode_aer, encode_aer
from spikelab.events.array import EVENT, check_events, make_events
from spikelab.events.dvs import DVS, NMNIST_DVS, Path, saccades, simulate_dvs
from spikelab.events.records import read_events, write_events
from spikelab.events.representations import frames, frames_by_count

__all__ = [
    "DVS",
    "EVENT",
    "NMNIST_DVS",
    "Path",
    "check_events",
    "decode_aer",
    "encode_aer",
    "frames",
    "frames_by_count",
    "make_events",
    "read_events",
    "saccades",
    "simulate_dvs",
    "write_events",
]
