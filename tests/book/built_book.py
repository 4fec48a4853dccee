"""The built book as the tests see it. SPIKELAB_BOOK may name another folder than _build/html."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
HTML = Path(os.environ.get("SPIKELAB_BOOK") or ROOT / "_build" / "html").resolve()
STATE = "application/vnd.jupyter.widget-state+json"


def listed_files() -> list[str]:
    """Every page that _toc.yml lists, as path without ending."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def walk(entry) -> list[str]:
        if isinstance(entry, list):
            return [name for each in entry for name in walk(each)]
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [name for key in ("parts", "chapters", "sections") for name in walk(entry.get(key, []))]

    return walk(toc)


PAGES = listed_files()
NOTEBOOKS = [name for name in PAGES if name.startswith("chapters/")]
LESSONS = [name for name in NOTEBOOKS if name.endswith("/lesson")]


class Page:
    """One page of the built book."""

    def __init__(self, path: Path):
        self.path = path
        self.html = path.read_text(encoding="utf-8")
        self.soup = BeautifulSoup(self.html, "html.parser")

    @property
    def article(self):
        return self.soup.select_one("article.bd-article")

    @property
    def ids(self) -> set[str]:
        return {tag["id"] for tag in self.soup.select("[id]")}

    def frames(self) -> list[list[BeautifulSoup]]:
        """The pictures inside each widget of the page, one list for each stack of frames."""
        script = self.soup.find("script", type=STATE)
        if script is None:
            return []
        models = json.loads(script.string)["state"]
        stacks = [model["state"] for model in models.values() if model["model_name"] == "StackModel"]
        return [
            [
                BeautifulSoup(models[child.removeprefix("IPY_MODEL_")]["state"]["value"], "html.parser").find("img")
                for child in stack["children"]
            ]
            for stack in stacks
        ]


@functools.cache
def read(path: Path) -> Page:
    return Page(path)
