"""Vectors of encrypted votes: parameters, layout, ciphertexts as words, their sums, and counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.secagg import votes_packing
from fedspallm_secure.votes import CkksParameters, add_ciphertexts, check_ciphertexts, choose_parameters, sum_digest
from fedspallm_secure.votes.packing import pack_votes, unpack_counts
from protocol.vectors.making.fixed_ckks import FixedKey, key_of, payload, stream_of

__all__ = ["CASES", "bad_votes", "votes"]

Json = dict[str, Any]


def votes(given: Json) -> Json:
    """What the package does with an input."""
    parameters = choose_parameters(given["clients"])
    match given["operation"]:
        case "parameters":
            words = parameters.words * parameters.ciphertexts(given["length"])
            return {"votes": parameters.digits, "scale": parameters.scale, "words": words}
        case "numbers":
            kept = np.zeros(given["length"], np.bool_)
            kept[given["kept"]] = True
            step = parameters.votes
            lane = [pack_votes(parameters, kept[start : start + step]) for start in range(0, kept.size, step)]
            return {"numbers": [{str(at): int(numbers[at]) for at in np.flatnonzero(numbers)} for numbers in lane]}
        case "encrypt":
            return _shown(np.frombuffer(payload(given["ciphertexts"]), "<u8"))
        case "add":
            return _shown(np.concatenate(list(_sum(parameters, given))))
        case "count":
            key, counts = FixedKey(parameters, given["secret"]), np.zeros(given["length"], np.uint64)
            total = list(_sum(parameters, given))
            for number, ciphertext in enumerate(total):
                part = counts[number * parameters.votes :][: parameters.votes]
                unpack_counts(parameters, key.decrypt(ciphertext), len(given["contributions"]), part)
            return {"ciphertexts": sum_digest(total), **_counted(given, counts)}
    numbers = np.zeros(parameters.ring)
    for at, number in given["numbers"].items():
        numbers[int(at)] = float(number)
    counts = np.zeros(given["length"], np.uint64)
    unpack_counts(parameters, numbers, given["contributors"], counts)
    return _counted(given, counts)


def _sum(parameters: CkksParameters, given: Json) -> Iterator[NDArray[np.uint64]]:
    streams = [
        check_ciphertexts(parameters, given["length"], "an institution", _pieces(parameters, payload(one)))
        for one in given["contributions"]
    ]
    return add_ciphertexts(parameters, given["length"], streams)


def _pieces(parameters: CkksParameters, data: bytes) -> Iterator[NDArray[np.uint64]]:
    words = np.frombuffer(data, "<u8")
    return (words[start : start + parameters.words] for start in range(0, words.size, parameters.words))


def _counted(given: Json, counts: NDArray[Any]) -> Json:
    blob = votes_packing(given["cohort"]).pack(counts).astype("<u8").tobytes()
    found = {str(at): int(counts[at]) for at in np.flatnonzero(counts)}
    return {"counts": found, "blob": hashlib.sha256(blob).hexdigest()}


def _shown(words: NDArray[np.uint64]) -> Json:
    first, last = ([f"{int(word):016x}" for word in part] for part in (words[:4], words[-4:]))
    return {"words": words.size, "first": first, "last": last, "sha256": sum_digest([words])}


def _ciphertexts(clients: int, who: str, length: int) -> Json:
    rng = Random(f"votes of {who} {clients}")
    bits = "".join(rng.choice("01") for _ in range(length))
    return {
        "clients": clients,
        "secret": key_of("votes", clients),
        "stream": stream_of("votes", clients, who, "lane"),
        "votes": bits,
    }


def _count(clients: int, contributors: int, length: int, cohort: int) -> Json:
    return {
        "operation": "count",
        "clients": clients,
        "cohort": cohort,
        "length": length,
        "secret": key_of("votes", clients),
        "contributions": [_ciphertexts(clients, str(number), length) for number in range(contributors)],
    }


def _sums_of(clients: int, contributors: int, length: int, cohort: int) -> Json:
    """Exact sums, of digits that go over all planes."""
    parameters, rng = choose_parameters(clients), Random(f"counts {clients} {length}")
    planes = -(-length // parameters.ring)
    filled = length - (planes - 1) * parameters.ring
    numbers = {}
    for at in [*rng.sample(range(filled), 3), parameters.ring - 1]:
        used = planes if at < filled else planes - 1
        digits = [rng.randint(0, contributors) for _ in range(used)]
        numbers[str(at)] = f"{sum(digit * parameters.base**place for place, digit in enumerate(digits))}"
    return {
        "operation": "counts",
        "clients": clients,
        "cohort": cohort,
        "contributors": contributors,
        "length": length,
        "numbers": numbers,
    }


def _small(numbers: Mapping[str, str], **other: Any) -> Json:
    return {
        "operation": "counts",
        "clients": 3,
        "cohort": 3,
        "contributors": 2,
        "length": 24,
        "numbers": dict(numbers),
        **other,
    }


_SIZES = (2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 18, 19, 26, 27, 41, 42, 75, 76, 170, 171, 546, 547, 3370, 3371, 2**14)

CASES: list[Json] = [
    *({"operation": "parameters", "clients": n, "length": length} for n in _SIZES for length in (1, 100_000)),
    {"operation": "numbers", "clients": 3, "length": 24, "kept": [0, 5, 23]},
    {"operation": "numbers", "clients": 3, "length": 77_824, "kept": [0, 4096, 8192, 4095, 73_728, 77_823]},
    {"operation": "numbers", "clients": 600, "length": 12_290, "kept": [1, 4097, 8193, 12_288, 12_289]},
    _small({"0": "1.98", "1": "0.25", "2": "0.75", "5": "-0.2", "23": "1"}),
    _sums_of(3, 3, 77_824 - 70_000, 3),
    _sums_of(8, 6, 5_000, 7),
    {"operation": "encrypt", "clients": 3, "ciphertexts": _ciphertexts(3, "0", 24)},
    {"operation": "encrypt", "clients": 100, "ciphertexts": _ciphertexts(100, "0", 300)},
    {
        "operation": "add",
        "clients": 3,
        "length": 24,
        "contributions": [_ciphertexts(3, str(number), 24) for number in range(3)],
    },
    {
        "operation": "add",
        "clients": 4096,
        "length": 8193,
        "contributions": [{"runs": [[f"{2**60 - 2**14:016x}", 16384]]}] * 2,
    },
    _count(3, 2, 24, 3),
    _count(8, 6, 100, 7),
]
"""Inputs."""


def bad_votes() -> dict[str, Json]:
    """votes/NAME -> vector that must be refused."""
    q, good = 2**60 - 2**14 + 1, _ciphertexts(3, "0", 24)

    def added(*runs: tuple[int, int]) -> Json:
        other = {"runs": [[f"{word:016x}", number] for word, number in runs]}
        return {"operation": "add", "clients": 3, "length": 24, "contributions": [good, other]}

    counted = _count(3, 2, 24, 3)
    one, other = counted["contributions"]
    foreign = {**counted, "contributions": [one, {**other, "secret": key_of("another", 3)}]}
    whole, reach = "is no sum of votes", "contributors can't reach"
    vectors = {
        "short": ("A word too few.", added((1, 8191)), "K10", "8191 words; 8192 are expected"),
        "long": ("A ciphertext too many.", added((1, 16384)), "K10", "ciphertexts came; 1 are expected"),
        "none": ("No ciphertext.", added(), "K10", "0 ciphertexts came; 1 are expected"),
        "residue": ("A word that is q.", added((1, 8191), (q, 1)), "K10", "no residues"),
        "clear": ("c1 is zero: c0 is the votes themselves.", added((1, 4096), (0, 4096)), "K10", "hides nothing"),
        "foreign": ("A ciphertext under another key.", foreign, "K12", "further than 0.25"),
        "margin": ("A number that is no whole one.", _small({"3": "1.26"}), "K12", "further than 0.25"),
        "negative": ("A negative number.", _small({"3": "-1"}), "K13", whole),
        "large": ("A number of more votes than it can hold.", _small({"3": str(4**19)}), "K13", whole),
        "more": ("Three votes of two contributors.", _small({"3": "3"}), "K13", reach),
        "plane": ("A vote past the end, in another number.", _small({"24": "1"}), "K13", reach),
        "past": ("A vote past the end, in a higher plane.", _small({"3": "4"}), "K13", reach),
    }
    return {
        f"votes/votes_bad_{defect}": {
            "family": "votes",
            "about": about,
            "input": given,
            "refused": {"check": check, "error": "RemoteProtocolError", "says": says},
        }
        for defect, (about, given, check, says) in vectors.items()
    }
