"""The rules for Chinese translations, and the translations themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
translations = pytest.importorskip(
    "docs.translations", reason="the documentation is not in this distribution"
)
problems = translations.problems
FILES = translations.files()
PAGES = [
    path.relative_to(folder).with_suffix("").as_posix()
    for folder, pattern in ((ROOT / "docs", "*.md"), (ROOT, "tutorials/[0-9][0-9]_*.py"))
    for path in folder.glob(pattern)
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_translation_keeps_the_rules(path: Path) -> None:
    pytest.importorskip("babel")
    assert list(translations.in_file(path)) == []


def test_there_are_translations() -> None:
    if not FILES:
        pytest.skip("nothing is translated yet: docs/locale/zh_CN has no .po files")
    there = {path.relative_to(translations.LOCALE).with_suffix("").as_posix() for path in FILES}
    assert {page for page in PAGES if translations.required(page)} <= there


RIGHT_RST = [
    (
        "A :term:`loss` often falls steeply in one direction and hardly at all in another.",
        ":term:`损失 <loss>`\\ 往往沿一个方向陡降，沿另一个方向几乎不变。",
    ),
    (
        "gives the parameters a :term:`velocity` :math:`v`, which keeps a share :math:`\\beta` of "
        "itself:",
        "给参数一个\\ :term:`速度 <velocity>`\\ ：:math:`v` 保留自身的 :math:`\\beta` 倍：",
    ),
    (
        "With η above 2 the second would grow without end.",
        "η 大于 2 时，第二个数会无限增大。",
    ),
    (
        "``optim.SGD`` with ``momentum`` is this formula. Both must agree:",
        "带 ``momentum`` 的 ``optim.SGD`` 就是这个公式。两者必须一致：",
    ),
    (
        '*"Momentum is a larger learning rate."* Along a gradient that stays the same it is: '
        "steps grow to :math:`\\eta/(1-\\beta)`.",
        "*“动量法就是更大的学习率。”* 沿着不变的梯度的确如此："
        "步长会增大到 :math:`\\eta/(1-\\beta)`。",
    ),
    (
        "Words: :term:`momentum` · :term:`learning rate`",
        "术语：:term:`动量法 <momentum>` · :term:`学习率 <learning rate>`",
    ),
    ("See `the paper <https://distill.pub/2017>`_.", "见\\ `论文 <https://distill.pub/2017>`_。"),
    ("On two ranks it takes 3.5 s.", "在 2 个进程上需要 3.5 秒。"),
    ("v_{t+1} = \\beta v_t - \\eta \\nabla J(\\theta_t)\n", ""),
    ("NumPy", ""),
    ("``python -m docs.build``", ""),
    ("1,797", "1,797"),
]
RIGHT_MD = [
    ("Take {term}`momentum` with $\\beta = 0.9$.",
     "取 $\\beta = 0.9$ 的{term}`动量法 <momentum>`。"),
    ("`loss.backward()` runs [backpropagation](concepts.md).",
     "`loss.backward()` 执行[反向传播](concepts.md)。"),
    ("The mini-batches:\n$$x = y$$", "各个小批量：\n$$x = y$$"),
    ("**Loss.** The rest follows.", "**损失**。其余随之而来。"),
    ("Read <https://mpich.org> first.", "先读 <https://mpich.org>。"),
]  # fmt: skip


@pytest.mark.parametrize(("msgid", "msgstr"), RIGHT_RST)
def test_a_right_translation_in_rst(msgid: str, msgstr: str) -> None:
    if not msgstr and not any(c in msgid for c in "=`"):
        msgstr = msgid
    assert problems(msgid, msgstr) == []


@pytest.mark.parametrize(("msgid", "msgstr"), RIGHT_MD)
def test_a_right_translation_in_markdown(msgid: str, msgstr: str) -> None:
    assert problems(msgid, msgstr, "md") == []


WRONG = [
    # formulas, code, links
    ("Take :math:`\\eta`.", "取 :math:`\\beta`。", "formula missing: \\eta", "rst"),
    ("Take :math:`x`.", "取 :math:`x`，再取 :math:`x`。", "formula that the original", "rst"),
    ("Take $x$ and $x$.", "取 $x$。", "formula missing: x", "md"),
    ("Take $$a = b$$ here.", "这里取 $$a = c$$。", "formula missing: a = b", "md"),
    ("Take {math}`x`.", "取 x。", "formula missing: x", "md"),
    ("a_1 = b_1", "a_1 = b_2", "the formula was changed", "rst"),
    ("Call ``fit``.", "调用 ``Fit``。", "code missing: fit", "rst"),
    ("Call `fit`.", "调用 fit。", "code missing: fit", "md"),
    ("See [it](a.md).", "见[它](b.md)。", "link or reference missing: a.md", "md"),
    ("See `it <https://a.org>`_.", "见\\ `它 <https://b.org>`_。", "missing: https://a.org", "rst"),
    ("See :doc:`it <a>`.", "见\\ :doc:`它 <它>`。", "link or reference missing: a", "rst"),
    ("A :term:`velocity`.", "一个\\ :term:`速度`。", "link or reference missing: velocity", "rst"),
    # numbers
    ("It takes 1e-3 s.", "需要 1e-4 秒。", "number missing: 1e-3", "rst"),
    ("It takes 0.9 s.", "需要 0.09 秒。", "number that the original has not: 0.09", "rst"),
    ("Article D2 says so.", "文章 D3 这样说。", "number missing: D2", "rst"),
    ("With β above it.", "超过它时。", "symbol missing: β", "rst"),
    # glossary
    ("Gradient descent is slow.", "梯度法很慢。", "'gradient descent' should be 梯度下降", "rst"),
    ("Learning-rate decay helps.", "学习率减小有用。", "'learning-rate decay'", "rst"),
    ("All gradients add up.", "所有导数相加。", "'gradient' should be 梯度", "rst"),
    ("Data sets differ.", "数据不同。", "'data set' should be 数据集", "rst"),
    ("Many minibatches follow.", "后面还有很多批次。", "'mini-batch' should be 小批量", "rst"),
    ("Good initialization helps.", "好的起点有用。", "'initialisation' should be 初始化", "rst"),
    ("These are local minima.", "这些是极值。", "'local minimum' should be", "rst"),
    # left in English
    ("It has not arrived.", "", "it is not translated: It has not arrived", "rst"),
    ("Momentum", "Momentum", "it is not translated: Momentum", "rst"),
    (":term:`velocity`", ":term:`velocity`", "it is not translated: velocity", "rst"),
    # punctuation and space
    ("It grows, it ends.", "它增大,然后结束。", "ASCII punctuation after a Chinese", "rst"),
    ("It grows.", "它增大.", "ASCII punctuation after a Chinese", "rst"),
    ("Call ``fit``.", "调用 ``fit``.", "the sentence ends with the ASCII '.'", "rst"),
    ("It grows (ends).", "它增大(结束)。", "ASCII parentheses", "rst"),
    ("It is 'big'.", '它很"大"。', "ASCII quotes", "rst"),
    ("It grows, ends.", "它增大 ，结束。", "a space before full-width punctuation", "rst"),
    ("It grows, ends.", "它增大， 结束。", "a space after full-width punctuation", "rst"),
    ("It grows.", "它 增大。", "a space between Chinese characters", "rst"),
    ("A :term:`loss`.", "一个 :term:`损失 <loss>`。", "a space between Chinese characters", "rst"),
    # markup that would not be read
    ("Call ``fit`` now.", "现在调用``fit``。", "RST wants a space or '\\ ' around ``fit``", "rst"),
    ("It is *big*.", "它很*大*。", "RST wants a space or '\\ ' around *大*", "rst"),
    ("**End.** Then.", "**结束。**然后。", "Markdown wants the punctuation outside", "md"),
    ("Take $x$ now.", "现在\\ $x$。", "'\\ ' belongs to RST", "md"),
]  # fmt: skip


@pytest.mark.parametrize(("msgid", "msgstr", "sentence", "markup"), WRONG)
def test_a_wrong_translation_is_told(msgid: str, msgstr: str, sentence: str, markup: str) -> None:
    said = problems(msgid, msgstr, markup)
    assert any(sentence in problem for problem in said), said
    assert len(said) <= 2


@pytest.mark.parametrize(
    ("msgid", "msgstr", "comment"),
    [
        ("Recall that it ends.", "别忘了它会结束。", "other sense: recall"),
        ("It scores a model.", "它给方案打分。", "other sense: label, Model"),
        ("Kingma and Ba, Adam, 2015.", "Kingma and Ba, Adam, 2015.", "stays English"),
    ],
)
def test_a_comment_makes_an_exception(msgid: str, msgstr: str, comment: str) -> None:
    assert problems(msgid, msgstr)
    assert problems(msgid, msgstr, comments=[comment]) == []


def test_the_longest_term_alone_is_asked_for() -> None:
    (said,) = problems("Stochastic gradient descent wanders.", "它在徘徊。")
    assert said == "'stochastic gradient descent' should be 随机梯度下降"


HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'


@pytest.mark.parametrize(
    ("name", "message", "lines"),
    [
        ("tutorials/04_momentum", 'msgid "It ends."\nmsgstr ""', ["4: it is not translated"]),
        ("howto/gpu", 'msgid "It ends."\nmsgstr ""', []),
        ("howto/gpu", 'msgid "It ends at 3."\nmsgstr "它结束。"', ["4: number missing: 3"]),
        ("start", '#, fuzzy\nmsgid "It ends."\nmsgstr "它结束。"', ["5: it is marked fuzzy"]),
        ("start", '# other sense: recall\nmsgid "Recall it."\nmsgstr "记住它。"', []),
        ("index", 'msgid "Call `f`."\nmsgstr "调用`f`。"', []),
        ("tutorials/index", 'msgid "Call ``f``."\nmsgstr "调用``f``。"', ["4: RST wants"]),
    ],
)
def test_a_file_is_read_and_its_lines_are_named(
    tmp_path: Path, name: str, message: str, lines: list[str]
) -> None:
    pytest.importorskip("babel")
    path = tmp_path / "some.po"
    path.write_text(HEADER + message + "\n", encoding="utf-8")
    said = list(translations.in_file(path, name))
    assert len(said) == len(lines)
    assert all(f"{path}:{start}" in line for line, start in zip(said, lines))


def test_the_command_prints_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("babel")
    path = tmp_path / "start.po"
    path.write_text(HEADER + 'msgid "It ends."\nmsgstr "它结束."\n', encoding="utf-8")
    assert translations.main([str(path)]) == 1
    assert "start.po:4: ASCII punctuation" in capsys.readouterr().out
    path.write_text(HEADER + 'msgid "It ends."\nmsgstr "它结束。"\n', encoding="utf-8")
    assert translations.main([str(path)]) == 0
    assert translations.main([str(tmp_path / "none.po")]) == 2
    assert "none.po" in capsys.readouterr().out
