"""The last word of a round: everybody signs the digest of the model it computed, and compares it with its own."""

from __future__ import annotations

from collections.abc import Collection

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, ModelStatement, Signer
from fedspallm_secure.secagg import RoundContext
from fedspallm_secure.tlog import Chain

__all__ = ["compare_statement", "state_model"]


def state_model(context: RoundContext, signer: Signer, model: str, chain: Chain | None = None) -> Envelope:
    """`signer` states the digest of the model it computed, in its `chain` of messages if it has one."""
    statement = ModelStatement(charter=context.digest, round=context.round, sender=signer.name, model=model)
    return (Chain() if chain is None else chain).seal(statement, signer)


def compare_statement(context: RoundContext, envelope: Envelope, due_from: Collection[str], we: str, ours: str) -> str:
    """Accept somebody's statement if it is the same as our own.

    Args:
        context: of the round.
        envelope: what came.
        due_from: whose statement is due.
        we: our own name.
        ours: the digest we computed.

    Returns:
        Whose statement it is.

    Raises:
        RemoteProtocolError: no statement, not one that is due, or another model.
    """
    message = context.open(envelope)
    if not isinstance(message, ModelStatement) or message.sender not in due_from:
        raise RemoteProtocolError(
            f"{message.sender!r} sent {message.kind!r}; a model statement of {', '.join(sorted(due_from))} is due.",
            "Nothing was changed.",
        )
    if message.model != ours:
        raise RemoteProtocolError(
            f"{message.sender!r} computed the model {message.model}, {we!r} {ours}.",
            "Do not use the model: one of the two runs another version, or has another base model.",
        )
    return message.sender
