"""``spikelab train ...`` and ``spikelab evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikelab.training.commands.animals import train_animals
from spikelab.training.commands.nmnist import train_nmnist
from spikelab.training.commands.options import WEIGHTS, Device, Quiet, Threads
from spikelab.training.commands.pets import train_pets
from spikelab.training.commands.running import fail, progress_of, require, summary
from spikelab.training.commands.voc import train_voc

train = typer.Typer(help="Train a network of the course.", no_args_is_help=True)
train.command("nmnist")(train_nmnist)
train.command("pets")(train_pets)
train.command("voc")(train_voc)
train.command("animals")(train_animals)


def evaluate(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help=f"{WEIGHTS}.")],
    data: Annotated[
        str,
        typer.Option(
            help="real, simulated (MNIST through a simulated sensor), synthetic (stand-in), coco-shift (see above), or "
            "auto: real if it is there."
        ),
    ] = "auto",
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    batch: Annotated[int, typer.Option(min=0, help="Samples of a step; 0: as in training.")] = 0,
    threads: Threads = 0,
    device: Device = "auto",
    result: Annotated[Path | None, typer.Option(help="Write the result to this .json file.")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for contact_sheet.png, pictures with the answers drawn; not of nmnist."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Evaluate trained weights on a split of their task's data.

    Networks that name and find VOC's six animals can also be tested on COCO's pictures of them: --data coco-shift.

    Exit status: 0 done, 2 if weights or data are missing or wrong.
    """
    require(result is None or result.suffix == ".json", f"--result must end in .json, got {result}")
    require(split in ("test", "validation", "train"), f"--split must be test, validation or train, got {split!r}")
    from spikelab.training import results
    from spikelab.training.progress import Progress

    try:
        from spikelab.training.weights import evaluate_weights

        found = evaluate_weights(
            weights,
            kind=data,
            split=split,
            batch=batch,
            threads=threads,
            device=device,
            pictures=pictures,
            progress=progress_of(Progress, quiet),
        )
        summary(found)
        if "doubt" in (found["trained_on"] or {}):
            typer.echo(f"spikelab: {found['trained_on']['doubt']}", err=True)
        if result is not None:
            typer.echo(f"wrote {results.write(result, found)}")
    except (ValueError, OSError) as error:
        fail(str(error))
