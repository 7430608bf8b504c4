"""A published sum that differs anywhere from what the clients sent is found, and a proof tells nothing but that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Proof, Proofs, Sums, digest, open_envelope, seal
from fedspallm_secure.secagg import Lane, ProofGathering, SumCheck
from fedspallm_secure.secagg.check import PRIMES, inner_products
from tests.secagg.small_round import SmallRound, identity, round_context

_CONTEXT = round_context(4, [(70, (0, 1, 2)), (9, (0, 1, 2, 3)), (30, (1, 3))])


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    return np.random.default_rng([index, lane.index]).random(lane.length) < 0.5


class _Checked:
    """A round up to the published votes, and every client's check of them."""

    def __init__(self, seed: str = "seed") -> None:
        self.played = SmallRound(_CONTEXT, seed)
        self.played.deliver(self.played.gather_keys())
        self.published = open_envelope(self.played.sum(_votes), _CONTEXT.charter.keys)
        assert isinstance(self.published, Sums)
        self.checks = [client.check(self.published) for client in self.played.clients]

    def counts(self) -> dict[str, NDArray[Any]]:
        """The true counts."""
        return {
            lane.name: np.stack([_votes(index, lane) for index in lane.cohort]).sum(axis=0, dtype=np.uint8)
            for lane in _CONTEXT.lanes
        }

    def proofs(self, counts: dict[str, NDArray[Any]]) -> list[Envelope]:
        """Every client's proof, when it believes that `counts` were published."""
        for index, check in enumerate(self.checks):
            for lane in _CONTEXT.lanes:
                check.add(lane, counts[lane.name], _votes(index, lane) if index in lane.cohort else None)
        return [check.proof() for check in self.checks]


def _broadcast(proofs: list[Envelope], **changes: Any) -> Envelope:
    message = Proofs(
        charter=digest(_CONTEXT.charter), round=0, sender="server", sum="votes", proofs=tuple(proofs)
    ).model_copy(update=changes)
    return seal(message, identity(message.sender))


def test_the_moduli_are_different_primes_of_61_bits() -> None:
    sympy = pytest.importorskip("sympy")
    assert all(sympy.isprime(prime) and prime.bit_length() == 61 for prime in PRIMES)
    assert PRIMES[0] != PRIMES[1]


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 2**36), max_size=200))
def test_an_inner_product_is_exact(key: bytes, digits: list[int]) -> None:
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * len(digits)))
    words = [int.from_bytes(stream[8 * index : 8 * index + 8], "little") % 2**61 for index in range(len(digits))]
    expected = sum(word * digit for word, digit in zip(words, digits, strict=True))
    assert inner_products(key, [np.array(digits, np.uint64)]) == [expected]


def test_true_sums_pass_at_every_client() -> None:
    checked = _Checked()
    broadcast = _broadcast(checked.proofs(checked.counts()))
    for check in checked.checks:
        check.verify(broadcast)


@given(
    lane=st.sampled_from(_CONTEXT.lanes),
    positions=st.lists(st.integers(0, 69), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**32),
)
def test_counts_that_are_false_anywhere_fail_at_every_client(lane: Lane, positions: list[int], seed: int) -> None:
    checked = _Checked()
    counts = checked.counts()
    rng = np.random.default_rng(seed)
    for position in positions:
        at = position % lane.length
        others = [count for count in range(len(lane.cohort) + 1) if count != counts[lane.name][at]]
        counts[lane.name][at] = rng.choice(others)
    if all((counts[name] == true).all() for name, true in checked.counts().items()):
        return  # two positions that are the same one may have been changed back
    broadcast = _broadcast(checked.proofs(counts))
    for check in checked.checks:
        with pytest.raises(RemoteProtocolError, match="found that the published votes are not the sum"):
            check.verify(broadcast)


def test_two_counts_exchanged_fail_although_their_total_is_right() -> None:
    checked = _Checked()
    counts = checked.counts()
    first, second = np.argmin(counts["lane0"]), np.argmax(counts["lane0"])
    counts["lane0"][[first, second]] = counts["lane0"][[second, first]]
    broadcast = _broadcast(checked.proofs(counts))
    with pytest.raises(RemoteProtocolError, match="are not the sum"):
        checked.checks[0].verify(broadcast)


def test_clients_that_were_shown_different_messages_do_not_agree_even_on_true_counts() -> None:
    checked = _Checked()
    assert isinstance(checked.published, Sums)
    first, *others = checked.published.lanes
    lanes = (first.model_copy(update={"blob": "ab" * 32}), *others)
    other = checked.published.model_copy(update={"lanes": lanes})
    checked.checks[2] = checked.played.clients[2].check(other)
    broadcast = _broadcast(checked.proofs(checked.counts()))
    for check in checked.checks:
        with pytest.raises(RemoteProtocolError, match="or not the same for all of them"):
            check.verify(broadcast)


def test_proofs_that_are_not_everybody_s_own_are_refused() -> None:
    checked = _Checked()
    true = checked.proofs(checked.counts())
    changed = open_envelope(true[1], _CONTEXT.charter.keys)
    assert isinstance(changed, Proof)
    forged = seal(changed.model_copy(update={"products": ("0" * 16, "0" * 16)}), identity("i2"))
    cases = {
        "in roster order": [true[1:], true[::-1], [*true[:3], true[2]]],
        "in the name of": [[true[0], forged, *true[2:]]],
        "did not prove": [[*true[:3], SmallRound(_CONTEXT).clients[3].advertise()]],
    }
    for says, lists in cases.items():
        for proofs in lists:
            with pytest.raises(RemoteProtocolError, match=says):
                checked.checks[0].verify(_broadcast(proofs))
    for changes in ({"sum": "values"}, {"sender": "i1"}, {"round": 1}, {"charter": "c" * 64}):
        with pytest.raises(RemoteProtocolError):
            checked.checks[0].verify(_broadcast(true, **changes))
    checked.checks[0].verify(_broadcast(true))


def test_a_proof_is_the_own_product_plus_masks_that_are_fresh_and_cancel() -> None:
    products = []
    for seed in ("one", "two"):
        checked = _Checked(seed)
        messages = [open_envelope(proof, _CONTEXT.charter.keys) for proof in checked.proofs(checked.counts())]
        products.append([message.products for message in messages if isinstance(message, Proof)])
    assert not {value for row in products[0] for value in row} & {value for row in products[1] for value in row}
    assert all(int(value, 16) < prime for row in products[0] for value, prime in zip(row, PRIMES, strict=True))


def test_every_lane_is_added_once_as_it_was_masked() -> None:
    checked = _Checked()
    check: SumCheck = checked.checks[0]
    first, _, foreign = _CONTEXT.lanes
    counts = checked.counts()
    with pytest.raises(LocalProtocolError, match="0 of 3 lanes were added"):
        check.proof()
    check.add(first, counts["lane0"], _votes(0, first))
    for lane, own in ((first, _votes(0, first)), (foreign, _votes(0, foreign)), (_CONTEXT.lanes[1], None)):
        with pytest.raises(LocalProtocolError, match="was added already, or not as it was masked"):
            check.add(lane, counts[lane.name], own)


def test_there_is_nothing_to_check_before_a_sum_was_accepted() -> None:
    checked = _Checked()
    assert isinstance(checked.published, Sums)
    fresh = SmallRound(_CONTEXT)
    with pytest.raises(LocalProtocolError, match="there is no sum to check"):
        fresh.clients[0].check(checked.published)


def test_the_server_takes_one_proof_of_every_client_and_then_passes_all_on() -> None:
    checked = _Checked()
    proofs = checked.proofs(checked.counts())
    gathering = ProofGathering(_CONTEXT, identity("server"), "votes")
    assert gathering.receive(proofs[2]) is None
    assert gathering.missing() == ["i0", "i1", "i3"]
    of_values = open_envelope(proofs[0], _CONTEXT.charter.keys).model_copy(update={"sum": "values"})
    of_the_server = open_envelope(proofs[0], _CONTEXT.charter.keys).model_copy(update={"sender": "server"})
    for wrong in (
        proofs[2],
        seal(of_values, identity("i0")),
        seal(of_the_server, identity("server")),
        SmallRound(_CONTEXT).clients[0].advertise(),
    ):
        with pytest.raises(RemoteProtocolError, match="proofs of votes are due from i0, i1, i3"):
            gathering.receive(wrong)
    assert gathering.missing() == ["i0", "i1", "i3"]
    assert [gathering.receive(proofs[index]) for index in (0, 3)] == [None, None]
    broadcast = gathering.receive(proofs[1])
    assert broadcast is not None
    for check in checked.checks:
        check.verify(broadcast)
