"""Parameter groups by name: who is decayed, who has hyper-parameters of their own (A6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from minigrad.arena import Arena, arenas_of
from minigrad.errors import InputError

__all__ = ["arenas_in", "assign", "axes_of", "named_parameters", "placed", "settings_of"]


def arenas_in(parameters: Any) -> list[Arena]:
    """The arenas, where ``parameters`` is one or a list of them; none for all else."""
    given = list(parameters) if isinstance(parameters, list | tuple) else [parameters]
    return given if all(hasattr(item, "spans") for item in given) else []


def named_parameters(parameters: Any) -> dict[str, Any]:
    """A Module, a mapping, an iterable or one parameter as a mapping from names."""
    if hasattr(parameters, "named_parameters"):
        return dict(parameters.named_parameters())
    if isinstance(parameters, Mapping):
        return dict(parameters)
    if hasattr(parameters, "data"):
        parameters = [parameters]
    return {str(position): parameter for position, parameter in enumerate(parameters)}


def axes_of(named: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """How many axes parameters have, by name; by all names together where one is tied."""
    aliases: dict[int, list[str]] = {}
    for name, parameter in named.items():
        aliases.setdefault(id(parameter), []).append(name)
    return {tuple(names): len(named[names[0]].shape) for names in aliases.values()}


def placed(
    parameters: Any, patterns: Mapping[str, Any], owner: str
) -> tuple[list[Arena], dict[str, str]]:
    """The arenas, and the group of each parameter."""
    arenas = arenas_in(parameters)
    spans = {span.name: span for arena in arenas for span in arena.spans}
    named: dict[str, Any] = spans or named_parameters(parameters)
    if not named:
        raise InputError(
            f"{owner} was given no parameters; pass a module that has some, or its parameters"
        )
    group_of = assign(axes_of(named), patterns)
    if not arenas:
        members: dict[str, list[str]] = {}
        for name, group in group_of.items():
            members.setdefault(group, []).append(name)
        arenas = arenas_of({name: named[name] for name in group_of}, members)
    return arenas, group_of


def assign(axes: Mapping[tuple[str, ...], int], patterns: Mapping[str, Any]) -> dict[str, str]:
    """The group of each parameter, by its first name, which is the one the arena knows.

    Groups are ``decay`` (two axes or more) and ``no_decay``; ``NAME/decay`` and ``NAME/no_decay``
    where a pattern of override NAME matches. Raises :class:`InputError` for a pattern that matches
    nothing, and for a parameter that two overrides match.
    """
    every = [name for names in axes for name in names]
    matched = {group: _matched(group, match, every) for group, match in patterns.items()}
    group_of = {}
    for names, count in axes.items():
        claims = [group for group, some in matched.items() if not some.isdisjoint(names)]
        if len(claims) > 1:
            raise InputError(
                f"parameter '{names[0]}' matches the groups {', '.join(claims)}; "
                "narrow their patterns so that each parameter is in one"
            )
        kind = "decay" if count >= 2 else "no_decay"
        group_of[names[0]] = "/".join([*claims, kind])
    return group_of


def settings_of(
    group: str,
    defaults: Mapping[str, Any],
    penalties: Iterable[str],
    overrides: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A group's hyper-parameters: no ``penalties`` without decay, but an override's word holds."""
    prefix, _, kind = group.rpartition("/")
    off = dict.fromkeys(penalties, 0.0) if kind == "no_decay" else {}
    return {**defaults, **off, **overrides.get(prefix, {})}


def _matched(group: str, match: Any, names: Sequence[str]) -> set[str]:
    patterns = [match] if isinstance(match, str) else list(match or [])
    if not patterns:
        raise InputError(
            f"group '{group}' matches no names; give it 'match', a shell pattern for "
            "parameter names such as 'head.*', or a list of them"
        )
    found: set[str] = set()
    for pattern in patterns:
        some = {name for name in names if fnmatchcase(name, pattern)}
        if not some:
            raise InputError(
                f"pattern '{pattern}' of group '{group}' matches no parameter; "
                f"their names are {', '.join(sorted(names))}"
            )
        found |= some
    return found
