"""Spikes that SpikingJelly fired for one drive, kept as numbers (see `benchmarks/_neuron_peers.py golden`).

Its reset by subtraction comes within the step, before the leak, ours one step later: with a leak the two differ,
without one they must not. Reset to zero is the same in both.
"""

import json
from pathlib import Path

import pytest
import torch

from spikelab.neurons import integrate_and_fire, lif

GOLDEN = json.loads((Path(__file__).parent / "golden" / "spikingjelly.json").read_text())
DRIVE = torch.tensor(GOLDEN["drive"]).T  # [T, 3]
RUNS = {
    "spikingjelly, no leak, subtract": lambda: integrate_and_fire(DRIVE),
    "spikingjelly, decay 0.5, to zero": lambda: lif(DRIVE, beta=0.5, reset="zero"),
}


@pytest.mark.parametrize("name", RUNS)
def test_spikes_are_those_of_spikingjelly(name):
    spikes = RUNS[name]().spikes
    assert spikes.int().T.tolist() == GOLDEN["spikes"][name]
    assert 3 < spikes.sum() < spikes.numel() / 2


def test_every_golden_run_is_compared():
    assert set(RUNS) == set(GOLDEN["spikes"])


def test_with_a_leak_the_order_of_leak_and_subtraction_shows():
    late = lif(DRIVE, beta=0.5).membrane
    at_once = torch.zeros(3)
    for t, current in enumerate(DRIVE):
        at_once = 0.5 * (at_once - (at_once > 1).float()) + current
        if t and not torch.equal(at_once, late[t]):
            return
    pytest.fail("the two orders never differ: the drive tests nothing")
