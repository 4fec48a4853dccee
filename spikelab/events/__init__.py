"""Event vision: recordings of a dynamic vision sensor, read, written, framed, changed and simulated.

Explained in chapter 04.
"""

from spikelab.events.aer import decode_aer, encode_aer
from spikelab.events.array import EVENT, check_events, make_events
from spikelab.events.dvs import DVS, NMNIST_DVS, CameraPath, saccades, simulate_dvs
from spikelab.events.layers import EventLinear, SparseFrames, event_currents, sparse_frames, sparsify
from spikelab.events.records import read_events, write_events
from spikelab.events.representations import frames, frames_by_count
from spikelab.events.transforms import (
    crop,
    drop_events,
    flip_polarity,
    flip_x,
    flip_y,
    jitter_space,
    jitter_time,
    scale_time,
    shift,
    shuffle_time,
    slice_time,
)

__all__ = [
    "DVS",
    "EVENT",
    "NMNIST_DVS",
    "CameraPath",
    "EventLinear",
    "SparseFrames",
    "check_events",
    "crop",
    "decode_aer",
    "drop_events",
    "encode_aer",
    "event_currents",
    "flip_polarity",
    "flip_x",
    "flip_y",
    "frames",
    "frames_by_count",
    "jitter_space",
    "jitter_time",
    "make_events",
    "read_events",
    "saccades",
    "scale_time",
    "shift",
    "shuffle_time",
    "simulate_dvs",
    "slice_time",
    "sparse_frames",
    "sparsify",
    "write_events",
]
