"""Sums: masking once, who survived, quorums, shares of one kind, checks of what was published, and what follows."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["SUMS"]

_SERVER = ("tests/secagg/test_malicious_server.py",)
_TALES = ("tests/secagg/test_equivocation.py",)
_PEER = ("tests/secagg/test_malicious_peer.py",)
_LIES = ("tests/secagg/test_bad_messages_to_a_client.py",)
_DEFECTS = ("tests/secagg/test_bad_messages_to_the_server.py",)
_CHECK = ("tests/secagg/test_check.py",)
_MASKING = ("tests/secagg/test_masking.py",)
_DISHONEST = ("tests/rounds/test_dishonest.py",)
_INDENT = 20 * " "
_CLIENT, _WHO, _MACHINE, _RHYTHM, _ROUNDS = (
    "secagg/client.py",
    "secagg/participation.py",
    "secagg/server.py",
    "secagg/gathering.py",
    "rounds/averaged.py",
)


def _never(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, "if False:"),)


def _without(line: str) -> tuple[tuple[str, str], ...]:
    """The same block without one of its statements."""
    return ((line, "pass"),)


SUMS: tuple[Mutation, ...] = (
    # The client.
    Mutation("anybody may be the server", _CLIENT, _never("if message.sender != self._context.charter.server:"), _PEER),
    Mutation(
        "two vectors may be hidden by one keystream",
        _CLIENT,
        (("if lane not in self._lanes or lane.name in self._masked:", "if lane not in self._lanes:"),),
        _PEER,
    ),
    Mutation(
        "a digit may be as large as it likes",
        _CLIENT,
        (
            (
                'if digits.dtype.kind not in "bu" or (digits.size and int(digits.max()) > packing.top):',
                'if digits.dtype.kind not in "bu":',
            ),
        ),
        _PEER,
    ),
    Mutation(
        "lanes may be sent before they are masked",
        _CLIENT,
        _never("if len(self._masked) != len(self._lanes):"),
        _MASKING,
    ),
    Mutation(
        "messages of another attempt are taken",
        _CLIENT,
        (
            (
                "if name not in self._exchanges or attempt != self._exchanges[name].attempt:",
                "if name not in self._exchanges:",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "survivors of one sum are taken for the other's",
        _CLIENT,
        (
            (
                'if message.sum != name:\n            raise RemoteProtocolError(f"Survivors',
                'if False:\n            raise RemoteProtocolError(f"Survivors',
            ),
        ),
        _LIES,
    ),
    Mutation(
        "other keys are advertised after a crash",
        _CLIENT,
        _without('self._record("advertise", digest(advertisement))'),
        _TALES,
    ),
    Mutation(
        "another set of survivors is confirmed after a crash",
        _CLIENT,
        _without('self._record(f"confirm {name}", chosen)'),
        _TALES,
    ),
    Mutation(
        "shares are handed out before that is written down",
        _CLIENT,
        _without('self._record(f"unmask {name}", chosen)'),
        _TALES,
    ),
    Mutation(
        "other keys for a repeated sum are advertised after a crash",
        _CLIENT,
        _without('self._record(f"advertise {attempt}", digest(exchange.advertisement))'),
        _TALES,
    ),
    Mutation(
        "shares are handed out for other survivors than were confirmed",
        _CLIENT,
        _never("if (message.sum, message.survivors) != (name, chosen):"),
        _SERVER,
    ),
    Mutation(
        "nobody need confirm",
        _CLIENT,
        _without("check_quorum(self._context, message, self._index, contributors, self._entropy)"),
        _SERVER,
    ),
    Mutation(
        "published lanes may be any",
        _CLIENT,
        _without('check_lanes(message.lanes, self._context.lanes, due, "The server", RemoteProtocolError)'),
        _LIES,
    ),
    Mutation("published sums are believed unseen", _CLIENT, _without("self._check.verify(message)"), _SERVER),
    Mutation(
        "any attestation is believed",
        _CLIENT,
        _without("check_attestation(self._context, message, self._published)"),
        _SERVER,
    ),
    Mutation(
        "sums are called unproven although all proofs are there",
        _CLIENT,
        _never('if not self._context.members(message.missing, contributors, "institutions without a proof"):'),
        _LIES,
    ),
    Mutation("an attempt may be left out", _CLIENT, _never("if message.attempt != attempt:"), _LIES),
    Mutation(
        "both shares are handed out",
        "secagg/exchange.py",
        (
            (
                f"{_INDENT}else:\n{_INDENT}    keys[self._context.roster[owner]] =",
                f"{_INDENT}keys[self._context.roster[owner]] =",
            ),
        ),
        _TALES,
    ),
    Mutation(
        "the wrong share of each is handed out",
        "secagg/exchange.py",
        (("if owner in survivors:", "if owner not in survivors:"),),
        _TALES,
    ),
    # Who takes part.
    Mutation(
        "a voter may be left out of the values",
        _WHO,
        _never('if name == "values" and message.attempt == 0 and participants != self.eligible(name):'),
        _SERVER,
    ),
    Mutation(
        "a client goes on in a sum without itself",
        _WHO,
        _never("if index is not None and index not in survivors:"),
        _SERVER,
    ),
    Mutation(
        "participants may be others than shared",
        _WHO,
        _never(
            "if index is not None and participants.intersection(peers) | {index} != "
            "self.eligible(name).intersection(mates):"
        ),
        _SERVER,
    ),
    Mutation("a quorum need not be there", "secagg/enough.py", _never("if len(there) < group.quorum:"), _SERVER),
    Mutation("too few may survive", _WHO, _without("self._check_group(group, name, survivors, todo)"), _SERVER),
    Mutation(
        "more may be missing than the bar allows for",
        _WHO,
        (('if name == "values" and self._too_many(', "if False and self._too_many("),),
        _SERVER,
    ),
    Mutation("a sum is repeated without us", _WHO, _never("if index in gone:"), _SERVER),
    Mutation(
        "a sum is repeated without a need",
        _WHO,
        (
            (
                "if not gone > self.gone or not any(self._too_many(group, gone) for group in self.context.groups):",
                "if False:",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "a sum is repeated with too few",
        _WHO,
        _without('check_enough(self.context, group, left, "are there for values", todo)'),
        _SERVER,
    ),
    Mutation(
        "the bar stays although voters are gone",
        _WHO,
        (
            (
                "return self.context.charter.parameters.bar + len(self.gone.intersection(lane.cohort))",
                "return self.context.charter.parameters.bar",
            ),
        ),
        ("tests/secagg/test_participation.py",),
    ),
    Mutation(
        "clients may confirm together from different models",
        _WHO,
        _never("if message.start != self.context.start:"),
        ("tests/secagg/test_participation.py",),
    ),
    Mutation(
        "clients may confirm together with different bars",
        _WHO,
        _never("if message.gone != self.context.names(self.gone):"),
        ("tests/secagg/test_participation.py",),
    ),
    # Quorums.
    Mutation(
        "who vanished may confirm",
        "secagg/quorum.py",
        (("if context.indices.get(name, -1) not in survivors:", "if name not in context.indices:"),),
        _SERVER,
    ),
    Mutation("too few confirm", "secagg/quorum.py", (("    if lacking:\n", "    if False:\n"),), _SERVER),
    Mutation(
        "a quorum is one less",
        "secagg/quorum.py",
        (("lambda group: group.quorum)", "lambda group: group.quorum - 1)"),),
        _SERVER,
    ),
    Mutation(
        "a quorum in one cohort is enough for all",
        "secagg/quorum.py",
        (
            (
                "groups = context.groups_of(index)\n",
                "groups = context.groups_of(index)[:1]\n",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "a client verifies one signature less than it must",
        "secagg/spotcheck.py",
        (("    return quorum\n", "    return quorum - 1\n"),),
        ("tests/secagg/test_spotcheck.py",),
    ),
    Mutation(
        "the signatures that are verified can be foreseen",
        "secagg/quorum.py",
        (("else drawn_by(entropy(32), message.signatures)", "else sorted(message.signatures)"),),
        ("tests/secagg/test_spotcheck.py",),
    ),
    Mutation(
        "confirmations need no signature",
        "secagg/quorum.py",
        _without("check_signatures(confirm, ((name, message.signatures[name]) for name in names), context.keys)"),
        _SERVER,
    ),
    # The server.
    Mutation("who missed a step comes back", _RHYTHM, _never("if sender not in self._due:"), _PEER),
    Mutation("a message counts twice", _RHYTHM, _never("if sender in self._came:"), _PEER),
    Mutation(
        "the server goes on without enough",
        _MACHINE,
        _without("check_enough(self._context, group, there, did, todo)"),
        _DEFECTS,
    ),
    Mutation(
        "the server takes confirmations of other survivors",
        _MACHINE,
        _never("if message.survivors != self._chosen:"),
        _PEER,
    ),
    Mutation(
        "the server takes other shares than are due",
        "secagg/unmasking.py",
        _never("if tuple((set(given.seeds), set(given.keys)) for given in message.groups) != due:"),
        _PEER,
    ),
    Mutation(
        "shares may give any secret",
        "secagg/unmasking.py",
        (("lambda raw: public(raw) == expected", "lambda raw: True"),),
        _PEER,
    ),
    Mutation(
        "who hands out a wrong share is forgotten", "secagg/unmasking.py", _without("self.liars.update(wrong)"), _PEER
    ),
    Mutation(
        "the server is not as it was after a refusal",
        _RHYTHM,
        (("self._state, self._came, size = before", "_, _, size = before"),),
        _PEER,
    ),
    Mutation(
        "the server takes any attestation",
        _MACHINE,
        _without("check_attestation(self._context, attested, self._published)"),
        _PEER,
    ),
    Mutation(
        "too few may send values that are opened",
        _MACHINE,
        (('if name == "values" and self._participation.exceeded(survivors):', "if False:"),),
        ("tests/secagg/test_sums.py", "tests/secagg/test_bad_messages_to_a_client.py"),
    ),
    # The check of sums.
    Mutation("false sums pass", "secagg/check.py", _never("if (total - published) % modulus:"), _SERVER),
    Mutation(
        "a proof may be missing",
        "secagg/check.py",
        (
            ("if tuple(proof.sender for proof in proofs) != self._context.names(self._contributors):", "if False:"),
            ("zip(sorted(self._contributors), proofs, strict=True)", "zip(sorted(self._contributors), proofs)"),
        ),
        _SERVER,
    ),
    Mutation(
        "a proof of one sum is taken for the other's",
        "secagg/check.py",
        (
            (
                "if not isinstance(proof, Proof) or (proof.sum, proof.attempt) != (name, message.attempt):",
                "if not isinstance(proof, Proof):",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "the challenge does not depend on the sums",
        "secagg/check.py",
        (("self._challenge = bytes.fromhex(digest(published))", "self._challenge = bytes(32)"),),
        _SERVER,
    ),
    Mutation("a proof is not hidden", "secagg/check.py", ((" + self._mask(index, group, prime)) %", ") %"),), _CHECK),
    Mutation(
        "a proof is hidden by the same mask each time",
        "secagg/check.py",
        (('bytes([prime]) + numbers + self._challenge), "big")', 'bytes([prime]) + numbers), "big")'),),
        _TALES,
    ),
    Mutation(
        "anybody may vouch for a sum",
        "secagg/check.py",
        (
            (
                "if witness is None or attest.sender != witness.name or not isinstance(attest, Attest):",
                "if not isinstance(attest, Attest):",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "a witness's word for other sums counts",
        "secagg/check.py",
        _never("if told != {(published.sum, published.attempt)} or attest.sums != digest(published):"),
        _SERVER,
    ),
    Mutation(
        "a witness's word may be passed on as one for another sum",
        "secagg/check.py",
        (("for said in (message, attest)}", "for said in (attest,)}"),),
        ("tests/secagg/test_attestation.py",),
    ),
    # What follows from sums.
    Mutation("more may vote than there are", _ROUNDS, _never("if votes.size and votes.max() > voters:"), _SERVER),
    Mutation(
        "few votes are enough",
        _ROUNDS,
        (("kept & (votes >= participation.bar(lane))", "kept & (votes >= 1)"),),
        _SERVER,
    ),
    Mutation(
        "a sum may be larger than its votes allow",
        _ROUNDS,
        _never("if not sums_fit_counts(digits, votes[eligible], quantiser.Q, clients):"),
        _DISHONEST,
    ),
    Mutation(
        "a published lane may have another length", "rounds/published.py", _never("if words.size != due:"), _DISHONEST
    ),
    Mutation("a word may be no sum of digits", "secagg/packing.py", _never("if beyond or rest.any():"), _PEER),
    Mutation("a lane may be another's length", "rounds/adding.py", _never("if words.size != total.size:"), _DISHONEST),
    Mutation("any base model will do", "rounds/public.py", _never("if found != tensor.digest:"), _DISHONEST),
    Mutation("any model will do", "rounds/statement.py", _never("if message.model != ours:"), _DISHONEST),
    Mutation(
        "a witness vouches for what it did not find",
        "rounds/witness.py",
        _never("if not np.array_equal(total, blobs.get(blob.blob)):"),
        ("tests/rounds/test_witness.py",),
    ),
)
