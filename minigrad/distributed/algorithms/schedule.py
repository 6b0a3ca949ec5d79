"""A collective as data: who sends which elements to whom, round by round.

A schedule can be printed, drawn, counted, checked and priced without any communicator. In a round
all ranks send what they held when it began. What meets in one place in one round, the target's own
elements among it, is added up in the order of the ranks that bring it, so a schedule fixes not only
what is summed but in which order, and with that every bit of a floating-point sum.

An all-gather is an all-reduce to whose every element one rank alone contributes, and a
reduce-scatter is one whose results are wanted in one place only; so :meth:`Schedule.derive` finds
both in the schedule of an all-reduce, by leaving out what carries nothing and what nobody needs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from minigrad.errors import InputError

__all__ = ["Action", "Collective", "Round", "Schedule", "State", "Transfer", "places"]

Action: TypeAlias = Literal["reduce", "copy"]
Collective: TypeAlias = Literal["all_reduce", "reduce_scatter", "gather_into"]


class Transfer(NamedTuple):
    """Rank ``source`` sends elements ``start`` to ``stop`` of its buffer to the same place in that
    of ``target``, where they are added to what is there, or replace it."""

    source: int
    target: int
    start: int
    stop: int
    action: Action

    @property
    def elements(self) -> int:
        """How many elements the message carries."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.start}:{self.stop} {'+' if self.action == 'reduce' else '='}> {self.target}"


Round: TypeAlias = Iterable[Transfer]
State: TypeAlias = list[list[str]]
"""For each rank and piece, the sum that it holds, as text such as "0+1+(2+3)": added from the left,
"" where there is nothing."""


@dataclass(frozen=True)
class Schedule:
    """``collective`` on ``len(counts)`` ranks by the algorithm ``name``.

    ``counts``: the elements of each rank's part, in rank order; an all-reduce has no use for the
    parts but their sum. Transfers of nothing and rounds without transfers are dropped, and a round
    is sorted by place.
    """

    name: str
    collective: Collective
    counts: tuple[int, ...]
    rounds: tuple[tuple[Transfer, ...], ...]

    def __post_init__(self) -> None:
        full = (
            tuple(sorted((t for t in each if t.elements), key=lambda t: (t.start, t[:2])))
            for each in self.rounds
        )
        object.__setattr__(self, "rounds", tuple(each for each in full if each))

    @property
    def ranks(self) -> int:
        """The number of ranks."""
        return len(self.counts)

    @property
    def size(self) -> int:
        """Elements of the buffer."""
        return sum(self.counts)

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """All messages, round after round."""
        return tuple(itertools.chain.from_iterable(self.rounds))

    def messages(self, rank: int) -> int:
        """How many messages ``rank`` sends."""
        return sum(t.source == rank for t in self.transfers)

    def elements_sent(self, rank: int) -> int:
        """How many elements ``rank`` sends."""
        return sum(t.elements for t in self.transfers if t.source == rank)

    def __str__(self) -> str:
        """A table: a line a round, a column a rank with what it sends."""
        lines = [["round", *(f"rank {rank} sends" for rank in range(self.ranks))]]
        for number, each in enumerate(self.rounds, 1):
            sent = [[str(t) for t in each if t.source == rank] for rank in range(self.ranks)]
            rows = itertools.zip_longest(*sent, fillvalue="")
            lines += [[str(number) if row == 0 else "", *cells] for row, cells in enumerate(rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        return "\n".join(
            [
                f"{self.name}: {self.collective} of {self.size} elements on {self.ranks} ranks, "
                f"{len(self.rounds)} rounds (+> is added there, => replaces)",
                *table,
            ]
        )

    # --- what it computes -------------------------------------------------------------------------

    def check(self) -> None:
        """Raise :class:`InputError` unless this does what its ``collective`` promises.

        Every wanted element must hold each rank's contribution exactly once, in the same order on
        all ranks; and what a rank sends may only change in the same round where it is exchanged:
        the same elements arrive, to be added.
        """
        for number, each in enumerate(self.rounds, 1):
            _check_round(f"{self.name}: in round {number}", each, self.ranks, self.size)
        contributors = [str(rank) for rank in range(self.ranks)]
        final = self.history[-1]
        for rank, sums in enumerate(final):
            for piece, (start, stop) in enumerate(self.pieces):
                if not self._wanted(rank, start):
                    continue
                given = Counter(sums[piece].replace("(", "").replace(")", "").split("+"))
                wanted = contributors
                if self.collective == "gather_into":
                    wanted = [str(self._owner(start))]
                where = f"{self.name}: at the end rank {rank} has in elements {start} to {stop}"
                if given != Counter(wanted):
                    raise InputError(
                        f"{where} the contributions {sums[piece] or 'of nobody'}; wanted are those "
                        f"of {', '.join(wanted)}, each once"
                    )
                first = next(r for r in range(self.ranks) if self._wanted(r, start))
                if sums[piece] != final[first][piece]:
                    raise InputError(
                        f"{where} {sums[piece]}, but rank {first} {final[first][piece]}: "
                        "another order, so other bits"
                    )

    @property
    def sums(self) -> list[tuple[int, int, str]]:
        """(start, stop, the ranks in the order in which they are added): "0+1+(2+3)"."""
        found: list[tuple[int, int, str]] = []
        for piece, (start, stop) in enumerate(self.pieces):
            rank = next(rank for rank in range(self.ranks) if self._wanted(rank, start))
            sum_ = self.history[-1][rank][piece]
            if found and found[-1][2] == sum_:
                start = found.pop()[0]
            found.append((start, stop, sum_))
        return found

    @property
    def uniform(self) -> bool:
        """Whether all elements are added in one order, so that a sum's bits do not depend on the
        element's place, nor on how long the buffer is or how it is cut."""
        return len(self.sums) <= 1

    def derive(self, collective: Collective, counts: Sequence[int]) -> Schedule:
        """The part of this all-reduce that ``collective`` with parts of ``counts`` needs."""
        given = Schedule(self.name, collective, tuple(counts), self.rounds)
        pieces, state = given.pieces, given._start()
        live = [[given._wanted(rank, start) for start, _ in pieces] for rank in range(self.ranks)]
        useful: list[list[Transfer]] = []
        for each in self.rounds:
            cut = [t._replace(start=a, stop=b) for t in each for a, b in given._cut(t)]
            useful.append(list(given._carrying(cut, state)))
            given._apply(useful[-1], state)
        for place in reversed(range(len(useful))):
            needed = [t for t in useful[place] if live[t.target][given._index[t.start]]]
            for t in needed:
                if t.action == "copy":
                    live[t.target][given._index[t.start]] = False
            for t in needed:
                live[t.source][given._index[t.start]] = True
            useful[place] = _joined(needed)
        return Schedule(self.name, collective, tuple(counts), tuple(map(tuple, useful)))

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """(start, stop) of the longest pieces that no transfer and no part cuts."""
        cuts = {0, self.size}
        if self.collective != "all_reduce":
            cuts.update(places(self.counts))
        cuts.update(itertools.chain.from_iterable((t.start, t.stop) for t in self.transfers))
        return list(itertools.pairwise(sorted(cuts)))

    @cached_property
    def _index(self) -> dict[int, int]:
        return {start: piece for piece, (start, _) in enumerate(self.pieces)}

    @cached_property
    def history(self) -> list[State]:
        """What each rank holds in each piece at first, and after each round."""
        states = [self._start()]
        for each in self.rounds:
            states.append([list(sums) for sums in states[-1]])
            cut = [t._replace(start=a, stop=b) for t in each for a, b in self._cut(t)]
            self._apply(cut, states[-1])
        return states

    def _cut(self, t: Transfer) -> list[tuple[int, int]]:
        first = self._index[t.start]
        last = self._index.get(t.stop, len(self.pieces))
        return self.pieces[first:last]

    def _start(self) -> State:
        gathers = self.collective == "gather_into"
        return [
            [str(rank) * (not gathers or self._owner(start) == rank) for start, _ in self.pieces]
            for rank in range(self.ranks)
        ]

    def _owner(self, start: int) -> int:
        """The rank of whose part element ``start`` is."""
        ends = itertools.accumulate(self.counts)
        return next(rank for rank, end in enumerate(ends) if start < end)

    def _wanted(self, rank: int, start: int) -> bool:
        return self.collective != "reduce_scatter" or self._owner(start) == rank

    def _carrying(self, cut: Round, state: State) -> Iterable[Transfer]:
        """Of a round's transfers those that bring something; the first into nothing is a copy."""
        for t in cut:
            piece = self._index[t.start]
            sent, there = state[t.source][piece], state[t.target][piece]
            if sent and not (t.action == "copy" and sent == there):
                yield t if there else t._replace(action="copy")

    def _apply(self, cut: Round, state: State) -> None:
        """One round, whose transfers are cut into pieces."""
        before = [list(sums) for sums in state]
        meeting: dict[tuple[int, int], dict[int, str]] = {}
        for t in cut:
            piece = self._index[t.start]
            own = {t.target: before[t.target][piece]} if t.action == "reduce" else {}
            meeting.setdefault((t.target, piece), own)[t.source] = before[t.source][piece]
        for (target, piece), brought in meeting.items():
            first, *rest = [brought[rank] for rank in sorted(brought) if brought[rank]] or [""]
            grouped = (f"({sum_})" if "+" in sum_ else sum_ for sum_ in rest)
            state[target][piece] = "+".join([first, *grouped])


def places(counts: Sequence[int]) -> tuple[int, ...]:
    """Where parts of so many elements begin, and where the last one ends."""
    return tuple(itertools.accumulate(counts, initial=0))


def _joined(cut: Round) -> list[Transfer]:
    """Neighbouring pieces of one message as one again."""
    whole: list[Transfer] = []
    for t in sorted(cut, key=lambda t: (t.source, t.target, t.action, t.start)):
        last = whole[-1] if whole else None
        if last and last._replace(start=t.start, stop=t.stop) == t and last.stop == t.start:
            whole[-1] = last._replace(stop=t.stop)
        else:
            whole.append(t)
    return whole


def _check_round(where: str, each: Sequence[Transfer], ranks: int, size: int) -> None:
    for t in each:
        if not 0 <= t.start < t.stop <= size:
            raise InputError(f"{where} rank {t.source} sends {t}, of {size} elements")
        if t.source == t.target or not (0 <= t.source < ranks and 0 <= t.target < ranks):
            raise InputError(f"{where} rank {t.source} sends to rank {t.target}, of {ranks} ranks")
    for a, b in itertools.permutations(each, 2):
        if a.start >= b.stop or b.start >= a.stop:
            continue
        if a.target == b.target:
            same = a.start == b.start and a.stop == b.stop
            if "copy" in (a.action, b.action) or not same or a.source == b.source:
                raise InputError(f"{where} rank {a.target} gets {a} from {a.source}, and {b}")
        exchange = a[2:] == b[2:] and a.action == "reduce"
        if a.source == b.target and not exchange:
            raise InputError(
                f"{where} rank {a.source} sends {a} while rank {b.source} changes it by {b}; that "
                "works only where both are reduced and as long"
            )
