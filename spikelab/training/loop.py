"""The training loop of the course: one run, from a configuration to a result.

What makes a run repeat itself bit for bit, also over a kill: the order of an epoch is a function of (seed, epoch), the
augmentation of a batch of (seed, epoch, batch), the learning rate of the step; everything else, the weights, the
optimiser, the streams of random numbers, the sums of the epoch so far and the best weights, is in the checkpoint. Equal
numbers need an equal machine, PyTorch and number of threads, as sums of floating-point numbers depend on their order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from spikelab.files import make_folder, write_atomically
from spikelab.losses import rate_penalty
from spikelab.models.pretrained import start_from
from spikelab.training import results
from spikelab.training.checkpoints import CheckpointError, load_checkpoint, require_same_run, save_checkpoint
from spikelab.training.config import Configuration, learning_rate
from spikelab.training.curves import MANY_LAYERS, plot_curves, save_figure
from spikelab.training.distributed import World, pick_device, world
from spikelab.training.evaluation import Evaluation, evaluate, firing_rates, hidden_layers
from spikelab.training.progress import Progress, duration
from spikelab.training.tasks import Data, Task

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
CURVES = "curves.png"
RESULT = "result.json"


class Interrupted(RuntimeError):
    """A run that was told to stop and has saved where it was; ``signal`` is the number of what stopped it."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Diverged(ArithmeticError):
    """A run whose loss, gradient or weights are no longer numbers."""


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
        model: the network with the best weights, ready for evaluation.
        result: what ``results`` writes.
    """

    model: nn.Module
    result: dict[str, Any]


def train(
    task: Task,
    config: Configuration,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    checkpoint_s: float = 60.0,
    progress: Progress | None = None,
) -> Outcome:
    """Train a network, choose its best epoch on the validation split, look at the test split once.

    Args:
        task: data, network, loss and metrics.
        config: everything that decides the outcome.
        out: folder for checkpoints, metrics of the epochs, curves and the result; None writes nothing.
        resume: go on from the checkpoint in ``out``; without one, begin.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        checkpoint_s: seconds between checkpoints inside an epoch; every epoch ends with one.
        progress: what reports the run; silence if not given.
    Returns:
        The trained network and the result. Under ``torchrun`` every process gets both; the first one writes.
    Raises:
        CheckpointError: if ``out`` holds a checkpoint and ``resume`` is false, or the checkpoint is damaged or another
            run's.
        Interrupted: after Ctrl-C or SIGTERM, when the state is saved. A second Ctrl-C stops at once.
        Diverged: if the loss, a gradient or a weight is NaN or infinite; the last good checkpoint stays.
        WriteError: if a file cannot be written.

    Explained in chapter 07.
    """
    began = time.monotonic()
    place = pick_device(device)
    with world(place) as here, _threads(config.threads), _own_streams(place):
        folder = None if out is None else Path(out)
        checkpoint = _checkpoint_to_resume(folder, resume)
        data = task.data(config)
        run = _Run(task, config, data, place, here, folder, progress if here.writes and progress else Progress(None))
        if checkpoint is not None:
            run.restore(checkpoint, folder / CHECKPOINT)
        else:
            run.begin()
        with _stop_signals(folder is not None) as stop:
            run.fit(checkpoint_s, stop)
        return run.finish(began)


def epoch_order(seed: int, epoch: int, count: int) -> torch.Tensor:
    """Return the order ``[count]`` in which an epoch, counted from 0, takes its samples."""
    return torch.randperm(count, generator=stream(seed, "order", epoch))


def stream(*what: Any) -> torch.Generator:
    """Return a generator that the same names and numbers always seed alike, and others independently."""
    return torch.Generator().manual_seed(_seed(*what))


class _Run:
    """A run in progress: ``epoch`` epochs and ``batch`` batches of the next one are made."""

    def __init__(
        self,
        task: Task,
        config: Configuration,
        data: Data,
        device: torch.device,
        here: World,
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self.task, self.config, self.data, self.device = task, config, data, device
        self.world, self.folder, self.progress = here, folder, progress
        self.batches = math.ceil(len(data.train) / config.batch)
        if not self.batches:
            raise ValueError(f"the training split of {data.label} is empty")
        torch.manual_seed(_seed(config.seed, "weights"))
        self.model = task.build(config).to(device)
        self.online = getattr(self.model, "online", False)
        # A network that learns online has a gradient in every step: see _learn_online.
        self.wrapped = self.model if self.online else here.wrap(self.model, device)
        torch.manual_seed(_seed(config.seed, "dropout", here.rank))
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = _optimiser(config, self.weights)
        self.epoch = self.batch = 0
        self.sums: list[float] = []  # of the epoch so far: see _step
        self.layers: list[str] = []
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.init: dict[str, Any] | None = None  # where the weights are from, if not fresh
        self.seconds = self.seconds_before = 0.0  # of training; before: in earlier processes
        self.stopped = ""
        self.stop: Callable[[], int] = int  # which signal came: none
        self._clock = self._saved = time.monotonic()

    def begin(self) -> None:
        """Take first weights, and make the folder."""
        self.task.prepare(self.config, self.model, self.data, self.device)
        if self.config.init:
            self.init = start_from(self.model, self.config.init)
            self.progress.line(f"init: {self.init['taken']} of {self.init['tensors']} tensors from {self.config.init}")
        if self.folder is not None and self.world.writes:
            make_folder(self.folder)

    # What comes next

    def fit(self, checkpoint_s: float, stop: Callable[[], int]) -> None:
        """Train until the epochs, the patience or the time is over, or ``stop`` returns the number of a signal."""
        config, self.stop = self.config, stop
        self._clock = self._saved = time.monotonic()
        self._announce()
        while not (stopped := self._stopped()):
            order = epoch_order(config.seed, self.epoch, len(self.data.train))
            self.progress.begin(f"epoch {self.epoch + 1}/{config.epochs}", self.batch, self.batches)
            while self.batch < self.batches:
                start = self.batch * config.batch
                number, save = self._step(order[start : start + config.batch], checkpoint_s)
                self.batch += 1
                self.progress.step(self.batch, self._state)
                if number:
                    self._interrupt(number)
                if save:
                    self.save()
                if self._out_of_time():
                    break
            self.progress.end()
            if self.batch == self.batches:
                self._end_epoch()
            else:
                self.save()
        self._tick()
        self.stopped, self.stop = stopped, int

    def _stopped(self) -> str:
        """Why training is over, or an empty text."""
        if self.epoch >= self.config.epochs:
            return "epochs"
        if self.config.patience and self.best and self.epoch - self.best["epoch"] >= self.config.patience:
            return "patience"
        return "max_seconds" if self._out_of_time() else ""

    def _out_of_time(self) -> bool:
        if not self.config.max_seconds:
            return False
        self._tick()
        late = torch.tensor(float(self.seconds >= self.config.max_seconds), device=self.device)
        return bool(self.world.sum(late) > 0)

    def _step(self, joint: torch.Tensor, checkpoint_s: float) -> tuple[int, bool]:
        """Train on one joint batch of samples; return the number of a signal, and whether to save."""
        config, size = self.config, self.world.size
        rate = learning_rate(config, self.epoch * self.batches + self.batch, self.batches)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        draws = self.task.draw(config, len(joint), stream(config.seed, "draw", self.epoch, self.batch))
        mine = self.world.share(joint)
        share = len(mine) / len(joint)
        if len(mine):
            draws = None if draws is None else self.world.share(draws)
        else:  # a last batch smaller than the world: take part, without weight
            mine, draws = joint[:1], None if draws is None else draws[:1]
        inputs, targets = self.task.batch(config, self.data.train, mine, draws, self.device)
        self.wrapped.train()
        learn = self._learn_online if self.online else self._learn_through_time
        output, loss, norm = learn(inputs, targets, share)

        fired = firing_rates(output)
        self.layers = self.layers or list(fired)
        count = share * len(joint)
        with torch.no_grad():
            score = self.task.score(config, output, targets).double().mean()
            rates = [rate.to(self.device).double() for rate in fired.values()]
        asked = self.stop()
        save = self.folder is not None and self.world.writes and time.monotonic() - self._saved >= checkpoint_s
        report = torch.stack([loss * count, score * count, *(r * count for r in rates)]).cpu()
        report = torch.cat([report, torch.tensor([count, float(asked), float(save)], dtype=torch.float64)])
        if size > 1:
            report = self.world.sum(report.to(self.device)).cpu()
        # Whatever was learned from them is not saved.
        if not math.isfinite(report[0]):
            raise Diverged(self._diverged("the loss", rate))
        if not math.isfinite(norm):
            raise Diverged(self._diverged("the gradient", rate))
        *sums, stopped, saves = report.tolist()
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)] if self.sums else sums
        # Signals reach the processes one by one: their sum says that one came, the own one which.
        return (asked or signal.SIGTERM) if stopped else 0, saves > 0

    def _learn_through_time(self, inputs: Any, targets: Any, share: float) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Learn once from a whole input; return output, loss with penalty, and norm of the gradient."""
        with self._precision():
            output = self.wrapped(inputs)
            loss = self.task.loss(self.config, output, targets)
        # The processes' gradients are averaged: each loss counts by its share of the joint batch.
        total = loss * (share * self.world.size)
        penalty = self._penalty(output, share)
        if penalty is not None:
            total, loss = total + penalty * self.world.size, loss + penalty.detach()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        return output, loss.detach().double(), self._update()

    def _learn_online(self, frames: Any, targets: Any, share: float) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Learn in every step after burn-in; return the last step's output, mean loss and the largest norm."""
        state, losses, norms = None, [], []
        for step, frame in enumerate(frames):
            state = self.model.rest(len(frame)) if state is None else state
            learning = step >= self.model.burn_in
            with torch.set_grad_enabled(learning), self._precision():
                readouts, state = self.model.step(frame, state)
                if not learning:
                    continue
                output = self.task.answer(readouts)
                loss = self.task.loss(self.config, output, targets)
            self.optimiser.zero_grad(set_to_none=True)
            (loss * share).backward()
            if self.world.size > 1:
                for weight in self.weights:
                    self.world.sum(weight.grad)
            losses.append(loss.detach().double())
            norms.append(self._update())
        return output, torch.stack(losses).mean(), torch.stack(norms).max()

    def _update(self) -> torch.Tensor:
        """Limit the gradient's norm, make a step of the optimiser, and return what the norm was."""
        if self.config.grad_clip:
            norm = nn.utils.clip_grad_norm_(self.weights, self.config.grad_clip)
        else:
            norm = torch.stack(torch._foreach_norm([p.grad for p in self.weights if p.grad is not None])).norm()
        self.optimiser.step()
        return norm

    def _penalty(self, output: Any, share: float) -> torch.Tensor | None:
        """Price of the firing rates of the joint batch, with the gradient of this process's part of it."""
        config = self.config
        if not config.rate_weight:
            return None
        prices = []
        for spikes in hidden_layers(output, with_output=False).values():
            mine = spikes.mean((0, 1)) * share
            joint = mine
            if self.world.size > 1:
                joint = mine + (self.world.sum(mine.detach().clone()) - mine.detach())
            prices.append(rate_penalty(joint[None, None], config.rate_low, config.rate_high))
        return config.rate_weight * sum(prices) if prices else None

    def _precision(self) -> Any:
        kind = self.device.type
        if not self.config.amp or (kind == "cuda" and not torch.cuda.is_bf16_supported()):
            return contextlib.nullcontext()
        return torch.autocast(kind, dtype=torch.bfloat16)

    def _end_epoch(self) -> None:
        """Validate, remember the best weights, save, report."""
        if not all(bool(torch.isfinite(p).all()) for p in self.weights):
            raise Diverged(self._diverged("a weight", self.optimiser.param_groups[0]["lr"]))
        record: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "lr": self.optimiser.param_groups[0]["lr"],
            "train": self._train_record(),
            "firing_rate": self._rates(),
            "validation": None,
        }
        key = (float(self.epoch + 1), 0.0)  # without validation the last epoch is the best
        if self.data.validation is not None and len(self.data.validation):
            found = self.evaluate("validation", quick=True)
            if not math.isfinite(found.loss):
                raise Diverged(self._diverged("the validation loss", self.optimiser.param_groups[0]["lr"]))
            value = found.metrics[self.task.metric]["value"]
            record["validation"] = {"loss": found.loss, self.task.metric: value, "n": found.count}
            key = (value, -found.loss)
        if self.best is None or key > tuple(self.best["key"]):
            weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch + 1, "key": list(key), "weights": weights}
        self._tick()
        record["seconds"] = round(self.seconds, 2)
        self.history.append(record)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, []
        self.save()
        self.progress.line(_epoch_line(record, self.config, self.best["epoch"]))

    def evaluate(self, split: str, *, quick: bool = False) -> Evaluation:
        samples = getattr(self.data, split)
        self.world.agree(self.model)

        def stopped() -> None:
            if self.folder is not None and self.world.size == 1 and self.stop():
                self._interrupt(self.stop())

        return evaluate(
            self.task,
            self.config,
            self.model,
            samples,
            self.device,
            self.world,
            self.progress,
            name=split,
            between=stopped,
            quick=quick,
        )

    def finish(self, began: float) -> Outcome:
        """Evaluate the best weights and write what came out."""
        if self.best is not None:
            self.model.load_state_dict(self.best["weights"])
        self.model.eval()
        found = {
            split: self.evaluate(split)
            for split in ("validation", "test")
            if getattr(self.data, split) is not None and len(getattr(self.data, split))
        }
        if not found:
            raise ValueError(f"{self.data.label} has neither a validation nor a test split: nothing to report")
        result = results.build(
            kind="train",
            task=self.task,
            config=self.config,
            data=self.data,
            found=found,
            model=self.model,
            device=self.device,
            seconds={"train": self.seconds, "total": self.seconds_before + time.monotonic() - began},
            processes=self.world.size,
            history=self.history,
            best_epoch=self.best["epoch"] if self.best else None,
            stopped=self.stopped,
            init=self.init,
        )
        if self.folder is not None and self.world.writes:
            self._write_history()
            self._write_curves()
            shown = "test" if "test" in found else "validation"
            pictures = self.task.pictures(self.config, getattr(self.data, shown), found[shown].evidence)
            for name, figure in pictures.items():
                save_figure(self.folder / name, figure)
            results.write(self.folder / RESULT, result)
        return Outcome(self.model, result)

    # Checkpoints

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be resumed."""
        data = {"data files": self.data.hash, "data sizes": self.data.sizes}
        return {**self.config.as_dict(), **data, "processes": self.world.size}

    def save(self) -> None:
        """Write the checkpoint, and the metrics of the epochs that it holds."""
        if self.folder is None:
            return
        self._tick()
        streams = self.world.gather(_streams(self.device))
        if self.world.writes:
            state = {
                "run": self.identity(),
                "epoch": self.epoch,
                "batch": self.batch,
                "sums": self.sums,
                "layers": self.layers,
                "history": self.history,
                "best": self.best,
                "init": self.init,
                "seconds": self.seconds,
                "streams": streams,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            }
            save_checkpoint(self.folder / CHECKPOINT, state)
            if self.batch == 0:
                self._write_history()
        self._saved = time.monotonic()

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Take up a checkpoint."""
        require_same_run(path, state["run"], self.identity())
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name in ("epoch", "batch", "sums", "layers", "history", "best", "init", "seconds"):
            setattr(self, name, state[name])
        self.seconds_before = self.seconds
        _set_streams(state["streams"][self.world.rank], self.device)

    def _write_history(self) -> None:
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self.history)
        write_atomically(self.folder / METRICS, lines)

    def _write_curves(self) -> None:
        if self.history and self.world.writes:
            best = self.best["epoch"] if self.best else None
            figure = plot_curves(self.history, self.task.metric, running=self._running, best_epoch=best)
            save_figure(self.folder / CURVES, figure)

    def _interrupt(self, number: int) -> None:
        self.progress.end()
        name = signal.Signals(number).name
        if self.folder is None:
            raise Interrupted(f"stopped by {name}", number)
        self.save()
        self._write_curves()
        done = f"after batch {self.batch}/{self.batches} of epoch {self.epoch + 1}/{self.config.epochs}"
        raise Interrupted(f"stopped by {name} {done}; saved in {self.folder / CHECKPOINT}", number)

    # Reports

    def _announce(self) -> None:
        sizes = ", ".join(f"{count} {split}" for split, count in self.data.sizes.items() if count)
        numbers = sum(p.numel() for p in self.weights)
        self.progress.line(f"data: {self.data.label} ({sizes})")
        self.progress.line(
            f"model: {self.config.model}, {numbers:,} parameters; {self.world.size} process(es) on {self.device}, "
            f"{torch.get_num_threads()} thread(s) each"
        )
        if self.epoch or self.batch:
            self.progress.line(f"resumed after epoch {self.epoch}, batch {self.batch}/{self.batches}")

    def _state(self) -> dict[str, str]:
        loss, score, *rates, count = self.sums
        state = {"loss": f"{loss / count:.4f}", self._running: f"{score / count:.4f}"}
        if rates:
            state["rates"] = _shown_rates([rate / count for rate in rates])
        return state

    def _train_record(self) -> dict[str, Any]:
        loss, score, *_, count = self.sums
        return {"loss": loss / count, self._running: score / count, "n": round(count)}

    @property
    def _running(self) -> str:
        return self.task.running or self.task.metric

    def _rates(self) -> dict[str, float]:
        _, _, *rates, count = self.sums
        return {layer: rate / count for layer, rate in zip(self.layers, rates, strict=True)}

    def _diverged(self, what: str, rate: float) -> str:
        where = (
            f"{what} is NaN or infinite in batch {self.batch + 1} of epoch {self.epoch + 1} (learning rate {rate:g})"
        )
        kept = "" if self.folder is None else f" The last good state, if any, is in {self.folder / CHECKPOINT}."
        return f"{where}. Try a lower lr, grad_clip 1, or a flatter surrogate.{kept}"

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now


def _checkpoint_to_resume(folder: Path | None, resume: bool) -> dict[str, Any] | None:
    if folder is None:
        if resume:
            raise CheckpointError("resume needs the folder of the run: give out")
        return None
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    if not resume:
        raise CheckpointError(
            f"{path} is there already: resume it with --resume, or give another folder (or delete this one)"
        )
    return load_checkpoint(path)


def _optimiser(config: Configuration, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    common = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimiser == "adamax":
        return torch.optim.Adamax(weights, betas=config.betas, **common)
    if config.optimiser == "sgd":
        momentum = config.betas[0]
        return torch.optim.SGD(weights, momentum=momentum, nesterov=momentum > 0, fused=True, **common)
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, betas=config.betas, fused=True, **common)


def _seed(*what: Any) -> int:
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _streams(device: torch.device) -> dict[str, torch.Tensor]:
    streams = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        streams["cuda"] = torch.cuda.get_rng_state(device)
    return streams


def _set_streams(streams: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(streams["cpu"])
    if device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"], device)


def _own_streams(device: torch.device) -> Any:
    """The caller's streams of random numbers stay as they were."""
    return torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else [])


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _stop_signals(active: bool) -> Iterator[Callable[[], int]]:
    """Catch Ctrl-C and SIGTERM once; yields a function that says which came, 0 for none. A second one is deadly."""
    came: list[int] = []

    def remember(number: int, _: Any) -> None:
        came.append(number)
        signal.signal(number, before[number])

    before = {}
    if active and threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown_rates(rates: list[float]) -> str:
    if len(rates) <= MANY_LAYERS:
        return " ".join(f"{rate:.3f}" for rate in rates)
    return f"{min(rates):.3f} to {max(rates):.3f}"


def _epoch_line(record: dict[str, Any], config: Configuration, best: int) -> str:
    parts = [f"epoch {record['epoch']}/{config.epochs}"]
    for split in ("train", "validation"):
        values = record[split]
        if values:
            shown = " ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "n")
            parts.append(f"{split} {shown}")
    if record["firing_rate"]:
        parts.append("rates " + _shown_rates(list(record["firing_rate"].values())))
    parts.append(duration(record["seconds"]))
    left = record["seconds"] / record["epoch"] * (config.epochs - record["epoch"])
    if left:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts) + (" · best" if record["epoch"] == best else "")
