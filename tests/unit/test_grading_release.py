"""Release: the same bytes each time, nothing hidden, nothing of the authors' touched."""

import json

import pytest
from grading_fixtures import CHAPTER, cell_of, solution_cells, write_course
from typer.testing import CliRunner

from spikelab.cli import app
from spikelab.grading.course import Course, CourseError, find_course, read_notebook
from spikelab.grading.release import fresh_release, release


@pytest.fixture
def course(tmp_path):
    return write_course(tmp_path)


def test_release_repeats_byte_for_byte_and_leaves_the_lesson_alone(course):
    chapter = course.released / CHAPTER
    kept = {name: (chapter / name).read_bytes() for name in ("lesson.ipynb", "meta.yml")}
    first = release(course, CHAPTER)
    content = (chapter / "exercises.ipynb").read_bytes()
    assert sorted(path.name for path in first.changed) == ["exercises.ipynb", "goal.png"]
    assert release(course, CHAPTER).changed == []
    assert (chapter / "exercises.ipynb").read_bytes() == content
    assert {name: (chapter / name).read_bytes() for name in kept} == kept
    assert sorted(path.name for path in chapter.iterdir()) == ["exercises.ipynb", "images", "lesson.ipynb", "meta.yml"]
    assert not (course.grading / "gradebook.db").exists()


def test_released_notebook_has_stubs_and_neither_solutions_nor_hidden_tests(course):
    release(course, CHAPTER)
    student = read_notebook(course.released / CHAPTER / "exercises.ipynb")
    text = json.dumps(student)
    for secret in ("SOLUTION", "HIDDEN", "2 * x", "secret_got", "Because sums"):
        assert secret not in text
    assert "raise NotImplementedError()" in "".join(cell_of(student, "double")["source"])
    assert "".join(cell_of(student, "why")["source"]) == "YOUR ANSWER HERE"
    assert all(not cell.get("outputs") for cell in student["cells"])


def test_ids_and_metadata_that_editors_change_do_not_change_the_release(course, tmp_path_factory):
    cells = solution_cells()
    cells[3]["id"] = "deadbeef"
    cells[4]["metadata"]["collapsed"] = True
    cells[4]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "seen"}]
    cells[4]["execution_count"] = 7
    edited = write_course(tmp_path_factory.mktemp("edited"), cells)
    path = edited.solutions / CHAPTER / "exercises.ipynb"
    content = json.loads(path.read_text())
    content["metadata"]["language_info"] = {"name": "python", "version": "3.11.4"}
    content["metadata"]["kernelspec"]["display_name"] = "my environment"
    path.write_text(json.dumps(content))
    assert fresh_release(edited, CHAPTER)["exercises.ipynb"] == fresh_release(course, CHAPTER)["exercises.ipynb"]


def test_release_that_fails_keeps_what_was_there(course, tmp_path_factory):
    release(course, CHAPTER)
    path = course.released / CHAPTER / "exercises.ipynb"
    before = path.read_bytes()
    source = course.solutions / CHAPTER / "exercises.ipynb"
    source.write_text(source.read_text().replace("### END SOLUTION", "### the end"))
    with pytest.raises(CourseError, match=f"cannot release {CHAPTER}: .*no end solution"):
        release(course, CHAPTER)
    assert path.read_bytes() == before


def test_cell_without_id_is_refused(tmp_path):
    cells = solution_cells()
    del cells[0]["id"]
    with pytest.raises(CourseError, match="needs an id"):
        release(write_course(tmp_path, cells), CHAPTER)


def test_command_reports_writes_and_detects_drift(course):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["grade", "release", "--root", str(course.root), *arguments])

    assert invoke("--check").exit_code == 1
    written = invoke()
    assert written.exit_code == 0
    assert f"{CHAPTER}: wrote chapters/{CHAPTER}/exercises.ipynb" in written.output
    assert f"{CHAPTER}: up to date" in invoke("90", "--check").output
    drifted = course.released / CHAPTER / "exercises.ipynb"
    drifted.write_bytes(drifted.read_bytes() + b" ")
    drift = invoke("--check")
    assert drift.exit_code == 1
    assert "out of date" in drift.output
    unknown = invoke("17_nowhere")
    assert unknown.exit_code == 2
    assert f"chapters: {CHAPTER}" in unknown.output


def test_chapter_is_found_by_name_number_and_path(course):
    assert course.chapter("90") == course.chapter(f"chapters/{CHAPTER}/") == CHAPTER
    assert find_course(course.released / CHAPTER) == course
    with pytest.raises(CourseError, match=r"no nbgrader_config\.py"):
        find_course("/")


def test_course_without_chapters_has_none(tmp_path):
    assert Course(tmp_path).chapters() == []
    with pytest.raises(CourseError, match="chapters: none"):
        Course(tmp_path).chapter("01")


def test_graded_cell_keeps_its_points_as_number(course):
    release(course, CHAPTER)
    test = cell_of(read_notebook(course.released / CHAPTER / "exercises.ipynb"), "test-double")
    assert test["metadata"]["nbgrader"]["points"] == 2
