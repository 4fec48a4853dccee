"""What lets a fixed random readout reach the corner of a box? Answers of a trained DECOLLE localizer, taken apart.

    spikelab train pets --model decolle --target head --size 44x60 --channels 8,16,32,16,8,4 --steps 24 --step-ms 5 \
        --max-rate-hz 200 --option amplitude=0.5 --option burn_in=8 --epochs 3 --out runs/half
    python -m benchmarks.readout_reach runs/half [runs/two ...] [--json FILE]

Each layer's readout sees the map σ(U). Its answer is that to the even map, where every place of a channel holds the
channel's mean, and the rest, which is there because places differ. Whatever the size of the map, the even part is at
most about a·√(C/6π); the rest is not bound by it.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from spikelab.datasets import Pets, load_pictures
from spikelab.files import write_atomically
from spikelab.models.localizer import DecolleLocalizer
from spikelab.models.pretrained import load
from spikelab.training.frames import CodedFrames
from spikelab.training.results import hardware, versions

PICTURES = 100
RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "09_readout_reach.json"


@torch.no_grad()
def apart(folder: Path) -> dict[str, Any]:
    """Return what each layer of a run answers at the last step, and what of it an even map would answer."""
    model, about = load(folder / "weights.safetensors")
    if not isinstance(model, DecolleLocalizer):
        raise typer.BadParameter(f"{folder} holds no network of DECOLLE")
    made = about["configuration"]
    options = made["task_options"]
    test = Pets(options["target"], "test", kind=made["data"], scheme=options["scheme"])
    pictures, truth = load_pictures(test, tuple(options["size"]), colour=options["colour"], progress=False)
    coded = CodedFrames(
        pictures[:PICTURES].float() / 255,
        options["coding"],
        made["num_steps"],
        max_rate_hz=options["max_rate_hz"],
        step_ms=options["step_ms"],
        seeds=list(range(PICTURES)),
    )
    state = model.rest(PICTURES)
    for frame in coded:
        out = model.advance(frame, state)
        state = out.state
    layers = []
    for readout, membrane in zip(model.readouts, out.membranes, strict=True):
        seen = torch.sigmoid(membrane)
        even = seen.mean((2, 3), keepdim=True).expand_as(seen).contiguous()
        answer = readout(seen)
        layers.append(
            {
                "channels": seen.shape[1],
                "answer": _few(answer.mean(0)),
                "even": _few(readout(even).mean(0)),
                "spread_over_pictures": _few(answer.std(0)),
            }
        )
    return {
        "amplitude": made["model_options"].get("amplitude", 0.5),
        "layers": layers,
        "mean_box": _few(truth[:PICTURES].mean(0)),
        "configuration": made,
        "data": {"label": test.label, "hash": test.hash, "pictures": PICTURES},
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def _few(values: torch.Tensor) -> list[float]:
    return [round(value, 3) for value in values.tolist()]


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `spikelab train pets --model decolle`.")],
    json_file: Annotated[Path, typer.Option("--json", help="Result file.")] = RESULT,
) -> None:
    """Take the answers of readouts apart."""
    runs = [apart(folder) for folder in folders]
    content = {"schema_version": 1, "kind": "readout_reach", "runs": runs}
    write_atomically(json_file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    for run in runs:
        edges = ", ".join(f"{layer['answer'][2]:.2f} ({layer['even'][2]:.2f})" for layer in run["layers"])
        typer.echo(f"a = {run['amplitude']}: right edge {edges}; true {run['mean_box'][2]:.2f}")
    typer.echo(f"written to {json_file}")


if __name__ == "__main__":
    typer.run(main)
