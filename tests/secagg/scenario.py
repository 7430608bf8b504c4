"""Random rounds with drop-outs at every step: how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from fedspallm_secure.charter import Method
from fedspallm_secure.secagg.graph import COMPLETE_UP_TO
from tests.secagg.small_round import Step

__all__ = ["STEPS", "Fate", "Scenario", "draw_many", "draw_scenario"]

STEPS: tuple[Step, ...] = ("advertise", "share", "mask", "confirm", "unmask", "prove")

_LENGTHS = (0, 1, 2, 13, 64, 97, 331)
_LARGE = 5003
_MASK: Step = "mask"


@dataclass(frozen=True)
class Fate:
    """Which of its messages a client does not send in time.

    Attributes:
        turn: 0 with the votes, 1, 2, ... at the attempts at values.
        step: which message.
        late: it comes after the deadline and the client goes on; else nothing is heard of the client any more.
    """

    turn: int
    step: Step
    late: bool


@dataclass(frozen=True)
class Scenario:
    """One round, with everything that happens in it.

    Attributes:
        clients: how many institutions.
        lanes: (length, cohort) of each.
        method: "sparsegpt" has a values sum, the others have none.
        round_index: of the round.
        digits_per_word: of the values sum.
        parameters: thresholds of the charter.
        witness: whether the charter names one, and whether it vouches for the sums.
        kinds: of the digits, of one lane after the other.
        fates: roster index -> where this client fails; the others never do.
        seed: of all digits and keys.
        encrypted: whether votes are; who fails to unmask them then fails to release its ciphertexts.
        longest: of each lane, how many digits its values sum has if as many voted as the bar, and none else; None where
            positions are eligible one by one. Encrypted votes know only these.
    """

    clients: int
    lanes: tuple[tuple[int, tuple[int, ...]], ...]
    method: Method
    round_index: int
    digits_per_word: int
    parameters: Mapping[str, int]
    witness: Literal["nobody", "silent", "speaks"]
    kinds: tuple[str, ...]
    fates: Mapping[int, Fate]
    seed: int
    encrypted: bool = False
    longest: tuple[int | None, ...] = ()


def draw_scenario(random: Random) -> Scenario:
    """A round of two to nine institutions whose graphs are complete, under a charter that the gate lets through."""
    n = random.choice([2, 3, 3, 3, 3, 4, 4, 4, 5]) if random.random() < 0.96 else random.randint(6, 9)
    colluders = min(random.choice([0, 0, 1, 2]), n - 2)
    contributors = random.randint(colluders + 2, min(colluders + 3, n))
    margin = random.choice([0, 0, 1, 2])
    margin = min(margin, n - contributors)
    cohort = random.randint(contributors + margin, n)
    parameters = {
        "minimum_cohort": cohort,
        "minimum_contributors": contributors,
        "dropout_margin": margin,
        "colluders": colluders,
        "dropouts": random.randint(0, cohort - (cohort + colluders) // 2 - 1),
    }
    lanes = [(_draw_length(random), _draw_cohort(random, n, cohort)) for _ in range(random.choice([1, 1, 1, 1, 2, 3]))]
    if random.random() < 0.2:
        lanes.append((_draw_length(random), lanes[0][1]))
    return _draw_rest(random, n, lanes, parameters, n - (n + colluders) // 2 - 1)


def draw_many(random: Random) -> Scenario:
    """A round of so many institutions that the graph of its first lane is sparse."""
    n, colluders = random.randint(COMPLETE_UP_TO + 1, 80), random.randint(0, 2)
    parameters = {
        "minimum_cohort": 8,
        "minimum_contributors": colluders + 2,
        "dropout_margin": random.randint(0, 2),
        "colluders": colluders,
        "dropouts": random.randint(1, 2),
    }
    lanes = [(31, tuple(range(n))), (7, tuple(sorted(random.sample(range(n), 8))))]
    return _draw_rest(random, n, lanes, parameters, parameters["dropouts"])


def _draw_length(random: Random) -> int:
    return _LARGE if random.random() < 0.03 else random.choice(_LENGTHS)


def _draw_cohort(random: Random, clients: int, least: int) -> tuple[int, ...]:
    return tuple(sorted(random.sample(range(clients), random.randint(least, clients))))


def _draw_rest(
    random: Random,
    clients: int,
    lanes: Sequence[tuple[int, tuple[int, ...]]],
    parameters: Mapping[str, int],
    borne: int,
) -> Scenario:
    method: Method = random.choice(["sparsegpt", "sparsegpt", "wanda", "magnitude"])
    scenario = Scenario(
        clients=clients,
        lanes=tuple(lanes),
        method=method,
        round_index=random.choice([0, 0, 3]),
        digits_per_word=random.randint(3, 6),
        parameters=parameters,
        witness=random.choice(["nobody", "silent", "speaks"]),
        kinds=tuple(random.choice(["zero", "top", "random", "random"]) for _ in range(2)),
        fates=_draw_fates(random, clients, method == "sparsegpt", parameters["dropout_margin"], borne),
        seed=random.randrange(2**32),
    )
    return replace(scenario, longest=_draw_longest(Random(scenario.seed), len(lanes)))


def _draw_longest(random: Random, lanes: int) -> tuple[int | None, ...]:
    """None at all in two of three rounds."""
    pooled = random.random() < 0.33
    return tuple(random.choice([None, 0, 3, 78, 400]) if pooled else None for _ in range(lanes))


def _draw_fates(random: Random, clients: int, values: bool, margin: int, borne: int) -> dict[int, Fate]:
    """Who fails where: some with their lanes, as chance alone would hardly have it, and the others anywhere after that.

    Values go on without those that vanished from the votes, and without as many as the margin; if there are more, they
    are repeated.
    """
    votes, within = [(0, _MASK)], [(1, _MASK)] * margin
    beyond = [*within, (1, _MASK)]
    twice = beyond + [(2, _MASK)] * (margin + 1)
    choices = [[], votes, within, votes + within, beyond, beyond, votes + beyond, twice] if values else [[], votes]
    first = random.choice([moments for moments in choices if len(moments) <= borne])
    repeated = first.count((1, _MASK)) > margin
    anywhere = [0, 0, 1] if values else [0]
    turns = [2, 2, 3] if repeated else [1] if first and values else anywhere
    failing = max(random.randint(0, borne + 1), len(first) + (1 if repeated else random.randint(0, 1)))
    chosen = random.sample(range(clients), min(failing, clients))
    fates = {index: Fate(*moment, late=False) for index, moment in zip(chosen, first, strict=False)}
    for index in chosen[len(first) :]:
        turn = random.choice(turns)
        # The first attempt at values uses the keys that were exchanged for the votes.
        fates[index] = Fate(turn, random.choice(STEPS[2:] if turn == 1 else STEPS), late=random.random() < 0.5)
    return fates
