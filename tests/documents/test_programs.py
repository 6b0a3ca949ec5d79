"""The articles' four programs (tutorials/articles): all of their lines are there, each runs as a
script and learns, and what is wrong with the printed form shows in numbers."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from math import e, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpirun import ROOT

from minigrad import no_grad, ops, optim, plot
from minigrad.errors import InputError

if ROOT not in sys.path:
    sys.path.append(ROOT)
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
from tutorials.articles import c1, c2, c3

PROGRAMS = Path(ROOT, "tutorials", "articles")
# of the program as the article prints it, without white space
PRINTED = {
    "c1": "f85ed7da63a0141bd486c5a82e1b850a58d314cca8a2cbd6802412d72ee3e869",
    "c2": "87f033fd6b4462809438d5e1563614966da9583bb3150e18834d701e065b586f",
    "c3": "0a983a660bf44fe3d448f957d22d7aa481d73e55a290cea402776e5fc0e2f0bb",
    "c4": "9b07ef873ecc0e691498fe8d566e8608a616522e398aefa995b47db62665b0ee",
}


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_line_is_there_in_its_order(name: str) -> None:
    text = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    quoted = "".join("".join(re.findall(r"^\s*# >(.*)$", text, re.MULTILINE)).split())
    assert hashlib.sha256(quoted.encode()).hexdigest() == PRINTED[name]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each program prints; all run at once, and each leaves its curve."""
    folder = tmp_path_factory.mktemp("articles")
    scripts = {
        name: subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{name}.py"), "--epochs", epochs],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ROOT, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for name, epochs in {"c1": "2", "c2": "100", "c3": "2", "c4": "2"}.items()
    }
    printed = {name: script.communicate(timeout=120)[0] for name, script in scripts.items()}
    for name, script in scripts.items():
        assert script.returncode == 0, printed[name]
        picture = folder / "runs" / "articles" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    return printed


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


@pytest.mark.article("C1", "E15", code="minigrad.nn.Sequential")
def test_c1_runs_and_its_loss_falls(said: dict[str, str]) -> None:
    text = said["c1"]
    assert "30,730 parameters" in text
    first, last = numbers(r"loss (\S+),", text)
    assert last < first / 2
    order = text.partition("order of calls:")[2].split(", then ")
    assert "Dense(100, 128" in order[0]  # E15: forward begins at the input layer
    assert "Softmax()" in order[-1]


@pytest.mark.article("C1", code="minigrad.nn.Dense")
def test_c1_the_border_of_zeros_is_never_used() -> None:
    x, y = c1.data()
    model = c1.build(np.random.default_rng(0))
    before = model.layers[0].weight.numpy().reshape(10, 10, 128).copy()
    c1.train(model, x[:64], y[:64], epochs=1)
    moved = (model.layers[0].weight.numpy().reshape(10, 10, 128) != before).any(axis=2)
    assert moved[1:-1, 1:-1].any()
    moved[1:-1, 1:-1] = False
    assert not moved.any()


@pytest.mark.article("C2", code="minigrad.ops.mse")
def test_c2_runs_and_its_loss_falls(said: dict[str, str]) -> None:
    text = said["c2"]
    losses = numbers(r"after\s+\d+ steps: loss (\S+)", text)
    assert losses[0] == pytest.approx(35 / 3)
    assert losses[-1] == pytest.approx(1 / 7, abs=1e-4)
    assert "[0.31428571 0.62857143]" in text


@pytest.mark.article("C2", "E4", "E5", code="minigrad.grad")
def test_c2_comes_to_the_least_norm_solution() -> None:
    theta, losses = c2.sgd(c2.X, c2.y, c2.theta, c2.eta, c2.n_iters)
    np.testing.assert_allclose(theta, [0.3142857, 0.6285714], atol=1e-7)
    np.testing.assert_allclose(theta, np.linalg.lstsq(c2.X, c2.y, rcond=None)[0], rtol=1e-12)
    np.testing.assert_allclose(theta, np.linalg.pinv(c2.X) @ c2.y, rtol=1e-12)
    assert losses[-1] == pytest.approx(1 / 7, rel=1e-12)
    assert c2.least_loss(c2.X, c2.y) == pytest.approx(1 / 7, rel=1e-12)


@pytest.mark.article("C2", "F9", code="minigrad.ops.mse")
@given(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), st.integers(1, 5))
def test_c2_is_the_printed_function(start: tuple[float, float], steps: int) -> None:
    printed = np.array(start)
    for _ in range(steps):
        printed -= c2.eta * 2 / 3 * c2.X.T.dot(c2.X.dot(printed) - c2.y)
    ours, _ = c2.sgd(c2.X, c2.y, np.array(start), c2.eta, steps)
    np.testing.assert_allclose(ours, printed, rtol=1e-12, atol=1e-12)


@pytest.mark.article("C2", "E5", code="minigrad.grad")
@given(st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_c2_where_it_ends_depends_on_where_it_starts(start: tuple[float, float]) -> None:
    theta, losses = c2.sgd(c2.X, c2.y, np.array(start), c2.eta, 60)
    assert losses[-1] == pytest.approx(1 / 7, abs=1e-9)
    along = np.array([2, -1]) / 5**0.5  # X·along = 0: gradients never have this part
    assert theta @ along == pytest.approx(np.array(start) @ along, abs=1e-12)


@pytest.mark.article("C2", code="minigrad.grad")
def test_c2_converges_below_the_limit_and_not_above() -> None:
    limit = c2.largest_rate(c2.X)
    assert limit == pytest.approx(3 / 70, rel=1e-12)
    assert round(limit, 6) == 0.042857
    ends = [c2.sgd(c2.X, c2.y, c2.theta, k * limit, 2000)[1][-1] for k in (0.99, 1.01)]
    assert ends[0] == pytest.approx(1 / 7, rel=1e-12)
    assert ends[1] > 1e15


@pytest.mark.article("C2", "E4", code="minigrad.grad")
def test_c2_one_random_row_has_the_whole_gradient_on_average() -> None:
    rows = range(3)
    one = [c2.sgd(c2.X[[i]], c2.y[[i]], c2.theta, 1.0, 1)[0] for i in rows]
    whole, _ = c2.sgd(c2.X, c2.y, c2.theta, 1.0, 1)
    np.testing.assert_allclose(np.mean(one, axis=0), whole, rtol=1e-12)
    _, losses = c2.sgd(c2.X, c2.y, c2.theta, c2.eta, 300, np.random.default_rng(0))
    assert max(losses[-100:]) > 0.15 > min(losses[-100:])  # it stays in motion


@pytest.mark.article("C3", "E7", "E8", "E9", "E6", code="minigrad.nn.Module")
def test_c3_runs_and_its_loss_falls(said: dict[str, str]) -> None:
    text = said["c3"]
    printed = numbers(r"as printed, but flattened, epoch .*loss (\S+),", text)
    corrected = numbers(r"corrected, epoch .*loss (\S+),", text)
    assert printed[1] < printed[0]
    assert corrected[1] < corrected[0] / 2
    assert min(printed) > (0.3133 + 0.6931) / 2 - 0.01 > 0.2 > corrected[1]  # E6
    assert "(8, 8, 8, 1)" in text  # E7
    assert "'global_step' is not defined" in text  # E8
    assert "rate -0.0010" in text  # E9
    ((before, after),) = re.findall(r"loss goes from (\S+) to (\S+)", text)
    assert float(after) > 5 * float(before)


@pytest.mark.article("C3", "E7", code="minigrad.nn.Flatten")
def test_c3_unflattened_is_refused() -> None:
    x, y = (part[:8] for part in c3.data())
    model = c3.build(np.random.default_rng(0), flatten=False)
    with no_grad():
        assert model(x).shape == (8, 8, 8, 1)
    with pytest.raises(InputError, match=r"\(8, 8, 8, 1\) and targets of shape \(8, 1\)"):
        c3.train(model, x, y, epochs=1)


@pytest.mark.article("C3", "E8", "F6", code="minigrad.optim.Linear")
@pytest.mark.parametrize(("done", "rate"), [(0, 0.0009), (8, 0.0001), (9, 0.0002), (30, 0.0002)])
def test_c3_the_rate_falls_with_the_steps_done_but_not_to_0(done: int, rate: float) -> None:
    x, y = (part[:8] for part in c3.data())
    model = c3.build(np.random.default_rng(0))
    optimizer = optim.Adam(model, lr=0.0002)
    optimizer.steps = done
    given = (model, x, y, optimizer, ops.binary_cross_entropy)
    c3.optimize_big_model(*given, learning_rate=0.001, decay=0.1)
    assert optimizer.lr == pytest.approx(rate)
    with pytest.raises(NameError, match="global_step"):
        c3.optimize_big_model(*given, learning_rate=0.001, decay=0.1, printed=True)


@pytest.mark.article("C4", "E14", code="minigrad.ops.cross_entropy")
def test_c4_runs_and_its_loss_falls(said: dict[str, str]) -> None:
    text = said["c4"]
    printed = numbers(r"as printed, epoch .*loss (\S+),", text)
    corrected = numbers(r"corrected, epoch .*loss (\S+),", text)
    assert printed[1] < printed[0]
    assert corrected[1] < corrected[0] / 2
    assert min(printed) > log(e + 9) - 1 > corrected[1]
    assert "as printed 1.4612" in text


@pytest.mark.parametrize(
    "runs", [{}, {"a": []}, {name: [1.0] for name in "abcde"}], ids=["none", "empty", "five"]
)
def test_a_curve_needs_runs_with_values(runs: dict[str, list[float]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give 1 to 4 runs"):
        plot.lines(runs, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
