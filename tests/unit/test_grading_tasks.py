"""attempt, the term's numbers and wrong_answers.py."""

import pytest
import torch

from spikelab.grading.tasks import attempt, term_generator, term_numbers
from spikelab.grading.wrong_answers import Wrong, load_wrong_answers


def root(x):
    return x**0.5 if x >= 0 else [][0]


def unwritten(x):
    raise NotImplementedError


def test_attempt_returns_what_the_function_returned():
    assert attempt(root, 9.0, hint="never shown") == 3.0
    assert attempt(lambda a, *, b: a - b, 5, b=3) == 2


def test_attempt_names_the_exception_and_gives_the_hint():
    with pytest.raises(AssertionError, match=r"`root` raised IndexError: list index .*\. Is x negative\?") as caught:
        attempt(root, -1.0, hint="Is x negative?")
    assert caught.value.__suppress_context__  # no second traceback that quotes the test cell


def test_attempt_tells_unwritten_from_wrong():
    with pytest.raises(AssertionError, match="`unwritten` is not written yet"):
        attempt(unwritten, 1)


def test_attempt_asks_for_the_missing_return():
    with pytest.raises(AssertionError, match="returned None: is a return statement missing"):
        attempt(lambda: None)


def test_attempt_survives_a_learner_who_exits():
    with pytest.raises(AssertionError, match="SystemExit"):
        attempt(exit, 0)


def test_term_numbers_repeat_for_a_task_and_differ_between_tasks_ranges_and_terms(monkeypatch):
    monkeypatch.delenv("SPIKELAB_TERM_SEED", raising=False)
    first = term_numbers("leak", 4, 0.5, 0.9)
    assert first == term_numbers("leak", 4, 0.5, 0.9)
    assert all(0.5 <= value < 0.9 for value in first)
    assert first != term_numbers("reset", 4, 0.5, 0.9)
    other_range = [(value - 2) / 4 for value in term_numbers("leak", 4, 2.0, 6.0)]
    assert other_range != pytest.approx([(value - 0.5) / 0.4 for value in first])
    monkeypatch.setenv("SPIKELAB_TERM_SEED", "0")
    assert first == term_numbers("leak", 4, 0.5, 0.9)
    monkeypatch.setenv("SPIKELAB_TERM_SEED", "autumn, any text")
    assert first != term_numbers("leak", 4, 0.5, 0.9)


def test_term_generator_is_fresh_on_every_call(monkeypatch):
    monkeypatch.setenv("SPIKELAB_TERM_SEED", "7")
    torch.manual_seed(1)
    draws = [torch.rand(3, generator=term_generator("leak")) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(3, generator=term_generator("leak-2")))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: term_generator(""), "task_id must be"),
        (lambda: term_numbers("leak", 0, 0, 1), "n must be at least 1, got 0"),
        (lambda: term_numbers("leak", 2, 1, 1), "high must exceed low"),
    ],
)
def test_term_functions_refuse_nonsense(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_answers_are_loaded(tmp_path):
    path = tmp_path / "wrong_answers.py"
    path.write_text(
        "from spikelab.grading.wrong_answers import Wrong\n"
        'WRONG = {"leak": [Wrong("no leak", "def leak(u): return u", hint="decay")]}\n'
    )
    assert load_wrong_answers(path) == {"leak": [Wrong("no leak", "def leak(u): return u", "decay")]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OTHER = 1", "must define WRONG"),
        ('WRONG = {"leak": [("a", "b", "c")]}', "must list Wrong"),
        ('WRONG = {"leak": [W("a", "b", "")]}', "must list Wrong"),
        ('WRONG = {"leak": [W("a", "b", "c"), W("a", "d", "e")]}', "must differ"),
    ],
)
def test_malformed_wrong_answers_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong_answers.py"
    path.write_text("from spikelab.grading.wrong_answers import Wrong as W\n" + text)
    with pytest.raises(ValueError, match=message):
        load_wrong_answers(path)


def test_missing_wrong_answers_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wrong_answers\.py"):
        load_wrong_answers(tmp_path / "wrong_answers.py")
