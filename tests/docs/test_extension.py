"""The directives of docs/extension.py: what is right is shown, what is wrong fails the build."""

from __future__ import annotations

import io
import re

import pytest

Sphinx = pytest.importorskip("sphinx.application", reason="pages need the extra docs").Sphinx
pytest.importorskip("latex2mathml", reason="formulas need the extra explain")
from sphinx.util.docutils import docutils_namespace  # noqa: E402

CONF = 'extensions = ["docs.extension"]\nhtml_math_renderer = "mathml"\n'
F1 = r"\theta_{t+1} = \theta_t - \alpha \nabla J(\theta_t)"


def built(tmp_path, text):
    """The page tutorials/x as HTML, and the warnings of its build."""
    pages = tmp_path / "pages"
    (pages / "tutorials").mkdir(parents=True)
    (pages / "conf.py").write_text(
        'extensions = ["docs.extension"]\nhtml_math_renderer = "mathml"\n'
    )
    (pages / "index.rst").write_text("x\n=\n\n.. toctree::\n\n   tutorials/x\n")
    (pages / "tutorials" / "x.rst").write_text(f"x\n=\n\n{text}\n", encoding="utf-8")
    warnings = io.StringIO()
    out = tmp_path / "out"
    with docutils_namespace():
        Sphinx(
            pages, pages, out, tmp_path / "doctrees", "html", status=None, warning=warnings
        ).build()
    html = (out / "tutorials" / "x.html").read_text(encoding="utf-8")
    return html, warnings.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f".. article:: F1\n\n   {F1}", "<math"),
        (".. property-test:: tests/documents/test_d2.py::test_f3_momentum", "test_f3_momentum"),
        (".. recorded:: tutorials/recorded/13.txt", "mpirun"),
        (".. interactive:: descent", 'src="../_static/descent.html?lang=en"'),
        ("Articles: F1, E1, A4, A1", 'href="../articles/formulas.html#f1"'),
        ("Articles: F1, E1, A4, A1", 'href="../articles/errata.html#e1"'),
        ("Articles: F1, E1, A4, A1", 'href="../articles/ledger.html"'),
        ("See F1 and E1.", "See F1 and E1."),
    ],
)
def test_what_is_right_is_shown(text, shown, tmp_path):
    html, warnings = built(tmp_path, text)
    assert warnings == ""
    assert shown in html


def test_marks_of_the_formatter_are_not_shown(tmp_path):
    html, _ = built(tmp_path, "::\n\n   x = [1,\n        2]  # fmt: skip\n   y = 3")
    assert "fmt" not in html
    assert re.search(r"y.*=.*3", html)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (f".. article:: F1\n\n   {F1.replace('-', '+')}", "F1 is printed in D1 §3.1 as"),
        (".. article:: F1", "F1 is printed in D1 §3.1 as"),
        (f".. article:: F99\n\n   {F1}", "F99 is not in minigrad/articles/printed.toml"),
        (".. property-test:: tests/nowhere.py::test_x", "there is no file tests/nowhere.py"),
        (".. property-test:: tests/mpirun.py::test_x", "there is no function 'test_x'"),
        (".. recorded:: tutorials/recorded/99.txt", "there is no file tutorials/recorded/99.txt"),
        (".. interactive:: nothing", "there is no page docs/interactive/nothing.html"),
    ],
)
def test_what_is_wrong_is_a_warning_with_its_line(text, warning, tmp_path):
    _, warnings = built(tmp_path, text)
    assert warning in warnings
    assert "x.rst:4" in warnings
