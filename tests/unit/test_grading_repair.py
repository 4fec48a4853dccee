"""Submissions with copied, deleted, edited or strange cells are mended instead of stopping the batch."""

import copy
import json

import nbformat
import pytest
from grading_fixtures import CHAPTER, TEST_DOUBLE, cell_of, code, graded, write_course
from nbgrader.nbgraderformat import MetadataValidator

from spikelab.grading.course import CourseError, nbgrader_of, read_notebook
from spikelab.grading.release import register, release
from spikelab.grading.repair import OURS, RepairSubmission, notes_of


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    made = write_course(tmp_path_factory.mktemp("course"))
    release(made, CHAPTER)
    register(made, CHAPTER)
    return made


@pytest.fixture
def student(course):
    return copy.deepcopy(read_notebook(course.released / CHAPTER / "exercises.ipynb"))


@pytest.fixture
def repair(course):
    about = {
        "notebook": "exercises",
        "assignment": CHAPTER,
        "student": "someone",
        "db_url": course.config().CourseDirectory.db_url,
    }

    def mend(content):
        nb = nbformat.reads(json.dumps(content), as_version=4)
        mended = RepairSubmission().preprocess(nb, {"nbgrader": about})[0]
        MetadataValidator().validate_nb(mended)  # what nbgrader would stop at
        return mended

    return mend


def names(nb):
    return [about["grade_id"] for cell in nb.cells if (about := nbgrader_of(cell))]


def kinds(nb):
    return [note["kind"] for note in notes_of(nb)]


ALL = ["double", "test-double", "shift", "test-shift", "why"]


def test_untouched_notebook_needs_no_note_and_gets_its_hidden_tests_back(repair, student):
    nb = repair(student)
    assert notes_of(nb) == []
    assert names(nb) == ALL
    assert next(cell for cell in nb.cells if cell.id == "test-double").source == TEST_DOUBLE


@pytest.mark.parametrize("offset", [0, 1], ids=["copy above", "copy below"])
def test_copied_cell_loses_its_claim_and_the_released_one_keeps_it(repair, student, offset):
    cell = cell_of(student, "double")
    twin = {**copy.deepcopy(cell), "id": "pasted", "source": "def double(x): return 'the copy'"}
    student["cells"].insert(student["cells"].index(cell) + offset, twin)
    nb = repair(student)
    assert names(nb) == ALL
    assert kinds(nb) == ["copied cell"]
    pasted = next(cell for cell in nb.cells if cell.id == "pasted")
    assert not nbgrader_of(pasted)
    assert pasted.source == twin["source"]


def test_copy_without_the_released_id_leaves_one_graded_cell(repair, student):
    cell = cell_of(student, "test-double")
    cell["id"] = "renamed"
    student["cells"].append({**copy.deepcopy(cell), "id": "also-renamed"})
    assert sorted(names(repair(student))) == sorted(ALL)


def test_deleted_test_comes_back_marked_in_its_place(repair, student):
    student["cells"].remove(cell_of(student, "test-double"))
    nb = repair(student)
    assert names(nb) == ALL
    back = next(cell for cell in nb.cells if nbgrader_of(cell).get("grade_id") == "test-double")
    assert back.metadata[OURS] == {"deleted": True}
    assert notes_of(nb) == [{"kind": "deleted cell", "detail": "test-double is missing and counts 0"}]


def test_everything_deleted_is_graded_as_nothing(repair, student):
    student["cells"] = []
    nb = repair(student)
    assert names(nb) == ["test-double", "test-shift", "why"]
    assert set(kinds(nb)) == {"deleted cell"}


def test_edited_test_is_restored_and_noted(repair, student):
    cell_of(student, "test-double")["source"] = "assert True"
    nb = repair(student)
    assert kinds(nb) == ["tampered cell"]
    assert next(cell for cell in nb.cells if cell.id == "test-double").source == TEST_DOUBLE


@pytest.mark.parametrize(
    "change",
    [
        {"grade": False},
        {"solution": True},
        {"locked": False},
        {"points": 200},
        {"grade": False, "solution": True, "locked": False},
    ],
    ids=str,
)
def test_changed_metadata_is_restored_and_noted(repair, student, change):
    about = cell_of(student, "test-double")["metadata"]["nbgrader"]
    right = dict(about)
    about.update(change)
    nb = repair(student)
    assert kinds(nb) == ["tampered cell"]
    mended = next(cell for cell in nb.cells if cell.id == "test-double").metadata["nbgrader"]
    assert {key: mended[key] for key in ("grade", "solution", "locked", "points")} == {
        key: right[key] for key in ("grade", "solution", "locked", "points")
    }


def test_cell_turned_into_text_and_back(repair, student):
    cell = cell_of(student, "test-double")
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]
    answer = cell_of(student, "why")
    answer.update(cell_type="code", outputs=[], execution_count=None)
    nb = repair(student)
    assert [cell.cell_type for cell in nb.cells if nbgrader_of(cell)] == ["code", "code", "code", "code", "markdown"]
    assert kinds(nb) == ["tampered cell", "tampered cell"]


@pytest.mark.parametrize(
    "about", [{}, "text", {"grade_id": "from-elsewhere"}, {"grade_id": 7}, {"schema_version": 1}], ids=str
)
def test_strange_metadata_is_dropped(repair, student, about):
    student["cells"].append(code("strange", "1", nbgrader=about))
    nb = repair(student)
    assert names(nb) == ALL
    assert "nbgrader" not in nb.cells[-1].metadata


def test_notes_that_a_submission_brings_along_are_not_believed(repair, student):
    student["metadata"][OURS] = {"anomalies": [{"kind": "excused", "detail": "please"}]}
    cell_of(student, "test-double")["metadata"][OURS] = {"deleted": True}
    nb = repair(student)
    assert notes_of(nb) == []
    assert all(OURS not in cell.metadata for cell in nb.cells)


def test_skip_tag_on_a_test_is_removed(repair, student):
    cell_of(student, "test-double")["metadata"]["tags"] = ["skip-execution"]
    assert "tags" not in next(cell for cell in repair(student).cells if cell.id == "test-double").metadata


def test_chapter_that_is_not_in_the_gradebook_is_named(course, student):
    about = {"notebook": "exercises", "assignment": "91_other", "db_url": course.config().CourseDirectory.db_url}
    with pytest.raises(RuntimeError, match="not in the gradebook yet"):
        RepairSubmission().preprocess(nbformat.from_dict(student), {"nbgrader": about})


def test_solution_that_nbgrader_refuses_cannot_be_registered(tmp_path):
    broken = write_course(tmp_path, [code("a", "### BEGIN SOLUTION\n1", **graded("a", "solution"))])
    with pytest.raises(CourseError, match="cannot register"):
        register(broken, CHAPTER)
