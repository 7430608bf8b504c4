"""Random rounds are played on the real machines, and what happens in them is written down.

While it is played, a round is held against rules that are computed here from sets of indices alone: with whom it must
go on, with whom it must not, when the values are repeated, and what is believed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import check_charter
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Release, SumName, Sums, Unmask
from fedspallm_secure.secagg import Client, ClientState, Delivery, Lane, ServerState
from fedspallm_secure.secagg.graph import COMPLETE_UP_TO
from tests.secagg.scenario import Fate, Scenario
from tests.secagg.small_round import SmallRound, Step, attestation, round_context, snapshot

__all__ = ["Play"]

_WITNESS = "auditor"
_CUSTODIAN = "custodian"


class Play:
    """A scenario on the real machines.

    Args:
        scenario: which.

    Attributes:
        context: of the round.
        round: the machines.
        unmasks: every message with shares that any client gave away, in time or not.
        participants: of each sum, those whose keys and shares came.
        survivors: of each sum that got so far, those whose lanes came; of encrypted votes, whose ciphertexts came too.
        releases: roster indices of all that handed over their ciphertexts, in time or not.
        published: of each sum that got so far, what the server published: lane's name -> words.
        eligible: lane's name -> positions of the values sum, bool.
        failed: the turn and the step for which too few were left, if they were.
        happened: what occurred, for a count of what the scenarios reach.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.context = round_context(
            scenario.clients,
            scenario.lanes,
            method=scenario.method,
            round_index=scenario.round_index,
            digits_per_word=scenario.digits_per_word,
            witness=None if scenario.witness == "nobody" else _WITNESS,
            custodian=_CUSTODIAN if scenario.encrypted else None,
            longest=() if scenario.encrypted else scenario.longest,
            **scenario.parameters,
        )
        check_charter(self.context.charter)
        self.round = SmallRound(self.context, str(scenario.seed))
        self.unmasks: list[Unmask] = []
        self.participants: dict[SumName, frozenset[int]] = {}
        self.survivors: dict[SumName, frozenset[int]] = {}
        self.releases: set[int] = set()
        self.published: dict[SumName, Mapping[str, NDArray[np.uint64]]] = {}
        self.eligible: dict[str, NDArray[np.bool_]] = {}
        self.failed: tuple[int, Step] | None = None
        self.happened: set[str] = set()
        self._turn = 0
        self._came: frozenset[int] = frozenset()  # whose message of the last step came in time
        self._lost: frozenset[int] = frozenset()  # of whom nothing is heard any more
        self._gone: frozenset[int] = frozenset()  # voters that the values go on without
        self._digits: dict[tuple[SumName, int, str], NDArray[Any]] = {}

    def play(self) -> Play:
        """The whole round, to its end or to the step that too few reach."""
        try:
            self._play()
        except _TooFewError:
            return self
        assert self.round.server.state is ServerState.DONE
        return self

    def living(self) -> list[Client]:
        """The clients that were heard of to the end of the round, and take part in it to its end."""
        last = self.survivors["values" if "values" in self.survivors else "votes"]
        return [self.round.clients[index] for index in sorted(last - self._lost)]

    def digits(self, name: SumName, index: int, lane: Lane) -> NDArray[Any]:
        """What a client has to say in a lane: all zero, all at the top, or random."""
        key = name, index, lane.name
        if key not in self._digits:
            top = lane.packing(name).top
            length = lane.length if name == "votes" else np.count_nonzero(self.eligible[lane.name])
            drawn = np.random.default_rng([self.scenario.seed, index, lane.index, name == "values"])
            random = drawn.integers(0, top, length, np.uint32 if top < 2**32 else np.uint64, endpoint=True)
            kind = self.scenario.kinds[(lane.index + (name == "values")) % len(self.scenario.kinds)]
            digits = {"zero": np.zeros_like(random), "top": np.full_like(random, top)}.get(kind, random)
            self._digits[key] = digits.astype(np.bool_) if top == 1 else digits
        return self._digits[key]

    def plain(self, name: SumName, lane: Lane) -> NDArray[np.uint64]:
        """The digits of those who survived a sum, added up in the clear."""
        total = np.zeros(lane.length if name == "votes" else np.count_nonzero(self.eligible[lane.name]), np.uint64)
        for index in self.survivors[name].intersection(lane.cohort):
            total += self.digits(name, index, lane)
        return total

    def _play(self) -> None:
        self._begin("advertise")
        self._exchange({index: self.round.clients[index].advertise() for index in self._there(self.context.everybody)})
        self.participants["votes"] = self._came
        self._open("votes", self._mask("votes"))
        if not (self.context.charter.changes_weights and self.round.server.participation.accepted("votes")):
            return
        self._turn, self.participants["values"] = 1, self.survivors["votes"]
        survivors = self._values()
        while self._repeats():
            self.happened.add(f"repeated {self._turn}")
            self._turn, self._gone = self._turn + 1, self.survivors["votes"] - self._came
            self._exchange(self._hear("advertise", survivors))
            self.participants["values"] = self._came
            survivors = self._values()
        self._open("values", survivors)

    def _exchange(self, advertisements: Mapping[int, Envelope]) -> None:
        """Keys and shares, until lanes are due."""
        advertised = self._gather("advertise", advertisements)
        self._hear(None, self._gather("share", self._hear("share", advertised)))

    def _values(self) -> list[Delivery]:
        """One attempt at values, until the server says who survived it, or that there is another one."""
        parameters = self.context.charter.parameters
        for lane in self.context.lanes:
            raised = len(self._gone.intersection(lane.cohort))
            bar = parameters.minimum_contributors + parameters.dropout_margin + raised
            assert {self.round.server.participation.bar(lane)} == {bar}
            self.eligible[lane.name] = self._eligible(lane, bar)
        self._digits = {key: digits for key, digits in self._digits.items() if key[0] == "votes"}
        self.round.know_eligible([int(np.count_nonzero(self.eligible[lane.name])) for lane in self.context.lanes])
        return self._mask("values")

    def _eligible(self, lane: Lane, bar: int) -> NDArray[np.bool_]:
        """Which of the most digits that a lane's values can have are summed."""
        if lane.longest is None:
            return self.plain("votes", lane) >= bar
        enough = len(self.survivors["votes"].intersection(lane.cohort)) >= bar
        if lane.longest > lane.length:
            self.happened.add("more values than votes" if enough else "too few for any values")
        return np.full(lane.longest, enough)

    def _mask(self, name: SumName) -> list[Delivery]:
        """All for whom it is due send their lanes."""
        self._begin("mask")
        due = {"votes": ClientState.VOTING, "values": ClientState.VALUING}[name]
        there = self._there(index for index, client in enumerate(self.round.clients) if client.state is due)
        return self._gather("mask", {index: self.round.masked(index, partial(self.digits, name)) for index in there})

    def _repeats(self) -> bool:
        """Whether more voters of a cohort are missing from the values than the bar allows for."""
        missing, margin = self.survivors["votes"] - self._came, self.context.charter.parameters.dropout_margin
        too_many = any(
            len(missing.intersection(lane.cohort)) > margin + len(self._gone.intersection(lane.cohort))
            for lane in self.context.lanes
        )
        assert too_many is (self.round.server.state is ServerState.KEYS_AGAIN)
        return too_many

    def _open(self, name: SumName, survivors: list[Delivery]) -> None:
        """Who survived a sum is known: from there to the verdict on what was published."""
        self.survivors[name] = self._came
        self._gather("unmask", self._hear("unmask", self._gather("confirm", self._hear("confirm", survivors))))
        if self._encrypts(name):
            assert self._came <= self.survivors[name]
            if self._came != self.survivors[name]:
                self.happened.add("a survivor is not counted")
            self.survivors[name] = self._came
            self._nobody_but_the_custodian_goes_on()
        published = self.round.add()
        sums = self.context.open(published[0].envelope)
        assert isinstance(sums, Sums)
        self.published[name] = self.round.published(sums)
        if self.participants[name] - self.survivors[name]:
            self.happened.add(f"recovered {name}")
        if name == "values" and self.participants["votes"] - self.survivors["votes"]:
            self.happened.add("values without a drop-out of the votes")
        self._hear("prove", published)
        verdict = self._gather(
            "prove", {index: self._proof(name, index) for index in self._there(self.survivors[name])}
        )
        believed = self._came == self.survivors[name]
        if not believed and self.scenario.witness != "nobody" and not self._encrypts(name):
            assert self.round.server.missing() == (_WITNESS,)
            believed = self.scenario.witness == "speaks"
            verdict = self.round.server.receive(attestation(sums, _WITNESS)) if believed else self.round.server.close()
            self.happened.add(f"witness {self.scenario.witness}")
        assert self.round.server.participation.accepted(name) is believed
        self.happened.add(f"{name} {'believed' if believed else 'unproven'}")
        self._hear(None, verdict)

    def _encrypts(self, name: SumName) -> bool:
        return name == "votes" and self.scenario.encrypted

    def _nobody_but_the_custodian_goes_on(self) -> None:
        """While it has not counted, no deadline helps, and nothing was published."""
        assert self.round.server.missing() == (_CUSTODIAN,)
        before = snapshot(self.round.server)
        with pytest.raises(RemoteProtocolError, match=f"{_CUSTODIAN} has not counted the votes"):
            self.round.server.close()
        assert snapshot(self.round.server) == before

    def _proof(self, name: SumName, index: int) -> Envelope:
        self.round.check(index, partial(self.digits, name))
        return self.round.clients[index].prove()

    def _begin(self, step: Step) -> None:
        """Those whose fate it is are lost."""
        lost = {index for index, fate in self.scenario.fates.items() if fate == Fate(self._turn, step, late=False)}
        if lost - self._lost:
            self.happened.add(f"lost: {self._when(step)}")
        self._lost |= lost

    def _when(self, step: Step) -> str:
        return f"{step} {('votes', 'values', 'values again')[min(self._turn, 2)]}"

    def _there(self, indices: Iterable[int]) -> list[int]:
        return sorted(set(indices) - self._lost)

    def _hear(self, step: Step | None, deliveries: Sequence[Delivery]) -> dict[int, Envelope]:
        """Hand the server's messages to those who are there; their messages of `step`, which answer them."""
        if step is not None:
            self._begin(step)
        answers = {}
        for delivery in deliveries:
            index = self.context.indices[delivery.to]
            if index not in self._lost:
                try:
                    answer = self.round.answer(index, delivery.envelope)
                except RemoteProtocolError as error:
                    # On a sparse graph a client whose neighbours are gone stays away; otherwise nobody refuses.
                    if "institutions that should hold our shares" not in error.problem or self._complete():
                        raise
                    self._lost |= {index}
                    continue
                if answer is not None:
                    answers[index] = answer
        return answers

    def _gather(self, step: Step, messages: Mapping[int, Envelope]) -> list[Delivery]:
        """Hand over what comes in time, then what comes late; what the server sends.

        Where too few came in time, those who are late are waited for.
        """
        for envelope in messages.values():
            payload = base64.b64decode(envelope.payload)
            if b'"kind":"unmask"' in payload:
                self.unmasks.append(Unmask.model_validate_json(payload))
            if b'"kind":"release"' in payload:
                self.releases.add(self.context.indices[Release.model_validate_json(payload).sender])
        late = [index for index in messages if self.scenario.fates.get(index) == Fate(self._turn, step, late=True)]
        if late:
            self.happened.add(f"late: {self._when(step)}")
        self._came = frozenset(messages) - frozenset(late)
        sent = self._close(step, [messages[index] for index in sorted(self._came)])
        if sent is None and late:
            self.happened.add(f"waited: {self._when(step)}")
            self._came = frozenset(messages)
            sent, late = self._close(step, [messages[index] for index in late]), []
        if sent is None:
            self.failed = self._turn, step
            self.happened.add(f"failed: {self._when(step)}")
            raise _TooFewError
        for index in late:
            self._come_too_late(messages[index])
        return sent

    def _close(self, step: Step, envelopes: Sequence[Envelope]) -> list[Delivery] | None:
        """Hand messages over and let the deadline pass; what the server sends, or None where it can't go on."""
        state, must = self.round.server.state, self._must_go_on(step)
        try:
            sent = self.round.gather(dict(enumerate(envelopes)))
        except RemoteProtocolError:
            if must:
                raise
            assert self.round.server.state is state
            return None
        assert must is not False
        return sent

    def _must_go_on(self, step: Step) -> bool | None:
        """Whether the server goes on with those who came, must not, or (None) may: a sparse graph bears some more."""
        if step == "prove":
            return True
        parameters = self.context.charter.parameters
        cohorts = [frozenset(lane.cohort) for lane in self.context.lanes]
        quorum = all(2 * len(cohort & self._came) > len(cohort) + parameters.colluders for cohort in cohorts)
        if self._complete():
            return quorum
        if all(len(cohort - self._came) <= parameters.dropouts for cohort in cohorts):
            return True
        return None if quorum or step == "unmask" else False

    def _complete(self) -> bool:
        return all(len(lane.cohort) <= COMPLETE_UP_TO for lane in self.context.lanes)

    def _come_too_late(self, envelope: Envelope) -> None:
        before = snapshot(self.round.server)
        with pytest.raises(RemoteProtocolError, match="is not due in state"):
            self.round.server.receive(envelope)
        assert snapshot(self.round.server) == before


class _TooFewError(Exception):
    """The round ended before its end."""
