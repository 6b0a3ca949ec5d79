"""Parameter groups by name: who is decayed, who has hyper-parameters of their own (A6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from minigrad.arena import Arena, arenas_of
from minigrad.errors import InputError
from minigrad.optim._checks import Check, checked

__all__ = ["arenas_and_groups", "named_parameters"]


def arenas_and_groups(
    parameters: Any,
    overrides: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Any],
    penalties: Sequence[str],
    checks: Mapping[str, Check],
    owner: str,
) -> tuple[list[Arena], dict[str, dict[str, Any]], dict[str, str]]:
    """The arenas, each group's hyper-parameters, and the group of each parameter by name.

    Groups are ``decay`` (two axes or more) and ``no_decay``, whose ``penalties`` are 0, and
    ``NAME/decay``, ``NAME/no_decay`` for a named override; what it states holds for both.
    """
    arenas = _as_arenas(parameters)
    if arenas is None:
        named = named_parameters(parameters)
        names = _aliases(named)
        axes = {name: named[name].data.ndim for name in named}
    else:
        spans = [span for arena in arenas for span in arena.spans]
        names = [[span.name] for span in spans]
        axes = {span.name: len(span.shape) for span in spans}
    if not names:
        raise InputError(
            f"{owner} was given no parameters; pass a module that has some, or its parameters"
        )
    settings = {
        name: checked({k: h[k] for k in h if k != "match"}, checks, owner, f" in group '{name}'")
        for name, h in overrides.items()
    }
    patterns = {name: _patterns(name, h, axes, owner) for name, h in overrides.items()}
    group_of: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for aliases in names:
        name = aliases[0]
        prefix = _owner_of(aliases, patterns, owner)
        kind = "decay" if axes[name] >= 2 else "no_decay"
        group_of[name] = f"{prefix}/{kind}" if prefix else kind
        members.setdefault(group_of[name], []).append(name)
    hyper: dict[str, dict[str, Any]] = {}
    for group in members:
        prefix, _, kind = group.rpartition("/")
        off = dict.fromkeys(penalties, 0.0) if kind == "no_decay" else {}
        hyper[group] = {**defaults, **off, **settings.get(prefix, {})}
    if arenas is None:
        arenas = arenas_of({name: named[name] for name in group_of}, members)
    return arenas, hyper, group_of


def named_parameters(parameters: Any) -> dict[str, Any]:
    """``parameters`` of any accepted kind as a mapping from names."""
    if hasattr(parameters, "named_parameters"):
        return dict(parameters.named_parameters())
    if isinstance(parameters, Mapping):
        return dict(parameters)
    if hasattr(parameters, "data"):
        parameters = [parameters]
    return {str(position): parameter for position, parameter in enumerate(parameters)}


def _as_arenas(parameters: Any) -> list[Arena] | None:
    if hasattr(parameters, "spans"):
        return [parameters]
    if isinstance(parameters, (list, tuple)) and all(hasattr(p, "spans") for p in parameters):
        return list(parameters)
    return None


def _aliases(named: Mapping[str, Any]) -> list[list[str]]:
    """Names, those of one tied parameter together; the arena knows it by the first."""
    by_identity: dict[int, list[str]] = {}
    for name, parameter in named.items():
        by_identity.setdefault(id(parameter), []).append(name)
    return list(by_identity.values())


def _patterns(
    group: str, settings: Mapping[str, Any], names: Iterable[str], owner: str
) -> list[str]:
    match = settings.get("match")
    patterns = [match] if isinstance(match, str) else list(match or [])
    if not patterns:
        raise InputError(
            f"{owner}: group '{group}' matches no names; give it 'match', a shell pattern for "
            "parameter names such as 'head.*', or a list of them"
        )
    names = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"{owner}: pattern '{pattern}' of group '{group}' matches no parameter; "
                f"their names are {', '.join(sorted(names))}"
            )
    return patterns


def _owner_of(aliases: Sequence[str], patterns: Mapping[str, Sequence[str]], owner: str) -> str:
    claims = [
        group
        for group, globs in patterns.items()
        if any(fnmatchcase(name, glob) for name in aliases for glob in globs)
    ]
    if len(claims) > 1:
        raise InputError(
            f"{owner}: parameter '{aliases[0]}' matches the groups {', '.join(claims)}; "
            "narrow their patterns so that each parameter is in one"
        )
    return claims[0] if claims else ""
