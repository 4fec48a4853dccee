"""What this book needs beyond Jupyter Book."""

from __future__ import annotations

import html
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

WIDGET = "application/vnd.jupyter.widget-view+json"


def setup(app):
    app.add_config_value("comments_config", {}, "html")  # Jupyter Book sets it even without sphinx_comments
    app.connect("config-inited", drop_launch_buttons_without_an_address)
    app.connect("build-finished", write_front_door, priority=900)  # after the theme's bare redirect
    app.add_transform(CaptionOnlyPictures)
    app.add_post_transform(SayHowRunsEnded)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def drop_launch_buttons_without_an_address(app, config):
    """The theme builds a Binder link from repository.url and breaks if there is none."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options.pop("launch_buttons", None)


FRONT_DOOR = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Refresh" content="0; url={page}">
<title>{title}</title>
<link rel="icon" href="_static/{icon}">
</head>
<body><p><a href="{page}">{title}</a></p></body>
</html>
"""


def write_front_door(app, exception):
    """Lead from index.html to the first page; without an icon browsers would ask for /favicon.ico."""
    if exception is None and app.builder.format == "html" and app.config.root_doc != "index":
        page = app.builder.get_target_uri(app.config.root_doc)
        icon = PurePosixPath(app.config.html_favicon).name
        text = FRONT_DOOR.format(page=page, icon=icon, title=html.escape(app.config.html_title))
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


class CaptionOnlyPictures(SphinxTransform):
    """Take text that a cell shows beside its picture out of the figure.

    MyST-NB gives the caption in a cell's metadata to every rich output of the cell, so that a line of Markdown would
    become a numbered figure of its own.
    """

    default_priority = 400  # before figures get numbers and labels

    def apply(self, **kwargs):
        for figure in list(self.document.findall(nodes.figure)):
            if not any(_is_picture(node) for node in figure.findall(nodes.Element)):
                content = [child for child in figure if not isinstance(child, (nodes.caption, nodes.legend))]
                figure.replace_self(content)


class SayHowRunsEnded(SphinxPostTransform):
    """Write words into MyST-NB's table of run times, where it has pictographs that not every machine can draw."""

    default_priority = 9  # the table is made at 8

    def run(self, **kwargs):
        for text in list(self.document.findall(nodes.Text)):
            if text in ("✅", "❌"):
                text.parent.replace(text, nodes.Text("ran" if text == "✅" else "failed"))


def _is_picture(node: nodes.Element) -> bool:
    return isinstance(node, nodes.image) or node.get("mime_type") == WIDGET
