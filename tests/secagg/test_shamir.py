"""Any t of the shares give the secret, t - 1 fit every secret, and a wrong share is survived and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.secagg.shamir import PRIME, SHARE_BYTES, combine, robust_combine, split

_SECRET = bytes(range(32))
_SECRETS = st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32])
_HOLDERS = st.lists(st.integers(0, 2000), min_size=1, max_size=12, unique=True)


def _is_secret(value: bytes) -> bool:
    assert len(value) == 32
    return value == _SECRET


def _coefficients(*values: int) -> Callable[[int], bytes]:
    """Entropy of which `split` makes these coefficients, in this order."""
    rest = list(values)
    return lambda length: rest.pop(0).to_bytes(length, "big")


def _moved(share: bytes, by: int) -> bytes:
    """A share that lies `by` above `share`."""
    return ((int.from_bytes(share, "big") + by) % PRIME).to_bytes(SHARE_BYTES, "big")


def _through(points: Mapping[int, int]) -> list[int]:
    """The coefficients, constant first, of the polynomial through `points` (x -> y): Lagrange's, multiplied out."""
    total = [0] * len(points)
    for x, y in points.items():
        basis, scale = [1], y
        for other in points:
            if other != x:
                basis = [(low - other * high) % PRIME for low, high in zip([0, *basis], [*basis, 0], strict=True)]
                scale = scale * pow(x - other, -1, PRIME) % PRIME
        total = [(sum_ + scale * term) % PRIME for sum_, term in zip(total, basis, strict=True)]
    return total


def test_the_modulus_is_the_smallest_prime_above_every_secret() -> None:
    sympy = pytest.importorskip("sympy")
    assert sympy.isprime(PRIME)
    assert sympy.nextprime(2**256) == PRIME
    assert (PRIME - 1).bit_length() <= 8 * SHARE_BYTES


def test_a_share_is_the_polynomial_at_one_more_than_the_index_written_out() -> None:
    shares = split((11).to_bytes(32, "big"), 3, [4, 0, 9], _coefficients(5, 7))
    expected = {4: 11 + 5 * 5 + 7 * 25, 0: 11 + 5 + 7, 9: 11 + 5 * 10 + 7 * 100}
    assert list(shares.items()) == [(holder, value.to_bytes(33, "big")) for holder, value in expected.items()]


def test_coefficients_are_64_bytes_of_entropy_each_reduced_modulo_the_prime() -> None:
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return (3 * PRIME + len(asked)).to_bytes(length, "big")

    assert split(_SECRET, 3, [0, 1, 2], source) == split(_SECRET, 3, [0, 1, 2], _coefficients(1, 2))
    assert asked == [64, 64]


def test_with_a_threshold_of_one_every_share_is_the_secret() -> None:
    assert split(_SECRET, 1, [0, 9], _coefficients()) == {0: b"\0" + _SECRET, 9: b"\0" + _SECRET}


@given(_SECRETS, _HOLDERS, st.randoms(use_true_random=False))
def test_any_threshold_of_the_shares_give_the_secret_and_so_do_more(
    secret: bytes, holders: list[int], random: Random
) -> None:
    threshold = random.randint(1, len(holders))
    shares = split(secret, threshold, holders, random.randbytes)
    chosen = random.sample(holders, random.randint(threshold, len(holders)))
    assert combine({holder: shares[holder] for holder in chosen}) == secret
    assert robust_combine(shares, threshold, lambda value: value == secret) == (secret, [])


@pytest.mark.parametrize("coefficient", [0, 1, PRIME - 1, 2**512 - 1])
@pytest.mark.parametrize("secret", [bytes(32), bytes(31) + b"\x01", b"\xff" * 32])
def test_the_smallest_and_the_largest_secret_and_coefficients_come_back(secret: bytes, coefficient: int) -> None:
    shares = split(secret, 3, [0, 5, 70], _coefficients(coefficient, coefficient))
    assert combine(shares) == secret


@given(_SECRETS, _SECRETS, _HOLDERS, st.randoms(use_true_random=False))
def test_one_share_too_few_is_consistent_with_every_other_secret(
    secret: bytes, other: bytes, holders: list[int], random: Random
) -> None:
    threshold = random.randint(1, len(holders))
    shares = split(secret, threshold, holders, random.randbytes)
    known = random.sample(holders, threshold - 1)
    points = {holder + 1: int.from_bytes(shares[holder], "big") for holder in known}
    constant, *coefficients = _through({0: int.from_bytes(other, "big")} | points)
    assert constant == int.from_bytes(other, "big")
    again = split(other, threshold, holders, _coefficients(*coefficients))
    assert {holder: again[holder] for holder in known} == {holder: shares[holder] for holder in known}


@pytest.mark.parametrize(
    ("secret", "threshold", "holders", "says"),
    [
        (bytes(31), 1, [0], "A secret of 31 bytes came"),
        (bytes(33), 1, [0], "A secret of 33 bytes came"),
        (b"", 1, [0], "A secret of 0 bytes came"),
        (_SECRET, 0, [0, 1], "0 of 2 shares can't be a threshold"),
        (_SECRET, -1, [0, 1], "-1 of 2 shares can't be a threshold"),
        (_SECRET, 3, [0, 1], "3 of 2 shares can't be a threshold"),
        (_SECRET, 1, [], "1 of 0 shares can't be a threshold"),
        (_SECRET, 2, [4, 1, 4], r"named twice among \[1, 4, 4\]"),
        (_SECRET, 2, [0, -1], "can have the index -1"),
        (_SECRET, 2, [0, PRIME - 1], f"can have the index {PRIME - 1}"),
    ],
)
def test_what_can_t_be_shared_is_refused_before_any_entropy_is_drawn(
    secret: bytes, threshold: int, holders: Sequence[int], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        split(secret, threshold, holders, lambda _: pytest.fail("entropy was drawn"))


_MALFORMED = [b"", bytes(32), bytes(34), PRIME.to_bytes(33, "big"), b"\xff" * 33]


@pytest.mark.parametrize("share", _MALFORMED, ids=["empty", "shorter", "longer", "the prime", "largest"])
def test_a_share_that_is_no_number_below_the_prime_is_refused_by_its_holder(share: bytes) -> None:
    shares = split(_SECRET, 2, [0, 3, 8], Random(0).randbytes)
    with pytest.raises(RemoteProtocolError, match=r"of 3, those of \[3\] are not"):
        combine(shares | {3: share})


def test_the_largest_share_is_one_below_the_prime() -> None:
    shares = split(_SECRET, 2, [0, 1], _coefficients(PRIME - 1 - int.from_bytes(_SECRET, "big")))
    assert shares[0] == (PRIME - 1).to_bytes(33, "big")
    assert combine(shares) == _SECRET


@pytest.mark.parametrize("above", [2**256, PRIME - 1])
def test_shares_of_a_number_that_is_no_secret_are_refused(above: int) -> None:
    with pytest.raises(RemoteProtocolError, match=r"The shares of \[6\] belong to no secret of 32 bytes"):
        combine({6: above.to_bytes(33, "big")})
    assert combine({6: (2**256 - 1).to_bytes(33, "big")}) == b"\xff" * 32


def test_no_shares_are_no_secret() -> None:
    with pytest.raises(RemoteProtocolError, match="of 0"):
        combine({})


@pytest.mark.parametrize("index", [-1, PRIME - 1])
def test_an_index_at_which_the_secret_itself_would_lie_is_refused(index: int) -> None:
    shares = {0: bytes(33), index: bytes(33)}
    with pytest.raises(LocalProtocolError, match="can have the index"):
        combine(shares)
    with pytest.raises(LocalProtocolError, match="can have the index"):
        robust_combine(shares, 1, _is_secret)


@given(_HOLDERS, st.integers(1, PRIME - 1), st.randoms(use_true_random=False))
def test_one_wrong_share_is_survived_and_named_whenever_one_is_to_spare(
    holders: list[int], by: int, random: Random
) -> None:
    assume(len(holders) >= 2)
    threshold = random.randint(1, len(holders) - 1)
    shares = split(_SECRET, threshold, holders, random.randbytes)
    liar = random.choice(holders)
    wrong = shares | {liar: random.choice([_moved(shares[liar], by), *_MALFORMED])}
    assert robust_combine(wrong, threshold, _is_secret) == (_SECRET, [liar])


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_wrong_shares_are_named_exactly_when_a_threshold_of_right_ones_stand_together(
    number: int, random: Random
) -> None:
    holders = sorted(random.sample(range(100), number))
    threshold = random.randint(1, number - 1)
    liars = set(random.sample(holders, random.randint(1, number)))
    shares = split(_SECRET, threshold, holders, random.randbytes)
    wrong = shares | {liar: _moved(shares[liar], random.randrange(1, PRIME)) for liar in liars}
    ring = "".join("x" if holder in liars else "." for holder in holders)
    if "." * threshold in ring + ring:
        assert robust_combine(wrong, threshold, _is_secret) == (_SECRET, sorted(liars))
    else:
        with pytest.raises(RemoteProtocolError, match=f"No {threshold} neighbouring shares of"):
            robust_combine(wrong, threshold, _is_secret)


def test_a_malformed_share_does_not_stand_between_right_ones() -> None:
    shares = split(_SECRET, 3, range(6), Random(0).randbytes)
    wrong = shares | {1: b"", 3: bytes(34), 5: b"\xff" * 33}
    assert robust_combine(wrong, 3, _is_secret) == (_SECRET, [1, 3, 5])


def test_liars_who_bend_a_window_around_the_true_secret_do_not_blame_the_others() -> None:
    shares = split(_SECRET, 3, range(8), Random(0).randbytes)
    # At 0, the points 1, 2, 3 weigh 3, -3, 1: two equal errors cancel there and nowhere else.
    bent = shares | {0: _moved(shares[0], 1), 1: _moved(shares[1], 1)}
    assert combine({holder: bent[holder] for holder in range(3)}) == _SECRET
    assert robust_combine(bent, 3, _is_secret) == (_SECRET, [0, 1])


def test_a_secret_is_not_believed_unless_it_is_the_committed_one() -> None:
    shares = split(_SECRET, 2, [0, 1, 2], Random(0).randbytes)
    with pytest.raises(RemoteProtocolError, match=r"No 2 neighbouring shares of \[0, 1, 2\] give the committed secret"):
        robust_combine(shares, 2, lambda _: False)


def test_windows_of_no_secret_are_passed_over() -> None:
    shares = {0: (2**256).to_bytes(33, "big"), 1: b"\0" + _SECRET}
    assert robust_combine(shares, 1, _is_secret) == (_SECRET, [0])


@pytest.mark.parametrize(("number", "windows"), [(3, 1), (4, 4), (5, 5)])
def test_each_window_is_tried_once(number: int, windows: int) -> None:
    tried: list[bytes] = []

    def never(secret: bytes) -> bool:
        tried.append(secret)
        return False

    with pytest.raises(RemoteProtocolError, match="No 3 neighbouring shares"):
        robust_combine(split(_SECRET, 3, range(number), Random(0).randbytes), 3, never)
    assert tried == [_SECRET] * windows


def test_one_window_is_enough_if_all_shares_agree() -> None:
    tried: list[bytes] = []

    def committed(secret: bytes) -> bool:
        tried.append(secret)
        return True

    assert robust_combine(split(_SECRET, 3, range(8), Random(0).randbytes), 3, committed) == (_SECRET, [])
    assert tried == [_SECRET]


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_that_asks_for_nothing_is_refused(threshold: int) -> None:
    with pytest.raises(LocalProtocolError, match="can't be a threshold"):
        robust_combine(split(_SECRET, 2, [0, 1], Random(0).randbytes), threshold, lambda _: True)


def test_too_few_well_formed_shares_are_refused() -> None:
    shares = split(_SECRET, 3, range(4), Random(0).randbytes)
    with pytest.raises(RemoteProtocolError, match="2 of 4 shares are 33 bytes below the prime; 3 are needed"):
        robust_combine(shares | {0: b"", 2: bytes(32)}, 3, _is_secret)
    with pytest.raises(RemoteProtocolError, match="0 of 0 shares"):
        robust_combine({}, 1, _is_secret)
