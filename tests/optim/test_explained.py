"""An explained update is the update: its lines, its numbers, and that nothing is changed."""

import ast
import re
import sys

import numpy as np
import pytest
from rules import RULES

from minigrad import optim
from minigrad.errors import InputError
from minigrad.kernels.build import compiler
from minigrad.optim import _following, compare_conventions, explain_step
from minigrad.optim._following import followed
from minigrad.optim.executor import Owned

OPTIONS = {
    "plain": ({}, {}),
    "all": (
        {"l1": 0.01, "l2": 0.1, "weight_decay": 0.2, "proximal_l1": 0.05},
        {"scale": 0.5, "clip_value": 0.3},
    ),
}
FORMS = ("formula", "in_place", *(["compiled"] if compiler() else []))
every_rule = pytest.mark.parametrize("rule", RULES)


def made(kit, rule="adam", steps=2, dtype=np.float64, lr=None, **options):
    """An optimizer after ``steps`` updates, with new gradients in place."""
    cls, given = RULES[rule]
    lr = optim.Cosine(0.1, T=9) if lr is None else lr
    optimizer = cls(kit.parameters(0, dtype), lr, **{**given, **options})
    kit.run(optimizer, steps)
    kit.set_gradients(optimizer, kit.random_gradients(steps, optimizer))
    return optimizer


def everything(optimizer):
    """All that a step reads or writes."""
    arenas = [
        (a.data.tobytes(), a._grad.tobytes(), a.version.count, a.zeroed, a.moved,
         [leaf.fresh for leaf in a.leaves.values()])
        for a in optimizer.arenas
    ]  # fmt: skip
    state = {name: value.tobytes() for name, value in optimizer.state_dict().items()}
    now = {group: dict(h) for group, h in optimizer._now.items()}
    return arenas, state, now, optimizer.steps, optimizer.form


@every_rule
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_the_step_gives_the_last_lines_result(kit, rule, options, form):
    hyper, given = OPTIONS[options]
    optimizer = made(kit, rule, form=form, **hyper)
    told = {
        (name, index): explain_step(optimizer, name, index, **given)
        for name, index in [("body.weight", (4, 1)), ("body.weight", None), ("head.bias", None)]
    }
    before = kit.by_name(optimizer)
    optimizer.step(**given)
    after, state = kit.by_name(optimizer), optimizer.state_dict()
    for (name, _), explanation in told.items():
        assert explanation.lines[-1].name == "theta"
        at = ... if explanation.index is None else explanation.index
        np.testing.assert_array_equal(explanation.before["theta"], before[name][at])
        tolerance = {"rtol": 0, "atol": 0} if form == "formula" else {"rtol": 1e-12, "atol": 1e-14}
        found = {line.name: line.result for line in explanation.lines}
        np.testing.assert_allclose(found["theta"], after[name][at], **tolerance)
        for key in optimizer.state_buffers.names:
            np.testing.assert_allclose(found[key], state[f"{key}/{name}"][at], **tolerance)


@every_rule
def test_float32_to_the_bit(kit, rule):
    optimizer = made(kit, rule, dtype=np.float32, form="formula", l2=0.1)
    explanation = explain_step(optimizer, "head.bias")
    assert explanation.lines[-1].result.dtype == np.float32
    optimizer.step()
    after = kit.by_name(optimizer)["head.bias"]
    np.testing.assert_array_equal(explanation.lines[-1].result, after)


@every_rule
def test_nothing_is_changed(kit, rule):
    optimizer = made(kit, rule)
    kept, trace = everything(optimizer), sys.gettrace()
    str(explain_step(optimizer, scale=0.5, clip_value=0.1))
    assert everything(optimizer) == kept
    assert sys.gettrace() is trace


@every_rule
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_each_line_is_its_formula_with_its_numbers(kit, rule, lang):
    hyper, given = OPTIONS["all"]
    explanation = explain_step(made(kit, rule, **hyper), "body.weight", (0, 0), lang=lang, **given)
    library = {"sqrt": np.sqrt, "sign": np.sign, "clip": np.clip, "maximum": np.maximum, "abs": abs}
    library["math"] = np
    rate, *lines = explanation.lines
    assert rate.result == optim.Cosine(0.1, T=9)(2)
    for line in lines:
        assert line.latex
        assert line.substituted
        assert not re.search(r"[a-z_]{2,}(?!\w*\()", re.sub(r"\d(e[+-]\d+)", "1", line.text)), line
        # the shown code with the whole numbers gives the result; with six digits, nearly
        np.testing.assert_allclose(eval(line.text, library), line.result, rtol=2e-5, atol=2e-6)
    text = str(explanation)
    assert explanation.title in text.splitlines()[0]
    assert ("梯度" in text) == (lang == "zh")
    assert len([x for x in text.splitlines() if re.match(r" ?\d+\. ", x)]) == len(lines) + 1


def test_the_lines_come_in_the_executors_order(kit):
    hyper, given = OPTIONS["all"]
    explanation = explain_step(made(kit, "adam hat", **hyper), "body.weight", (0, 0), **given)
    reasons = [(line.reason, line.name) for line in explanation.lines]
    assert reasons == [
        ("rate", "eta"), ("scaled", "g"), ("clipped", "g"), ("penalised", "g"),
        ("decayed", "theta"), ("rule", "m"), ("rule", "v"), ("rule", "alpha"), ("rule", "theta"),
        ("threshold", "theta"),
    ]  # fmt: skip
    formulas = {line.name: line.latex for line in explanation.lines if line.reason == "rule"}
    assert formulas == {
        "m": r"\beta_{1}\,m + \left(1 - \beta_{1}\right)\,g",
        "v": r"\beta_{2}\,v + \left(1 - \beta_{2}\right)\,g^{2}",
        "alpha": r"\frac{\eta\,\sqrt{1 - \beta_{2}^{t}}}{1 - \beta_{1}^{t}}",
        "theta": r"\theta - \frac{\alpha\,m}{\sqrt{v} + \varepsilon}",
    }
    penalty = explanation.lines[3]
    assert penalty.latex == (
        r"g + \lambda_{2}\,\theta + \lambda_{1}\,\operatorname{sign}\left(\theta\right)"
    )
    assert penalty.values["l2"] == 0.1
    assert penalty.values["theta"] == explanation.before["theta"]  # not yet decayed


def test_only_what_happens_is_told(kit):
    explanation = explain_step(made(kit, "keras nesterov", lr=0.1), "body.weight", (0, 0))
    assert [line.source for line in explanation.lines] == [
        "eta = 0.1",
        "v = mu * v - eta * g",
        "theta = theta + (mu * v - eta * g if nesterov else v)",
    ]
    assert explanation.lines[-1].latex == r"\theta + \mu\,v - \eta\,g"
    bias = explain_step(made(kit, weight_decay=0.1, l2=0.1), "body.bias")
    assert {line.reason for line in bias.lines} == {"rate", "rule"}


def test_which_parameter_and_element(kit):
    optimizer = made(kit)
    gradient = kit.by_name(optimizer, "_grad")["body.weight"]
    explanation = explain_step(optimizer)
    assert explanation.parameter == "body.weight"
    assert abs(gradient[explanation.index]) == np.abs(gradient).max()
    assert explanation.title.endswith(f"body.weight[{', '.join(map(str, explanation.index))}]")
    whole = explain_step(optimizer, "head.weight")
    assert whole.index is None
    assert whole.lines[-1].result.shape == (3, 2)
    lr = explain_step(made(kit, groups={"h": {"match": "head.*", "lr": 0.5}}), "head.bias").lines[0]
    assert lr.result == 0.5

    def falling(step):
        return 0.1 / (step + 1)

    assert explain_step(made(kit, lr=falling)).lines[0].source == "eta = falling(2)"


def divided(optimizer):
    half = len(optimizer.arenas[0]) // 2
    optimizer.own([Owned(slice(0, half), optimizer.arenas[0].grad[:half])])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"parameter": "body.weigth"}, "did you mean 'body.weight'"),
        (None, {"parameter": "body.weight", "index": (5, 0)}, "index .5, 0. is not in parameter"),
        (None, {"parameter": "body.weight", "index": (-1, 0)}, "is not in parameter"),
        (None, {"parameter": "body.weight", "index": (0,)}, "2 whole numbers"),
        (None, {"parameter": "body.bias", "index": 0}, "a tuple of 1"),
        (None, {"parameter": "body.bias", "index": (0.5,)}, "whole numbers"),
        (None, {"scale": -1}, "scale"),
        (None, {"clip_value": 0}, "clip_value"),
        (None, {"lang": "fr"}, "language"),
        (lambda o: o.zero_grad(), {}, "no gradient yet"),
        (divided, {}, "divided among ranks"),
        (lambda o: setattr(o.arenas[0], "moved", True), {}, "have moved"),
    ],
)
def test_mistakes_are_told_in_a_sentence(kit, change, options, message):
    optimizer = made(kit, steps=0)
    if change:
        change(optimizer)
    with pytest.raises(InputError, match=message):
        explain_step(optimizer, **options)


@every_rule
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_html_is_escaped_and_well_formed(kit, rule, lang):
    etree = pytest.importorskip("xml.etree.ElementTree")
    pytest.importorskip("latex2mathml")
    cls, given = RULES[rule]
    name = '<script>"&'
    optimizer = cls(kit.parameters(0, shapes={name: (2, 2)}), 0.1, **given, l1=0.1)
    kit.set_gradients(optimizer, kit.random_gradients(0, optimizer))
    explanation = explain_step(optimizer, lang=lang)
    html = explanation._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    rows = etree.fromstring(html).findall(".//tbody/tr")
    assert len(rows) == len(explanation.lines) + 1
    assert html.count("<math") > len(rows)


class Odd(optim.Optimizer):
    """A rule of one's own: in place of the formulas above, what they do not do."""

    state = ("v",)

    @staticmethod
    def formula(theta, g, v, *, eta):
        factor: float = 2
        theta, step = theta - eta * g, len(str([0 for _ in g]))
        if factor > 3:
            v = 0 * g
        v = v + sum(x for x in [g]) / step
        w = v
        return theta, w

    in_place = None
    constants = None


exec(  # no file holds this source
    "def hidden(theta, g, v, *, eta):\n    v = v + g\n    return theta - eta * v, v\n", globals()
)


class Hidden(Odd):
    formula = staticmethod(hidden)  # noqa: F821


@pytest.mark.parametrize("rule", [Odd, Hidden])
def test_rules_of_ones_own(kit, rule):
    optimizer = rule(kit.parameters(), 0.1, form="formula")
    kit.set_gradients(optimizer, kit.random_gradients(0, optimizer))
    explanation = explain_step(optimizer, "head.bias")
    assert explanation.lines[-1].name == "theta"
    assert str(explanation)
    if rule is Hidden:
        assert [(x.name, x.source, x.latex) for x in explanation.lines[1:]] == [
            ("v", "", ""), ("theta", "", ""),
        ]  # fmt: skip
    optimizer.step()
    after = kit.by_name(optimizer)["head.bias"]
    np.testing.assert_array_equal(explanation.lines[-1].result, after)


def test_tracing_ends_where_a_formula_raises():
    def failing_step(theta):
        raise RuntimeError("no")

    before = sys.gettrace()
    with pytest.raises(RuntimeError, match="no"):
        followed(failing_step, ("theta",), float, 1.0)
    assert sys.gettrace() is before


def test_every_formula_is_followed_statement_by_statement():
    """Each assignment of a numbers' name in the source that runs is a line."""
    value, lines = followed(
        optim.adam_step, ("theta", "m", "v"), float, 1.0, 0.5, 0.0, 0.0, 1,
        eta=0.1, beta1=0.9, beta2=0.99, epsilon=1e-8,
    )  # fmt: skip
    _, statements = _following._statements(optim.adam_step.__code__)
    assigned = [s.targets[0].id for s in statements if isinstance(s, ast.Assign)]
    assert [line.name for line in lines] == [*assigned, "theta"]
    assert value[0] == lines[-1].after


# --- Two conventions


def by_hand(kind, gradients, rates):
    """θ after each update, in scalar Python, both conventions."""
    a = b = 1.0
    va = vb = 0.0
    for g, eta in zip(gradients, rates):
        if kind == "momentum":
            va, vb = 0.9 * va - eta * g, 0.9 * vb + g
            a, b = a + va, b - eta * vb
        yield a, b


@pytest.mark.article("F3", code="minigrad.optim.compare_conventions")
def test_f3_momentum_conventions_agree_until_the_rate_changes():
    gradients = np.sin(np.arange(12.0)) + 0.5
    rates = [0.1] * 7 + [0.01] * 5
    found = compare_conventions("momentum", list(gradients), rates.__getitem__, 12)
    expected = list(by_hand("momentum", gradients, rates))
    np.testing.assert_allclose([row[2:4] for row in found.rows], expected, rtol=1e-13)
    assert found.parts == 8  # the first update at another rate
    assert [row[0] for row in found.rows] == list(range(1, 13))
    constant = compare_conventions("momentum", schedule=0.1, steps=40)
    assert constant.parts is None
    assert max(row[4] for row in constant.rows) < 1e-10


@pytest.mark.article("A2", code="minigrad.optim.compare_conventions")
def test_a2_the_places_of_epsilon():
    first = compare_conventions("adam", theta=0.0).rows[0]
    assert -first[2] == pytest.approx(5.0e-4, rel=1e-2)
    assert -first[3] == pytest.approx(3.1e-5, rel=2e-2)
    assert compare_conventions("adam").parts == 1
    assert compare_conventions("adam", [1.0] * 10, tolerance=1e-6).parts is None  # large gradients


@pytest.mark.parametrize(
    ("kind", "parts"), [("nesterov", 6), ("adamw", 6), ("rmsprop", 1), ("momentum", 6)]
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_where_conventions_part(kind, parts, lang):
    found = compare_conventions(kind, lang=lang)
    assert found.parts == parts
    text = str(found)
    assert all(name in text for name in found.names)
    assert str(parts) in text.splitlines()[-1]
    assert ("约定" in text) == (lang == "zh")
    html = found._repr_html_()
    assert html.count("<tr>") == len(found.rows) + 1
    if kind in ("nesterov", "adamw"):
        assert compare_conventions(kind, schedule=0.1, steps=30).parts is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "adm"}, "did you mean 'adam'"),
        ({"gradients": [1.0], "steps": 2}, "2 steps need 2 gradients, but 1"),
        ({"schedule": -1}, "schedule"),
        ({"steps": 0}, "steps"),
        ({"tolerance": -1}, "tolerance"),
        ({"lang": "fr"}, "language"),
    ],
)
def test_mistakes_in_a_comparison(options, message):
    with pytest.raises(InputError, match=message):
        compare_conventions(**options)


def test_what_diverges_parts():
    with np.errstate(over="ignore", invalid="ignore"):
        found = compare_conventions(
            "momentum", lambda x: float(np.float64(x) ** 3), 1.0, 30, theta=9.0
        )
    assert found.parts is not None
    assert str(found)
