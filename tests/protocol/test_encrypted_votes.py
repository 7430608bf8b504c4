"""What SPEC.md says of encrypted votes is what SEAL does, and what the package computes."""

from __future__ import annotations

import re
import struct
from functools import cache
from math import cos, log, log2, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.votes import (
    MARGIN,
    CkksParameters,
    Decryptor,
    Encryptor,
    PublicContext,
    SecretContext,
    choose_parameters,
    make_key_pair,
)
from fedspallm_secure.votes.packing import pack_votes
from protocol.generate import ROOT
from protocol.vectors.making.fixed_ckks import payload
from protocol.vectors.second import ckks, ring
from protocol.vectors.second.payloads import payload as second_payload

SPECIFICATION = (ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")
TABLE = [
    (int(v), int(most))
    for v, most in re.findall(
        r"^\| ([0-9]+) \| ([0-9]+) \|$", SPECIFICATION.split("### 21.1")[1].split("### 21.2")[0], re.MULTILINE
    )
]


def test_the_votes_a_number_in_the_table_are_those_that_the_package_chooses() -> None:
    assert len(TABLE) == 16
    for at, (v, most) in enumerate(TABLE):
        fewest = TABLE[at - 1][1] + 1 if at else 2
        for n in {fewest, (fewest + most) // 2, most}:
            chosen = choose_parameters(n)
            assert (chosen.digits, chosen.scale) == (v, ckks.choose(n).scale), n


def _bound(n: int, v: int, N: int, q: int, p: int) -> float:
    """The formula of section 21.1."""
    scale = ckks.Parameters(n, v).scale
    tail = sqrt(148 * log(2))
    S = 2 * N / 3 * (log(8 * N) + 41 * log(2)) / cos(pi / 16) ** 2
    noise = tail * sqrt(n * N * (S + 2) / 24) + 21 * n * N * (2 * N + 1) / p
    return noise / scale + 14 * sqrt(2) * tail * log2(N) * float((n + 1) ** v) * 2**-53


def test_the_table_has_the_most_votes_that_the_noise_bound_allows() -> None:
    constants = choose_parameters(2)
    for v, most in TABLE:
        for n in (most, most + 1):
            fits = _bound(n, v, constants.ring, constants.q, constants.p) < MARGIN
            assert fits is (n == most) or n > 2**14, (v, n)
        chosen = choose_parameters(most)
        assert chosen.bound == pytest.approx(_bound(most, v, chosen.ring, chosen.q, chosen.p))


def test_the_constants_of_the_ring_are_those_of_the_code() -> None:
    table = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", SPECIFICATION, re.MULTILINE))
    chosen = choose_parameters(5)
    assert table["degree of the ring of encrypted votes, N"] == str(chosen.ring)
    assert (table["prime modulo which ciphertexts travel, q"], chosen.q) == ("2^60 - 2^14 + 1", 2**60 - 2**14 + 1)
    assert table["special prime of encryption, p"] == str(chosen.p)
    assert (table["margin of a decrypted number"], MARGIN) == ("1/4", 0.25)
    psi, N = int(table["root of unity modulo q, psi"]), chosen.ring
    assert pow(psi, N, chosen.q) == chosen.q - 1
    assert psi == min(pow(psi, power, chosen.q) for power in range(1, 2 * N, 2))


@cache
def _keys(clients: int, folder: Path) -> tuple[CkksParameters, Encryptor, Decryptor, list[int]]:
    """A key pair of SEAL's, and its secret key's words modulo q as SEAL writes them."""
    zstandard: Any = pytest.importorskip("zstandard")
    pytest.importorskip("tenseal")
    parameters = choose_parameters(clients)
    pair = make_key_pair(parameters)
    public = PublicContext(parameters, pair.public, pair.digest)
    secret = SecretContext(pair.secret, public)
    secret.key.save(str(folder / "key"))
    body = zstandard.ZstdDecompressor().decompress((folder / "key").read_bytes()[16:])
    words = struct.unpack(f"<{2 * parameters.ring}Q", body[-16 * parameters.ring :])  # modulo q, then modulo p
    return parameters, Encryptor(public, folder), Decryptor(secret, folder), list(words[: parameters.ring])


@pytest.mark.parametrize("clients", [3, 8, 200])
def test_the_second_implementation_decrypts_what_seal_encrypted_and_seal_what_it_encrypted(
    clients: int, tmp_path: Path
) -> None:
    parameters, encryptor, decryptor, secret = _keys(clients, tmp_path)
    mine = ckks.choose(clients)
    votes: NDArray[np.bool_] = np.random.default_rng(clients).integers(0, 2, parameters.votes).astype(np.bool_)
    bits = [int(vote) for vote in votes]
    theirs = [int(word) for word in next(encryptor.encrypt(votes))]
    ckks.check_ciphertexts("K10", mine, votes.size, theirs)
    assert ckks.counts(mine, ckks.decrypt(mine, secret, theirs), 1, votes.size) == bits
    ours = ckks.encrypt(mine, secret, bytes(32), bits)
    both = ckks.add([theirs, ours])
    doubled = [2 * bit for bit in bits]
    assert ckks.counts(mine, ckks.decrypt(mine, secret, both), 2, votes.size) == doubled
    numbers = decryptor.decrypt(np.array(both, np.uint64))
    assert ckks.counts(mine, numbers.tolist(), 2, votes.size) == doubled


def test_the_secret_key_of_seal_has_small_coefficients_in_the_form_of_the_specification(tmp_path: Path) -> None:
    _, _, _, secret = _keys(3, tmp_path)
    assert set(ring.invert(secret)) == {0, 1, ring.Q - 1}


@given(clients=st.integers(2, 400), planes=st.integers(1, 3), data=st.data())
@settings(max_examples=25, deadline=None)
def test_numbers_of_both_implementations_are_the_same_and_sums_of_them_are_counts(
    clients: int, planes: int, data: st.DataObject
) -> None:
    mine, theirs = ckks.choose(clients), choose_parameters(clients)
    length = min(planes, mine.v) * ring.RING - data.draw(st.integers(0, 4000))
    contributors = data.draw(st.integers(1, min(clients, 4)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    votes = rng.integers(0, 2, (contributors, length)).astype(np.bool_)
    numbers = [mine.pack([int(vote) for vote in one]) for one in votes]
    assert [pack_votes(theirs, one).tolist() for one in votes] == numbers
    total = [sum(column) for column in zip(*numbers, strict=True)]
    assert ckks.counts(mine, total, contributors, length) == votes.sum(axis=0).tolist()


def test_a_transformed_polynomial_has_its_values_in_the_order_of_the_specification() -> None:
    table = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", SPECIFICATION, re.MULTILINE))
    psi = int(table["root of unity modulo q, psi"])
    a = [pow(3, k, ring.Q) for k in range(ring.RING)]
    values = ring.transform(a)
    for i in (0, 1, 2, 2049, 4095):
        at = pow(psi, 2 * int(f"{i:012b}"[::-1], 2) + 1, ring.Q)
        assert values[i] == sum(x * pow(at, k, ring.Q) for k, x in enumerate(a)) % ring.Q
    assert ring.invert(values) == a


def test_both_implementations_make_the_same_ciphertexts_of_a_payload_that_is_not_written_out() -> None:
    given = {"clients": 5, "secret": "1" * 64, "stream": "2" * 64, "votes": "1001" * 500}
    assert payload(given) == second_payload(given)
    assert payload({**given, "stream": "3" * 64}) != second_payload(given)
    runs = {"runs": [["000000000000000a", 2], ["0000000000000001", 1]]}
    assert payload(runs) == second_payload(runs) == struct.pack("<3Q", 10, 10, 1)
