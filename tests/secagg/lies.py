"""What a lie to a client is: at one stage of a round, something else than the truth, and what its refusal says."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from fedspallm_secure.messages import Envelope, Identity, seal
from tests.messages.example_messages import EXAMPLES
from tests.secagg.small_round import identity, round_context
from tests.secagg.staged_round import STAGED, Scene

__all__ = [
    "ANY",
    "FRESH",
    "ME",
    "NO_HOLD",
    "OTHER_CHARTER",
    "Lies",
    "Make",
    "earlier",
    "edit",
    "field",
    "flipped",
    "may_be_named",
]

ME = "i1"
"""Whom it is told to: a client in both groups."""

OTHER_CHARTER = round_context(3, [(70, (0, 1, 2))]).digest
FRESH = "ab" * 32
NO_HOLD = "The signature of 'i0' does not hold"

Make = Callable[[Scene], Envelope]

Lies = dict[str, tuple[Make, str]]
"""What is wrong -> (what is said in place of the truth, what its refusal says)."""


def edit(**changes: Any) -> Make:
    """The true message with fields changed."""
    return lambda scene: scene.changed(ME, **changes)


def field(name: str, change: Callable[[Any], Any]) -> Make:
    """The true message with one field made from what it was."""
    return lambda scene: scene.changed(ME, **{name: change(getattr(scene.message(ME), name))})


def _said(kind: str) -> Make:
    """Another kind of message, signed by the server."""
    head = {"charter": STAGED.digest, "round": 0, "sender": "server"}
    return lambda scene: seal(EXAMPLES[kind].model_copy(update=head), identity("server"))


def may_be_named(what: str) -> str:
    """How a list of names is refused."""
    return f"The {what} are not institutions that may be named here, each once and in roster order"


def flipped(text: str) -> str:
    """Base64 of the same bytes but for one bit."""
    data = bytearray(base64.b64decode(text))
    data[7] ^= 1
    return base64.b64encode(data).decode()


def earlier(scene: Scene, stage: str) -> Any:
    """What came to this client at an earlier stage."""
    return STAGED.open(scene.said[stage][ME])


ANY: Lies = {
    "signed by another key": (
        lambda scene: scene.changed(ME, Identity("server", identity("i0").key)),
        "The signature of 'server' does not hold",
    ),
    "signed by a stranger": (
        lambda scene: scene.changed(ME, identity("eve"), sender="eve"),
        "The signer 'eve' is not in the charter",
    ),
    "signed by an institution": (
        lambda scene: scene.changed(ME, identity("i0")),
        "'i0' signed a message in the name of 'server'",
    ),
    "sent by an institution": (
        lambda scene: scene.changed(ME, identity("i0"), sender="i0"),
        "'i0' sent what only the server 'server' may send",
    ),
    "of another charter": (edit(charter=OTHER_CHARTER), f"'server' speaks of charter {OTHER_CHARTER}"),
    "of another round": (edit(round=1), "'server' speaks of round 1, not 0"),
} | {
    f"of kind {kind}": (_said(kind), f"The server sent '{kind}', which is not for a client's sums")
    for kind in (
        *("advertise", "share", "masked", "confirm", "unmask", "proof", "attest", "model"),
        *("encrypted", "release", "collected", "counted"),
    )
}
