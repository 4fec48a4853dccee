"""The directive ``run-results``: a table of the result files that training runs wrote.

    ```{run-results} results/07_train_*.json
    ```

The pattern is read from the page's folder. Every number of the table comes from the files; each row leads to its file.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from spikelab.training import results

# Columns of a table and their alignment, by the task of its runs.
COLUMNS = {
    "nmnist": {
        "network": ":--",
        "trained on": ":--",
        "tested on": ":--",
        "accuracy (95 %)": ":--",
        "spikes a sample": "--:",
        "weights": "--:",
        "training": ":--",
    },
    "pets": {
        "network": ":--",
        "learned, tested": ":--",
        "constant": "--:",
        "mIoU (95 %)": ":--",
        "gain (95 %)": ":--",
        "skill": "--:",
        "MAC + AC": "--:",
        "ms": "--:",
        "training": ":--",
    },
    "voc": {
        "network": ":--",
        "AP50 area (95 %)": ":--",
        "VOC07": "--:",
        "never looks": "--:",
        "fires": "--:",
        "MAC + AC": "--:",
        "µJ": "--:",
        "µJ, chip": "--:",
        "ms": "--:",
        "training": ":--",
    },
    "animals": {
        "network": ":--",
        "pictures": "--:",
        "macro joint (95 %)": ":--",
        "trivial": "--:",
        "accuracy": "--:",
        "mIoU": "--:",
        "MAC + AC": "--:",
        "µJ": "--:",
        "training": ":--",
    },
}


def setup(app):
    app.add_directive("run-results", RunResults)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class RunResults(SphinxDirective):
    """Rows sorted by file name, which starts with the chapter's number."""

    required_arguments = 1

    def run(self):
        source = Path(self.env.doc2path(self.env.docname))
        pattern = self.arguments[0]
        files = sorted(source.parent.glob(pattern))
        if not files:
            raise self.error(f"no result file fits {pattern!r}; make one with: spikelab train ... --result PATH")
        found = {file: results.load(file) for file in files}
        tasks = {result["task"] for result in found.values()}
        if len(tasks) > 1:
            raise self.error(f"{pattern!r} mixes runs of {', '.join(sorted(tasks))}: give each task a table of its own")
        (task,) = tasks
        lines = ["| " + " | ".join(COLUMNS[task]) + " |", "|" + "|".join(COLUMNS[task].values()) + "|"]
        for file, result in found.items():
            self.env.note_dependency(str(file))
            row = ROWS[task](result, file.relative_to(source.parent).as_posix())
            lines.append("| " + " | ".join(row) + " |")
        holder = nodes.container(classes=["run-results"])
        self.state.nested_parse(StringList(lines, source=str(source)), self.content_offset, holder)
        return [holder]


def _classifier(result: dict, link: str) -> list[str]:
    config = result["configuration"]
    metric = result["metrics"]["test"][result["metric"]]
    spikes = sum(result["spikes"]["per_sample"].values()) if result["spikes"] else None
    return [
        f"{{download}}`{config['model'].upper()}, {config['rule']}, T = {config['num_steps']} <{link}>`",
        *_data(result, metric["n"]),
        _estimate(metric),
        "–" if spikes is None else f"{spikes:,.0f}",
        f"{result['parameters']:,}",
        _training(result),
    ]


def _localizer(result: dict, link: str) -> list[str]:
    config, metrics, cost = result["configuration"], result["metrics"]["test"], result["cost"]
    options = config["task_options"]
    steps = "" if config["model"] == "ann" else f", T = {config['num_steps']}"
    size = " × ".join(str(side) for side in options["size"])
    learned = (result.get("trained_on") or result["data"])["sizes"]["train"]
    return [
        f"{{download}}`{config['model']} <{link}>`, {size}{steps}",
        f"{options['target']}: {learned:,}, {metrics['miou']['n']:,}",
        f"{100 * result['baseline']['value']:.1f}",
        _interval(metrics["miou"], "**"),
        _interval(metrics["gain"], ""),
        f"{metrics['skill']['value']:.2f}",
        f"{cost['macs'] / 1e6:,.0f} M + {cost['acs'] / 1e6:,.0f} M",
        f"{1000 * cost['seconds_per_sample']:.1f}",
        _training(result),
    ]


def _detector(result: dict, link: str) -> list[str]:
    config, metrics, cost = result["configuration"], result["metrics"]["test"], result["cost"]
    network = config["model_options"]
    kind = network.get("neurons", "spiking" if config["model"] == "yolo" else "clamped")
    how = f"{network['decode'].replace('_', ' ')}, T = {config['num_steps']}" if kind == "spiking" else kind
    side = "×".join(str(side) for side in dict.fromkeys(config["task_options"]["size"]))
    rates = ((result["spikes"] or {}).get("firing_rate") or {}).values()
    chip = next(value for way, value in cost["energy_uj"].items() if way.startswith("TrueNorth"))
    return [
        f"{{download}}`{network['size']}, {how} <{link}>`, {side} px",
        _interval(metrics["ap50"], "**"),
        f"{100 * metrics['ap50_voc07']['value']:.1f}",
        f"{100 * result['baseline']['value']:.1f}",
        f"{sum(rates) / len(rates):.2f}" if rates else "–",
        *_price(cost),
        f"{chip:,.0f}",
        f"{1000 * cost['seconds_per_sample']:.1f}",
        _training(result),
    ]


def _animal_finder(result: dict, link: str) -> list[str]:
    config, metrics, cost = result["configuration"], result["metrics"]["test"], result["cost"]
    steps = "without spikes" if config["model"].endswith("-ann") else f"T = {config['num_steps']}"
    network = config["model_options"].get("design", "start")
    side = " × ".join(str(side) for side in config["task_options"]["size"])
    return [
        f"{{download}}`{network}, {steps} <{link}>`, {side}",
        f"{metrics['macro_joint']['n']:,}",
        _interval(metrics["macro_joint"], "**"),
        f"{100 * result['baseline']['value']:.1f}",
        f"{100 * metrics['accuracy']['value']:.1f}",
        f"{100 * metrics['miou']['value']:.1f}",
        *_price(cost),
        _training(result),
    ]


def _price(cost: dict) -> list[str]:
    operations = f"{cost['macs'] / 1e6:,.0f} M + {cost['acs'] / 1e6:,.0f} M"
    return [operations, f"{cost['energy_pj'] / 1e6:,.0f}"]


def _interval(metric: dict, mark: str) -> str:
    value, low, high = (f"{100 * metric[key]:.1f}" for key in ("value", "low", "high"))
    return f"{mark}{value}{mark} ({low} to {high})"


ROWS = {"nmnist": _classifier, "pets": _localizer, "voc": _detector, "animals": _animal_finder}


def _data(result: dict, n: int) -> list[str]:
    trained = result.get("trained_on") or result["data"]
    return [
        f"{_short(trained['label'])}, {trained['sizes']['train']:,}",
        f"{_short(result['data']['label'])}, {n:,}",
    ]


def _estimate(metric: dict) -> str:
    n = metric["n"]
    interval = f" ({_percent(metric['low'], n)} to {_percent(metric['high'], n)})" if metric["low"] is not None else ""
    return f"**{_percent(metric['value'], n)} %**{interval}"


def _training(result: dict) -> str:
    if not result["epochs_run"]:
        return "earlier"
    return f"{result['epochs_run']} epochs, {_duration(result['seconds']['train'])}"


def _percent(share: float, n: int) -> str:
    return f"{100 * share:.{2 if n >= 1000 else 0 if n <= 100 else 1}f}"


def _short(label: str) -> str:
    return label.partition(":")[0]


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
