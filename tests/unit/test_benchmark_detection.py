"""The benchmark of training a detector: that its opponents are the same network, and what it makes of measurements."""

import json

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import detection
from benchmarks._detection_peers import PEERS, batch, network
from spikelab.detection import yolo_loss

SIDE, STEPS = 32, 3


@pytest.fixture
def app():
    import typer

    app = typer.Typer()
    app.command()(detection.main)
    return app


def gradients(peer, seen=None):
    images, objects = batch(SIDE, 2)
    see, module, layout = network(peer, SIDE, STEPS, images if seen else None)
    loss = yolo_loss(see(images), objects, layout).total
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("peer", PEERS[1:])
def test_each_opponent_is_the_same_network(peer):
    loss, wanted = gradients("spikelab", seen=True)
    same, found = gradients(peer, seen=True)
    assert same == pytest.approx(loss, rel=1e-6)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-5), name


def test_layer_by_layer_learns_the_same_and_the_loop_normalises_each_step():
    loss, wanted = gradients("spikelab")
    same, found = gradients("snntorch, layer by layer")
    assert same == pytest.approx(loss, rel=1e-6)
    assert all(torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-5) for name, gradient in wanted.items())
    other, _ = gradients("snntorch")
    assert other != pytest.approx(loss, rel=1e-6)


def test_ratios_are_of_the_fastest_round(app, monkeypatch, tmp_path):
    speeds = iter([10.0, 12, 30, 20, 8, 12, 40, 16])  # two rounds of the four

    def measured(what, peer, settings):
        if what == "memory":
            return {"mib": 100.0 if peer == "spikelab" else 250.0}
        return {"ms": next(speeds), "processor_ms": 9.0, "first_loss": 2.0, "loss_with_fixed_statistics": 1.0}

    monkeypatch.setattr(detection, "_in_own_process", measured)
    result = CliRunner().invoke(app, ["--json", str(tmp_path / "x.json")])
    assert result.exit_code == 0, result.output
    assert "snntorch takes 3.75 times spikelab's ms (goal: at least 2)" in result.output
    content = json.loads((tmp_path / "x.json").read_text())
    assert [row["peer"] for row in content["rows"]] == list(PEERS)
    assert [row["ms"] for row in content["rows"]] == [8, 12, 30, 16]
    assert content["rows"][2]["times_ours"] == {"ms": 3.75, "mib": 2.5, "processor_ms": 1}
    assert CliRunner().invoke(app, ["--side", "100"]).exit_code == 1


def test_another_network_is_no_opponent(app, monkeypatch):
    def measured(what, peer, settings):
        loss = 1.0 + (peer == PEERS[2])
        return {"mib": 1.0} if what == "memory" else {"ms": 1, "processor_ms": 1, "loss_with_fixed_statistics": loss}

    monkeypatch.setattr(detection, "_in_own_process", measured)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 1
    assert "snntorch computes another loss, 1 away" in str(result.exception) + result.output
