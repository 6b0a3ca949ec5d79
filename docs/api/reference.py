"""What the API pages need of Sphinx beside autodoc: signatures of ops, and short references.

An op's forward takes the array module first, which the caller does not give. Docstrings name what
is public by its last name alone, ``InputError``, wherever its page puts it. Types in signatures
that have no page, of Python and NumPy for instance, are words without a link.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

OTHERS = {*sys.stdlib_module_names, "cupy", "numpy"}
ANY = re.compile(r"(?<=\w): (?:Any|~typing\.Any)(?=[ ,)])")
FIRST = re.compile(r"\(\w+(: [^,()]+)?(, )?")


def as_called(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Without types that say nothing; an op's without the array module, or a method's Tensor."""
    if not signature:
        return None
    if hasattr(obj, "op"):
        signature, returns = FIRST.sub("(", signature, count=1), "Tensor"
    return ANY.sub("", signature), "" if returns in ("Any", "~typing.Any") else returns


def by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """A link to what ends in that name; of several, to the one nearest to the page's module."""
    target = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    if "." in target and target.partition(".")[0] in OTHERS:
        return text
    objects = env.domains.python_domain.objects
    name = target.rpartition(".")[2] if target.startswith("minigrad.") else target
    here = (node.get("py:module") or "").split(".")
    near: dict[int, set[tuple[str, str]]] = {}
    for full, entry in objects.items():
        if full.endswith(f".{name}"):
            shared = next(
                (i for i, (a, b) in enumerate(zip(here, full.split("."))) if a != b), len(here)
            )
            near.setdefault(shared, set()).add((entry.docname, entry.node_id))
    nearest = near[max(near)] if near else set()
    if len(nearest) != 1:
        return None if "refexplicit" in node else text  # only roles in prose have it
    ((page, anchor),) = nearest
    uri = app.builder.get_relative_uri(env.docname, page)
    return nodes.reference("", "", text, internal=True, refuri=f"{uri}#{anchor}")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", as_called)
    app.connect("missing-reference", by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
