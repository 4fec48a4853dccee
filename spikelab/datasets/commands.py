"""``spikelab data``: what data there is, where it is, and how to get, make and check it."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="List, fetch, make and check data sets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set, as `spikelab data list` calls it.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder that holds the data sets' folders; if not given, SPIKELAB_DATA or the cache."),
]


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what went wrong into one line on stderr and exit status 2."""
    try:
        yield
    except (ValueError, ImportError, OSError) as error:
        typer.echo(f"spikelab: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        typer.echo("spikelab: stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


@data.command("list")
def list_() -> None:
    """Name every data set, its content and terms, and say if it is here."""
    with _errors():
        from spikelab.datasets.fetch import missing
        from spikelab.datasets.manifest import DATA_SETS
        from spikelab.datasets.places import find_folder

        for entry in DATA_SETS.values():
            folder = find_folder(entry.name)
            verb = "make" if entry.make else "fetch"
            typer.echo(f"{entry.name}: {entry.title}")
            for line in (entry.about, f"terms: {entry.licence}; see {entry.homepage}"):
                typer.echo(_wrapped(line))
            lacks = [file.name for file in entry.files if missing(folder, file)] if folder else []
            typer.echo(f"  here: {folder}" if folder else f"  not here: spikelab data {verb} {entry.name}")
            if lacks:
                typer.echo(f"  without {', '.join(lacks)}: spikelab data fetch {entry.name}")


@data.command()
def where() -> None:
    """Say which folders data is looked for in, kept in and made in."""
    with _errors():
        from spikelab.datasets.places import cache_folder, data_root, profile

        typer.echo(f"data folder:  {data_root()}")
        typer.echo(f"cache folder: {cache_folder()}")
        typer.echo(f"profile:      {profile()}")


@data.command()
def fetch(name: Name, root: Root = None) -> None:
    """Download a data set, check its checksums and unpack it.

    An interrupted download goes on where it broke off, and what is here already is left as it is. A set that may not be
    downloaded by a program says what to do.

    Exit status: 0 done, 2 if it cannot be fetched, 130 after Ctrl-C.
    """
    with _errors():
        from spikelab.datasets.fetch import fetch as bring

        folder = bring(name, root=root, say=typer.echo)
        typer.echo(f"{name}: {folder}")


@data.command()
def make(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="nmnist-simulated, nmnist-synthetic, pets-synthetic or scenes-synthetic."),
    ],
    mnist: Annotated[Path | None, typer.Option(help="Folder of MNIST's idx files; `mnist` in the data folder.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; NAME in the cache folder if not given.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="train or test; repeat for more; both if not given.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the simulation or the drawings; another one makes another set.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images of each split.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate at the same time.")] = 2,
) -> None:
    """Make a data set that nobody recorded or photographed.

    nmnist-simulated is all of MNIST through the DVS simulator (1.4 GB, some minutes); an interrupted run goes on.
    The others are small stand-ins, which are also made when they are first needed: nmnist-synthetic, scikit-learn's
    digits through the same simulator; pets-synthetic, drawn pets and animals; scenes-synthetic, drawn scenes in the
    files of VOC and COCO. The options --mnist, --split, --limit and --workers are for nmnist-simulated.
    """
    with _errors():
        from spikelab.datasets.manifest import DATA_SETS
        from spikelab.datasets.simulated import make_simulated, make_synthetic
        from spikelab.validation import require_choice

        require_choice("data set to make", name, tuple(e.make for e in DATA_SETS.values() if e.make))
        began = time.perf_counter()
        if name == "nmnist-synthetic":
            folder = make_synthetic(out, seed=seed)
        elif name == "pets-synthetic":
            from spikelab.datasets.pets_synthetic import make_synthetic_pets

            folder = make_synthetic_pets(out, seed=seed)
        elif name == "scenes-synthetic":
            from spikelab.datasets.scenes_synthetic import make_synthetic_scenes

            folder = make_synthetic_scenes(out, seed=seed)
        else:
            splits = tuple(split or ("train", "test"))
            folder = make_simulated(
                mnist, out, splits=splits, seed=seed, limit=limit, workers=workers, report=_percentages()
            )
        typer.echo(f"{name}: {folder} ({time.perf_counter() - began:.0f} s)")


@data.command()
def check(name: Name, root: Root = None) -> None:
    """Read every file of a data set and name those that are damaged.

    Exit status: 0 if the set is whole, 1 if a file is missing or damaged, 2 if the set is not here.
    """
    with _errors():
        from spikelab.datasets.checks import check as examine

        report = examine(name, root)
        typer.echo(f"{name}: {report.folder}")
        for line in report.found:
            typer.echo(f"  {line}")
        for line in report.faults:
            typer.echo(f"  wrong: {line}", err=True)
        typer.echo("  whole" if not report.faults else "  NOT whole")
    raise typer.Exit(1 if report.faults else 0)


def _wrapped(text: str) -> str:
    """Return indented lines that fit the terminal; addresses are not broken."""
    width = min(max(shutil.get_terminal_size().columns, 40), 120)
    return textwrap.fill(
        text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _percentages() -> Callable[[int, int], None]:
    """Return a reporter: a bar on a terminal, elsewhere a line every five per cent."""
    import sys

    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(unit="recording")

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                bar.close()

        return show
    told = [-1]

    def tell(done: int, total: int) -> None:
        part = 20 * done // total
        if part > told[0]:
            told[0] = part
            typer.echo(f"{done:,} of {total:,} recordings", err=True)

    return tell
