"""A charter has one digest, and no field of it can change unnoticed; nor can it hold what it has no room for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from fedspallm_secure.charter import Aggregate, AveragedWeights, Charter, MaskedVotes, Votes, Witness
from fedspallm_secure.messages import canonical, digest
from tests.charter.example_charter import encrypted_votes, example_charter, example_digest, noise, pooled_statistics

_WITNESS = Witness(name="auditor", public_key=example_digest("auditor"))

# What a leaf becomes: another valid value of the same field.
_OTHER = {
    "spring": "autumn",
    "sparsegpt": "wanda",
    "float32": "float16",
    "0.25": "0.3",
    "0.5": "2:4",
    "1": "0.75",
    "1.0": "1.00",
    "head.weight": "tail.weight",
    "once": "each layer",
    "0.01": "0.02",
}


def _other(leaf: Any) -> Any:
    if leaf is None:
        return _WITNESS.model_dump()
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    if len(leaf) == 64:
        return example_digest(leaf)
    return _OTHER.get(leaf, leaf + "x")


def _changed(node: Any) -> Iterator[Any]:
    """`node` with one leaf, one key or one element changed, one after the other, everywhere in it."""
    if isinstance(node, dict) and "backend" in node:
        yield (encrypted_votes() if node["backend"] == "masked" else MaskedVotes()).model_dump(mode="json")
        node = {key: value for key, value in node.items() if key != "backend"}
        for other in _changed(node):
            yield {"backend": "ckks"} | other
    elif isinstance(node, dict) and "kind" in node:
        yield (pooled_statistics() if node["kind"] == "weights" else AveragedWeights()).model_dump(mode="json")
        node = {key: value for key, value in node.items() if key != "kind"}
        for other in _changed(node):
            yield {"kind": "statistics"} | other
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "noise":
                yield node | {key: noise(16).model_dump(mode="json")}
                continue
            for other in _changed(value):
                yield node | {key: other}
        if "head.weight" in node:
            yield {_other(key): value for key, value in node.items()}
            yield node | {"extra.weight": example_digest("extra")}
    elif isinstance(node, list):
        for index, value in enumerate(node):
            for other in _changed(value):
                yield [*node[:index], other, *node[index + 1 :]]
            yield node[:index] + node[index + 1 :]
        if len(node) > 1:
            yield node[::-1]
    else:
        yield _other(node)


@pytest.mark.parametrize("witness", [None, _WITNESS], ids=["no witness", "a witness"])
@pytest.mark.parametrize("votes", [MaskedVotes(), encrypted_votes()], ids=["masked votes", "encrypted votes"])
@pytest.mark.parametrize("aggregate", [AveragedWeights(), pooled_statistics()], ids=["weights", "statistics"])
def test_any_changed_field_changes_the_digest(witness: Witness | None, votes: Votes, aggregate: Aggregate) -> None:
    charter = example_charter(witness=witness, votes=votes, aggregate=aggregate)
    body = json.loads(canonical(charter))
    del body["version"]
    digests = {digest(charter)}
    changes = list(_changed(body))
    for change in changes:
        digests.add(digest(Charter.model_validate_json(json.dumps(change))))
    assert len(changes) > 50
    assert len(digests) == 1 + len(changes)


def test_the_digest_does_not_depend_on_how_the_charter_was_written() -> None:
    charter = example_charter()
    body = json.loads(canonical(charter))
    backwards = dict(reversed(body.items()))
    assert digest(Charter.model_validate_json(json.dumps(backwards, indent=3))) == digest(charter)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "fedspallm-secure/charter/v2"),
        ("run", ""),
        ("run", "a b"),
        ("run", "../up"),
        ("run", "x" * 65),
        ("run", "spring\n"),
        ("server_key", "AB" * 32),
        ("server_key", "ab" * 31),
        ("beacon", "ab" * 32 + "\n"),
        ("method", "obc"),
        ("surprise", 1),
    ],
)
def test_a_field_that_is_malformed_or_unknown_is_refused(field: str, value: object) -> None:
    body = json.loads(canonical(example_charter()))
    with pytest.raises(ValidationError, match=field):
        Charter.model_validate_json(json.dumps(body | {field: value}))


@pytest.mark.parametrize("value", [1.0, "1", True, -1, 2**53])
def test_a_number_is_a_whole_one_that_every_reader_holds_exactly(value: object) -> None:
    body = json.loads(canonical(example_charter()))
    body["parameters"]["digits_per_word"] = value
    with pytest.raises(ValidationError, match="digits_per_word"):
        Charter.model_validate_json(json.dumps(body))


@pytest.mark.parametrize("value", ["", "-1", "1e3", ".5", "1.", "1/2", "nan", " 1", "1" * 10, "0." + "1" * 10])
def test_a_decimal_is_digits_and_one_point(value: str) -> None:
    body = json.loads(canonical(example_charter()))
    body["parameters"]["clip"] = value
    with pytest.raises(ValidationError, match="clip"):
        Charter.model_validate_json(json.dumps(body))


def test_everybody_has_its_own_key_by_name() -> None:
    charter = example_charter()
    assert charter.keys == {name: example_digest(name) for name in ("server", "aachen", "berlin", "celle", "dresden")}


def test_a_witness_has_its_key_by_name_too_whether_it_is_an_institution_or_not() -> None:
    others = example_charter().keys
    assert example_charter(witness=_WITNESS).keys == others | {"auditor": example_digest("auditor")}
    member = Witness(name="berlin", public_key=example_digest("berlin"))
    assert example_charter(witness=member).keys == others


def test_a_custodian_has_its_key_by_name_too_and_masked_votes_have_none() -> None:
    charter = example_charter(votes=encrypted_votes())
    assert charter.keys == example_charter().keys | {"custodian": example_digest("custodian")}
    assert charter.custodian == encrypted_votes().custodian
    assert example_charter().custodian is None


def test_votes_are_masked_where_a_charter_does_not_say_how_they_are_counted() -> None:
    body = json.loads(canonical(example_charter()))
    assert body.pop("votes") == {"backend": "masked"}
    assert digest(Charter.model_validate_json(json.dumps(body))) == digest(example_charter())


@pytest.mark.parametrize(
    "votes",
    [
        None,
        {},
        {"backend": "plain"},
        {"backend": "masked", "contexts": []},
        {"backend": "ckks"},
        {"backend": "ckks", "contexts": []},
        encrypted_votes().model_dump(mode="json") | {"contexts": ["AB" * 32]},
        encrypted_votes().model_dump(mode="json") | {"custodian": None},
        encrypted_votes().model_dump(mode="json") | {"secret": "0" * 64},
    ],
)
def test_votes_are_counted_in_one_of_two_ways_and_nothing_else_is_a_charter(votes: Any) -> None:
    body = json.loads(canonical(example_charter())) | {"votes": votes}
    with pytest.raises(ValidationError, match="votes"):
        Charter.model_validate_json(json.dumps(body))


def test_only_sparsegpt_changes_weights() -> None:
    assert example_charter().changes_weights
    assert not example_charter(method="wanda").changes_weights
    assert not example_charter(method="magnitude").changes_weights
