"""Evaluating trained weights: from a file to a result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spikelab.datasets.single_animals import single_animals
from spikelab.models import pretrained
from spikelab.training import results
from spikelab.training.config import Configuration
from spikelab.training.curves import save_figure
from spikelab.training.distributed import pick_device
from spikelab.training.evaluation import evaluate
from spikelab.training.progress import Progress
from spikelab.training.tasks.animals import AnimalsTask
from spikelab.training.tasks.nmnist import NMNISTTask
from spikelab.training.tasks.pets import PetsTask
from spikelab.training.tasks.voc import VocTask
from spikelab.validation import require_choice

TASKS = {task.name: task for task in (NMNISTTask, PetsTask, AnimalsTask, VocTask)}


def evaluate_weights(
    weights: str | Path,
    *,
    kind: str = "auto",
    split: str = "test",
    batch: int = 0,
    threads: int = 0,
    device: str = "auto",
    pictures: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a file of weights, or weights that come with spikelab, on a split.

    Args:
        weights: as ``pretrained.load``.
        kind: which data, in the words of the task that the weights are for.
        split: ``"test"``, ``"validation"`` or ``"train"``.
        batch: samples of a step; 0 as in training.
        threads: CPU threads; 0 leaves PyTorch's choice.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        pictures: folder for the pictures of the answers, if the task draws any, such as ``contact_sheet.png``.
        progress: what reports it.
    Returns:
        The result. ``configuration`` is that of the training, ``data`` what was evaluated and ``trained_on`` what was
        trained on, with a ``doubt`` if that may overlap with what was evaluated.
    Raises:
        WeightsError, DataError: if weights or data cannot be used.
    """
    began = time.monotonic()
    if threads:
        torch.set_num_threads(threads)
    model, about = pretrained.load(weights)
    trained = Configuration.from_dict(about["configuration"], str(weights))
    changed = {"data": kind, "train_limit": 0, **({"eval_batch": batch} if batch else {})}
    config = dataclasses.replace(trained, **changed)
    task = TASKS[require_choice("task", config.task, TASKS)]()
    place = pick_device(device)
    data = task.data(config, (split,))
    samples = getattr(data, split)
    found = evaluate(task, config, model.to(place), samples, place, progress=progress, name=split)
    result = results.build(
        kind="evaluate",
        task=task,
        config=trained,
        data=data,
        found={split: found},
        model=model,
        device=place,
        seconds={"train": 0.0, "total": time.monotonic() - began},
        best_epoch=about.get("best_epoch"),
        stopped="evaluated",
    )
    if pictures is not None:
        for name, figure in task.pictures(config, samples, found.evidence).items():
            save_figure(Path(pictures) / name, figure)
    trained_on = about.get("data")
    doubt = _doubt(task, config, trained_on, data.label, limited=trained.train_limit > 0)
    return {**result, "trained_on": {**trained_on, "doubt": doubt} if doubt else trained_on}


def _doubt(task: Any, config: Configuration, trained_on: Mapping[str, Any] | None, label: str, *, limited: bool) -> str:
    """Say so if pictures that weights have learned from may be among those that they are evaluated on.

    The other tasks have lists of names; single animals are split at random out of all that are there.
    """
    if not isinstance(task, AnimalsTask) or trained_on is None or trained_on["label"] != label:
        return ""
    options = task.options(config)
    parts = single_animals(options["source"], kind=config.data, seed=options["split_seed"])._asdict()
    if limited:
        del parts["train"]
    then, now = [trained_on["sizes"].get(name) for name in parts], [len(part) for part in parts.values()]
    if then == now:
        return ""
    return (
        f"the weights are of another split of other pictures ({', '.join(parts)}: {then} then, {now} here), so that "
        "pictures they have learned from may be among those they are tested on: train anew, or test on other pictures "
        "(--data coco-shift)"
    )
