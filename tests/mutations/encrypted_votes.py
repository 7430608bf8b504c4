"""Encrypted votes: what is signed before anybody shows a ciphertext, who is counted, and whose word counts are."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["ENCRYPTED_VOTES"]

_GATE = ("tests/charter/test_gate.py",)
_POLICY = ("tests/charter/test_policy.py",)
_MACHINES = ("tests/secagg/test_encrypted_votes.py",)
_LOG = ("tests/rounds/test_custodian.py",)
_CHARTER = ("tests/rounds/test_invented_charter.py",)
_BAD = ("tests/rounds/test_bad_ciphertexts.py",)
_LYING = ("tests/rounds/test_lying_about_counts.py",)
_DROPOUTS = ("tests/rounds/test_encrypted_dropouts.py",)
_LIBRARY = ("tests/votes/test_custodian.py",)
_WORDS, _READ, _COUNT, _CLIENT = (
    "secagg/encrypted.py",
    "rounds/custodian.py",
    "votes/custodian.py",
    "secagg/client.py",
)
_CIPHERTEXTS, _PACKING = "votes/ciphertexts.py", "votes/packing.py"


def _never(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, "if False:"),)


def _without(line: str) -> tuple[tuple[str, str], ...]:
    """The same block without one of its statements."""
    return ((line, "pass"),)


ENCRYPTED_VOTES: tuple[Mutation, ...] = (
    # What is agreed.
    Mutation(
        "the custodian may be anybody",
        "charter/gate.py",
        _without("everybody.append((charter.custodian.name, charter.custodian.public_key))"),
        _GATE,
    ),
    Mutation(
        "two rounds may have one CKKS key",
        "charter/gate.py",
        (
            (
                "not len(contexts) == len(set(contexts)) == charter.rounds",
                "not len(contexts) == charter.rounds",
            ),
        ),
        _GATE,
    ),
    Mutation(
        "a round may have no CKKS key",
        "charter/gate.py",
        (
            (
                "not len(contexts) == len(set(contexts)) == charter.rounds",
                "not len(contexts) == len(set(contexts))",
            ),
        ),
        _GATE,
    ),
    Mutation(
        "votes are counted in a way that the policy does not allow",
        "charter/policy.py",
        _never("if charter.votes.backend not in policy.votes:"),
        _POLICY,
    ),
    Mutation(
        "a custodian need not be in the policy's list",
        "charter/policy.py",
        (
            (
                '_check_keys("custodians", '
                "[(charter.custodian.name, charter.custodian.public_key)], policy.custodians)",
                "pass",
            ),
        ),
        _POLICY,
    ),
    Mutation(
        "keys are not bound to the charter that the custodian signs",
        "custodian/office.py",
        _without("bind_key(self._journal, context, own, number)"),
        _CHARTER,
    ),
    Mutation(
        "the custodian counts under a charter that it did not sign",
        "custodian/office.py",
        _without("check_bound(self._journal, pair.digest, plan.context.digest, plan.context.round)"),
        _CHARTER,
    ),
    Mutation(
        "votes are encrypted under a charter that not everybody signed",
        "rounds/encrypting.py",
        _without("check_charter_signatures(plan.charter, signatures)"),
        _CHARTER,
    ),
    Mutation(
        "a key may serve several charters",
        _COUNT,
        (('journal.once(f"CKKS key {context}", _purpose(charter, round_index))', "pass"),),
        _CHARTER,
    ),
    Mutation(
        "a charter need not name the custodian's keys",
        "custodian/office.py",
        _never("if charter.votes != self.offer.votes or len(charter.roster) != self.offer.institutions:"),
        _CHARTER,
    ),
    # What an institution hands over, and when.
    Mutation(
        "ciphertexts are released without a quorum",
        _CLIENT,
        _without("check_quorum(self._context, message, self._index, contributors, self._entropy)"),
        _MACHINES,
    ),
    Mutation(
        "ciphertexts are released for survivors that were not confirmed",
        _CLIENT,
        _never("if (message.sum, message.survivors) != (name, chosen):"),
        _MACHINES,
    ),
    Mutation(
        "a release is not written down",
        _CLIENT,
        _without('self._record("release votes", chosen)'),
        _MACHINES,
    ),
    Mutation(
        "shares of votes are handed out beside their ciphertexts",
        _CLIENT,
        (("leave = self._state is ClientState.VOTES_CONFIRMED and self._context.encrypts_votes", "leave = False"),),
        _MACHINES,
    ),
    Mutation(
        "votes may be masked where they are to be encrypted",
        _CLIENT,
        (
            (
                "            if self._context.encrypts_votes:\n                raise LocalProtocolError(",
                "            if False:\n                raise LocalProtocolError(",
            ),
        ),
        _MACHINES,
    ),
    Mutation(
        "votes may be encrypted where they are to be masked",
        _CLIENT,
        _never("if not self._context.encrypts_votes:"),
        _MACHINES,
    ),
    Mutation(
        "ciphertexts are handed over with their digests",
        "rounds/institution.py",
        (
            (
                "return self._sums.send_encrypted([ciphertexts.encrypt(lane, self._votes(lane)) "
                "for lane in self._sums.lanes])",
                "sent = [ciphertexts.encrypt(lane, self._votes(lane)) for lane in self._sums.lanes]\n"
                "        ciphertexts.hand_over(self._blobs)\n"
                "        return self._sums.send_encrypted(sent)",
            ),
        ),
        _DROPOUTS,
    ),
    # What is taken for digests.
    Mutation("somebody else's ciphertexts may be named", _WORDS, _never("if owner != index:"), _MACHINES),
    Mutation(
        "ciphertexts of any lanes and lengths may be named",
        _WORDS,
        _without("check_lanes(message.lanes, lanes, due, repr(message.sender), RemoteProtocolError)"),
        _MACHINES,
    ),
    Mutation(
        "a release for other survivors is taken",
        "secagg/server_votes.py",
        _never("if message.survivors != chosen:"),
        _MACHINES,
    ),
    # Whose votes are counted.
    Mutation(
        "contributors need not be a quorum",
        "secagg/participation.py",
        (('            check_enough(self.context, group, counted, "are there for votes", todo)', "            pass"),),
        _LOG,
    ),
    Mutation(
        "our votes may be left out",
        "secagg/participation.py",
        _never("if index is not None and index not in counted:"),
        _MACHINES,
    ),
    Mutation(
        "contributors need not be survivors",
        "secagg/participation.py",
        (
            (
                'counted = self.context.members(contributors, self._survivors["votes"], "contributors of votes")',
                'counted = self.context.members(contributors, self._participants["votes"], "contributors of votes")',
            ),
        ),
        _LOG,
    ),
    # The custodian reads the log.
    Mutation(
        "another charter's messages are counted",
        _READ,
        _never("if message.charter != plan.context.digest:"),
        _LOG,
    ),
    Mutation("survivors may be named twice", _READ, (("if len(named) != 1:", "if not named:"),), _LOG),
    Mutation(
        "survivors may have been confirmed in another log",
        _READ,
        _never("if survivors.log != held.head(at):"),
        _LOG,
    ),
    Mutation(
        "the custodian needs no confirmations",
        _READ,
        _without("_check_confirmed(plan, after, chosen, participation)"),
        _LOG,
    ),
    Mutation(
        "confirmations of any survivors will do",
        _READ,
        ((" and message.survivors == chosen:\n            check", ":\n            check"),),
        _LOG,
    ),
    Mutation(
        "the custodian needs no quorum",
        "secagg/quorum.py",
        _never("if lacking or len(names) != len(message.signatures):"),
        _LOG,
    ),
    Mutation(
        "the custodian verifies no confirmation",
        "secagg/quorum.py",
        (
            (
                "    if lacking or len(names) != len(message.signatures):\n"
                '        raise RemoteProtocolError("The survivors are not confirmed by a quorum of them in every '
                'cohort.", todo)\n    _check_signatures(context, message, names)',
                "    if lacking or len(names) != len(message.signatures):\n"
                '        raise RemoteProtocolError("The survivors are not confirmed by a quorum of them in every '
                'cohort.", todo)',
            ),
        ),
        _LOG,
    ),
    Mutation(
        "a release for any survivors will do",
        _READ,
        (
            (
                " and message.sender in context.indices and message.survivors == chosen\n",
                " and message.sender in context.indices\n",
            ),
        ),
        _LOG,
    ),
    Mutation(
        "who released nothing is counted",
        _READ,
        _never("if not contributors <= released:"),
        _LOG,
    ),
    Mutation(
        "contributors may be named twice",
        _READ,
        (("if len(collected) != 1 or collected[0].survivors != chosen:", "if not collected:"),),
        _LOG,
    ),
    Mutation(
        "ciphertexts may have been collected in another log",
        _READ,
        _never("if collected[0].log != held.head(end):"),
        _LOG,
    ),
    Mutation(
        "digests that were signed after the survivors count",
        _READ,
        (("_committed(plan, messages[:at], contributors)", "_committed(plan, messages, contributors)"),),
        _LOG,
    ),
    Mutation("who signed two ciphertexts is counted", _READ, _never("if index in found:"), _LOG),
    Mutation(
        "a copy under another name is counted",
        _READ,
        (("seen = check_encrypted(context, index, message, seen)", "pass"),),
        _LOG,
    ),
    Mutation("who signed no ciphertext is counted", _READ, _never("if missing:"), _LOG),
    # It decrypts.
    Mutation(
        "a lane is decrypted for others again",
        _COUNT,
        (('self._journal.once(what, f"decrypted for {_set_digest(given)}")', "pass"),),
        _LOG,
    ),
    Mutation("a sum of too few is decrypted", _COUNT, _never("if len(names) < lane.minimum:"), _LIBRARY),
    Mutation("strangers are counted", _COUNT, _never("if strangers:"), _LIBRARY),
    Mutation("somebody is counted twice", _COUNT, _never("if twice:"), _LIBRARY),
    Mutation(
        "more are counted than the key is for",
        _COUNT,
        _never("if len(names) > self._public.parameters.clients:"),
        _LIBRARY,
    ),
    Mutation(
        "another context's ciphertexts are added",
        _COUNT,
        _never("if contribution.context != self._public.digest:"),
        _LIBRARY,
    ),
    Mutation("the same bytes are counted twice", _COUNT, _never("if owner != contribution.client:"), _LIBRARY),
    Mutation(
        "a sum of one may be decrypted",
        _COUNT,
        _never("if self.minimum < 2:"),
        _LIBRARY,
    ),
    Mutation(
        "sums far from whole numbers are rounded",
        _PACKING,
        _never("if not np.all(np.abs(sums - whole) <= MARGIN):  # what is not a number is refused too"),
        _BAD,
    ),
    Mutation(
        "sums that no votes give are taken",
        _PACKING,
        _never("if whole.min() < 0 or whole.max() >= parameters.base**parameters.digits:"),
        _BAD,
    ),
    Mutation(
        "counts above the contributors are taken",
        _PACKING,
        _never("if found.max() > contributors or found[counts.size :].any():"),
        _BAD,
    ),
    Mutation(
        "words that are no residues are added",
        _CIPHERTEXTS,
        _never("if ciphertext.max() >= parameters.q:"),
        _BAD,
    ),
    Mutation(
        "votes in the clear are added",
        _CIPHERTEXTS,
        _never("if not ciphertext[parameters.ring :].any():"),
        _BAD,
    ),
    # Whose word counts are.
    Mutation(
        "anybody may count",
        _WORDS,
        _never("if custodian is None or message.sender != custodian.name:"),
        _MACHINES,
    ),
    Mutation(
        "counts of other survivors are taken",
        _WORDS,
        _never("if message.survivors != survivors:"),
        _MACHINES,
    ),
    Mutation(
        "counts of other contributors than collected are taken",
        _WORDS,
        (("if contributors is not None and message.contributors", "if False and message.contributors"),),
        _MACHINES,
    ),
    Mutation(
        "counts of any lanes are taken",
        _WORDS,
        _without('check_lanes(message.lanes, context.lanes, due, "The custodian", RemoteProtocolError)'),
        _MACHINES,
    ),
    Mutation(
        "published counts need not be the custodian's",
        _WORDS,
        _never("if published.lanes != tuple(one.counts for one in counted.lanes):"),
        _MACHINES,
    ),
    Mutation(
        "the custodian's word is not looked at",
        _WORDS,
        _without("check_counted(context, counted, survivors, None)"),
        _MACHINES,
    ),
    Mutation(
        "a custodian's word is taken for sums that it does not count",
        _CLIENT,
        _never("if message.counted is not None:"),
        _MACHINES,
    ),
    Mutation(
        "the server publishes what it likes",
        "secagg/server_votes.py",
        (
            (
                "if self.message is not None and list(blobs) != [counted.counts for counted in self.message.lanes]:",
                "if False:",
            ),
        ),
        _MACHINES,
    ),
    Mutation(
        "the custodian may have added up anything",
        "rounds/adding.py",
        _never("if found != counted.ciphertexts:"),
        _LYING,
    ),
    Mutation(
        "a witness may vouch for what it can't decrypt",
        "secagg/check.py",
        _never("if published.counted is not None:"),
        _LYING,
    ),
    Mutation(
        "a witness is asked for what it can't decrypt",
        "secagg/server.py",
        (
            (
                "if self._context.charter.witness is None or self._published_counts:",
                "if self._context.charter.witness is None:",
            ),
        ),
        _MACHINES,
    ),
    Mutation(
        "what was released is not looked at before it is collected",
        "rounds/coordinator.py",
        _without("self._add.check_released(message.sender, self._sums.committed(message.sender))"),
        _BAD,
    ),
)
