"""What is agreed and signed: charter, policy, envelopes, the round that a message belongs to, and the journal."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["AGREEMENT"]

_GATE = ("tests/charter/test_gate.py",)
_POLICY = ("tests/charter/test_policy.py",)
_ENVELOPES = ("tests/messages/test_bad_envelopes.py",)
_SERVER = ("tests/secagg/test_malicious_server.py",)
_PEER = ("tests/secagg/test_malicious_peer.py",)
_JOURNAL = ("tests/secagg/test_journal.py",)
_LINES = ("tests/workspace/test_line_file.py",)
_LIES = ("tests/secagg/test_bad_messages_to_a_client.py",)

_IN_GATE = (
    ("two participants may have one name or key", "if len(set(values)) != len(values):"),
    (
        "colluders may be left alone with one contributor",
        "if parameters.minimum_contributors < parameters.colluders + 2:",
    ),
    ("a cohort may be smaller than the bar", "if parameters.minimum_cohort < parameters.bar:"),
    ("drop-outs may leave no quorum", "if parameters.minimum_cohort - parameters.dropouts < threshold:"),
    ("a roster may be smaller than a cohort", "if clients < parameters.minimum_cohort:"),
    ("a roster may be larger than sums can hold", "if len(charter.roster) > LARGEST_ROSTER:"),
    ("a row may be too long to add up", "if tensor.rows == 0 or not 0 < tensor.columns < LARGEST_ROW:"),
    ("a tensor may take the telemetry's name", "if tensor.name.startswith(RESERVED):"),
    ("a layer may be split or empty", "if len(set(layers)) != base.layers or layers != sorted(layers):"),
    ("a tensor may be listed twice", "if len(set(names)) != len(names):"),
)

_IN_POLICY = (
    ("two institutions may sum without being asked", "if fewest < 3 and not policy.allow_two_institutions:"),
    ("no lower bound of a policy counts", "if value < least:"),
    ("any method may be used", "if charter.method not in policy.methods:"),
    ("any base model may be used", "if policy.base is not None and found != policy.base:"),
    ("any number of rounds may be run", "if rounds > policy.maximum_rounds:"),
    ("any key may be on the roster", "if key != listed:"),
    ("a required witness may be missing", "elif policy.witness_required:"),
)

_IN_ENVELOPES = (
    ("a payload may be of any type", "if envelope.payloadType != PAYLOAD_TYPE:"),
    ("a message may be written in two ways", "if canonical(message) != payload:"),
    ("anybody may sign in another's name", "if message.sender != signature.keyid:"),
    ("bytes may be spelt in two ways", "if base64.b64encode(data).decode() != text:"),
)


def _skipped(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    keyword = condition.split()[0]
    return ((condition, f"{keyword} False:"),)


AGREEMENT: tuple[Mutation, ...] = (
    *(Mutation(broken, "charter/gate.py", _skipped(condition), _GATE) for broken, condition in _IN_GATE),
    Mutation(
        "a quorum is half, whoever colludes",
        "charter/gate.py",
        (("return (members + colluders) // 2 + 1", "return members // 2 + 1"),),
        _GATE,
    ),
    *(Mutation(broken, "charter/policy.py", _skipped(condition), _POLICY) for broken, condition in _IN_POLICY),
    Mutation(
        "an institution takes part whatever its policy says",
        "rounds/institution.py",
        (("        check_policy(plan.charter, member.policy)\n", ""),),
        ("tests/rounds/test_policy_at_the_round.py",),
    ),
    *(Mutation(broken, "messages/signing.py", _skipped(condition), _ENVELOPES) for broken, condition in _IN_ENVELOPES),
    Mutation(
        "no signature is verified",
        "messages/signing.py",
        (
            (
                "public.verify(decode_base64(signature), pre_authentication_encoding(PAYLOAD_TYPE, payload))",
                "decode_base64(signature), public",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "signatures alone are not verified",
        "messages/signing.py",
        (("        _verify(head + _member", "        (head + _member"),),
        _SERVER,
    ),
    Mutation(
        "a signature does not cover the payload's type",
        "messages/signing.py",
        (("% (len(kind.encode()), kind.encode(), ", '% (0, b"", '),),
        ("tests/messages/test_signing.py",),
    ),
    Mutation(
        "a message may be of another charter",
        "secagg/context.py",
        _skipped("if message.charter != self.digest:"),
        _SERVER,
    ),
    Mutation(
        "a message may be of another round",
        "secagg/context.py",
        _skipped("if message.round != self.round:"),
        _SERVER,
    ),
    Mutation(
        "a cohort may be of one institution",
        "secagg/context.py",
        _skipped("if n < parameters.minimum_cohort:"),
        _SERVER,
    ),
    Mutation(
        "a cohort may make two quorums",
        "secagg/context.py",
        _skipped("if n - parameters.dropouts < unmasking_threshold(n, parameters.colluders):"),
        _SERVER,
    ),
    Mutation(
        "anybody may be named anywhere",
        "secagg/context.py",
        (
            (
                "if any(index not in among for index in found) or found != sorted(set(found)):",
                "if found != sorted(set(found)):",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "somebody may be named twice",
        "secagg/context.py",
        (
            (
                "if any(index not in among for index in found) or found != sorted(set(found)):",
                "if any(index not in among for index in found):",
            ),
        ),
        _LIES,
    ),
    Mutation(
        "a client may have another key than the charter says",
        "secagg/client.py",
        (
            (
                "if context.charter.keys.get(identity.name) != identity.public or identity.name not in context.roster:",
                "if identity.name not in context.roster:",
            ),
        ),
        _PEER,
    ),
    Mutation(
        "what was decided may be decided otherwise",
        "workspace/journal.py",
        _skipped("elif before != decision:"),
        ("tests/secagg/test_equivocation.py",),
    ),
    Mutation(
        "a decision is not on the disk when it counts",
        "workspace/line_file.py",
        (
            (
                "rest = rest[self._file.write(rest) :]\n            os.fsync(self._file.fileno())\n",
                "rest = rest[self._file.write(rest) :]\n",
            ),
        ),
        _LINES,
    ),
    Mutation(
        "two processes may decide at once",
        "workspace/line_file.py",
        (("            self._lock()\n", ""),),
        _LINES,
    ),
    Mutation(
        "a closed journal lets decisions through",
        "workspace/line_file.py",
        (
            (
                "if self._file.closed or self._process != os.getpid():",
                "if self._file.closed:\n            return\n        if False:",
            ),
        ),
        ("tests/secagg/test_equivocation.py",),
    ),
    Mutation(
        "a journal that contradicts itself opens",
        "workspace/journal_file.py",
        _skipped("if self._decisions.setdefault(entry.what, entry.decision) != entry.decision:"),
        _JOURNAL,
    ),
)
