"""The script behind `make test` cannot be green by accident."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "stages.py"
SPEC = importlib.util.spec_from_file_location("spikelab_stages", PATH)
stages = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = stages  # dataclasses look their module up by name
SPEC.loader.exec_module(stages)

Stage, Step = stages.Stage, stages.Step


def pytest_stage(name: str, file: str, *options: str, cap_s: float = 60) -> Stage:
    quiet = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval", "-p", "no:cov")
    command = (sys.executable, "-m", "pytest", *quiet, file, *options)
    return Stage(name, "test", cap_s, (Step(command, reports=True),))


def command_stage(name: str, *code: str, cap_s: float = 60) -> Stage:
    return Stage(name, "test", cap_s, tuple(Step((sys.executable, "-c", line)) for line in code))


def run(capfd, tmp_path, *planned, arguments=()) -> tuple[int, list[str]]:
    status = stages.main(list(arguments), planned, root=tmp_path)
    return status, capfd.readouterr().out.splitlines()


@pytest.fixture
def good(tmp_path):
    (tmp_path / "test_good.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    return pytest_stage("good", "test_good.py")


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "test_bad.py").write_text("def test_c(): pass\ndef test_d(): assert 1 == 2\n")
    return pytest_stage("bad", "test_bad.py")


def test_all_green_ends_in_the_counts_and_status_zero(capfd, tmp_path, good):
    status, lines = run(capfd, tmp_path, good, command_stage("lint", "pass"))
    assert (status, lines[-1]) == (0, "3 passed, 0 failed")


def test_a_planted_failure_is_red_and_hides_no_later_stage(capfd, tmp_path, good, bad):
    status, lines = run(capfd, tmp_path, bad, good)
    assert (status, lines[-1]) == (1, "3 passed, 1 failed")
    assert [line.split()[0] for line in lines if re.match(r"(bad|good) +[\d.]+ +\d+ +\d+$", line)] == ["bad", "good"]


def test_a_failed_command_hides_no_later_command_of_its_stage(capfd, tmp_path):
    status, lines = run(capfd, tmp_path, command_stage("lint", "raise SystemExit(3)", "print('second ran')"))
    assert "second ran" in lines
    assert (status, lines[-1]) == (1, "1 passed, 1 failed")


@pytest.mark.parametrize(
    "content", ["", "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"], ids=["none", "all skipped"]
)
def test_a_stage_without_tests_is_red(capfd, tmp_path, content):
    (tmp_path / "test_empty.py").write_text(content)
    status, lines = run(capfd, tmp_path, pytest_stage("empty", "test_empty.py"))
    assert (status, lines[-1]) == (1, "0 passed, 1 failed")
    assert any(line.startswith("empty: ran no test") for line in lines)


def test_a_stage_whose_files_are_missing_is_red(capfd, tmp_path):
    status, lines = run(capfd, tmp_path, pytest_stage("gone", "test_gone.py"))
    assert (status, lines[-1]) == (1, "0 passed, 1 failed")


def test_a_file_that_cannot_be_collected_is_red(capfd, tmp_path):
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    status, lines = run(capfd, tmp_path, pytest_stage("broken", "test_broken.py"))
    assert (status, lines[-1]) == (1, "0 passed, 1 failed")


def test_a_bad_exit_status_counts_even_when_every_test_passed(capfd, tmp_path, good):
    (tmp_path / "conftest.py").write_text("def pytest_sessionfinish(session): session.exitstatus = 1\n")
    status, lines = run(capfd, tmp_path, good)
    assert (status, lines[-1]) == (1, "2 passed, 1 failed")


def test_a_program_that_does_not_exist_is_red(capfd, tmp_path, good):
    status, lines = run(capfd, tmp_path, Stage("lint", "test", 60, (Step(("no-such-program",)),)), good)
    assert (status, lines[-1]) == (1, "2 passed, 1 failed")


@pytest.mark.slow
def test_a_stage_over_its_cap_is_killed_with_its_children(capfd, tmp_path, good):
    child = "import time; time.sleep(4); open('survived', 'w').close()"
    endless = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    start = time.monotonic()
    status, lines = run(capfd, tmp_path, command_stage("endless", endless, "print('not reached')", cap_s=1), good)
    assert time.monotonic() - start < 30
    assert (status, lines[-1]) == (1, "2 passed, 2 failed")
    assert any("killed at its cap of 1 s" in line for line in lines)
    time.sleep(max(0.0, 5.5 - (time.monotonic() - start)))
    assert not (tmp_path / "survived").exists()


def test_only_runs_what_it_names_and_refuses_what_it_does_not_know(capfd, tmp_path, good, bad):
    status, lines = run(capfd, tmp_path, bad, good, arguments=["--only", "good"])
    assert (status, lines[-1]) == (0, "2 passed, 0 failed")
    with pytest.raises(SystemExit) as ended:
        stages.main(["--only", "nonsense"], [good], root=tmp_path)
    assert ended.value.code == 2
    assert "nonsense" in capfd.readouterr().err


def test_nothing_to_run_is_not_green(capfd, tmp_path):
    assert run(capfd, tmp_path)[0] == 1


def test_the_stages_are_those_of_the_design_in_its_order_with_its_caps():
    caps = {stage.name: stage.cap_s for stage in stages.all_stages()}
    assert list(caps) == ["lint", "unit", "contract", "notebooks", "book", "browser", "grading"]
    assert caps["unit"] <= 300
    assert caps["contract"] <= 480
    assert caps["notebooks"] <= 900
    assert caps["book"] <= 600
    assert caps["browser"] <= 240
    assert caps["grading"] <= 180
    assert [stage.name for stage in stages.quick_stages()] == ["lint", "unit", "contract"]


def test_notebooks_are_found_and_a_missing_kind_is_not_passed_over(tmp_path):
    lesson = tmp_path / "chapters" / "01_a" / "lesson.ipynb"
    lesson.parent.mkdir(parents=True)
    lesson.touch()
    assert stages.notebooks(tmp_path) == [
        "chapters/01_a/lesson.ipynb",
        "chapters/*/project.ipynb",
        "solutions/*/exercises.ipynb",
    ]


def test_list_names_every_stage(capfd):
    assert stages.main(["--list"]) == 0
    names = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert names == [stage.name for stage in stages.all_stages()]
