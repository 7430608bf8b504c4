"""The log that all messages stand in: what links to it, what is shown of it, and what is taken back."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["TRANSPARENCY"]

_HELD = ("tests/tlog/test_held.py",)
_VIEW = ("tests/tlog/test_view.py",)
_FORKED = ("tests/tlog/test_forked_log.py",)
_CHAIN = ("tests/tlog/test_chain.py",)
_MERKLE = ("tests/tlog/test_merkle.py",)
_CHECKPOINT = ("tests/tlog/test_checkpoint.py",)


def _skipped(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, f"{condition.split()[0]} False:"),)


def _without(statement: str) -> tuple[tuple[str, str], ...]:
    """The same block without one of its statements."""
    return ((statement, "pass"),)


TRANSPARENCY: tuple[Mutation, ...] = (
    # What a participant says of the log.
    Mutation("a message does not link to anything", "tlog/chain.py", (('"prev": self.prev, ', ""),), _CHAIN),
    Mutation("a message does not say what was seen", "tlog/chain.py", ((', "seen": self.seen}', "}"),), _CHAIN),
    Mutation(
        "what was sent is forgotten",
        "tlog/chain.py",
        _without("self.sent.add(leaf_hash(canonical(envelope)).hex())"),
        _CHAIN,
    ),
    Mutation(
        "what was sent is linked to, whether it stands in the log or not",
        "tlog/chain.py",
        (
            (
                "        self.sent.add(leaf_hash(canonical(envelope)).hex())",
                "        self.prev = leaf_hash(canonical(envelope)).hex()\n        self.sent.add(self.prev)",
            ),
        ),
        ("tests/rounds/test_mishaps.py",),
    ),
    # What its keeper takes.
    Mutation("a message may link to any other", "tlog/held.py", _skipped("if message.prev != last:"), _HELD),
    Mutation(
        "a message is to link to what its sender did not see",
        "tlog/held.py",
        (("0 if message.seen is None else message.seen.size)", "len(self))"),),
        _HELD,
    ),
    Mutation(
        "who saw nothing may link to something",
        "tlog/held.py",
        (("0 if message.seen is None else", "len(self) if message.seen is None else"),),
        _HELD,
    ),
    Mutation(
        "the entry after what was seen counts as seen",
        "tlog/held.py",
        (("place = bisect_left(entries, size)", "place = bisect_left(entries, size + 1)"),),
        _HELD,
    ),
    Mutation(
        "a log of any root may have been seen",
        "tlog/held.py",
        (("(seen.size > len(self) or self.head(seen.size) != seen)", "seen.size > len(self)"),),
        _HELD,
    ),
    Mutation(
        "the coordinator does not look at links",
        "rounds/coordinator.py",
        _without("self._log.check_links(message)"),
        ("tests/rounds/test_fork.py",),
    ),
    Mutation("links are not looked at", "tlog/held.py", _without("self.check_prev(message)"), _HELD),
    Mutation(
        "an entry may stand in the log twice",
        "tlog/held.py",
        (("if leaf not in self._places:", "if True:"),),
        _HELD,
    ),
    Mutation(
        "entries that may have been sent are taken back",
        "tlog/held.py",
        _skipped("if dropped > len(self._new):"),
        _HELD,
    ),
    Mutation("what is taken back stays in the tree", "tlog/held.py", _without("self._tree.truncate(size)"), _HELD),
    Mutation("what is taken back is still found", "tlog/held.py", _without("del self._places[leaf]"), _HELD),
    Mutation(
        "what is taken back is still linked to",
        "tlog/held.py",
        _without("del entries[bisect_left(entries, size) :]"),
        _HELD,
    ),
    Mutation(
        "what is taken back is still sent",
        "tlog/held.py",
        _without("del self._new[len(self._new) - dropped :]"),
        _HELD,
    ),
    Mutation(
        "a subtree of what is taken back stays",
        "tlog/merkle.py",
        (("del level[size >> height :]", "del level[(size + (1 << height) - 1) >> height :]"),),
        _MERKLE,
    ),
    Mutation(
        "what a refused message led to stays in the log",
        "secagg/gathering.py",
        _without("self._log.rollback(size)"),
        ("tests/secagg/test_malicious_peer.py",),
    ),
    # What a participant is shown.
    Mutation(
        "the log may be another one than was shown before",
        "tlog/view.py",
        (("if seen is not None:", "if False:"),),
        _VIEW,
    ),
    Mutation(
        "both versions of a log are not kept",
        "tlog/view.py",
        (('(self.note or "", note),', "(note, note),"),),
        _FORKED,
    ),
    Mutation(
        "what we are shown need not stand in the log",
        "tlog/view.py",
        _without("check_inclusion(leaf, evidence.place.index, head.size, _bytes(evidence.place.proof), root)"),
        _VIEW,
    ),
    Mutation(
        "what we said need not stand in the log",
        "tlog/view.py",
        _without("check_inclusion(bytes.fromhex(own.leaf), own.index, head.size, proof, root)"),
        _VIEW,
    ),
    Mutation(
        "what others said may be taken for ours",
        "tlog/view.py",
        _skipped("if self.chain.sent and own.leaf not in self.chain.sent:"),
        _VIEW,
    ),
    Mutation(
        "who lost its memory takes nothing for its own",
        "tlog/view.py",
        (("if self.chain.sent and own.leaf", "if own.leaf"),),
        _VIEW,
    ),
    Mutation("our last entry is not linked to", "tlog/view.py", _without("prev = own.leaf"), _VIEW),
    Mutation(
        "survivors may name any log",
        "tlog/view.py",
        _without("self._check_named(message, evidence, head)"),
        _VIEW,
    ),
    Mutation(
        "survivors may name a log of the right size",
        "tlog/view.py",
        _without("check_consistency(message.log.size, old, head.size, new, _bytes(evidence.up_to))"),
        _VIEW,
    ),
    Mutation(
        "survivors may stand anywhere after what they name",
        "tlog/view.py",
        _skipped("if message.log.size != evidence.place.index:"),
        _FORKED,
    ),
    Mutation(
        "anybody may sign a checkpoint",
        "tlog/view.py",
        (("if not signers(signatures, cosigners=False) or ", "if "),),
        _VIEW,
    ),
    Mutation(
        "a cosignature of the keeper will do",
        "tlog/view.py",
        (("not signers(signatures, cosigners=False)", "not signatures"),),
        _VIEW,
    ),
    Mutation(
        "a checkpoint may be of another log",
        "tlog/view.py",
        ((" or checkpoint.origin != self._origin or", " or"),),
        _VIEW,
    ),
    Mutation(
        "a checkpoint may be of nothing",
        "tlog/view.py",
        ((" or not checkpoint.head.size:", ":"),),
        _VIEW,
    ),
    Mutation(
        "what was cosigned was not seen",
        "tlog/view.py",
        _without("self.chain.seen, self.chain.prev, self.note = head, prev, note"),
        _VIEW,
    ),
    Mutation(
        "a size may be written in two ways",
        "tlog/checkpoint.py",
        (('r"0|[1-9][0-9]{0,15}"', 'r"[0-9]{1,16}"'),),
        _CHECKPOINT,
    ),
    # What a note's signatures are over.
    Mutation(
        "a note's signature need not hold",
        "tlog/note.py",
        (("Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)", "pass"),),
        ("tests/tlog/test_note.py",),
    ),
)
