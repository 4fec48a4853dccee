"""The command line: ``spikelab check | grade | data | train | evaluate | detect | doctor``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from spikelab.datasets.commands import data
from spikelab.training.commands import evaluate, train
from spikelab.training.commands.options import WEIGHTS, Device, Threads

app = typer.Typer(
    help="Check your exercises, grade a class, get data, train and evaluate networks, find things in pictures, look at "
    "the installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
grade = typer.Typer(help="Release, autograde and return a chapter's exercises.", no_args_is_help=True)
app.add_typer(grade, name="grade")
app.add_typer(data, name="data")
app.add_typer(train, name="train")
app.command()(evaluate)

Root = Annotated[
    Path | None, typer.Option("--root", help="Folder of the course; found from here upwards if not given.")
]
Chapter = Annotated[str, typer.Argument(help="Chapter: its folder's name, its number, or a path to it.")]


def _console() -> Any:
    from rich.console import Console

    console = Console()
    # Piped into a file there is no terminal to fit: keep every column whole.
    return console if console.is_terminal else Console(width=max(console.width, 140))


def _fail(message: str) -> NoReturn:
    typer.echo(f"spikelab: {message}", err=True)
    raise typer.Exit(2)


def _printable(text: str) -> str:
    """Text that any terminal can show: a file's name may be no Unicode."""
    return text.encode(errors="backslashreplace").decode()


def _course(root: Path | None) -> Any:
    from spikelab.grading.course import CourseError, find_course

    try:
        return find_course(root)
    except CourseError as error:
        _fail(str(error))


@app.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A chapter's folder, such as chapters/01_integrate_and_fire, or a notebook."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds per cell.")] = 60,
) -> None:
    """Run a notebook's tests and say what passes, what fails and why.

    Exit status: 0 if every autograded task passes, 1 if one does not, 2 if the notebook is missing, corrupt or of
    another chapter.
    """
    try:
        from spikelab.grading import check as checking
        from spikelab.grading.course import CourseError
    except ImportError as error:
        _fail(f"checking needs nbgrader ({error}). Install it with: pip install 'spikelab[grading]'")
    console = _console()
    try:
        if console.is_terminal and not as_json:
            with console.status("running the notebook"):
                report = checking.check(path, timeout_s=timeout)
        else:
            report = checking.check(path, timeout_s=timeout)
    except CourseError as error:
        if as_json:
            typer.echo(json.dumps({"error": str(error)}, ensure_ascii=False))
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(checking.as_json(report), indent=1, ensure_ascii=False))
    else:
        checking.rich_report(report, console.print)
    raise typer.Exit(0 if report.passed else 1)


@app.command()
def doctor() -> None:
    """Print versions, cores, GPU and data sets, and what is wrong."""
    from spikelab.doctor import doctor as examine

    raise typer.Exit(examine())


@app.command()
def detect(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", readable=False, help="Pictures of any size and mode.")
    ],
    weights: Annotated[
        str,
        typer.Option(
            help=f"{WEIGHTS}. voc-... find all objects, of 20 classes; pets-... the one animal; animals-... find and "
            "name it. If not given, the longest trained of voc's, or pets' where there are none."
        ),
    ] = "",
    score: Annotated[
        float, typer.Option(help="How sure a box of voc-... must be, 0 to 1; the others always give their one.")
    ] = 0.3,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a PNG of each picture.")] = Path("detected"),
    as_json: Annotated[
        Path | None,
        typer.Option("--json", help=".json file for boxes and scores; detections.json in --out if not given."),
    ] = None,
    threads: Threads = 0,
    device: Device = "auto",
) -> None:
    """Find things in pictures with trained weights, and draw them.

    Boxes in the JSON file are in pixels of the picture. A bad file is told of, and the others go on.

    Exit status: 0 done, 1 if a picture could not be read, 2 if the weights cannot be used or nothing can be written,
    130 after Ctrl-C, which keeps what was found so far.
    """
    from spikelab.detecting import Detector, default_weights, detect_pictures, require_targets, write_records

    target = out / "detections.json" if as_json is None else as_json
    records: list[dict[str, Any]] = []
    stopped = False
    try:
        require_targets(out, target)
        if threads:
            import torch

            torch.set_num_threads(threads)
        detector = Detector(weights or default_weights(), device=device)
        try:
            for record in detect_pictures(images, detector, score=score, out=out):
                records.append(record)
                if "error" in record:
                    typer.echo(_printable(f"spikelab: {record['file']}: {record['error']}"), err=True)
                    continue
                names = [f"{o['class']} {o['score']:.2f}" if o["score"] else o["class"] for o in record["objects"]]
                told = ", ".join(names) or f"nothing as sure as {score:g} (--score asks for less)"
                typer.echo(_printable(f"{record['file']}: {told} -> {record['drawn']}"))
        except KeyboardInterrupt:
            stopped = True
            typer.echo(f"\nspikelab: stopped after {len(records)} of {len(images)} pictures", err=True)
        typer.echo(f"wrote {write_records(target, detector, records, score=score)}")
    except (ValueError, OSError) as error:
        _fail(str(error))
    raise typer.Exit(130 if stopped else 1 if any("error" in record for record in records) else 0)


@grade.command()
def release(
    chapters: Annotated[list[str] | None, typer.Argument(help="Chapters; all if none is given.")] = None,
    root: Root = None,
    dry_run: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is out of date.")] = False,
) -> None:
    """Write chapters' exercises.ipynb from solutions/.

    The same source gives the same bytes each time.
    """
    from spikelab.grading.course import CourseError
    from spikelab.grading.release import fresh_release
    from spikelab.grading.release import release as release_chapter

    course = _course(root)
    stale = 0
    try:
        for chapter in [course.chapter(name) for name in chapters] if chapters else course.chapters():
            if dry_run:
                old = [
                    course.released / chapter / name
                    for name, content in fresh_release(course, chapter).items()
                    if not (course.released / chapter / name).is_file()
                    or (course.released / chapter / name).read_bytes() != content
                ]
            else:
                old = release_chapter(course, chapter).changed
            stale += len(old)
            names = ", ".join(path.relative_to(course.root).as_posix() for path in old)
            state = ("out of date: " if dry_run else "wrote ") + names if old else "up to date"
            typer.echo(f"{chapter}: {state}")
    except CourseError as error:
        _fail(str(error))
    raise typer.Exit(1 if dry_run and stale else 0)


@grade.command()
def run(
    chapter: Chapter,
    root: Root = None,
    student: Annotated[list[str] | None, typer.Option(help="Only this student; repeat for more.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade again what is up to date.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Notebooks at the same time; half the cores if not given.")
    ] = None,
    cell_timeout: Annotated[int | None, typer.Option(min=1, help="Seconds per cell.")] = None,
    notebook_timeout: Annotated[int | None, typer.Option(min=1, help="Seconds per notebook.")] = None,
    memory_mb: Annotated[int | None, typer.Option(min=256, help="Address space of a kernel in MB.")] = None,
) -> None:
    """Grade what was handed in for a chapter.

    Notebooks are grading/submitted/STUDENT/CHAPTER/exercises.ipynb, points go to grading/gradebook.db.
    """
    from spikelab.grading.autograde import autograde, submitted
    from spikelab.grading.course import CourseError
    from spikelab.grading.reports import anomaly_lines, grade_table, progress_line, rich_table
    from spikelab.grading.sandbox import SandboxExecute

    course = _course(root)
    try:
        name = course.chapter(chapter)
        there = submitted(course, name)
        if not there:
            _fail(f"nothing handed in: put notebooks at {course.grading}/submitted/STUDENT/{name}/exercises.ipynb")
        given = {"cell_s": cell_timeout, "notebook_s": notebook_timeout, "memory_mb": memory_mb}
        limits = SandboxExecute(config=course.config()).limits()
        limits = limits._replace(**{key: value for key, value in given.items() if value is not None})
        total, done = len(student or there), []

        def report(graded: Any) -> None:
            done.append(graded)
            typer.echo(progress_line(graded, len(done), total))

        results = autograde(course, name, student or None, force=force, jobs=jobs, limits=limits, report=report)
        _console().print(rich_table(grade_table(course, name)))
    except CourseError as error:
        _fail(str(error))
    lines = anomaly_lines(results)
    if lines:
        typer.echo("To look at:")
        for line in lines:
            typer.echo(f"  {line}")


@grade.command()
def feedback(
    chapter: Chapter,
    root: Root = None,
    student: Annotated[list[str] | None, typer.Option(help="Only this student; repeat for more.")] = None,
) -> None:
    """Write a page for each student, without hidden tests.

    It is grading/feedback/STUDENT/CHAPTER/exercises.html. Exit status: 0 done, 1 if a page is missing.
    """
    from spikelab.grading.autograde import submitted
    from spikelab.grading.course import CourseError
    from spikelab.grading.feedback import write_feedback

    course = _course(root)
    try:
        name = course.chapter(chapter)
    except CourseError as error:
        _fail(str(error))
    pages, failures = write_feedback(course, name, list(student or submitted(course, name)))
    typer.echo(f"{len(pages)} pages under {course.grading / 'feedback'}")
    for who, reason in failures.items():
        typer.echo(f"  {who}: no feedback: {reason}", err=True)
    raise typer.Exit(1 if failures or not pages else 0)


@grade.command()
def export(
    chapter: Chapter,
    root: Root = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; the terminal if not given.")] = None,
) -> None:
    """Write a CSV with the points per exercise and the total."""
    from spikelab.grading.course import CourseError
    from spikelab.grading.reports import grade_table, to_csv

    course = _course(root)
    try:
        text = to_csv(grade_table(course, course.chapter(chapter)))
    except CourseError as error:
        _fail(str(error))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")


@grade.command()
def demo(
    chapter: Annotated[str | None, typer.Argument(help="Chapter; the first if not given.")] = None,
    root: Root = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the sample course in this new or empty folder.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at the same time.")] = 2,
) -> None:
    """Do all of this with a sample class.

    Release, submit, autograde, feedback and export. Exit status: 0 if every grade is as expected, 1 otherwise.
    """
    from spikelab.grading.course import CourseError
    from spikelab.grading.demo import run_demo
    from spikelab.grading.reports import anomaly_lines, rich_table

    course = _course(root)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            _fail(f"{keep} is not empty: give a new folder to --keep")
    with tempfile.TemporaryDirectory(prefix="spikelab-demo-", ignore_cleanup_errors=True) as folder:
        try:
            chapters = course.chapters()
            if chapter is None and not chapters:
                _fail(f"no chapter with exercises under {course.solutions}")
            name = course.chapter(chapter or chapters[0])
            place = (keep or Path(folder)).resolve()
            outcome = run_demo(course, name, place, jobs=jobs, say=typer.echo)
        except CourseError as error:
            _fail(str(error))
        _console().print(rich_table(outcome.grades))
        typer.echo("Noted:")
        for line in anomaly_lines(outcome.results):
            typer.echo(f"  {line}")
        typer.echo("\n" + outcome.csv)
        if keep is not None:
            typer.echo(f"kept: {place} (feedback pages under grading/feedback)")
    for line in outcome.wrong:
        typer.echo(f"not as expected: {line}", err=True)
    if not outcome.wrong:
        typer.echo(f"all {len(outcome.results)} grades as expected")
    raise typer.Exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    app()
