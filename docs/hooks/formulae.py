"""Formulae of the pages: a block of the language `math` becomes MathML as the page is built, so no script draws it."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    fence = {"name": "math", "class": "formula", "format": formula}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    return config


def formula(source: str, _language: str, css_class: str, _options: Any, _md: Any, **_more: Any) -> str:
    """A line of LaTeX each."""
    return "".join(f'<div class="{css_class}">{convert(line, display="block")}</div>' for line in source.splitlines())
