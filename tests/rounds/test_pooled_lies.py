"""Second moments that nobody sent are refused, by the institutions and by the server, before anything follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import NumericalError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, SumName
from fedspallm_secure.rounds import AddingUp, Outcome, PublicWeights
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Lane, Server, diagonals_packing, values_packing
from fedspallm_secure.tlog import Evidence
from fedspallm_secure.workspace import LayerStore
from tests.rounds.pooled_runs import PooledRun, PooledSetting
from tests.rounds.vanishing import vanish

_FOUR = PooledSetting(clients=4, layers=1)
_SIX = PooledSetting(clients=6, layers=1, minimum_cohort=5, dropouts=1, dropout_margin=1)  # 4 of the 6 must be left

Change = Callable[[NDArray[Any]], None]
"""Changes the digits of the first lane's sum, in place."""


def _publishing(monkeypatch: pytest.MonkeyPatch, of: SumName, change: Change) -> None:
    """The server adds up something else, and believes it."""

    class Inventing(AddingUp):
        def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
            honest = super().__call__(server, name, lane)
            if name != of or lane.index > 0:
                return honest
            packing, length = lane.packing(of), lane.length if of == "votes" else lane.most_values
            digits = packing.unpack(self._blobs.get(honest.blob), length).copy()
            change(digits)
            return honest.model_copy(update={"blob": self._blobs.put(packing.pack(digits))})

    monkeypatch.setattr(embedded, "AddingUp", Inventing)


def _one_step(digits: NDArray[Any]) -> None:
    digits[3] += 1


@pytest.mark.parametrize("of", ["votes", "values"])
def test_a_sum_that_is_one_step_off_is_found_before_anything_follows_from_it(
    of: SumName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(_FOUR, tmp_path)
    _publishing(monkeypatch, of, _one_step)
    with pytest.raises(RemoteProtocolError, match=f"the published {of} are not the sum of what the institutions sent"):
        run.round(run.plan(), run.base, run.measure(run.plan()))
    assert {"votes": "masked values", "values": "model"}[of] not in run.said(run.plan())


def _noting(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Institution -> why it refused a message; it says nothing more then."""
    refused: dict[str, str] = {}

    class Noting(embedded.InstitutionRound):  # type: ignore[name-defined,misc]
        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            try:
                answer: Envelope | None = super().receive(envelope, evidence)
            except RemoteProtocolError as error:
                refused[self._identity.name] = error.problem
                return None
            return answer

    monkeypatch.setattr(embedded, "InstitutionRound", Noting)
    return refused


def _more_than_five_can_give(digits: NDArray[Any]) -> None:
    top = _lane_of_six().votes.top
    assert 5 * top < 5 * top + 1 <= 6 * top
    digits[3] = 5 * top + 1


def _lane_of_six() -> Lane:
    return Lane(0, "lane", 12, tuple(range(6)), diagonals_packing(6), values_packing(6, _SIX.digits_per_word))


@pytest.mark.parametrize("server_believes", [True, False])
def test_a_diagonal_above_what_the_voters_can_give_is_refused_by_the_server_and_by_every_institution(
    server_believes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six could have given it. One of them sends none, and the proof of another is missing: there is no check then."""
    run = PooledRun(_SIX, tmp_path)
    vanish(monkeypatch, run, {"i1": "shares", "i4": "sums votes"})
    refused = _noting(monkeypatch)
    _publishing(monkeypatch, "votes", _more_than_five_can_give)

    class Believing(Outcome):
        def model(self, *_: Any) -> str:
            return "ab" * 32

    monkeypatch.setattr(embedded, "Outcome", Believing if server_believes else Outcome)
    lane, top = run.plan().lanes[0].name, _lane_of_six().votes.top
    said = rf"Lane {lane} sums up to {5 * top + 1}; 5 institutions can give {5 * top} at most"
    with pytest.raises(RemoteProtocolError, match="0 institutions stated the model" if server_believes else said):
        run.round(run.plan(), run.base, run.measure(run.plan()))
    assert set(refused) == ({"i0", "i2", "i3", "i5"} if server_believes else set())
    assert all(said in why for why in refused.values())
    assert "model" not in run.said(run.plan())


def test_nor_may_a_matrix_be_more_than_those_that_sent_theirs_can_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(_SIX, tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes"})
    rounds = []

    class Kept(embedded.CoordinatorRound):  # type: ignore[name-defined,misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            rounds.append(self)

    monkeypatch.setattr(embedded, "CoordinatorRound", Kept)
    plan, blobs = run.plan(), run.transcript.blobs
    run.round(plan, run.base, run.measure(plan))
    lane, participation = plan.lanes[0], rounds[0].participation
    counts, sums = (rounds[0]._published[of][0] for of in ("votes", "values"))
    pooled, top = Outcome(plan, PublicWeights(run.base), blobs).pooled, lane.values.top
    digits = lane.values.unpack(blobs.get(sums.blob), lane.most_values)
    for largest in (5 * top, 5 * top + 1):
        digits[7] = largest
        forged = sums.model_copy(update={"blob": blobs.put(lane.values.pack(digits))})
        if largest > 5 * top:
            with pytest.raises(RemoteProtocolError, match=rf"sums up to {largest}; 5 institutions can give {5 * top}"):
                pooled.weights(lane, counts, forged, participation)
        else:
            assert len(pooled.weights(lane, counts, forged, participation)) == 2


class _TwoFaced(LayerStore):
    """Sends the diagonal of one matrix and the rest of another, as far as that diagonal allows."""

    read = 0

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        M = super().weights(layer, name)
        self.read += 1
        return M if self.read <= 2 * 2 else np.full_like(M, -1e30)  # of two lanes, once to send and once to prove


def test_a_sum_that_is_no_second_moment_ends_the_round_in_an_error_and_never_in_a_model(tmp_path: Path) -> None:
    run = PooledRun(replace(_FOUR, shapes=((4, 160), (2, 160), (4, 16))), tmp_path)
    moments = run.measure(run.plan())
    moments["i2"] = _TwoFaced(moments["i2"].folder)
    with pytest.raises(NumericalError, match="not positive definite"):
        run.round(run.plan(), run.base, moments)
    assert "sums values" in run.said(run.plan())
    assert "model" not in run.said(run.plan())
