"""One library's leaky integrate-and-fire layer, timed in this process; called by ``benchmarks.neurons``.

Needs nothing but torch and that library, so that it also runs in the peers' own environment (``benchmarks/peers.sh``):

    python benchmarks/_neuron_peers.py '["linear T100 B16 N512", "forward", "sinabs", 5, 2]'
    python benchmarks/_neuron_peers.py golden
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import torch

BETA = 0.9
# name: (T, B, N, with a linear layer N -> N in front)
CASES = {
    "elementwise T32 B32 N16384": (32, 32, 16384, False),
    "elementwise T100 B16 N4096": (100, 16, 4096, False),
    "linear T100 B16 N512": (100, 16, 512, True),
    "linear T300 B8 N2000": (300, 8, 2000, True),
}
PASSES = ("forward", "forward+backward")


def spikelab(layer, batch, size):
    from spikelab.neurons import lif

    # The linear layer has no time, so all steps go through it at once, here and wherever a library takes them all.
    return lambda drive: lif(layer(drive), beta=BETA).spikes


def snntorch(layer, batch, size, indexed=False):
    import snntorch as snn

    neuron = snn.Leaky(beta=BETA)

    def run(drive):
        membrane, spikes, membranes = torch.zeros(batch, size), [], []
        for step in (drive[t] for t in range(len(drive))) if indexed else drive:
            spike, membrane = neuron(layer(step), membrane)
            spikes.append(spike)
            membranes.append(membrane)  # lif returns them too
        torch.stack(membranes)
        return torch.stack(spikes)

    return run


def snntorch_indexed(layer, batch, size):
    return snntorch(layer, batch, size, indexed=True)


def spikingjelly(layer, batch, size, reset=None, decay=BETA):
    from spikingjelly.activation_based import functional, neuron, surrogate

    options = {"v_threshold": 1.0, "v_reset": reset, "step_mode": "m", "store_v_seq": True}
    options["surrogate_function"] = surrogate.ATan(alpha=2.0)
    leaky = {"tau": 1 / (1 - decay), "decay_input": False} if decay < 1 else {}
    node = (neuron.LIFNode if leaky else neuron.IFNode)(**leaky, **options)

    def run(drive):
        functional.reset_net(node)
        return node(layer(drive))

    return run


def norse(layer, batch, size):
    from norse.torch import LIFBoxCell
    from norse.torch.functional.lif_box import LIFBoxParameters

    cell = LIFBoxCell(p=LIFBoxParameters(tau_mem_inv=torch.tensor(1000 * (1 - BETA))), dt=0.001)

    def run(drive):
        state, spikes, membranes = None, [], []
        for step in drive:
            spike, state = cell(layer(step), state)
            spikes.append(spike)
            membranes.append(state.v)
        torch.stack(membranes)
        return torch.stack(spikes)

    return run


def sinabs(layer, batch, size):
    from math import log

    from sinabs.activation import MembraneSubtract, SingleExponential, SingleSpike
    from sinabs.layers import LIF

    neuron = LIF(
        tau_mem=-1 / log(BETA),
        spike_fn=SingleSpike,
        reset_fn=MembraneSubtract(),
        surrogate_grad_fn=SingleExponential(),
        norm_input=False,
        record_states=True,
    )

    def run(drive):
        neuron.reset_states()
        return neuron(layer(drive).transpose(0, 1)).transpose(0, 1)  # it wants [B, T, ...]

    return run


PEERS = {
    "spikelab": spikelab,
    "snntorch indexed": snntorch_indexed,
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "norse": norse,
    "sinabs": sinabs,
}


def measure(case: str, which_pass: str, peer: str, repeats: int, threads: int) -> dict[str, float | str]:
    """Return the fastest time in ms, the peak memory above the inputs in MiB, and the versions."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    num_steps, batch, size, with_linear = CASES[case]
    drive = (1.0 if with_linear else 0.5) * torch.randn(num_steps, batch, size)
    layer = torch.nn.Linear(size, size) if with_linear else torch.nn.Identity()
    if not with_linear and which_pass != "forward":
        drive.requires_grad_()
    run = PEERS[peer](layer, batch, size)

    def once() -> None:
        drive.grad = None
        layer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(which_pass != "forward"):
            spikes = run(drive)
            if which_pass != "forward":
                spikes.sum().backward()

    before = _peak_mib()
    once()  # also the warm-up
    peak = _peak_mib() - before
    fastest = min(_seconds(once) for _ in range(repeats))
    return {"ms": 1000 * fastest, "mib": peak, "version": version(peer.split()[0]), "torch": torch.__version__}


def golden() -> dict:
    """Spike steps of the peers for one drive, to be kept as numbers in the tests."""
    numbers = torch.randn(40, 3, generator=torch.Generator().manual_seed(5)).mul(256).round() / 512 + 0.25
    drive = numbers.unsqueeze(1)  # [T, 1, 3]; exact in binary, so that libraries cannot differ by rounding
    runs = {
        "spikingjelly, no leak, subtract": spikingjelly(torch.nn.Identity(), 1, 3, None, 1),
        "spikingjelly, decay 0.5, to zero": spikingjelly(torch.nn.Identity(), 1, 3, 0.0, 0.5),
    }
    spikes = {name: run(drive).squeeze(1).int().T.tolist() for name, run in runs.items()}
    return {"spikingjelly": version("spikingjelly"), "drive": numbers.T.tolist(), "spikes": spikes}


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _peak_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    argument = sys.argv[1]
    print(json.dumps(golden() if argument == "golden" else measure(*json.loads(argument))))
