"""A published sum that differs anywhere from what the clients sent is found, and a proof tells nothing but that."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, Proof, Proofs, SumName, Sums, digest, seal
from fedspallm_secure.secagg import ClientState, Delivery, Lane, ServerState
from fedspallm_secure.secagg.check import PRIMES, SumCheck, inner_products
from tests.secagg.small_round import Digits, SmallRound, identity, resealed, round_context

_LANES = [(70, (0, 1, 2, 3)), (9, (0, 1, 2, 3, 4)), (40, (0, 1, 2, 3)), (30, (1, 3, 4))]
_CONTEXT = round_context(5, _LANES, dropouts=1, dropout_margin=1)
_CONTRIBUTORS = [(0, 1, 2, 3, 4), (0, 1, 2, 3), (0, 1, 2, 4), (1, 2, 3, 4)]
_FALSE = "found that the published {} are not the sum of what the institutions sent, or not the same for all of them"


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    return np.random.default_rng([index, lane.index]).random(lane.length) < 0.5


def _values(index: int, lane: Lane) -> NDArray[np.uint32]:
    top = lane.values.top
    return np.random.default_rng([index, lane.index]).integers(0, top, lane.length, np.uint32, endpoint=True)


def _total(digits: Digits, lane: Lane, contributors: Collection[int]) -> NDArray[np.uint64]:
    """The true sum of a lane."""
    total = np.zeros(lane.length, np.uint64)
    for index in contributors:
        if index in lane.cohort:
            total += digits(index, lane)
    return total


def test_the_moduli_are_different_primes_of_61_bits() -> None:
    sympy = pytest.importorskip("sympy")
    assert all(sympy.isprime(prime) and prime.bit_length() == 61 for prime in PRIMES)
    assert PRIMES[0] != PRIMES[1]


_BITS = st.integers(0, 60)
_DIGITS = _BITS.flatmap(lambda bits: st.lists(st.integers(0, 2**bits - 1), max_size=200))


@given(st.binary(min_size=32, max_size=32), _DIGITS, _DIGITS)
@example(bytes(32), [2**60 - 1], [1])
def test_an_inner_product_is_exact_for_all_digits_below_2_to_the_60(key: bytes, one: list[int], two: list[int]) -> None:
    length = min(len(one), len(two))
    vectors = [np.array(digits[:length], np.uint64) for digits in (one, two)]
    assert inner_products(key, vectors) == [_product(key, vector.tolist()) for vector in vectors]


@pytest.mark.parametrize("length", [2**12 - 1, 2**12 + 1, 3 * 2**12, 2**15 + 1])
@pytest.mark.parametrize("digit", [2**30 - 1, 2**30, 2**31 - 1, 2**60 - 1])
def test_nor_do_many_of_the_largest_digits_overflow(digit: int, length: int) -> None:
    assert inner_products(b"k" * 32, [np.full(length, digit, np.uint64)]) == [_product(b"k" * 32, [digit] * length)]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint32, np.uint64])
def test_an_inner_product_is_the_same_whatever_the_digits_are_stored_as(dtype: Any) -> None:
    digits = np.arange(300) % 2
    assert inner_products(b"k" * 32, [digits.astype(dtype)]) == [_product(b"k" * 32, digits.tolist())]


def _product(key: bytes, digits: Collection[int]) -> int:
    """The same in whole numbers, from the definition."""
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * len(digits)))
    words = [int.from_bytes(stream[8 * index : 8 * index + 8], "little") % 2**61 for index in range(len(digits))]
    return sum(word * int(digit) for word, digit in zip(words, digits, strict=True))


class _Table:
    """Checks of one published sum by its contributors, who share secrets that nobody exchanged."""

    def __init__(self, contributors: Collection[int], published: Sums | None = None) -> None:
        blobs = tuple(LaneBlob(lane=lane.name, words=1, blob="0" * 64) for lane in _CONTEXT.lanes)
        header: dict[str, Any] = {"charter": _CONTEXT.digest, "round": 0, "sender": "server"}
        self.published = published or Sums(**header, sum="votes", attempt=0, lanes=blobs)
        self.contributors = contributors
        self.checks = {index: self._check(index, self.published) for index in contributors}

    def _check(self, index: int, published: Sums) -> SumCheck:
        secrets = {
            group.index: {peer: self._secret(group.index, index, peer) for peer in group.neighbours[index]}
            for group in _CONTEXT.groups_of(index)
        }
        among = {
            group: {peer: secret for peer, secret in peers.items() if peer in self.contributors}
            for group, peers in secrets.items()
        }
        return SumCheck(_CONTEXT, published, index, self.contributors, among)

    @staticmethod
    def _secret(group: int, one: int, other: int) -> bytes:
        return hashlib.sha256(f"{group} {sorted((one, other))}".encode()).digest()

    def add(self, sums: Mapping[str, NDArray[Any]]) -> None:
        """All take all lanes in, as if `sums` were what was published."""
        for index, check in self.checks.items():
            for lane in _CONTEXT.lanes:
                check.add(lane, sums[lane.name], _votes(index, lane) if index in lane.cohort else None)

    def true(self) -> dict[str, NDArray[Any]]:
        """The true counts."""
        return {lane.name: _total(_votes, lane, self.contributors) for lane in _CONTEXT.lanes}

    def proofs(self) -> Proofs:
        """Everybody's."""
        proofs = tuple(seal(check.proof(), identity(f"i{index}")) for index, check in self.checks.items())
        header = self.published.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
        return Proofs(**header, proofs=proofs)


@pytest.mark.parametrize("contributors", _CONTRIBUTORS, ids=str)
def test_true_counts_pass_at_every_contributor_whoever_vanished(contributors: tuple[int, ...]) -> None:
    table = _Table(contributors)
    table.add(table.true())
    proofs = table.proofs()
    for check in table.checks.values():
        check.verify(proofs)


@given(
    contributors=st.sampled_from(_CONTRIBUTORS),
    lane=st.sampled_from(_CONTEXT.lanes),
    changes=st.dictionaries(st.integers(0, 69), st.integers(1, 5), min_size=1, max_size=4),
)
def test_counts_that_are_false_anywhere_fail_at_every_contributor_and_it_says_in_which_group(
    contributors: tuple[int, ...], lane: Lane, changes: dict[int, int]
) -> None:
    table = _Table(contributors)
    false = table.true()
    for at, change in {at % lane.length: change for at, change in changes.items()}.items():
        false[lane.name][at] = (false[lane.name][at] + np.uint64(change)) % np.uint64(6)  # another one from 0 to 5
    table.add(false)
    proofs, first = table.proofs(), _CONTEXT.group_of[lane.name].lanes[0].name
    for index, check in table.checks.items():
        with pytest.raises(RemoteProtocolError, match=rf"'i{index}' {_FALSE.format('votes')} .lane {first} or one"):
            check.verify(proofs)


def test_two_counts_exchanged_fail_although_their_total_is_right() -> None:
    table = _Table(_CONTRIBUTORS[0])
    false = table.true()
    first, second = np.argmin(false["lane0"]), np.argmax(false["lane0"])
    false["lane0"][[first, second]] = false["lane0"][[second, first]]
    table.add(false)
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
        table.checks[0].verify(table.proofs())


def test_lanes_of_one_cohort_exchanged_fail_although_their_group_s_total_is_right() -> None:
    table = _Table(_CONTRIBUTORS[0])
    false = table.true()
    short = false["lane2"].copy()
    false["lane2"], false["lane0"][:40] = false["lane0"][:40].copy(), short
    table.add(false)
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
        table.checks[0].verify(table.proofs())


def test_counts_that_leave_a_contributor_out_fail() -> None:
    table = _Table(_CONTRIBUTORS[0])
    table.add({lane.name: _total(_votes, lane, (0, 1, 2, 3)) for lane in _CONTEXT.lanes})
    with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
        table.checks[4].verify(table.proofs())


def test_a_proof_for_another_challenge_fails_even_with_true_counts() -> None:
    table = _Table(_CONTRIBUTORS[0])
    first, *others = table.published.lanes
    other = table.published.model_copy(update={"lanes": (first.model_copy(update={"blob": "ab" * 32}), *others)})
    elsewhere = _Table(_CONTRIBUTORS[0], other)
    table.checks[2] = elsewhere.checks[2]
    table.add(table.true())
    for check in table.checks.values():
        with pytest.raises(RemoteProtocolError, match="or not the same for all of them"):
            check.verify(table.proofs())


def test_proofs_under_different_numbers_for_group_and_modulus_do_not_pass_for_each_other() -> None:
    table = _Table(_CONTRIBUTORS[0])
    table.add(table.true())
    good = table.proofs()
    (first, second), *others = table.checks[0].proof().products
    swapped: list[tuple[tuple[str, str], ...]] = [
        ((second, first), *others),
        (*others, (first, second)),
        ((second, first), *((two, one) for one, two in others)),
    ]
    for products in swapped:
        changed = resealed(_CONTEXT, good.proofs[0], products=products)
        with pytest.raises(RemoteProtocolError, match=_FALSE.format("votes")):
            table.checks[1].verify(good.model_copy(update={"proofs": (changed, *good.proofs[1:])}))
    table.checks[1].verify(good)


def test_the_vectors_follow_from_what_was_published_and_the_masks_cancel() -> None:
    table = _Table(_CONTRIBUTORS[1])
    true = table.true()
    table.add(true)
    proofs = {index: check.proof().products for index, check in table.checks.items()}
    challenge = bytes.fromhex(digest(table.published))
    for group in _CONTEXT.groups:
        members = [index for index in group.cohort if index in table.contributors]
        for at, prime in enumerate(PRIMES):
            masked = [int(proofs[index][_CONTEXT.place(index, group)][at], 16) for index in members]
            plain, published = [0] * len(members), 0
            for lane in group.lanes:
                key = _hkdf(challenge, b"check/vector" + bytes([at]) + lane.index.to_bytes(4, "big"))
                published += _product(key, true[lane.name].tolist())
                for place, index in enumerate(members):
                    plain[place] += _product(key, _votes(index, lane).tolist())
            assert sum(masked) % prime == sum(plain) % prime == published % prime
            assert not set(masked) & {number % prime for number in plain}
            assert all(number < prime for number in masked)


def _hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"fedspallm-secure/v1/" + info).derive(secret)


def test_proofs_of_the_same_digits_have_nothing_in_common_when_keys_are_fresh() -> None:
    products = []
    for seed in ("one", "two"):
        played = SmallRound(_CONTEXT, seed)
        played.exchange()
        played.sum(_votes)
        played.check(0, _votes)
        proof = _CONTEXT.open(played.clients[0].prove())
        assert isinstance(proof, Proof)
        products.append({number for pair in proof.products for number in pair})
    assert not products[0] & products[1]


def test_every_lane_is_added_once_as_it_was_masked() -> None:
    check = _Table(_CONTRIBUTORS[0]).checks[0]
    first, second, _, foreign = _CONTEXT.lanes
    counts = {lane.name: _total(_votes, lane, _CONTRIBUTORS[0]) for lane in _CONTEXT.lanes}
    with pytest.raises(LocalProtocolError, match="0 of 4 lanes were added"):
        check.proof()
    check.add(first, counts["lane0"], _votes(0, first))
    for lane, own in ((first, _votes(0, first)), (foreign, _votes(0, foreign)), (second, None)):
        with pytest.raises(LocalProtocolError, match="was added already, or not as it was masked"):
            check.add(lane, counts[lane.name], own)
    with pytest.raises(LocalProtocolError, match="1 of 4 lanes were added"):
        check.proof()
    check.add(second, counts["lane1"], _votes(0, second))
    check.add(_CONTEXT.lanes[2], counts["lane2"], _votes(0, _CONTEXT.lanes[2]))
    check.add(foreign, counts["lane3"], None)
    assert len(check.proof().products) == 2


def test_there_is_nothing_to_check_before_a_sum_was_accepted() -> None:
    client = SmallRound(_CONTEXT).clients[0]
    with pytest.raises(LocalProtocolError, match="No sum was published yet"):
        _ = client.published
    with pytest.raises(LocalProtocolError, match="To send proof is not due in state 'start'"):
        client.check(_CONTEXT.lanes[0], _votes(0, _CONTEXT.lanes[0]), _votes(0, _CONTEXT.lanes[0]))


# From here on, with the machines.


def _up_to(name: SumName, gone: Collection[int] = ()) -> tuple[SmallRound, Digits]:
    """A round up to the shares that open a sum, from which `gone` are missing; and everybody's digits in it."""
    played = SmallRound(_CONTEXT)
    played.exchange()
    if name == "values":
        played.sum(_votes)
        played.deliver(played.prove(_votes))
        played.know_eligible([lane.length for lane in _CONTEXT.lanes])
    digits: Digits = _votes if name == "votes" else _values
    played.gather(played.deliver(played.gather(played.deliver(played.mask(digits, gone)))))
    return played, digits


def _published(played: SmallRound, false: Mapping[str, int]) -> list[Delivery]:
    """What the server publishes when it adds these numbers to the first words of lanes."""
    blobs = []
    for lane in played.context.lanes:
        contributions = [played.words[blob.blob] for _, blob in played.server.contributions(lane)]
        total: NDArray[np.uint64] = np.sum(contributions, axis=0, dtype=np.uint64)
        played.server.unmask(lane, total)
        total[0] += np.uint64(false.get(lane.name, 0))
        blobs.append(played.store(lane, total))
    return played.server.publish(blobs)


_SUMS: list[SumName] = ["votes", "values"]


@pytest.mark.parametrize("name", _SUMS)
@pytest.mark.parametrize("gone", [(), (0,), (4,)], ids=str)
def test_true_sums_are_accepted_by_everybody_who_contributed(name: SumName, gone: tuple[int, ...]) -> None:
    played, digits = _up_to(name, gone)
    played.deliver(_published(played, {}))
    played.deliver(played.prove(digits, gone))
    for index in set(range(5)) - set(gone):
        assert played.clients[index].participation.accepted(name)
    assert played.server.participation.accepted(name)
    assert played.server.state is (ServerState.CHECKED if name == "votes" else ServerState.DONE)


@pytest.mark.parametrize("name", _SUMS)
@pytest.mark.parametrize("gone", [(), (2,)], ids=str)
@pytest.mark.parametrize("lane", ["lane0", "lane1", "lane2", "lane3"])
def test_false_sums_are_refused_by_everybody_whether_in_the_lane_s_cohort_or_not(
    lane: str, gone: tuple[int, ...], name: SumName
) -> None:
    played, digits = _up_to(name, gone)
    played.deliver(_published(played, {lane: 1}))
    verdict = played.prove(digits, gone)
    first = played.context.group_of[lane].lanes[0].name
    for delivery in verdict:
        client = played.clients[played.context.indices[delivery.to]]
        with pytest.raises(RemoteProtocolError, match=rf"'{delivery.to}' {_FALSE.format(name)} .lane {first} or one"):
            client.receive(delivery.envelope)
        assert client.state is (ClientState.COUNTS_PROVED if name == "votes" else ClientState.SUMS_PROVED)
        assert not client.participation.accepted(name)
    assert len(verdict) == 5 - len(gone)


def test_clients_that_were_shown_different_sums_do_not_agree_even_if_one_of_them_is_true() -> None:
    played, digits = _up_to("votes")
    true = _published(played, {})
    lane = _CONTEXT.lanes[0]
    message = played.context.open(true[0].envelope)
    assert isinstance(message, Sums)
    words = played.words[message.lanes[0].blob].copy()
    words[0] += np.uint64(1)
    other = resealed(played.context, true[0].envelope, lanes=(played.store(lane, words), *message.lanes[1:]))
    for delivery in true:
        played.clients[played.context.indices[delivery.to]].receive(other if delivery.to == "i3" else delivery.envelope)
    for delivery in played.prove(digits):
        with pytest.raises(RemoteProtocolError, match="or not the same for all of them"):
            played.clients[played.context.indices[delivery.to]].receive(delivery.envelope)


def test_proofs_are_those_of_the_contributors_and_of_nobody_else() -> None:
    played, digits = _up_to("votes", gone=(4,))
    played.deliver(_published(played, {}))
    verdict = played.prove(digits, (4,))[0].envelope
    message = played.context.open(verdict)
    assert isinstance(message, Proofs)
    first, *others = message.proofs
    fifth = resealed(played.context, others[-1], identity("i4"), sender="i4")
    client = played.clients[0]
    for proofs in ((first, *others, fifth), (first, *others[:-1]), (first, *others[:-1], fifth), (), (*others, first)):
        lie = resealed(played.context, verdict, proofs=proofs)
        with pytest.raises(RemoteProtocolError, match="The proofs are not one of each contributor, in roster order"):
            client.receive(lie)
    client.receive(verdict)
    assert client.state is ClientState.CHECKED


def test_a_proof_of_who_contributed_nothing_is_not_taken() -> None:
    played, digits = _up_to("votes", gone=(4,))
    played.deliver(_published(played, {}))
    played.check(0, digits)
    proof = played.clients[0].prove()
    with pytest.raises(RemoteProtocolError, match="'i4' takes no part in this step"):
        played.server.receive(resealed(played.context, proof, identity("i4"), sender="i4"))


def test_the_server_passes_the_proofs_on_in_roster_order_whoever_was_first() -> None:
    played, digits = _up_to("votes")
    played.deliver(_published(played, {}))
    proofs: dict[int, Envelope | None] = {}
    for index in (3, 0, 4, 2, 1):
        played.check(index, digits)
        proofs[index] = played.clients[index].prove()
    verdict = played.gather(proofs)
    message = played.context.open(verdict[0].envelope)
    assert isinstance(message, Proofs)
    assert message.proofs == tuple(proofs[index] for index in range(5))
    played.deliver(verdict)
    assert {client.state for client in played.clients} == {ClientState.CHECKED}
