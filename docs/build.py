"""Builds the site, in English and in Chinese: ``python -m docs.build``.

English comes first, since it runs the tutorials; Chinese takes their output from it. Warnings are
errors. ``--language en`` builds one; ``--messages`` brings the translators' files in
docs/locale/zh_CN up to date; ``--only 04`` runs one tutorial and leaves the others unrun.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from docs.translations import required

DOCS = Path(__file__).parent
BUILT = DOCS / "_build"
LANGUAGES = {"en": "en", "zh": "zh_CN"}
CHOICE = """<!doctype html>
<meta charset="utf-8">
<title>minigrad</title>
<script>
  location.replace(/^zh/.test(navigator.language) ? "zh/index.html" : "en/index.html")
</script>
<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh">中文</a></p>
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.build", description=__doc__)
    parser.add_argument("--language", choices=LANGUAGES, help="build one of the two")
    parser.add_argument("--messages", action="store_true", help="update docs/locale/zh_CN")
    parser.add_argument("--only", metavar="NN", help="run this tutorial alone: 04")
    given = parser.parse_args()
    if given.messages:
        return messages(given.only)
    for language in [given.language] if given.language else LANGUAGES:
        if code := html(language, given.only):
            return code
    (BUILT / "html" / "index.html").write_text(CHOICE, encoding="utf-8")
    print(f"open {BUILT / 'html' / 'index.html'}")
    return 0


def html(language: str, only: str | None = None) -> int:
    """Build one language; the result is sphinx-build's exit code."""
    options = ["-D", f"language={LANGUAGES[language]}", *_only(only)]
    return sphinx("html", BUILT / "html" / language, *options)


def _only(tutorial: str | None) -> list[str]:
    """The option that runs one tutorial alone."""
    if tutorial is None:
        return []
    return ["-D", rf"sphinx_gallery_conf.filename_pattern=\b{tutorial}_\w+\.py$"]


def messages(only: str | None = None) -> int:
    """Write what has to be said in Chinese to docs/locale/zh_CN/LC_MESSAGES.

    Tutorials that have changed are run, for the alternative texts of their pictures."""
    code = sphinx("gettext", BUILT / "gettext", *_only(only), strict=False)
    for path in (BUILT / "gettext").rglob("*.pot"):
        if not required(path.relative_to(BUILT / "gettext").with_suffix("").as_posix()):
            path.unlink()
    return code or subprocess.call(
        [
            sys.executable, "-m", "sphinx_intl", "update", "--line-width", "100",
            "-p", str(BUILT / "gettext"), "-d", str(DOCS / "locale"), "-l", "zh_CN",
        ]
    )  # fmt: skip


def sphinx(builder: str, to: Path, *options: str, strict: bool = True) -> int:
    """Run sphinx-build on docs/, with warnings as errors unless it is not ``strict``."""
    environ = os.environ | {"MPLBACKEND": "Agg"}
    warnings = ["--fail-on-warning", "--nitpicky"] if strict else ["-Q"]
    doctrees = BUILT / "doctrees" / to.name
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-d", str(doctrees)]
    return subprocess.call([*command, "-q", *warnings, *options, str(DOCS), str(to)], env=environ)


if __name__ == "__main__":
    raise SystemExit(main())
