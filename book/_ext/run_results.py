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

COLUMNS = ("network", "trained on", "tested on", "accuracy (95 %)", "spikes a sample", "weights", "training")


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
        lines = ["| " + " | ".join(COLUMNS) + " |", "|:--|:--|:--|:--|--:|--:|:--|"]
        for file in files:
            self.env.note_dependency(str(file))
            row = _row(results.load(file), file.relative_to(source.parent).as_posix())
            lines.append("| " + " | ".join(row) + " |")
        holder = nodes.container(classes=["run-results"])
        self.state.nested_parse(StringList(lines, source=str(source)), self.content_offset, holder)
        return [holder]


def _row(result: dict, link: str) -> list[str]:
    config, data, metric = result["configuration"], result["data"], result["metrics"]["test"][result["metric"]]
    n = metric["n"]
    trained = result.get("trained_on") or data
    name = f"{{download}}`{config['model'].upper()}, {config['rule']}, T = {config['num_steps']} <{link}>`"
    interval = f" ({_percent(metric['low'], n)} to {_percent(metric['high'], n)})" if metric["low"] is not None else ""
    spikes = sum(result["spikes"]["per_sample"].values()) if result["spikes"] else None
    return [
        name,
        f"{_short(trained['label'])}, {trained['sizes']['train']:,}",
        f"{_short(data['label'])}, {n:,}",
        f"**{_percent(metric['value'], n)} %**{interval}",
        "–" if spikes is None else f"{spikes:,.0f}",
        f"{result['parameters']:,}",
        f"{result['epochs_run']} epochs, {_duration(result['seconds']['train'])}"
        if result["epochs_run"]
        else "done before",
    ]


def _percent(share: float, n: int) -> str:
    return f"{100 * share:.{2 if n >= 1000 else 0 if n <= 100 else 1}f}"


def _short(label: str) -> str:
    return label.partition(":")[0]


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
