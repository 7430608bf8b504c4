"""The server invents the other clients: in a sum whose other terms it knows, it reads the one that it does not.

Adversary: a server that makes up institutions and holds all their keys.
What it does: it runs a round with one real client among them. Here it also tries the round that the real partners
agreed on, with keys of its own in their names.
Why it works on the naive secure aggregation: a client masks with whatever keys the server lists.
What stops it here: the roster stands in the charter, and an institution whose policy lists its partners' keys refuses
one with others (SPEC section 4.2); within a round every key is signed by its owner (section 8.1). An institution
without such a list is not protected, which is measured too: who is behind a key, no protocol can know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter import Policy
from fedspallm_secure.messages import Advertised, Identity, Message, Share, open_envelope, seal
from fedspallm_secure.secagg.shamir import combine
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.naive import NaiveClient, deal, fixed_point, unmask
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["ROSTER_SYBILS"]

_SETTING = Setting(layers=1, shapes=((96, 64),))
_VICTIM = "i0"


def _on_plain(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    truth = uploads(run, run.prune(run.plan(), run.base))[_VICTIM]
    victim, *sybils = [NaiveClient(index, run.entropy) for index in range(len(run.names))]
    deal([victim, *sybils], len(sybils))
    publics = {client.index: client.public for client in (victim, *sybils)}
    sent = victim.masked(fixed_point(truth.weight), publics)
    shares = {sybil.index: sybil.held[victim.index] for sybil in sybils}
    seed = combine({holder: share for holder, (share, _) in shares.items()})
    key = combine({holder: share for holder, (_, share) in shares.items()})
    left = unmask(sent, victim.index, seed, key, publics)
    return exactly(left[truth.mask], fixed_point(truth.weight)[truth.mask], f"of {_VICTIM}'s weights")


def _here(folder: Path) -> Trial:
    partners = Run(_SETTING, folder / "partners")
    listed = {name: identity.public for name, identity in partners.participants.institutions.items()}
    invented = _among_invented(folder / "listed", listed)
    keys = _with_keys_of_its_own(partners)
    without = _among_invented(folder / "unlisted", None)
    return Trial(
        invented.succeeded or keys.succeeded,
        f"{invented.evidence}; with keys of its own in the partners' names: {keys.evidence}; what no protocol "
        f"stops, an institution whose policy lists nobody: {without.evidence}",
    )


def _among_invented(folder: Path, partners: Mapping[str, str] | None) -> Trial:
    """A run whose institutions are the server's, but for one, which may know its partners' keys."""
    run = Run(replace(_SETTING, seed=1), folder)
    if partners is not None:
        own = run.participants.institutions[_VICTIM].public
        policies = {**run.participants.policies, _VICTIM: Policy(institutions={**partners, _VICTIM: own})}
        run.participants = replace(run.participants, policies=policies)
    stage = Stage(run, colluders=run.names[1:])
    if _VICTIM not in stage.institutions:
        return Trial(False, stage.refusal)
    stage.play()
    return _read(stage)


def _with_keys_of_its_own(run: Run) -> Trial:
    """The run that was agreed on, but the victim is told other keys of its partners."""
    forger = Ed25519PrivateKey.from_private_bytes(run.entropy(32))
    stage = Stage(run)

    def forge(to: str, message: Message) -> Message:
        if not isinstance(message, Advertised) or to != _VICTIM:
            return message
        bodies = [open_envelope(envelope, run.charter.keys) for envelope in message.advertisements]
        return message.model_copy(
            update={
                "advertisements": tuple(
                    honest if body.sender == _VICTIM else seal(body, Identity(body.sender, forger))
                    for body, honest in zip(bodies, message.advertisements, strict=True)
                )
            }
        )

    stage.play(until="shares", forge=forge)
    return Trial(any(isinstance(said, Share) and said.sender == _VICTIM for said in stage.heard), stage.refusal)


def _read(stage: Stage) -> Trial:
    (lane,) = stage.plan.lanes
    return exactly(
        stage.opened(_VICTIM, "votes", lane), stage.packed(_VICTIM, "votes", lane), f"words of {_VICTIM}'s votes"
    )


ROSTER_SYBILS = Attack(
    "roster_sybils",
    "A server that invents institutions does not read the one that is real, if that one lists its partners' keys.",
    _on_plain,
    _here,
)
