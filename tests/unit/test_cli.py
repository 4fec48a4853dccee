"""The command line: help for everything, and an error that says what to do where the course is not found."""

import re
import runpy
import sys
import types

import pytest
import typer
from typer.testing import CliRunner

from spikelab.cli import app


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("check", "data", "doctor", "evaluate", "grade", "train")),
        (("data",), ("list", "where", "fetch", "make", "check")),
        (("train", "nmnist"), ("--rule", "--resume", "--result", "torchrun")),
        (("check",), ("--json", "--timeout", "Exit status")),
        (("doctor",), ("versions",)),
        (("grade",), ("release", "run", "feedback", "export", "demo")),
        (("grade", "release"), ("--check", "--root")),
        (("grade", "run"), ("--force", "--jobs", "--student", "--memory-mb")),
        (("grade", "feedback"), ("--student",)),
        (("grade", "export"), ("--out",)),
        (("grade", "demo"), ("--keep",)),
    ],
)
def test_help_explains_each_command(command, words):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert all(word in result.output for word in words), result.output


def every_command(group=None, path=()):
    """Each command's words, and the command itself; groups are commands too."""
    group = group or typer.main.get_command(app)
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from every_command(command, (*path, name))


def test_every_option_is_explained_and_help_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for path, command in every_command():
        unexplained = [option.name for option in command.params if not getattr(option, "help", None)]
        assert unexplained == [], path
        shown = invoke(*path, "--help").output
        assert max(map(len, shown.splitlines())) <= 80, path
        if hasattr(command, "commands"):
            assert "...\n" not in shown.partition("Commands:")[2], (
                f"{path}: the first sentence of a command is too long for the list"
            )


def test_what_trains_calls_the_same_things_by_the_same_names():
    (train,) = [command for path, command in every_command() if path == ("train",)]
    options = {
        name: {option.opts[0]: option.help for option in command.params} for name, command in train.commands.items()
    }
    shared = set.intersection(*map(set, options.values()))
    own = {"--model", "--loss", "--data", "--steps", "--option", "--seed", "--batch", "--out"}  # each about its task
    assert {"--steps", "--lr", "--optimiser", "--beta", "--threads", "--init", "--device", "--resume"} <= shared
    for option in shared - own:
        starts = {helps[option].split(";")[0].rstrip(".") for helps in options.values()}
        assert len(starts) == 1, (option, starts)
    assert {helps["--steps"].split(" of ")[0].split(" (")[0] for helps in options.values()} == {"T, time steps"}
    others = [command for path, command in every_command() if path in (("detect",), ("evaluate",))]
    for command in others:
        for option in command.params:
            if option.opts[0] in ("--threads", "--device"):
                assert option.help == options["voc"][option.opts[0]]


def test_weights_that_help_names_come_with_spikelab():
    from spikelab.models import pretrained

    for command in ("detect", "evaluate"):
        shown = " ".join(invoke(command, "--help").output.split())
        assert re.search(r"such as ([\w-]+)\.", shown)[1] in pretrained.shipped()


def test_the_package_runs_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spikelab", "grade", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("spikelab", run_name="__main__")
    assert (ended.value.code, "feedback" in capsys.readouterr().out) == (0, True)


def test_doctor_returns_its_status(monkeypatch):
    fake = types.ModuleType("spikelab.doctor")
    fake.doctor = lambda: 3
    monkeypatch.setitem(sys.modules, "spikelab.doctor", fake)
    assert invoke("doctor").exit_code == 3


@pytest.mark.parametrize("command", ["release", "run 01", "feedback 01", "export 01", "demo"])
def test_outside_a_course_the_commands_say_where_to_run(command, tmp_path):
    result = invoke("grade", *command.split(), "--root", str(tmp_path))
    assert result.exit_code == 2
    assert "run this in a clone of the course" in result.output


def test_demo_keeps_only_in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "nbgrader_config.py").write_text("")
    assert "no chapter with exercises" in invoke("grade", "demo", "--root", str(tmp_path)).output
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("x")
    result = invoke("grade", "demo", "--root", str(tmp_path), "--keep", str(tmp_path / "kept"))
    assert result.exit_code == 2
    assert "is not empty" in result.output


def test_unknown_chapter_is_named(tmp_path):
    (tmp_path / "nbgrader_config.py").write_text("")
    for command in ("run", "feedback", "export", "demo"):
        result = invoke("grade", command, "42", "--root", str(tmp_path))
        assert result.exit_code == 2, command
        assert "42" in result.output or "no chapter" in result.output


def test_import_of_the_command_line_loads_neither_torch_nor_nbgrader():
    import subprocess

    code = "import sys, spikelab.cli; print(sorted({'torch', 'nbgrader'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
