"""A server that tells different tales to different institutions, or to one that was started again, opens one of them.

Every way to split the honest institutions is played, with an institution on the server's side that signs everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import Envelope
from fedspallm_secure.secagg import Client, ClientState
from fedspallm_secure.secagg.check import PRIMES
from fedspallm_secure.workspace import Journal
from fedspallm_secure.workspace.journal_file import FileJournal
from tests.secagg.small_round import entropy, identity, snapshot
from tests.secagg.watched_round import CONTEXT, ELIGIBLE, WatchedRound, values, votes

_ALL = CONTEXT.roster


def _try(played: WatchedRound, index: int, said: Any) -> Envelope | None:
    """What a client answers, or None if it refuses."""
    with suppress(ProtocolError):
        return played.tell(index, said)
    return None


def _two_sets(colluders: Collection[int], victim: int, told_it_vanished: Collection[int]) -> WatchedRound:
    """Some hear that `victim` vanished, the others that it survived; whoever colludes signs both."""
    played = WatchedRound(colluders=colluders)
    played.exchange()
    played.mask(votes)
    alive = played.survivors(*_ALL)
    gone = played.survivors(*(name for name in _ALL if name != f"i{victim}"))
    confirmed = []
    for survivors, told in (
        (gone, [index for index in played.honest if index in told_it_vanished]),
        (alive, [index for index in played.honest if index not in told_it_vanished]),
    ):
        signed = [played.tell(index, survivors) for index in told]
        signed += [played.confirm(index, survivors) for index in played.colluders]
        confirmed.append(played.confirmed(survivors, signed))
    for message, index in product(confirmed, played.honest):
        _try(played, index, message)
    return played


@pytest.mark.parametrize("split", list(product([False, True], repeat=3)))
def test_however_the_survivors_are_told_apart_no_institution_is_uncovered(split: tuple[bool, ...]) -> None:
    played = _two_sets([4], 3, [index for index, vanished in enumerate(split) if vanished])
    assert not played.uncovered()
    opened = {(owner, secret) for _, _, _, owner, secret in played.opened()}
    if all(split):
        assert opened == {(0, "seed"), (1, "seed"), (2, "seed"), (3, "key")}
    elif sum(split) == 0:
        assert opened == {(index, "seed") for index in range(4)}
    else:
        assert (3, "key") not in opened


def test_with_more_colluders_than_a_charter_allows_for_the_same_plan_does_uncover_an_institution() -> None:
    played = _two_sets([1, 2, 4], 3, [0])
    assert {(owner, secret) for _, _, _, owner, secret in played.uncovered()} == {(3, "seed"), (3, "key")}


def _second_attempt(played: WatchedRound, there: list[int]) -> None:
    """The values are summed again by `there` and i4, as far as they go along."""
    everybody = [*there, 4]
    fresh = [played.tell(index, played.again("i3")) for index in everybody]
    shared = [_try(played, index, played.advertised(1, fresh)) for index in everybody]
    bodies = [played.context.open(share) for share in shared if share is not None]
    if len(bodies) < len(everybody):
        return
    for index in everybody:
        played.clients[index].receive(played.signed(played.shares(1, index, bodies)))
        played.clients[index].know_eligible(ELIGIBLE)
        played.masked(index, values)
    names = [CONTEXT.roster[index] for index in everybody]
    survivors = played.survivors(*names, of="values", participants=tuple(names), attempt=1, gone=("i3",))
    signed = [played.tell(index, survivors) for index in everybody]
    for index in everybody:
        _try(played, index, played.confirmed(survivors, signed))


@pytest.mark.parametrize("split", list(product([False, True], repeat=3)))
def test_however_two_attempts_at_values_are_told_apart_one_of_them_is_opened_at_most(split: tuple[bool, ...]) -> None:
    played = WatchedRound()
    played.count()
    played.mask(values)
    first = played.survivors(*_ALL, of="values")
    again = [index for index, told in enumerate(split) if told]
    stay = [index for index in played.honest if index not in again]
    signed = [played.tell(index, first) for index in stay] + [played.confirm(4, first)]
    _second_attempt(played, again)
    for index in played.honest:
        _try(played, index, played.confirmed(first, signed))
    assert not played.uncovered()
    opened = {attempt for name, attempt, *_ in played.opened() if name == "values"}
    assert opened == ({1} if all(split) else {0} if sum(split) < 2 else set())


# Crashes and full disks.


def _started_again(played: WatchedRound, journal: Journal, seed: str) -> Client:
    """i0 in a new process."""
    return Client(played.context, identity("i0"), entropy(seed), journal)


def test_after_a_crash_the_other_share_is_not_handed_out_even_by_a_process_with_the_same_secrets(
    tmp_path: Path,
) -> None:
    played = WatchedRound()
    path = tmp_path / "journal"
    with FileJournal(path) as journal:
        played.clients[0] = _started_again(played, journal, "seed i0")
        advertised = played.advertise()
        shares = played.gather(played.deliver(advertised))
        played.deliver(shares)
        played.mask(votes)
        without_i3 = played.survivors("i0", "i1", "i2", "i4")
        signed = [played.tell(index, without_i3) for index in (0, 1, 2, 4)]
        said = played.tell(0, played.confirmed(without_i3, signed))
    everybody = played.survivors(*_ALL)
    signed_since = [played.tell(3, everybody), *(played.confirm(index, everybody) for index in range(5))]
    with FileJournal(path) as journal:
        restored = played.clients[0] = _started_again(played, journal, "seed i0")
        restored.advertise()
        restored.receive(advertised[0].envelope)
        restored.receive(shares[0].envelope)
        played.masked(0, votes)
        with pytest.raises(LocalProtocolError, match=r"round 0 confirm votes was decided as .* before; refusing"):
            restored.receive(played.signed(everybody))
        with pytest.raises(RemoteProtocolError, match="get confirmed, send unmask is not due"):
            restored.receive(played.signed(played.confirmed(everybody, signed_since)))
        assert restored.receive(played.signed(without_i3)) == signed[0]
        assert restored.receive(played.signed(played.confirmed(without_i3, signed))) == said
    assert not played.uncovered()


def test_after_a_crash_a_process_with_other_secrets_takes_no_part_in_the_round(tmp_path: Path) -> None:
    played = WatchedRound()
    with FileJournal(tmp_path / "journal") as journal:
        _started_again(played, journal, "seed i0").advertise()
    with FileJournal(tmp_path / "journal") as journal:
        restored = _started_again(played, journal, "other")
        with pytest.raises(LocalProtocolError, match=r"round 0 advertise was decided as .* before; refusing"):
            restored.advertise()
    assert restored.state is ClientState.START


def _masks(client: Client, proof: Envelope) -> list[int]:
    """What hides a client's inner products in its proof."""
    body: Any = CONTEXT.open(proof)
    check: Any = client._check
    return [
        (int(product, 16) - check._own[group.index][place]) % prime
        for group, products in zip(CONTEXT.groups_of(0), body.products, strict=True)
        for place, (product, prime) in enumerate(zip(products, PRIMES, strict=True))
    ]


def test_a_process_with_the_same_secrets_that_is_shown_other_counts_hides_its_proof_under_other_masks() -> None:
    masks = []
    for blob in (None, "ab" * 32):
        played = WatchedRound()
        played.exchange()
        confirmed = played.gather(played.deliver(played.mask(votes)))
        played.gather(played.deliver(confirmed))
        published: Any = CONTEXT.open(played.add()[0].envelope)
        first, *rest = published.lanes
        if blob is not None:
            played.words[blob] = played.words[first.blob]
            first = first.model_copy(update={"blob": blob})
        played.clients[0].receive(played.signed(published.model_copy(update={"lanes": (first, *rest)})))
        played.check(0, votes)
        masks.append(_masks(played.clients[0], played.clients[0].prove()))
    assert len({*masks[0], *masks[1]}) == 2 * len(masks[0]) == 8


def _before_it_advertises(played: WatchedRound) -> Callable[[], object]:
    return played.clients[0].advertise


def _before_it_confirms(played: WatchedRound) -> Callable[[], object]:
    played.exchange()
    played.mask(votes)
    return lambda: played.tell(0, played.survivors(*_ALL))


def _before_it_hands_out_shares(played: WatchedRound) -> Callable[[], object]:
    played.exchange()
    played.mask(votes)
    signed = [played.tell(index, played.survivors(*_ALL)) for index in range(5)]
    return lambda: played.tell(0, played.confirmed(played.survivors(*_ALL), signed))


def _before_it_advertises_again(played: WatchedRound) -> Callable[[], object]:
    played.count()
    played.mask(values)
    return lambda: played.tell(0, played.again("i4"))


@pytest.mark.parametrize(
    "step", [_before_it_advertises, _before_it_confirms, _before_it_hands_out_shares, _before_it_advertises_again]
)
def test_what_can_t_be_written_down_is_not_sent(
    step: Callable[[WatchedRound], Callable[[], object]], tmp_path: Path
) -> None:
    played = WatchedRound()
    journal = FileJournal(tmp_path / "journal")
    played.clients[0] = _started_again(played, journal, "seed i0")
    act = step(played)
    before = snapshot(played.clients[0])
    journal.close()
    with pytest.raises(StorageError, match="can't be decided"):
        act()
    assert snapshot(played.clients[0]) == before
