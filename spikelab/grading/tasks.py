"""What the test cells of the exercise notebooks import: guarded calls and numbers that change from term to term."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import torch

from spikelab.validation import require_count

TERM_SEED_VARIABLE = "SPIKELAB_TERM_SEED"


def attempt(function: Callable[..., Any], /, *args: Any, hint: str = "", **kwargs: Any) -> Any:
    """Call a learner's function and turn whatever goes wrong inside it into a hint.

    Args:
        function: the function under test.
        *args: its positional arguments.
        hint: sentence for the learner, shown after what happened.
        **kwargs: its keyword arguments (a parameter named ``hint`` cannot be passed by keyword).
    Returns:
        What the function returned, unless that is ``None``.
    Raises:
        AssertionError: if the function raised anything (named in the message), was not written yet or returned
            nothing. The learner's own traceback is dropped: a test cell that quotes it would quote itself too.

    Explained in the instructor guide.
    """
    name = f"`{getattr(function, '__name__', None) or type(function).__name__}`"
    try:
        result = function(*args, **kwargs)
    except NotImplementedError as error:
        detail = f": {error}" if str(error) else ""
        raise AssertionError(_told(f"{name} is not written yet (NotImplementedError{detail})", hint)) from None
    except (Exception, SystemExit) as error:
        detail = f": {error}" if str(error) else ""
        raise AssertionError(_told(f"{name} raised {type(error).__name__}{detail}", hint)) from None
    if result is None:
        raise AssertionError(_told(f"{name} returned None: is a return statement missing?", hint))
    return result


def term_generator(task_id: str) -> torch.Generator:
    """Return a generator whose numbers depend on the task and on this term's secret.

    Args:
        task_id: id of the task, for example ``"lif-sequence"``; add a suffix for a second independent stream.
    Returns:
        A fresh CPU generator, seeded from the environment variable ``SPIKELAB_TERM_SEED`` (any text; "0" when it is not
        set) and ``task_id``. Two calls with the same id give the same numbers.
    Raises:
        ValueError: if ``task_id`` is empty or no text.

    Explained in the instructor guide.
    """
    if not isinstance(task_id, str) or not task_id:
        raise ValueError(f"task_id must be the id of a task such as 'lif-sequence', got {task_id!r}")
    secret = os.environ.get(TERM_SEED_VARIABLE, "").strip() or "0"
    digest = hashlib.sha256(f"{secret}\n{task_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def term_numbers(task_id: str, n: int, low: float, high: float) -> list[float]:
    """Return ``n`` numbers drawn evenly from [low, high), this term's for this task.

    Args:
        task_id: id of the task.
        n: how many numbers, at least 1.
        low: lower end.
        high: upper end, above ``low``.
    Returns:
        A list of ``n`` floats; another range gives independent numbers.
    Raises:
        ValueError: if ``n`` is no count or ``high`` does not exceed ``low``.

    Explained in the instructor guide.
    """
    require_count("n", n)
    if not low < high:
        raise ValueError(f"high must exceed low, got low={low!r}, high={high!r}")
    generator = term_generator(f"{task_id}/numbers/{float(low)!r}/{float(high)!r}")
    unit = torch.rand(n, dtype=torch.float64, generator=generator)
    return (low + (high - low) * unit).tolist()


def _told(what: str, hint: str) -> str:
    return f"{what}. {hint}" if hint else what
