"""Formulas from code: what they look like, that they mean the code, and whose source they are."""

import ast
import functools
import linecache
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigrad.ops  # noqa: F401
from minigrad.autograd.plan import functions
from minigrad.errors import InputError
from minigrad.latex import formula_of, latex, source_of

CASES = {
    # arithmetic, with the fewest parentheses
    "a + (b + c)": "a + b + c",
    "a - (b + c)": r"a - \left(b + c\right)",
    "a - (b - c)": r"a - \left(b - c\right)",
    "(a - b) - c": "a - b - c",
    "a + -b": r"a + \left(-b\right)",
    "-a + b": "-a + b",
    "-(a + b)": r"-\left(a + b\right)",
    "-(-a)": r"-\left(-a\right)",
    "+a": "a",
    "a * (b * c)": r"a\,b\,c",
    "a * -b": r"a\,\left(-b\right)",
    "-a * b": r"-a\,b",
    "(a + b) * (a - b)": r"\left(a + b\right)\,\left(a - b\right)",
    "2 * a * 3": r"2\,a \cdot 3",
    "2 * (a / b)": r"2 \cdot \frac{a}{b}",
    "a / b / c": r"\frac{\frac{a}{b}}{c}",
    "-g * y / b": r"-\frac{g\,y}{b}",
    "(-a + b) / c": r"\frac{-a + b}{c}",
    "(a / b) * c": r"\frac{a}{b}\,c",
    "y * y": "y^{2}",
    "g - g * y * y": r"g - g\,y^{2}",
    "a ** b ** c": "a^{b^{c}}",
    "(a ** b) ** c": r"\left(a^{b}\right)^{c}",
    "-a ** 2": "-a^{2}",
    "(-a) ** 2": r"\left(-a\right)^{2}",
    "(a / b) ** 2": r"\left(\frac{a}{b}\right)^{2}",
    "a // b": r"\left\lfloor \frac{a}{b}\right\rfloor",
    "a % b + c": r"\left(a \bmod b\right) + c",
    "a @ b @ c": r"a\,b\,c",
    "a @ (b * c)": r"a\,\left(b\,c\right)",
    "a * b @ c": r"\left(a\,b\right)\,c",
    "X @ X": r"X\,X",
    "x.T @ g": r"x^{\top}\,g",
    "x.T ** 2": r"\left(x^{\top}\right)^{2}",
    # numbers
    "1.0 * a + 0.5": r"1\,a + 0.5",
    "1e-8": "10^{-8}",
    "2.5e-07 * a": r"2.5 \cdot 10^{-7}\,a",
    "math.inf": r"\infty",
    "xp.pi": r"\pi",
    # names
    "beta1 ** t": r"\beta_{1}^{t}",
    "theta - eta * m_hat / (xp.sqrt(v_hat) + epsilon)":
        r"\theta - \frac{\eta\,\hat{m}}{\sqrt{\hat{v}} + \varepsilon}",
    "lam * gamma": r"\lambda\,\gamma",
    "x_new": r"x_{\text{new}}",
    "x_i": "x_{i}",
    "w12": "w_{12}",
    "weight_decay": r"\text{weight decay}",
    "slope": r"\text{slope}",
    "_g": "g",
    "x[i, 0]": "x_{i, 0}",
    "x_new[i]": r"{x_{\text{new}}}_{i}",
    "x[1:, ..., None]": r"x_{1:, \ldots, \text{None}}",
    "h['eta'] * g": r"\eta\,g",
    # comparisons, logic, choices
    "g * (y > 0)": r"g\,\left[y > 0\right]",
    "0 <= x < 1": r"0 \le x < 1",
    "(a > 0) & (b != c)": r"a > 0 \land b \ne c",
    "a or b and c": r"a \lor \left[b \land c\right]",
    "~(a == b)": r"\lnot \left[a = b\right]",
    "xp.where(y > 0, g, slope * g)":
        r"\begin{cases} g & \text{if } y > 0 \\ \text{slope}\,g & \text{otherwise} \end{cases}",
    "xp.where(a > b, g, xp.where(a == b, 0.5 * g, 0.0))":
        r"\begin{cases} g & \text{if } a > b \\ 0.5\,g & \text{if } a = b \\ "
        r"0 & \text{otherwise} \end{cases}",
    "eta * (a if nesterov else b)":
        r"\eta\,\begin{cases} a & \text{if } \text{nesterov} \\ b & \text{otherwise} \end{cases}",
    # calls
    "xp.exp(-x)": "e^{-x}",
    "xp.log1p(x)": r"\log\left(1 + x\right)",
    "np.expm1(x) * y": r"\left(e^{x} - 1\right)\,y",
    "abs(x)": r"\left|x\right|",
    "xp.abs(x) ** 2": r"\left|x\right|^{2}",
    "xp.square(x)": "x^{2}",
    "xp.tanh(x) * xp.cos(x)": r"\tanh\left(x\right)\,\cos\left(x\right)",
    "xp.maximum(x, 0)": r"\max\left(x, 0\right)",
    "xp.sign(x)": r"\operatorname{sign}\left(x\right)",
    "xp.clip(d, -delta, delta)": r"\operatorname{clip}\left(d, -\delta, \delta\right)",
    "array_module(v).sqrt(v)": r"\sqrt{v}",
    "xp.linalg.norm(x)": r"\left\lVert x\right\rVert",
    "global_norm(x)": r"\left\lVert x\right\rVert",
    "xp.sum(g * y, axis=axis, keepdims=True)": r"\sum_{\text{axis}} g\,y",
    "xp.sum(a + b, 1)": r"\sum_{\text{axis }1} \left(a + b\right)",
    "x.sum() * y": r"\left(\sum x\right)\,y",
    "y * x.sum(axis=None)": r"y\,\sum x",
    "-x.sum() * y": r"\left(-\sum x\right)\,y",
    "y * -x.sum()": r"y\,\left(-\sum x\right)",
    "a @ x.sum() * y": r"\left(a\,\sum x\right)\,y",
    "xp.mean(x, axis=-1)": r"\operatorname{mean}_{\text{axis }-1}\left(x\right)",
    "max(a, b)": r"\max\left(a, b\right)",
    "product(xp, g, W.T)": r"g\,W^{\top}",
    "xp.true_divide(a, b)": r"\frac{a}{b}",
    "xp.swapaxes(x, -1, -2)": r"x^{\top}",
    "x.transpose()": r"x^{\top}",
    "xp.swapaxes(x, a, b)": r"\operatorname{swapaxes}\left(x, a, b\right)",
    "g.reshape(s)": r"\operatorname{reshape}\left(g, s\right)",
    "x.shape": r"\operatorname{shape}\left(x\right)",
    "within(xp, sigmoid, z)": r"\sigma\left(z\right)",
    "trust_ratio(theta, r)": r"\text{trust ratio}\left(\theta, r\right)",
    "f(x, k=2, out=y)": r"\operatorname{f}\left(x, k = 2\right)",
    "f()": r"\operatorname{f}\left(\right)",
    "(a, [b, c])": r"\left(a, \left(b, c\right)\right)",
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), CASES.items(), ids=list(CASES))
def test_an_expression_as_latex(code, expected):
    assert latex(code) == expected == latex(ast.parse(code, mode="eval").body)


def test_every_result_becomes_mathml():
    convert = pytest.importorskip("latex2mathml.converter").convert
    for expected in CASES.values():
        assert convert(expected).startswith("<math")


@pytest.mark.parametrize(
    ("code", "names", "expected"),
    [
        ("g * y", {"g": r"\bar{y}"}, r"\bar{y}\,y"),
        ("a ** 2", {"a": "x^{*}"}, r"\left(x^{*}\right)^{2}"),
        ("f(x)", {"f": "f"}, r"f\left(x\right)"),
    ],
)
def test_names_are_the_callers(code, names, expected):
    assert latex(code, names) == expected


@pytest.mark.parametrize(
    "code",
    ["[x for x in y]", "lambda: 1", "'text'", "f(*x)", "f(**h)", "a is b", "a << b", "f(x)(y)",
     "h['<b>']", "1j", "a +", "a)(", "a = b", "\0"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(code):
    with pytest.raises(InputError, match=r"formula|no Python expression|no name"):
        latex(code)


# --- The meaning: LaTeX is read back by a parser that knows only how mathematics is written.


def sigma(x):
    """Stands for a sum over an axis: neither linear nor multiplicative, so that reach shows."""
    return x * x + 3


LIBRARY = {"sqrt": lambda x: x * x + 2, "abs": abs, "sum": sigma}


class Reader:
    """Juxtaposition is a product, Σ takes the product that follows, brackets are Iverson's."""

    def __init__(self, text, values):
        self.text, self.values = text, values

    def take(self, token):
        self.text = self.text.lstrip(" ")
        found = self.text.startswith(token)
        self.text = self.text[len(token) :] if found else self.text
        return found

    def between(self, end):
        value = self.relation()
        assert self.take(end), self.text
        return value

    def group(self):
        assert self.take("{"), self.text
        return self.between("}")

    def relation(self):
        a = self.sum()
        if self.take(">"):
            return Fraction(a > self.sum())
        return Fraction(a <= self.sum()) if self.take(r"\le") else a

    def sum(self):
        value = -self.product() if self.take("-") else self.product()
        while True:
            if self.take("+"):
                value += self.product()
            elif self.take("-"):
                value -= self.product()
            else:
                return value

    def product(self):
        value = self.power()
        while self.take(r"\,") or self.take(r"\cdot"):
            value *= self.power()
        return value

    def power(self):
        value = self.atom()
        if self.take("^"):
            value **= int(self.group())
            assert not self.take("^"), "a double superscript"
        return value

    def atom(self):
        if self.take(r"\frac"):
            return self.group() / self.group()
        if self.take(r"\sqrt"):
            return LIBRARY["sqrt"](self.group())
        if self.take(r"\sum"):
            return sigma(self.product())
        for left, right, f in (("(", ")", Fraction), ("[", "]", Fraction), ("|", "|", abs)):
            if self.take(rf"\left{left}"):
                return f(self.between(rf"\right{right}"))
        if self.take(r"\begin{cases}"):
            chosen = None
            while True:
                value = self.between("&")
                if self.take(r"\text{otherwise} \end{cases}"):
                    return value if chosen is None else chosen
                assert self.take(r"\text{if }"), self.text
                if self.between(r"\\") and chosen is None:
                    chosen = value
        name = next(n for n in (*self.values, *"0123456789") if self.take(n))
        return self.values.get(name) if name in self.values else Fraction(int(name))


class Exact(ast.NodeTransformer):
    """Numbers as fractions, so that both sides are exact; powers as they are."""

    def visit_Constant(self, node):
        return ast.Call(ast.Name("Fraction", ast.Load()), [node], [])

    def visit_BinOp(self, node):
        node.left = self.visit(node.left)
        node.right = node.right if isinstance(node.op, ast.Pow) else self.visit(node.right)
        return node


def _trees(depth):
    """Full of operators to the bottom: small trees hold no question of precedence."""
    if depth == 0:
        return st.sampled_from(["a", "b", "c", "2", "7"])
    inner = _trees(depth - 1)
    two = st.builds("({} {} {})".format, inner, st.sampled_from("+-*/+-*"), inner)
    return st.one_of(
        two,
        two,
        two,
        two,
        inner.map("(-{})".format),
        st.builds("({} ** {})".format, inner, st.integers(0, 3)),
        st.builds("{}({})".format, st.sampled_from(["sum", "sum", "abs", "sqrt"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from([">", "<="]), inner),
        st.builds("({} if {} else {})".format, *[_trees(0), inner, _trees(0)]),
    )


TREES = st.one_of(_trees(2), _trees(3))
VALUES = st.permutations([Fraction(-3, 2), Fraction(5, 3), Fraction(2, 7), Fraction(0)])


@settings(max_examples=300)
@given(TREES, VALUES)
def test_the_latex_means_what_the_code_computes(code, values):
    values = dict(zip("abc", values))
    tree = ast.fix_missing_locations(Exact().visit(ast.parse(code, mode="eval")))
    try:
        expected = Fraction(
            eval(compile(tree, "", "eval"), {**LIBRARY, **values, "Fraction": Fraction})
        )
        assume(abs(expected) < 10**40)
    except ZeroDivisionError:
        assume(False)
    reader = Reader(latex(code), values)
    assert reader.relation() == expected
    assert not reader.text.strip()


# --- The source of a rule


def rules(**given):
    return given


ONE_LINE = rules(a=lambda g, b: g / b, b=lambda g, b, y: -g * y / b, c=lambda g, b: g * b)
LINES = rules(
    a=lambda xp, g: (
        g
        + 1
    ),
    b=lambda g, *rest, k=1, **h: lambda g, *rest, k=1, **h: (g, rest, k, h), ä=lambda ü: ü * 2,
)  # fmt: skip
SCALE = 3


def closure(factor):
    return [lambda g: factor * g, lambda g: g * factor, lambda g: SCALE * g]


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (ONE_LINE["a"], "lambda g, b: g / b"),
        (ONE_LINE["b"], "lambda g, b, y: -g * y / b"),
        (ONE_LINE["c"], "lambda g, b: g * b"),
        (LINES["a"], "lambda xp, g: (\n    g\n    + 1\n)"),
        (LINES["b"], "lambda g, *rest, k=1, **h: lambda g, *rest, k=1, **h: (g, rest, k, h)"),
        (LINES["b"](1), "lambda g, *rest, k=1, **h: (g, rest, k, h)"),
        (LINES["ä"], "lambda ü: ü * 2"),
        *zip(closure(2), ["lambda g: factor * g", "lambda g: g * factor", "lambda g: SCALE * g"]),
    ],
)
def test_of_several_lambdas_the_right_one(rule, source):
    found = source_of(rule)
    if rule is LINES["a"]:  # its later lines lose the first one's indentation
        assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(source))
        assert found.endswith("\n)")
    else:
        assert found == source


def documented(g, y):
    """A docstring."""
    return g * (1 - y)


def long(g):
    y = g + 1
    return y * y


def empty(g):
    pass


def nothing(g):
    return


def test_a_functions_source_and_formula():
    assert source_of(documented).startswith('def documented(g, y):\n    """A docstring."""')
    assert formula_of(documented, {"g": r"\bar{y}"}) == r"\bar{y}\,\left(1 - y\right)"
    assert source_of(functools.wraps(documented)(lambda: 0)) == source_of(documented)
    assert formula_of(ONE_LINE["b"]) == r"-\frac{g\,y}{b}"
    assert formula_of(LINES["a"]) == "g + 1"
    for rule in (long, empty, nothing, LINES["b"], functools.partial, len, np.add):
        assert formula_of(rule) is None


@pytest.mark.parametrize("rule", [len, np.add, functools.partial(long, 1), eval("lambda g: g")])
def test_without_source_there_is_none(rule):
    assert source_of(rule) == ""
    assert formula_of(rule) is None


def test_an_interactive_session_has_no_source():
    code = (
        "from minigrad.latex import formula_of, source_of\nf = lambda g: g\n"
        "def h(g):\n return g\n\nprint([source_of(f), source_of(h), formula_of(f)])\n"
    )
    found = subprocess.run(
        [sys.executable, "-i"], input=code, capture_output=True, text=True, check=True
    )
    assert "['', '', None]" in found.stdout


@pytest.mark.parametrize("text", ["\nf = lambda h: h\n", "f = 1\n", "f = ("])
def test_a_file_that_has_changed_gives_no_wrong_source(text):
    name = f"<changed {text!r}>"
    space = {}
    exec(compile("\nf = lambda g: g", name, "exec"), space)
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    assert source_of(space["f"]) == ""
    del linecache.cache[name]


def test_every_rule_of_every_op_has_its_source():
    convert = pytest.importorskip("latex2mathml.converter").convert
    translated = 0
    ops = {name: f.op for name, f in vars(functions).items() if hasattr(f, "op")}
    for name, op in ops.items():
        for rule, parameters in op.rules.values():
            source = source_of(rule)
            assert source, name
            tree = ast.parse(f"({source}\n)", mode="eval").body if "lambda" in source[:6] else None
            if tree is not None:
                assert [arg.arg for arg in tree.args.args] == parameters
            if formula := formula_of(rule, {"g": r"\bar{y}"}):
                translated += 1
                assert convert(formula).startswith("<math")
    assert translated > 50
    assert (
        formula_of(functions.div.op.rules[("b",)][0], {"g": r"\bar{y}"}) == r"-\frac{\bar{y}\,y}{b}"
    )
