"""Pages that are made from the project's own data, in the language of the build."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write"]


def write(folder: Path, language: str) -> None:
    """Write the glossary and the articles' pages into ``folder``, those that have changed."""
    from docs import articles, glossary

    pages = {"glossary": glossary.markdown(language), **articles.pages(language)}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
