"""What the book's theme needs to be told page by page."""

from __future__ import annotations


def setup(app):
    app.add_config_value("comments_config", {}, "html")  # Jupyter Book sets it even without sphinx_comments
    app.connect("config-inited", drop_launch_buttons_without_an_address)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def drop_launch_buttons_without_an_address(app, config):
    """The theme builds a Binder link from repository.url and breaks if there is none."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options.pop("launch_buttons", None)
