"""The exercise contract: what holds between a chapter's solution, its tests, its wrong answers and its lesson."""

import json
import re

from course_chapters import CAUGHT, COURSE, Chapter, committed_notebooks

from spikelab.grading.contract import TERM_SEEDS
from spikelab.grading.course import NOTEBOOK, is_test, read_meta, read_notebook, source_of, tasks_of
from spikelab.grading.demo import secret_lines
from spikelab.grading.lint import committed_problems, exercise_problems, lesson_problems, meta_problems


def listed(problems):
    return "\n" + "\n".join(problems)


def test_meta_is_complete_and_each_objective_has_a_task(chapter):
    problems = meta_problems(chapter.meta, chapter.name)
    assert not problems, listed(problems)


def test_instructor_guide_gives_the_minutes_and_points_of_meta(chapter):
    meta = chapter.meta
    guide = (COURSE.root / "book" / "instructor_guide.md").read_text(encoding="utf-8")
    row = f"| {chapter.name[:2]} {meta['title']} | {meta['minutes']['read']} min | {meta['minutes']['solve']} min | "
    assert f"{row}{meta['points']} |" in guide, f"the guide's schedule has no row {row}{meta['points']} | ..."


def test_cells_points_objectives_markers_and_hidden_tests_are_in_order(chapter):
    problems = exercise_problems(chapter.solution, chapter.meta, chapter.solutions)
    assert not problems, listed(problems)


def test_solution_earns_full_points_with_any_term_seed(chapter):
    rehearsal = chapter.rehearsal
    assert not rehearsal.broken, f"cells of the solution raise: {rehearsal.broken}"
    tests = {task.cell for task in tasks_of(chapter.solution) if not task.manual}
    for seed, outcomes in rehearsal.solution.items():
        assert set(outcomes) == tests
        failed = {cell: outcome.message for cell, outcome in outcomes.items() if not outcome.passed}
        assert not failed, f"with SPIKELAB_TERM_SEED={seed!r} the solution fails {failed}"


def test_test_cells_write_nothing_to_stderr(chapter):
    for outcomes in chapter.rehearsal.solution.values():
        loud = {cell: outcome.stderr for cell, outcome in outcomes.items() if outcome.stderr}
        assert not loud, f"nbgrader on its own gives 0 points for this: {loud}"


def test_untouched_student_notebook_earns_nothing(chapter):
    outcomes = chapter.rehearsal.student
    assert set(outcomes) == {task.cell for task in tasks_of(chapter.solution) if not task.manual}
    earning = [cell for cell, outcome in outcomes.items() if outcome.passed]
    assert not earning, f"these tests pass without any answer: {earning}"


def test_solution_stays_within_its_time(chapter):
    slowest = chapter.rehearsal.solution["0"]
    total = sum(outcome.seconds for outcome in slowest.values())
    budget = chapter.meta["budget_s"]["exercises"]
    assert total <= budget, f"the test cells take {total:.1f} s, meta.yml allows {budget} s"


def test_every_autograded_task_has_three_wrong_answers(chapter):
    tasks = {task.id for task in tasks_of(chapter.solution) if not task.manual}
    counts = {task: len(chapter.wrong.get(task, [])) for task in tasks}
    few = {task: count for task, count in counts.items() if count < 3}
    assert not few, f"fewer than three wrong answers: {few}"
    unknown = set(chapter.wrong) - tasks
    assert not unknown, f"wrong_answers.py names tasks that do not exist: {unknown}"


def test_wrong_answer_earns_less_than_full_and_gets_its_hint(wrong_answer, record_property):
    name, task, answer = wrong_answer
    record_property(CAUGHT, "missed")
    outcomes = Chapter(name).rehearsal.wrong.get(task, {}).get(answer.name)
    assert outcomes, f"there is no autograded task {task}"
    for seed, outcome in zip(TERM_SEEDS, outcomes, strict=True):
        where = f"{task}: with SPIKELAB_TERM_SEED={seed!r} the wrong answer {answer.name!r}"
        assert not outcome.passed, f"{where} earns full points"
        assert answer.hint in outcome.message, f"{where} should be told {answer.hint!r}, but reads: {outcome.message}"
    record_property(CAUGHT, "caught")


def test_committed_exercises_are_what_a_fresh_generation_gives(chapter):
    stale = []
    for name, content in chapter.fresh.items():
        path = chapter.released / name
        if not path.is_file() or path.read_bytes() != content:
            stale.append(name)
    assert not stale, f"out of date in chapters/{chapter.name}: {stale}; run `spikelab grade release {chapter.name}`"


def test_students_get_neither_hidden_tests_nor_solutions(chapter):
    text = chapter.fresh[NOTEBOOK].decode()
    assert "HIDDEN TESTS" not in text
    assert "SOLUTION" not in text
    released = json.loads(text)
    lines = {line.strip() for cell in released["cells"] for line in source_of(cell).splitlines()}
    leaked = secret_lines(chapter.solution) & lines
    assert not leaked, f"hidden lines in the student notebook: {leaked}"
    assert not set(chapter.fresh) & {"wrong_answers.py", "pictures.py", "meta.yml", "lesson.ipynb"}


def test_tests_of_the_student_notebook_are_locked(chapter):
    cells = [cell for cell in json.loads(chapter.fresh[NOTEBOOK])["cells"] if is_test(cell)]
    assert cells
    assert all(cell["metadata"]["editable"] is False and cell["metadata"]["deletable"] is False for cell in cells)


def test_committed_notebook_carries_no_output_and_readable_ids(notebook_path):
    problems = committed_problems(read_notebook(notebook_path))
    assert not problems, listed(problems)


def test_lesson_has_the_shape_of_a_lesson(lesson_path):
    problems = lesson_problems(read_notebook(lesson_path), read_meta(lesson_path.parent / "meta.yml"))
    assert not problems, listed(problems)


def test_course_keeps_its_chapters_together():
    """Each lesson has its exercises, each exercise its lesson, and every folder a number of its own."""
    lessons = {path.parent.name for path in committed_notebooks() if path.name == "lesson.ipynb"}
    assert lessons == set(COURSE.chapters())
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", name) for name in lessons), lessons
    assert len({name[:2] for name in lessons}) == len(lessons)
