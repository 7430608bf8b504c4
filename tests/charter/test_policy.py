"""A policy refuses exactly what its owner does not allow, in every one of its rules, and says by which numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.charter import (
    Charter,
    Policy,
    Witness,
    check_charter,
    check_policy,
    load_charter,
    load_policy,
)
from fedspallm_secure.errors import CharterError, ConfigError
from fedspallm_secure.messages import canonical, digest
from tests.charter.example_charter import (
    encrypted_votes,
    example_charter,
    example_digest,
    example_parameters,
    noise,
    pooled_statistics,
)

_DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "policy.md"
_BLOCKS = [block.split("```")[0] for block in _DOCUMENT.read_text(encoding="utf-8").split("```toml\n")[1:]]
_WITNESS = Witness(name="auditor", public_key=example_digest("auditor"))
_KEYS = {name: example_digest(name) for name in ("aachen", "berlin", "celle", "dresden")}


def _parameters(**changes: Any) -> Charter:
    return example_charter(parameters=example_parameters(**changes))


def _two(**changes: Any) -> Charter:
    """A charter of two institutions that the gate lets through, but for `changes`."""
    fields = {"minimum_cohort": 2, "minimum_contributors": 2, "dropout_margin": 0, "colluders": 0, "dropouts": 0}
    return example_charter(roster=example_charter().roster[:2], parameters=example_parameters(**fields | changes))


# Rule -> a charter, the policy that just allows it, the one that just does not, and what is said then.
RULES: dict[str, tuple[Charter, dict[str, Any], dict[str, Any], str]] = {
    "minimum_institutions": (
        example_charter(),
        {"minimum_institutions": 4},
        {"minimum_institutions": 5},
        "has 4 institutions; * at least 5",
    ),
    "allow_two_institutions": (
        _parameters(minimum_contributors=2, colluders=0),
        {"allow_two_institutions": True, "minimum_contributors": 2, "minimum_colluders": 0},
        {"allow_two_institutions": False, "minimum_contributors": 2, "minimum_colluders": 0},
        "sum be of 2 institutions; * subtracts its own input from the sum and learns the other's",
    ),
    "minimum_cohort": (
        example_charter(),
        {"minimum_cohort": 4},
        {"minimum_cohort": 5},
        "minimum_cohort 4; * at least 5",
    ),
    "minimum_threshold": (
        example_charter(),
        {"minimum_threshold": 3},
        {"minimum_threshold": 4},
        "lets 3 of its smallest cohort unmask a sum; * at least 4",
    ),
    "minimum_contributors": (
        example_charter(),
        {"minimum_contributors": 3},
        {"minimum_contributors": 4},
        "minimum_contributors 3; * at least 4",
    ),
    "minimum_colluders": (
        example_charter(),
        {"minimum_colluders": 1},
        {"minimum_colluders": 2},
        "1 colluders; * at least 2",
    ),
    "methods": (
        example_charter(),
        {"methods": ["sparsegpt"]},
        {"methods": ["wanda", "magnitude"]},
        "sparsegpt; * wanda, magnitude",
    ),
    "maximum_rounds": (
        example_charter(),
        {"maximum_rounds": 2},
        {"maximum_rounds": 1},
        "has 2 rounds; * at most 1",
    ),
    "base": (
        example_charter(),
        {"base": digest(example_charter().base)},
        {"base": example_digest("another model")},
        f"digest {digest(example_charter().base)}; * {example_digest('another model')}",
    ),
    "institutions": (
        example_charter(),
        {"institutions": _KEYS | {"essen": example_digest("essen")}},
        {"institutions": _KEYS | {"celle": example_digest("another key")}},
        f"'celle' with key {example_digest('celle')}; * {example_digest('another key')}",
    ),
    "servers": (
        example_charter(),
        {"servers": {"server": example_digest("server"), "spare": example_digest("spare")}},
        {"servers": {"spare": example_digest("server")}},
        f"'server' with key {example_digest('server')}; * no such name",
    ),
    "witnesses": (
        example_charter(witness=_WITNESS),
        {"witnesses": {"auditor": example_digest("auditor")}},
        {"witnesses": {"auditor": example_digest("another key")}},
        f"'auditor' with key {example_digest('auditor')}; * {example_digest('another key')}",
    ),
    "votes": (
        example_charter(votes=encrypted_votes()),
        {"votes": ["ckks"]},
        {"votes": ["masked"]},
        "counts votes as ckks; * allows masked",
    ),
    "aggregates": (
        example_charter(aggregate=pooled_statistics()),
        {"aggregates": ["statistics"]},
        {"aggregates": ["weights"]},
        "sums statistics; * allows weights",
    ),
    "noise_required": (
        example_charter(aggregate=pooled_statistics()),
        {"noise_required": False},
        {"noise_required": True},
        "sums statistics without noise; * asks for some",
    ),
    "custodians": (
        example_charter(votes=encrypted_votes()),
        {"custodians": {"custodian": example_digest("custodian")}},
        {"custodians": {"custodian": example_digest("another key")}},
        f"'custodian' with key {example_digest('custodian')}; * {example_digest('another key')}",
    ),
    "witness_required": (
        example_charter(),
        {"witness_required": False},
        {"witness_required": True},
        "names no witness",
    ),
}


def test_no_field_of_a_policy_is_without_a_rule() -> None:
    assert set(RULES) == set(Policy.model_fields)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_allows_its_bound_and_refuses_the_next_value_by_name_and_number(rule: str) -> None:
    charter, allowed, refused, says = RULES[rule]
    check_charter(charter)
    check_policy(charter, Policy.model_validate(allowed))
    words = ".*".join(re.escape(part) for part in says.split(" * "))
    with pytest.raises(CharterError, match=f"^{rule}: the charter .*{words}"):
        check_policy(charter, Policy.model_validate(refused))


def test_the_defaults_accept_a_charter_of_three_that_the_gate_accepts() -> None:
    smallest = example_parameters(minimum_cohort=3, dropout_margin=0, dropouts=0)
    charter = example_charter(roster=example_charter().roster[:3], parameters=smallest)
    check_charter(charter)
    check_policy(charter, Policy())
    check_policy(example_charter(witness=_WITNESS), Policy())


@pytest.mark.parametrize(
    ("charter", "rule"),
    [
        (_two(), "allow_two_institutions"),
        (_parameters(minimum_contributors=2, colluders=0), "allow_two_institutions"),
        (_parameters(minimum_cohort=2, dropout_margin=0, minimum_contributors=2, colluders=0, dropouts=0), "allow_two"),
        (_parameters(colluders=0), "minimum_colluders"),
        (example_charter(schedule=("0.1", "0.2", "0.3", "0.4", "0.5")), "maximum_rounds"),
    ],
)
def test_the_defaults_refuse_what_the_gate_lets_through_but_a_hospital_should_not_sign(
    charter: Charter, rule: str
) -> None:
    check_charter(charter)
    with pytest.raises(CharterError, match=f"^{rule}"):
        check_policy(charter, Policy())


def test_a_named_witness_must_be_listed_even_where_none_is_required() -> None:
    listed = Policy(witnesses={"auditor": example_digest("auditor")})
    check_policy(example_charter(), listed)
    with pytest.raises(CharterError, match=r"^witnesses: .*'berlin'"):
        check_policy(example_charter(witness=Witness(name="berlin", public_key=example_digest("berlin"))), listed)


def test_a_custodian_must_be_listed_where_there_is_a_list_and_masked_votes_need_none() -> None:
    listed = Policy(custodians={"custodian": example_digest("custodian")})
    check_policy(example_charter(), listed)
    with pytest.raises(CharterError, match=r"^custodians: .*'another' .* no such name"):
        check_policy(example_charter(votes=encrypted_votes("another", "custodian")), listed)


def test_noise_is_asked_of_statistics_alone() -> None:
    columns = [tensor.columns for tensor in example_charter().base.pruned]
    inputs = zip(pooled_statistics().inputs, columns, strict=True)
    noisy = tuple(one.model_copy(update={"noise": noise(width)}) for one, width in inputs)
    check_charter(example_charter(aggregate=pooled_statistics(inputs=noisy)))
    check_policy(example_charter(aggregate=pooled_statistics(inputs=noisy)), Policy(noise_required=True))
    check_policy(example_charter(), Policy(noise_required=True))


def test_who_wants_encrypted_votes_alone_refuses_masked_ones() -> None:
    with pytest.raises(CharterError, match=r"^votes: the charter counts votes as masked; the policy allows ckks"):
        check_policy(example_charter(), Policy(votes=("ckks",)))
    check_policy(example_charter(votes=encrypted_votes()), Policy())


def test_a_stranger_on_the_roster_is_refused_by_name() -> None:
    known = {name: key for name, key in _KEYS.items() if name != "dresden"}
    with pytest.raises(CharterError, match=r"^institutions: .*'dresden' .* no such name"):
        check_policy(example_charter(), Policy(institutions=known))


def test_every_key_is_documented_and_what_the_document_calls_defaults_are_the_defaults() -> None:
    documented = tomllib.loads(_BLOCKS[0])
    assert set(documented) == set(Policy.model_fields)
    optional = {name for name, field in Policy.model_fields.items() if field.default is None}
    assert optional == {"base", "institutions", "servers", "witnesses", "custodians"}
    read = Policy.model_validate(documented)
    assert read.model_dump(exclude=optional) == Policy().model_dump(exclude=optional)


def test_two_institutions_run_only_with_the_acknowledgement_and_every_bound_lowered_as_documented() -> None:
    check_charter(_two())
    lowered = tomllib.loads(_BLOCKS[1])
    check_policy(_two(), Policy.model_validate(lowered))
    for key in lowered:
        with pytest.raises(CharterError, match=f"^{key}"):
            check_policy(_two(), Policy.model_validate({name: lowered[name] for name in lowered if name != key}))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("minimum_institution = 3", ["minimum_institution: there is no such key"]),
        ('minimum_cohort = "3"', ["minimum_cohort: input should be a valid integer"]),
        ("minimum_cohort = 3.0", ["minimum_cohort: input should be a valid integer"]),
        ("minimum_cohort = true", ["minimum_cohort: input should be a valid integer"]),
        ("minimum_cohort = 1", ["minimum_cohort: input should be greater than or equal to 2"]),
        ("minimum_colluders = -1", ["minimum_colluders: input should be greater than or equal to 0"]),
        ("maximum_rounds = 0", ["maximum_rounds: input should be greater than or equal to 1"]),
        ("allow_two_institutions = 1", ["allow_two_institutions: input should be a valid boolean"]),
        ('methods = "wanda"', ["methods: input should be a valid tuple"]),
        ('methods = ["wandb"]', ["methods.0: input should be 'sparsegpt', 'wanda' or 'magnitude'"]),
        ('votes = "ckks"', ["votes: input should be a valid tuple"]),
        ('votes = ["plain"]', ["votes.0: input should be 'masked' or 'ckks'"]),
        ("votes = []", ["votes: tuple should have at least 1 item"]),
        ("[custodians]", ["custodians: dictionary should have at least 1 item"]),
        ("methods = []", ["methods: tuple should have at least 1 item"]),
        ('base = "AB"', ["base: string should match pattern"]),
        ('[servers]\nserver = "12"', ["servers.server: string should match pattern"]),
        ('[institutions]\n"a b" = "12"', ["institutions.a b.[key]: string should match pattern", "institutions.a b:"]),
        ("[witnesses]", ["witnesses: dictionary should have at least 1 item"]),
        ("\n".join(f"key{number} = 1" for number in range(9)), ["key0: there is no such key", "key4", "and 4 more"]),
        ('"\\u001b[2J\\n" = 1', [r"'\x1b[2J\n': there is no such key"]),
        ("minimum_cohort = ", ["policy.toml is not TOML"]),
        (b"\xff", ["policy.toml can't be read"]),
        (None, ["policy.toml can't be read"]),
    ],
)
def test_a_policy_that_is_not_right_is_refused_by_its_key(
    tmp_path: Path, text: str | bytes | None, parts: list[str]
) -> None:
    path = tmp_path / "policy.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as refused:
        load_policy(path)
    for part in parts:
        assert part in refused.value.problem


def test_a_policy_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'methods = ["wanda"]\n[servers]\nserver = "{example_digest("server")}"\n', encoding="utf-8")
    assert load_policy(path) == Policy(methods=("wanda",), servers={"server": example_digest("server")})
    path.write_text("", encoding="utf-8")
    assert load_policy(path) == Policy()


def test_a_charter_file_means_the_same_canonical_or_laid_out_for_people(tmp_path: Path) -> None:
    charter = example_charter(witness=_WITNESS)
    (tmp_path / "canonical.json").write_bytes(canonical(charter))
    (tmp_path / "pretty.json").write_text(charter.model_dump_json(indent=4), encoding="utf-8")
    assert load_charter(tmp_path / "canonical.json") == load_charter(tmp_path / "pretty.json") == charter


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('"colluders": 1', '"colluders": 1, "colluders": 0', "'colluders' is there twice"),
        ('"run": "spring"', '"run": "spring", "run": "spring"', "'run' is there twice"),
        ('"colluders": 1', '"colluders": "1"', "parameters.colluders: input should be a valid integer"),
        ('"run": "spring"', '"runs": "spring"', "run: field required; runs: there is no such key"),
        ('{"version"', '["version"', "invalid JSON"),
        ('"colluders": 1', '"colluders": ' + "9" * 5000 + ', "colluders": 1', "is no charter"),
        ('"run": "spring"', '"run": ' + "[" * 5000 + "]" * 5000 + ', "run": "spring"', "is no charter"),
    ],
)
def test_what_is_no_charter_or_could_be_read_as_two_is_refused(tmp_path: Path, old: str, new: str, part: str) -> None:
    text = example_charter().model_dump_json().replace('":', '": ')
    assert text.count(old) == 1
    (tmp_path / "charter.json").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_charter(tmp_path / "charter.json")
    assert part in refused.value.problem
    assert "charter.json" in refused.value.problem
