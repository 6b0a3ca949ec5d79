"""The code that kernels/README.md shows: it is what is there, and it does what it says."""

from __future__ import annotations

import re
import shutil

import harness
import numpy as np
import pytest
from executor import Executor

from benchmarks.ladder import PAGE
from minigrad import kernels
from minigrad.kernels import source
from minigrad.kernels.build import compiler
from minigrad.ops._fused import SMALL
from minigrad.ops.linear import ACTIVATIONS

TEXT = PAGE.read_text(encoding="utf-8")
SHOWN, WRITTEN = re.findall(r"```cuda\n(.*?)```", TEXT, re.DOTALL)
CALLED, TESTED = (
    compile(text, f"{PAGE.name}, example {number}", "exec")
    for number, text in enumerate(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
)


@pytest.fixture
def silu(tmp_path, monkeypatch):
    """The page's kernel, as if it lay among the others."""
    for header in source.folder().glob("*.cuh"):
        shutil.copy(header, tmp_path)
    (tmp_path / "silu.cu").write_text(WRITTEN, encoding="utf-8")
    file = source._read(tmp_path / "silu.cu")
    monkeypatch.setattr(source, "sources", lambda: {"silu": file})
    monkeypatch.setattr(kernels, "_found", {})
    source.find.cache_clear()
    with Executor(tmp_path) as executor:
        monkeypatch.setattr(harness, "_executor", lambda: executor)
        yield
    source.find.cache_clear()


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
@pytest.mark.usefixtures("silu")
def test_the_call():
    names = {}
    exec(CALLED, names)
    x = names["x"].astype(float)
    np.testing.assert_allclose(names["y"], x / (1 + np.exp(-x)), rtol=1e-6)


@pytest.mark.usefixtures("silu")
@pytest.mark.parametrize("where", harness.KINDS)
def test_the_test(where):
    names = {}
    exec(TESTED, names)
    for n in (0, 1, 31, 33, 1000):
        names["test_silu"](where, n)


def test_what_is_shown_of_adam_is_all_of_it():
    text = (source.folder() / "adam.cu").read_text(encoding="utf-8")
    assert text.endswith(f'#include "optimizers.cuh"\n\n{SHOWN}')


def test_the_sizes_it_names_are_those_of_the_ops():
    relu, gelu = (ACTIVATIONS[name][2] for name in ("relu", "gelu"))
    said = f"below {SMALL:,} elements, a dense layer's bias with ReLU below {relu:,}, with GELU"
    assert f"{said} below {gelu:,}." in " ".join(TEXT.split())
