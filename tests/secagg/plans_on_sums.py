"""What a dishonest server plans with sums: who survived, what they confirmed, what came out, what is repeated."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fedspallm_secure.messages import Attested, Envelope, Identity, Message, Proofs, Sums
from fedspallm_secure.secagg import Delivery, RoundContext
from tests.secagg.plans_on_keys import OTHER_ROUND, VICTIM, Plans, like, shares_sent, to
from tests.secagg.small_round import attestation, identity, resealed
from tests.secagg.watched_round import CONTEXT, ELIGIBLE, WatchedRound, values, votes

__all__ = ["ON_SUMS"]

ON_SUMS = Plans()

_WITNESSED = like(witness="auditor")
_WITH_MARGIN = like(dropout_margin=1)


# Survivors of the votes.


def _voted(context: RoundContext = CONTEXT, missing: Collection[int] = ()) -> WatchedRound:
    played = WatchedRound(context)
    played.exchange()
    played.mask(votes, missing)
    return played


@ON_SUMS.named("withhold one institution's shares and count it in")
def _withheld_and_counted() -> tuple[WatchedRound, Message]:
    played, deliveries = shares_sent()
    true = to("i0", deliveries)
    some = {name: sealed for name, sealed in true.sealed.items() if name != "i3"}
    played.clients[VICTIM].receive(played.signed(true.model_copy(update={"sealed": some})))
    played.deliver(deliveries, [VICTIM])
    played.mask(votes)
    return played, played.survivors(*CONTEXT.roster)


@ON_SUMS.named("pass on one institution's shares and not count it in")
def _passed_on_and_not_counted() -> tuple[WatchedRound, Message]:
    played = _voted(missing=[3])
    others = ("i0", "i1", "i2", "i4")
    return played, played.survivors(*others, participants=others)


@ON_SUMS.named("say that nobody but one institution survived")
def _cohort_of_one() -> tuple[WatchedRound, Message]:
    played = _voted()
    return played, played.survivors("i0")


@ON_SUMS.named("go on without a quorum")
def _no_quorum() -> tuple[WatchedRound, Message]:
    played = _voted()
    return played, played.survivors("i0", "i3", "i4")


@ON_SUMS.named("open an institution to itself as vanished")
def _vanished_to_itself() -> tuple[WatchedRound, Message]:
    played = _voted()
    return played, played.survivors("i1", "i2", "i3", "i4")


@ON_SUMS.named("change its mind on who survived")
def _change_of_mind() -> tuple[WatchedRound, Message]:
    played = _voted()
    for index in played.honest:
        played.tell(index, played.survivors(*CONTEXT.roster))
    return played, played.survivors("i0", "i1", "i2", "i4")


# Confirmations.


def _told(played: WatchedRound, indices: Collection[int], *survivors: str) -> list[Envelope]:
    """What these answer when they are told who survived the votes."""
    return [played.tell(index, played.survivors(*survivors)) for index in indices]


@ON_SUMS.named("go on with fewer confirmations than a quorum")
def _fewer_confirmations() -> tuple[WatchedRound, Message]:
    played = _voted()
    survivors = played.survivors(*CONTEXT.roster)
    signed = [*_told(played, [0, 1], *CONTEXT.roster), played.confirm(4, survivors)]
    return played, played.confirmed(survivors, signed)


@ON_SUMS.named("go on with confirmations of its own")
def _own_confirmations() -> tuple[WatchedRound, Message]:
    played = _voted()
    survivors = played.survivors(*CONTEXT.roster)
    [mine] = _told(played, [0], *CONTEXT.roster)
    own = [
        resealed(CONTEXT, played.confirm(index, survivors), Identity(f"i{index}", identity("server").key))
        for index in (1, 2, 3)
    ]
    return played, played.confirmed(survivors, [mine, *own])


@ON_SUMS.named("go on with the word of who vanished")
def _word_of_the_vanished() -> tuple[WatchedRound, Message]:
    played = _voted()
    who = ("i0", "i1", "i2", "i3")
    survivors = played.survivors(*who)
    return played, played.confirmed(survivors, [*_told(played, [0, 1, 2], *who), played.confirm(4, survivors)])


_WITHOUT_I3 = ("i0", "i1", "i2", "i4")


def _two_tales(played: WatchedRound) -> tuple[list[Envelope], list[Envelope]]:
    """i0 hears that all survived, i1 and i2 that i3 did not; what either side confirms, i4 among both."""
    return (
        [*_told(played, [0], *CONTEXT.roster), played.confirm(4, played.survivors(*CONTEXT.roster))],
        [*_told(played, [1, 2], *_WITHOUT_I3), played.confirm(4, played.survivors(*_WITHOUT_I3))],
    )


@ON_SUMS.named("show the others' confirmations of other survivors")
def _confirmations_of_others() -> tuple[WatchedRound, Message]:
    played = _voted()
    _, signed = _two_tales(played)
    return played, played.confirmed(played.survivors(*_WITHOUT_I3), signed)


@ON_SUMS.named("pass off confirmations of other survivors")
def _passed_off() -> tuple[WatchedRound, Message]:
    played = _voted()
    true, others = _two_tales(played)
    return played, played.confirmed(played.survivors(*CONTEXT.roster), [*others[:2], *true])


@ON_SUMS.named("use confirmations of another round")
def _confirmations_of_another_round() -> tuple[WatchedRound, Message]:
    elsewhere = _voted(OTHER_ROUND)
    signed = _told(elsewhere, range(5), *CONTEXT.roster)
    played = _voted()
    _told(played, played.honest, *CONTEXT.roster)
    return played, played.confirmed(played.survivors(*CONTEXT.roster), signed)


@ON_SUMS.named("use the confirmations of votes for values")
def _confirmations_of_votes() -> tuple[WatchedRound, Message]:
    played = _valued()
    votes_survivors = played.survivors(*CONTEXT.roster)
    values_survivors = played.survivors(*CONTEXT.roster, of="values")
    for index in played.honest:
        played.tell(index, values_survivors)
    signed = [played.confirm(index, votes_survivors) for index in range(5)]  # what they signed then
    return played, played.confirmed(values_survivors, signed)


# The check of the sums.


def _published(context: RoundContext = CONTEXT) -> tuple[WatchedRound, Sums]:
    played = WatchedRound(context)
    played.exchange()
    return played, played.sum(votes)


def _proved(context: RoundContext = CONTEXT) -> tuple[WatchedRound, Sums, Proofs]:
    """Counts, and all their proofs."""
    played, published = _published(context)
    return played, published, to("i0", played.prove(votes), context)


@ON_SUMS.named("skip the check of the counts")
def _unchecked() -> tuple[WatchedRound, Message]:
    played = _voted()
    survivors = played.survivors(*CONTEXT.roster)
    signed = _told(played, range(5), *CONTEXT.roster)
    for index in played.honest:
        played.tell(index, played.confirmed(survivors, signed))
    return played, played.survivors(*CONTEXT.roster, of="values")


def _other_sums(published: Sums) -> Sums:
    """The same message but for what the first lane holds."""
    first, *rest = published.lanes
    return published.model_copy(update={"lanes": (first.model_copy(update={"blob": "ab" * 32}), *rest)})


@ON_SUMS.named("show an institution counts twice, for two proofs")
def _two_proofs() -> tuple[WatchedRound, Message]:
    played, published, _ = _proved()
    return played, _other_sums(published)


@ON_SUMS.named("prove counts with a proof too few")
def _proof_too_few() -> tuple[WatchedRound, Message]:
    played, _, proofs = _proved()
    return played, proofs.model_copy(update={"proofs": proofs.proofs[:-1]})


@ON_SUMS.named("prove counts with a proof of its own")
def _proof_of_its_own() -> tuple[WatchedRound, Message]:
    played, _, proofs = _proved()
    own = resealed(CONTEXT, proofs.proofs[1], Identity("i1", identity("server").key), products=())
    return played, proofs.model_copy(update={"proofs": (proofs.proofs[0], own, *proofs.proofs[2:])})


@ON_SUMS.named("prove values with the proofs of votes")
def _proofs_of_votes() -> tuple[WatchedRound, Message]:
    played, _, of_votes = _proved()
    played.deliver([Delivery(name, played.signed(of_votes)) for name in CONTEXT.roster])
    played.know_eligible(ELIGIBLE)
    played.sum(values)
    of_values: Proofs = to("i0", played.prove(values))
    return played, of_values.model_copy(update={"proofs": of_votes.proofs})


def _vouched(published: Sums, attested: Sums, witness: str) -> Attested:
    header = published.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
    return Attested(**header, attestation=attestation(attested, witness))


@ON_SUMS.named("vouch for counts itself")
def _vouched_by_the_server() -> tuple[WatchedRound, Message]:
    played, published, _ = _proved(_WITNESSED)
    return played, _vouched(published, published, "server")


@ON_SUMS.named("have an institution vouch for counts")
def _vouched_by_an_institution() -> tuple[WatchedRound, Message]:
    played, published, _ = _proved(_WITNESSED)
    return played, _vouched(published, published, "i4")


@ON_SUMS.named("have the witness vouch for other counts")
def _vouched_for_others() -> tuple[WatchedRound, Message]:
    played, published, _ = _proved(_WITNESSED)
    return played, _vouched(published, _other_sums(published), "auditor")


# Values.


def _valued(context: RoundContext = CONTEXT) -> WatchedRound:
    """Counts were checked, and everybody's values came."""
    played = WatchedRound(context)
    played.count()
    played.mask(values)
    return played


@ON_SUMS.named("sum values of fewer than voted")
def _fewer_than_voted() -> tuple[WatchedRound, Message]:
    played = _valued()
    who = ("i0", "i1", "i2", "i3")
    return played, played.survivors(*who, of="values", participants=who)


@ON_SUMS.named("lose more values than the bar allows for")
def _below_the_bar() -> tuple[WatchedRound, Message]:
    played = _valued()
    return played, played.survivors("i0", "i1", "i2", "i3", of="values")


@ON_SUMS.named("repeat the values without a need")
def _again_without_need() -> tuple[WatchedRound, Message]:
    played = _valued()
    return played, played.again()


@ON_SUMS.named("repeat the values although so few are gone")
def _again_for_few() -> tuple[WatchedRound, Message]:
    played = _valued(_WITH_MARGIN)
    return played, played.again("i4")


@ON_SUMS.named("repeat the values without somebody who is there")
def _again_without_us() -> tuple[WatchedRound, Message]:
    played = _valued()
    return played, played.again("i0")


@ON_SUMS.named("repeat the values with too few")
def _again_with_too_few() -> tuple[WatchedRound, Message]:
    played = _valued()
    return played, played.again("i1", "i2")


@ON_SUMS.named("repeat the values after they were confirmed")
def _again_after_confirming() -> tuple[WatchedRound, Message]:
    played = _valued()
    for index in played.honest:
        played.tell(index, played.survivors(*CONTEXT.roster, of="values"))
    return played, played.again("i4")


def _advertised_again() -> tuple[WatchedRound, dict[int, Envelope]]:
    """i4 is called gone, and the others advertised anew."""
    played = _valued()
    return played, {index: played.tell(index, played.again("i4")) for index in played.honest}


@ON_SUMS.named("repeat the values with the old keys")
def _old_keys() -> tuple[WatchedRound, Message]:
    played, fresh = _advertised_again()
    old = next(envelope for envelope in played.envelopes if envelope.signatures[0].keyid == "i1")
    return played, played.advertised(1, [fresh[0], old, fresh[2], fresh[3]])


@ON_SUMS.named("bring somebody back whom it called gone")
def _back_again() -> tuple[WatchedRound, Message]:
    played, fresh = _advertised_again()
    body: Any = CONTEXT.open(fresh[3])
    keys = [{"votes": None, "values": f"{place:064x}"} for place in (7, 8)]
    groups = tuple(type(body.groups[0])(**key) for key in keys)
    back = resealed(CONTEXT, fresh[3], identity("i4"), sender="i4", channel=f"{9:064x}", groups=groups)
    return played, played.advertised(1, [*fresh.values(), back])


@ON_SUMS.named("open the first values after it called for the second")
def _first_values_after_all() -> tuple[WatchedRound, Message]:
    played = WatchedRound()
    played.count()
    played.exchange_again(played.mask(values, [4]), [4])
    played.know_eligible(ELIGIBLE)
    played.mask(values, [4])
    return played, played.survivors("i0", "i1", "i2", "i3", of="values")
