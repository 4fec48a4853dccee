"""Feedback pages: no hidden test, neither as source nor quoted anywhere, and yet a reason for each failure."""

import nbformat
import pytest
from grading_fixtures import TEST_DOUBLE, code, graded, markdown, notebook

from spikelab.grading.feedback import REMOVED, StripHiddenTests, split_hidden
from spikelab.grading.repair import note

HIDDEN = 'assert secret_got == 2 * value, f"twice {value:.3f} is not {secret_got:.3f}: is it a square or a constant?"'
TRACEBACK = [
    "\x1b[0;31m---------------\x1b[0m",
    f"\x1b[0;32m      5\x1b[0m \x1b[0;34m{HIDDEN}\x1b[0m\n      6 ### END HIDDEN TESTS",
    "\x1b[0;31mAssertionError\x1b[0m: twice 1.5 is not 2.25: is it a square or a constant?",
]


def graded_notebook(*outputs, extra=()):
    content = notebook(
        markdown("title", "# Tiny"), code("test-double", TEST_DOUBLE, **graded("test-double", "test", 2))
    )
    nb = nbformat.from_dict(content)
    nb.cells[1].outputs = [nbformat.from_dict(output) for output in outputs]
    nb.cells.extend(nbformat.from_dict(cell) for cell in extra)
    return nb


def stripped(nb):
    return StripHiddenTests().preprocess(nb, {})[0]


def failing(value="twice 1.5 is not 2.25: is it a square or a constant?", name="AssertionError"):
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": TRACEBACK}


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_hidden_source_goes_and_visible_source_stays():
    kept, hidden = split_hidden(TEST_DOUBLE)
    assert kept.splitlines()[0] in TEST_DOUBLE
    assert "secret_got" not in kept
    assert len(hidden) == 3
    nb = stripped(graded_notebook())
    assert nb.cells[1].source == kept


def test_region_that_is_never_closed_is_hidden_to_the_end():
    assert split_hidden("a\n### BEGIN HIDDEN TESTS\nb\nc") == ("a", ["b", "c"])


def test_failed_hidden_test_tells_its_message_and_not_its_code():
    nb = stripped(graded_notebook(failing()))
    text = str(nb)
    assert "secret_got" not in text
    assert "HIDDEN TESTS" not in text
    assert nb.cells[1].outputs[0].traceback == ["AssertionError: twice 1.5 is not 2.25: is it a square or a constant?"]


def test_long_message_is_wrapped_to_the_page():
    nb = stripped(graded_notebook(failing(value="so " * 100)))
    lines = nb.cells[1].outputs[0].traceback[0].splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 96


def test_error_text_that_quotes_hidden_code_is_removed():
    nb = stripped(graded_notebook(failing(value=f"in line 5: {HIDDEN}", name="SyntaxError")))
    assert "secret_got" not in str(nb)
    assert nb.cells[1].outputs[0].traceback == [f"SyntaxError: {REMOVED}"]


def test_failed_test_without_message_says_so():
    nb = stripped(graded_notebook(failing(value="")))
    assert nb.cells[1].outputs[0].traceback == ["AssertionError in a test of this cell"]


@pytest.mark.parametrize(
    "output",
    [
        stream(f"my own line\n{HIDDEN}\n"),
        stream(repr(TEST_DOUBLE)),  # print(In)
        {
            "output_type": "execute_result",
            "data": {"text/plain": repr([TEST_DOUBLE])},
            "metadata": {},
            "execution_count": 3,
        },
        {"output_type": "display_data", "data": {"text/html": f"<pre>{HIDDEN}</pre>"}, "metadata": {}},
        {"output_type": "error", "ename": "ValueError", "evalue": HIDDEN, "traceback": [HIDDEN]},
    ],
)
def test_output_of_other_cells_that_quotes_a_hidden_test_is_removed(output):
    spy = code("spy", "print(In)")
    spy["outputs"] = [output]
    nb = stripped(graded_notebook(extra=[spy]))
    assert "secret_got" not in str(nb)
    assert REMOVED in str(nb)


def test_ordinary_output_and_tracebacks_of_the_student_stay():
    own = code("own", "1 / 0")
    own["outputs"] = [
        stream("U = 0.9\n"),
        {
            "output_type": "error",
            "ename": "ZeroDivisionError",
            "evalue": "division by zero",
            "traceback": ["\x1b[0;31m1 / 0"],
        },
    ]
    nb = stripped(graded_notebook(extra=[own]))
    assert nb.cells[2].outputs[0].text == "U = 0.9\n"
    assert nb.cells[2].outputs[1].traceback == ["\x1b[0;31m1 / 0"]


def test_line_that_students_were_given_is_no_secret():
    source = "value = 3\n" + TEST_DOUBLE.replace("secret_got = ", "value = 3\n    secret_got = ")
    echo = code("echo", "print('value = 3')")
    echo["outputs"] = [stream("value = 3\n")]
    nb = graded_notebook(extra=[echo])
    nb.cells[1].source = source
    assert stripped(nb).cells[2].outputs[0].text == "value = 3\n"


def test_anomalies_open_the_page_and_stderr_is_not_one_for_students():
    nb = graded_notebook()
    note(nb, "crash", "the kernel died in cell shift")
    note(nb, "stderr", "test-double wrote to stderr")
    opening = stripped(nb).cells[0].source
    assert "the kernel died in cell shift" in opening
    assert "stderr" not in opening
