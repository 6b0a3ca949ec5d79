"""What is wrong with a Chinese translation: ``python -m docs.translations [FILE.po ...]``.

Formulas, code, links and numbers stand in it as in the original, its words are the glossary's,
its punctuation is Chinese, and nothing is left in English. A translator's comment above a message
makes an exception: ``# other sense: recall`` for words that are not the glossary's there, and
``# stays English`` for a name or a citation.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from docs.glossary import patterns

__all__ = ["LOCALE", "files", "in_file", "problems", "required"]

DOCS = Path(__file__).parent
LOCALE = DOCS / "locale" / "zh_CN" / "LC_MESSAGES"
_REQUIRED = re.compile(r"tutorials/|(index|start|concepts)$")  # articles and glossary are generated

_HELD = "\ue000"  # stands in the prose for a formula, code or an address
_URL = r"(?P<url>https?://[^\s<>()`，。；、：？！）”]+[^\s<>()`，。；、：？！）”.,;:])"
_RST = re.compile(
    rf""":math:`(?P<math>[^`]+)` | :(?P<role>[a-z][\w:+.-]*):`(?P<body>[^`]+)`
    | ``(?P<code>.+?)`` | `(?P<text>[^`<>]*?)\s*<(?P<target>[^`<>]+)>`__? | {_URL}""",
    re.VERBOSE | re.DOTALL,
)
_MD = re.compile(
    rf"""\{{math\}}`(?P<math>[^`]+)` | \{{(?P<role>[a-z][\w:+.-]*)\}}`(?P<body>[^`]+)`
    | (?P<ticks>`+)(?P<code>.+?)(?P=ticks) | (?<!\\)\$\$(?P<block>.+?)\$\$
    | (?<![\\$])\$(?P<dollar>[^$]+?)(?<!\\)\$ | \]\((?P<target>[^)\s]+)[^)]*\) | <?{_URL}>?""",
    re.VERBOSE | re.DOTALL,
)
_TARGET = re.compile(r"(.*?)\s*<([^<>]+)>", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![\w.])(?:[A-Za-z]+\d\w*|\d++(?:[.,]\d++)*+(?:e[-+−]?\d++)?+(?!-?D\b)"
    r"(?!\s+(?:thousand|million|billion)))",
    re.ASCII,
)
_SPELT = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_HAN = "[\u3400-\u4dbf\u4e00-\u9fff]"
_CHINESE = _HAN[1:-1] + "”）》"
_PUNCTUATION = {
    rf"[{_CHINESE}][,;:?!.]": "ASCII punctuation after a Chinese character, should be ，；：？！。",
    rf"\((?={_HAN})|(?<={_HAN})\)": "ASCII parentheses around Chinese, should be （ ）",
    rf"\"(?={_HAN})|(?<={_HAN})\"": "ASCII quotes around Chinese, should be “ ”",
    r"[ \t]+[，。：；？！、）》”]": "a space before full-width punctuation",
    r"[，。：；？！、（《“][ \t]+(?=\S)": "a space after full-width punctuation",
    rf"(?<={_HAN})[ \t]+{_HAN}": r"a space between Chinese characters ('\ ' in RST shows none)",
}
_NAMES = frozenset(
    {
        *("minigrad", "numpy", "cupy", "mpirun", "matplotlib", "sklearn", "scikit", "python"),
        *("jupyter", "colab", "slurm", "kubernetes", "linux", "keras", "sphinx", "hypothesis"),
        *("adam", "adagrad", "nesterov", "xavier", "glorot", "he", "kaiming", "lion", "softmax"),
        *("sigmoid", "tanh", "transformer", "logit", "logits", "digits", "wine", "moons", "ms"),
        *("sin", "cos", "exp", "log", "max", "min", "lr", "et", "al", "vs"),
    }
)


@dataclass
class _Parts:
    """A message taken apart."""

    formulas: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    targets: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[int, int]] = field(default_factory=list)
    prose: str = ""


def _parts(text: str, markup: str) -> _Parts:
    found, end = _Parts(), 0
    for match in (_RST if markup == "rst" else _MD).finditer(text):
        part = match.groupdict()
        shown = _HELD
        if formula := part["math"] or part.get("block") or part.get("dollar"):
            found.formulas[_squeezed(formula)] += 1
        elif part["code"]:
            found.code[part["code"]] += 1
        elif part["role"]:
            explicit = _TARGET.fullmatch(part["body"])
            found.targets[explicit[2] if explicit else part["body"]] += 1
            shown = explicit[1] if explicit else part["body"] if part["role"] == "term" else _HELD
        else:
            found.targets[part["target"] or part["url"]] += 1
            shown = (part.get("text") or "") if part["target"] else _HELD
        found.prose += text[end : match.start()] + shown
        found.spans.append(match.span())
        end = match.end()
    found.prose += text[end:]
    if markup == "rst":
        found.prose = found.prose.replace("\\ ", "")
    found.prose = re.sub(r"[*\[]|\|", "", found.prose)
    return found


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def problems(
    msgid: str, msgstr: str, markup: str = "rst", comments: Iterable[str] = ()
) -> list[str]:
    """What is wrong with ``msgstr``, a sentence each; none where nothing is.

    ``markup`` is "rst" or "md"; ``comments`` are the translator's. An empty ``msgstr`` is wrong
    where ``msgid`` has English words beyond names, code and formulas.
    """
    english = any(comment.strip() == "stays English" for comment in comments)
    if _is_formula(msgid):
        same = not msgstr or _squeezed(msgid) == _squeezed(msgstr)
        return [] if same else [f"the formula was changed: {_squeezed(msgid)}"]
    old, new = _parts(msgid, markup), _parts(msgstr, markup)
    if not msgstr or not re.search(_HAN, msgstr):
        words = [] if english else _words(old.prose)
        if words:
            return [f"it is not translated: {' '.join(words[:6])}"]
        if not msgstr:
            return []
    found = [
        *_kept("formula", old.formulas, new.formulas),
        *_kept("code", old.code, new.code),
        *_kept("link or reference", old.targets, new.targets),
        *_numbers(old.prose, new.prose),
    ]
    if english:
        return found
    senses = {
        word.strip().lower()
        for comment in comments
        if comment.strip().startswith("other sense:")
        for word in comment.partition(":")[2].split(",")
    }
    return [
        *found,
        *_words_of_glossary(old.prose, new.prose, senses),
        *_punctuation(new.prose),
        *_edges(msgstr, new.spans, markup),
    ]


def _is_formula(text: str) -> bool:
    """Whether a message is the body of a math directive, which Sphinx extracts as it stands."""
    rest = re.sub(r"\\(text|mathrm|operatorname|begin|end)\{[^}]*\}|\\[A-Za-z]+", " ", text)
    return bool(re.search(r"[=_^]|\\[A-Za-z]", text)) and not re.search(
        rf"[A-Za-z]{{2,}}\s+[A-Za-z]{{2,}}|[A-Za-z]{{4,}}|[`$*]|{_HAN}|\]\(|:\w+:", rest
    )


def _words(prose: str) -> list[str]:
    found = re.findall(r"(?<![\w.])[A-Za-z]{2,}(?![\w])", prose)
    return [w for w in found if w[1:].islower() and w.lower() not in _NAMES]


def _kept(what: str, old: Counter[str], new: Counter[str]) -> Iterator[str]:
    for text in (old - new).elements():
        yield f"{what} missing: {text}"
    for text in (new - old).elements():
        yield f"{what} that the original has not, or not as often: {text}"


def _numbers(old: str, new: str) -> Iterator[str]:
    before, after = (Counter(_NUMBER.findall(text)) for text in (old, new))
    spelt = {str(_SPELT.index(w)) for w in re.findall(r"[a-z]+", old.lower()) if w in _SPELT}
    for text in (before - after).elements():
        yield f"number missing: {text}"
    for text in (after - before).elements():
        if text not in spelt and text not in before:
            yield f"number that the original has not: {text}"
    for symbol in sorted(set(re.findall(r"[α-ωΑ-Ω∇Σ∂]", old)) - set(new)):
        yield f"symbol missing: {symbol}"


def _words_of_glossary(old: str, new: str, senses: set[str]) -> Iterator[str]:
    said = re.sub(r"\s", "", new).lower()
    for term, pattern in patterns():
        old, times = pattern.subn(_HELD, old)
        accepted = [term.zh, *term.also_zh]
        if not times or not term.check or term.en.lower() in senses:
            continue
        if not any(re.sub(r"\s", "", word).lower() in said for word in accepted):
            yield f"'{term.en}' should be {' or '.join(accepted)}"


def _punctuation(prose: str) -> Iterator[str]:
    if not re.search(_HAN, prose):
        return
    for pattern, sentence in _PUNCTUATION.items():
        if match := re.search(pattern, prose):
            around = prose[max(0, match.start() - 6) : match.end() + 6]
            yield f"{sentence}: …{around.replace(_HELD, '□')}…"
    if end := re.search(rf"[^{_CHINESE}.][,;:?!.]$", prose.rstrip()):
        yield f"the sentence ends with the ASCII '{end[0][-1]}'"


def _edges(text: str, spans: list[tuple[int, int]], markup: str) -> Iterable[str]:
    """What would not be read as markup because of the characters beside it."""
    if markup == "md" and "\\ " in text:
        yield "'\\ ' belongs to RST, Markdown shows it"
    masked = text
    for start, end in spans:
        masked = masked[:start] + _HELD * (end - start) + masked[end:]
    strong = list(re.finditer(r"(\*\*?)(?=[^\s*])(.+?)(?<=[^\s*])\1(?!\*)", masked))
    sides = [m.span() for m in strong]
    if markup == "rst":
        sides += [s for s in spans if not text[s[0] : s[1]].startswith("http")]
    for start, end in sorted(sides):
        before, after = text[:start][-1:], text[end:][:1]
        inner = text[start:end].strip("*")
        if markup == "rst":
            broken = _is_letter(before) or _is_letter(after)
            advice = r"RST wants a space or '\ ' around"
        else:
            broken = (_is_letter(after) and not _is_letter(inner[-1])) or (
                _is_letter(before) and not _is_letter(inner[0])
            )
            advice = "Markdown wants the punctuation outside of"
        if broken:
            yield f"{advice} {text[start:end]}"


def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LN"


def required(name: str) -> bool:
    """Whether the page ``name``, "tutorials/04_momentum", has to be translated whole."""
    return bool(_REQUIRED.match(name))


def files() -> list[Path]:
    """The translators' files."""
    return sorted(LOCALE.rglob("*.po"))


def in_file(path: Path, name: str | None = None) -> Iterator[str]:
    """The problems of a .po file, as "FILE:LINE: problem (message)"."""
    from babel.messages.pofile import read_po

    if name is None:
        place = path.resolve()
        inside = place.is_relative_to(LOCALE.resolve())
        place = place.relative_to(LOCALE.resolve()) if inside else Path(path.name)
        name = place.with_suffix("").as_posix()
    rst = name.startswith(("tutorials", "api")) or (DOCS / f"{name}.rst").is_file()
    with path.open("rb") as stream:
        catalogue = read_po(stream, locale="zh_CN")
    for message in catalogue:
        msgid, msgstr = message.id, message.string
        if not msgid or not isinstance(msgid, str) or not isinstance(msgstr, str):
            continue
        if not required(name) and (message.fuzzy or not msgstr):
            continue
        said = problems(msgid, msgstr, "rst" if rst else "md", message.user_comments)
        if message.fuzzy:
            said.insert(0, "it is marked fuzzy, so Sphinx shows the original")
        for sentence in said:
            yield f"{path}:{message.lineno}: {sentence} ({_squeezed(msgid)[:60]})"


def main(given: list[str]) -> int:
    for name in given:
        if not Path(name).is_file():
            print(f"there is no file {name}: give a .po file, or none for all in {LOCALE}")
            return 2
    paths = [Path(name) for name in given] or files()
    found = [line for path in paths for line in in_file(path)]
    print("\n".join(found) or "nothing to mend")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
