"""Search on the Chinese pages, by pairs of neighbouring characters.

Sphinx splits Chinese with jieba, where that is installed, and what a reader types not at all, so a
word that jieba had cut is not found; in Sphinx 9.0 its script also names a stemmer that there is
not, and finds nothing. Pairs need no dictionary, and are the same on both sides.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.zh import SearchChinese

__all__ = ["Pairs", "setup"]


class Pairs(SearchChinese):
    """动量法 is indexed and looked up as 动量 and 量法."""

    language_name = "English"  # the stemmer that the page has, for its English words
    js_splitter_code = """
var splitQuery = (query) =>
  (query.match(/\\p{Script=Han}+|[a-zA-Z0-9_]+/gu) ?? []).flatMap((word) =>
    /\\p{Script=Han}/u.test(word) && word.length > 2
      ? [...word].slice(1).map((letter, i) => word[i] + letter)
      : [word]);
"""

    def split(self, input: str) -> list[str]:
        runs = re.findall("[一-鿿]+", input)
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        return [run[i : i + 2] for run in runs for i in range(max(1, len(run) - 1))] + latin


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_search_language(Pairs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
