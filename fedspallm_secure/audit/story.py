"""What happened, for people: one sentence a message, and what each participant did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from fedspallm_secure.audit.record import Entry
from fedspallm_secure.audit.verdict import Event, Participant
from fedspallm_secure.charter import Charter
from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    Again,
    Attest,
    Attested,
    Collected,
    Confirm,
    Confirmed,
    Counted,
    Encrypted,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    Release,
    Share,
    Shares,
    Sums,
    Survivors,
    Unmask,
    Unproven,
)

__all__ = ["participants_of", "told"]


def participants_of(
    charter: Charter,
    entries: Sequence[Entry],
    contributed: Mapping[str, tuple[str, ...]],
    cosigned: frozenset[str],
) -> tuple[Participant, ...]:
    """Everybody whom the charter names, and what the log has of each.

    Args:
        charter: the agreement.
        entries: of the log.
        contributed: institution -> sums that it is part of.
        cosigned: who cosigned the last checkpoint.
    """
    roles = dict.fromkeys((member.name for member in charter.roster), "institution")
    roles[charter.server] = "coordinator"
    if charter.custodian is not None:
        roles[charter.custodian.name] = "custodian"
    return tuple(
        Participant(
            name=name,
            role=roles.get(name, "witness"),
            key=key,
            entries=sum(entry.message.sender == name for entry in entries),
            contributed=contributed.get(name, ()),
            cosigned=name in cosigned,
        )
        for name, key in charter.keys.items()
    )


def told(charter: Charter, entries: Sequence[Entry]) -> tuple[Event, ...]:
    """The entries as events."""
    return tuple(
        Event(
            entry=entry.index,
            round=entry.message.round + 1,
            step=_step(entry.message),
            sender=entry.message.sender,
            kind=entry.message.kind,
            said=_said(entry.message),
        )
        for entry in entries
    )


def _step(message: Message) -> str:
    if isinstance(message, Masked | Survivors | Confirm | Confirmed | Unmask | Sums):
        return message.sum
    if isinstance(message, Encrypted | Release | Collected | Counted):
        return "votes"
    if isinstance(message, Proof | Proofs | Attest | Attested | Unproven):
        return "checks"
    return "model" if isinstance(message, ModelStatement) else "keys"


def _said(message: Message) -> str:
    match message:
        case Advertise():
            return "published fresh keys for this round." + _again(message.attempt)
        case Advertised():
            return f"passed on the keys of {len(message.advertisements)} institutions." + _again(message.attempt)
        case Share():
            return f"sent {len(message.sealed)} sealed shares of its secrets." + _again(message.attempt)
        case Shares():
            return f"passed {len(message.sealed)} sealed shares on to {message.to}." + _again(message.attempt)
        case Again():
            return f"asked for the values again, without {_names(message.gone)}."
        case Masked():
            return f"sent its masked {message.sum}: {len(message.lanes)} lanes." + _again(message.attempt)
        case Encrypted():
            return f"encrypted its votes: {len(message.lanes)} lanes, of which it told the digests."
        case Release():
            return "handed over its ciphertexts."
        case Collected():
            return f"collected the ciphertexts of {_names(message.contributors)}, for the custodian."
        case Counted():
            return f"counted the votes of {_names(message.contributors)}: {len(message.lanes)} lanes."
        case Survivors():
            lost = [name for name in message.participants if name not in message.survivors]
            without = f"; {_names(lost)} vanished" if lost else ""
            return f"named the survivors of {message.sum}: {_names(message.survivors)}{without}."
        case Confirm():
            return f"confirmed the survivors of {message.sum}."
        case Confirmed():
            return f"showed {len(message.signatures)} confirmations of the survivors of {message.sum}."
        case Unmask():
            return f"handed out the shares that unmask the sum of {message.sum}."
        case Sums():
            return (
                f"published the {'counts' if message.sum == 'votes' else 'sums of values'}: {len(message.lanes)} lanes."
            )
        case Proof():
            return f"sent its proof for the {message.sum}."
        case Proofs():
            return f"passed on {len(message.proofs)} proofs for the {message.sum}."
        case Attest():
            return f"vouched for the {message.sum}, having computed them again."
        case Attested():
            return f"passed on the witness's word for the {message.sum}."
        case Unproven():
            return f"called the {message.sum} unproven: no proof of {_names(message.missing)} came."
        case ModelStatement():
            return f"stated the model {message.model}."
    assert_never(message)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nobody"


def _again(attempt: int) -> str:
    return f" (Attempt {attempt + 1}.)" if attempt else ""
