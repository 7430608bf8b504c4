"""The gate lets a sound charter through and refuses each broken rule with the numbers that break it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter import (
    Base,
    Charter,
    Institution,
    PooledInput,
    Witness,
    check_charter,
    unmasking_threshold,
)
from fedspallm_secure.errors import CharterError
from tests.charter.example_charter import (
    encrypted_votes,
    example_charter,
    example_digest,
    example_parameters,
    noise,
    pooled_statistics,
)

_ROSTER = example_charter().roster
_BASE = example_charter().base


def _member(name: str, key: str) -> Institution:
    return Institution(name=name, public_key=example_digest(key), capacity="1")


def _parameters(**changes: Any) -> Charter:
    return example_charter(parameters=example_parameters(**changes))


def _witness(name: str, key: str) -> Charter:
    return example_charter(witness=Witness(name=name, public_key=example_digest(key)))


def _custodian(name: str, key: str, **changes: Any) -> Charter:
    return example_charter(votes=encrypted_votes(name, key), **changes)


def _pooled(method: str = "sparsegpt", **changes: Any) -> Charter:
    return example_charter(aggregate=pooled_statistics(**changes), method=method)


def _input(*tensors: str, matrix: bool = True) -> PooledInput:
    return PooledInput(tensors=tensors, exponent=20, matrix=matrix)


def _base(**changes: Any) -> Base:
    return _BASE.model_copy(update=changes)


def test_the_example_passes() -> None:
    check_charter(example_charter())
    check_charter(example_charter(votes=encrypted_votes()))
    check_charter(example_charter(aggregate=pooled_statistics()))


REFUSED: dict[str, tuple[Charter, str]] = {
    "two institutions of one name": (
        example_charter(roster=(*_ROSTER, _member("berlin", "another"))),
        "same name",
    ),
    "an institution with the server's name": (
        example_charter(roster=(*_ROSTER, _member("server", "another"))),
        "same name",
    ),
    "two institutions of one key": (
        example_charter(roster=(*_ROSTER, _member("essen", "berlin"))),
        "same public key",
    ),
    "an institution with the server's key": (
        example_charter(roster=(*_ROSTER, _member("essen", "server"))),
        "same public key",
    ),
    "colluders could subtract all but one": (
        _parameters(minimum_contributors=3, colluders=2),
        "minimum_contributors is 3 with 2 colluders * at least 4",
    ),
    "a single contributor": (
        _parameters(minimum_contributors=1, colluders=0),
        "minimum_contributors is 1 with 0 colluders * at least 2",
    ),
    "a cohort below the bar": (
        _parameters(minimum_cohort=3, minimum_contributors=3, dropout_margin=1),
        "minimum_cohort is 3, but a position needs 4 votes * at least 4",
    ),
    "fewer institutions than a cohort": (
        example_charter(roster=_ROSTER[:3]),
        "3 institutions are fewer than the minimum cohort of 4",
    ),
    "drop-outs that leave no quorum": (
        _parameters(dropouts=2),
        "Of a cohort of 4, 2 drop-outs leave fewer than the 3 * with 1 colluders",
    ),
    "a drop-out in the smallest cohort there is": (
        _parameters(minimum_cohort=3, dropout_margin=0, dropouts=1),
        "Of a cohort of 3, 1 drop-outs leave fewer than the 3",
    ),
    "colluders whom no quorum outvotes": (
        _parameters(minimum_cohort=4, minimum_contributors=4, dropout_margin=0, colluders=2, dropouts=1),
        "Of a cohort of 4, 1 drop-outs leave fewer than the 4 * with 2 colluders",
    ),
    "an institution as witness with another key": (_witness("berlin", "auditor"), "same name"),
    "an institution's key under the witness's name": (_witness("auditor", "berlin"), "same public key"),
    "a witness with one institution's name and another's key": (_witness("berlin", "celle"), "same name"),
    "the server as witness": (_witness("server", "server"), "same name"),
    "a witness with the server's name": (_witness("server", "auditor"), "same name"),
    "a witness with the server's key": (_witness("auditor", "server"), "same public key"),
    "an institution as custodian": (_custodian("berlin", "berlin"), "same name"),
    "a custodian with an institution's name": (_custodian("berlin", "another"), "same name"),
    "a custodian with an institution's key": (_custodian("another", "berlin"), "same public key"),
    "the server as custodian": (_custodian("server", "server"), "same name"),
    "a custodian with the server's name": (_custodian("server", "another"), "same name"),
    "a custodian with the server's key": (_custodian("another", "server"), "same public key"),
    "the witness as custodian": (
        _custodian("auditor", "auditor", witness=Witness(name="auditor", public_key=example_digest("auditor"))),
        "same name",
    ),
    "a custodian with the witness's key": (
        _custodian("custodian", "auditor", witness=Witness(name="auditor", public_key=example_digest("auditor"))),
        "same public key",
    ),
    "a round without a CKKS key": (
        example_charter(votes=encrypted_votes(contexts=1)),
        "names 1 CKKS contexts for 2 rounds",
    ),
    "a CKKS key too many": (example_charter(votes=encrypted_votes(contexts=3)), "names 3 CKKS contexts for 2 rounds"),
    "no CKKS key": (example_charter(votes=encrypted_votes(contexts=0)), "names 0 CKKS contexts for 2 rounds"),
    "one CKKS key for two rounds": (
        example_charter(
            votes=encrypted_votes().model_copy(update={"contexts": (example_digest("one"), example_digest("one"))})
        ),
        "names 2 CKKS contexts for 2 rounds, 1 of them different",
    ),
    "two CKKS keys and one of them twice": (
        example_charter(
            votes=encrypted_votes().model_copy(
                update={"contexts": (*encrypted_votes().contexts, example_digest("context 0"))}
            )
        ),
        "names 3 CKKS contexts for 2 rounds, 2 of them different",
    ),
    "no institution": (example_charter(roster=()), "0 institutions"),
    "clipped to nothing": (_parameters(clip="0.000"), "clip is 0"),
    "no round": (example_charter(schedule=()), "no round"),
    "no pattern": (example_charter(schedule=("half",)), "'half' is not a pruning pattern"),
    "a round that revives weights": (
        example_charter(schedule=("0.5", "0.25")),
        "['0.5', '0.25'] goes back",
    ),
    "N:M after a higher sparsity": (
        example_charter(schedule=("0.6", "2:4")),
        "['0.6', '2:4'] goes back",
    ),
    "columns that no group of M divides": (
        example_charter(schedule=("4:8",)),
        "layer.0.weight has 12 inputs, not a multiple of 8",
    ),
    "one tensor listed twice": (
        example_charter(base=_base(pruned=(*_BASE.pruned, _BASE.pruned[0]))),
        "names a tensor twice",
    ),
    "one tensor pruned and at rest": (
        example_charter(base=_base(rest={"layer.1.weight": example_digest("rest")})),
        "names a tensor twice",
    ),
    "a row that is too long to add up": (
        example_charter(base=_base(pruned=(_BASE.pruned[0].model_copy(update={"columns": 2**19}), _BASE.pruned[1]))),
        "layer.0.weight is 2 by 524288",
    ),
    "a tensor without a row": (
        example_charter(base=_base(pruned=(_BASE.pruned[0].model_copy(update={"rows": 0}), _BASE.pruned[1]))),
        "layer.0.weight is 0 by 12",
    ),
    "a tensor with the telemetry's name": (
        example_charter(
            base=_base(pruned=(_BASE.pruned[0].model_copy(update={"name": "fedspallm-secure/telemetry"}),))
        ),
        "fedspallm-secure/telemetry is reserved",
    ),
    "a layer without a tensor": (
        example_charter(base=_base(layers=3)),
        "has 3 decoder layers, of which 2 hold a tensor",
    ),
    "layers out of order": (
        example_charter(base=_base(pruned=_BASE.pruned[::-1])),
        "not in order",
    ),
    "a roster whose sums overflow": (
        example_charter(roster=tuple(_ROSTER[0].model_copy(update={"name": f"i{i}"}) for i in range(2**14 + 1))),
        "16385 institutions are more than the 16384",
    ),
    "a tensor in a layer that is not there": (
        example_charter(base=_base(layers=1)),
        "layer.1.weight is in decoder layer 1, but the base model has 1",
    ),
    "statistics for a method that needs none": (_pooled("magnitude"), "needs no statistics"),
    "statistics that a custodian counts": (
        example_charter(aggregate=pooled_statistics(), votes=encrypted_votes()),
        "second moments are none",
    ),
    "statistics without damping": (_pooled(damping="0.0"), "damping is 0.0 and block 128"),
    "statistics without a block": (_pooled(block=0), "block 0"),
    "a matrix for Wanda": (_pooled("wanda"), "wanda needs no matrix"),
    "no matrix for SparseGPT": (
        _pooled(inputs=(_input("layer.0.weight", matrix=False), _input("layer.1.weight", matrix=False))),
        "sparsegpt needs the matrix",
    ),
    "a tensor without statistics": (_pooled(inputs=(_input("layer.0.weight"),)), "name every tensor to prune once"),
    "a tensor under two inputs": (
        _pooled(inputs=(_input("layer.0.weight"), _input("layer.1.weight"), _input("layer.1.weight"))),
        "name every tensor to prune once",
    ),
    "statistics of a tensor at rest": (
        _pooled(inputs=(_input("layer.0.weight"), _input("layer.1.weight"), _input("head.weight"))),
        "name every tensor to prune once",
    ),
    "an input that nothing sees": (
        _pooled(inputs=(_input("layer.0.weight"), _input("layer.1.weight"), _input())),
        "name every tensor to prune once",
    ),
    "noise on one input alone": (
        _pooled(
            inputs=(
                _input("layer.0.weight"),
                _input("layer.1.weight").model_copy(update={"noise": noise(_BASE.pruned[1].columns)}),
            )
        ),
        "Some inputs have noise",
    ),
    "a scale too short": (
        _pooled(
            inputs=tuple(
                _input(tensor.name).model_copy(update={"noise": noise(_BASE.pruned[0].columns - at)})
                for at, tensor in enumerate(_BASE.pruned)
            )
        ),
        "layer.1.weight have",
    ),
    "inputs out of order": (
        _pooled(inputs=(_input("layer.1.weight"), _input("layer.0.weight"))),
        "not in the order of the base model",
    ),
    "one input for two layers": (
        _pooled(inputs=(_input("layer.0.weight", "layer.1.weight"),)),
        "layer.0.weight, layer.1.weight can't see the same input",
    ),
    "one input of two widths": (
        example_charter(
            base=_base(
                layers=1,
                pruned=(
                    _BASE.pruned[0],
                    _BASE.pruned[1].model_copy(update={"layer": 0, "columns": 24}),
                ),
            ),
            aggregate=pooled_statistics(inputs=(_input("layer.0.weight", "layer.1.weight"),)),
        ),
        "differ in layer or columns",
    ),
    "tensors of an input out of order": (
        example_charter(
            base=_base(layers=1, pruned=tuple(tensor.model_copy(update={"layer": 0}) for tensor in _BASE.pruned)),
            aggregate=pooled_statistics(inputs=(_input("layer.1.weight", "layer.0.weight"),)),
        ),
        "not in the order of the base model",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_broken_rule_is_refused_by_its_numbers(name: str) -> None:
    charter, says = REFUSED[name]
    words = ".*".join(re.escape(part) for part in says.split(" * "))
    with pytest.raises(CharterError, match=words):
        check_charter(charter)


@pytest.mark.parametrize(
    "charter",
    [
        _parameters(minimum_contributors=3, colluders=1, dropout_margin=0, minimum_cohort=3, dropouts=0),
        _parameters(minimum_cohort=4, minimum_contributors=4, dropout_margin=0, colluders=2, dropouts=0),
        _parameters(dropouts=1),
        _witness("auditor", "auditor"),
        _witness("berlin", "berlin"),
        example_charter(schedule=("0.5", "0.5", "2:4")),
        example_charter(schedule=("1:4", "3:12")),
        example_charter(method="wanda", parameters=example_parameters(clip="0")),
    ],
    ids=[
        "bar met exactly",
        "colluders met exactly",
        "drop-outs that leave a quorum exactly",
        "a witness of its own",
        "an institution as witness",
        "equal rounds",
        "groups that divide",
        "no values, no clip",
    ],
)
def test_what_just_meets_a_rule_passes(charter: Charter) -> None:
    check_charter(charter)


@given(st.integers(0, 200), st.integers(2, 400))
def test_two_quorums_share_an_honest_member_and_with_one_less_they_need_not(colluders: int, members: int) -> None:
    threshold = unmasking_threshold(members, colluders)

    def shared(quorum: int) -> int:
        """Members that two quorums of this size have in common at least."""
        return 2 * quorum - members

    assert shared(threshold) > colluders
    assert shared(threshold - 1) <= colluders


@given(st.data())
def test_exactly_the_drop_outs_that_leave_the_quorum_are_allowed(data: st.DataObject) -> None:
    cohort = data.draw(st.integers(2, 60), label="cohort")
    colluders = data.draw(st.integers(0, cohort - 2), label="colluders")
    most = cohort - unmasking_threshold(cohort, colluders)
    roster = tuple(_member(f"member-{index}", f"key {index}") for index in range(cohort))

    def of(dropouts: int) -> Charter:
        parameters = example_parameters(
            minimum_cohort=cohort,
            minimum_contributors=colluders + 2,
            dropout_margin=0,
            colluders=colluders,
            dropouts=dropouts,
        )
        return example_charter(roster=roster, parameters=parameters)

    check_charter(of(most))
    with pytest.raises(CharterError, match=f"{most + 1} drop-outs"):
        check_charter(of(most + 1))


def test_a_round_a_layer_goes_through_all_layers_once_a_pattern() -> None:
    each = _pooled(exchange="each layer")
    assert each.rounds == 4
    assert [each.layers_of(number) for number in range(4)] == [range(1), range(1, 2), range(1), range(1, 2)]
    assert [each.pattern_of(number) for number in range(4)] == [each.patterns[0]] * 2 + [each.patterns[1]] * 2
    once = _pooled()
    assert [once.layers_of(number) for number in range(once.rounds)] == [range(2), range(2)]
    assert [once.pattern_of(number) for number in range(once.rounds)] == list(once.patterns)
