"""What is checked, by number. Each title is the sentence that is shown when the check is ok.

1. A1 and A2: what was agreed, and by whom.
2. A3 to A8: the log is one, whole, signed, linked, and the one that everybody saw.
3. A9 to A13: replayed through the coordinator's own state machine, every message is the one that was due.
4. A14 to A19: sums are possible and proved, and the model follows from them.
5. A20 and A21, at full depth: each sum is computed again from what every institution sent.
6. A22, where rosters are given: who took part was a member.
7. A23, where votes are encrypted: the keys are there under which they were.
"""

from __future__ import annotations

__all__ = [
    "CHECK_OF_KIND",
    "ENCRYPTED",
    "FULL",
    "GIVEN_MODEL",
    "GIVEN_ROSTERS",
    "NOT_PROVEN",
    "NOT_PROVEN_ENCRYPTED",
    "TITLES",
]

TITLES = {
    "A1": "The charter is whole and keeps its own rules.",
    "A2": "Everybody whom the charter names has signed it.",
    "A3": "The log is whole: every line is one signed envelope in canonical form, and none is there twice.",
    "A4": "Every entry is a message under this charter, signed by the participant that it names.",
    "A5": "Every message links to its sender's last one.",
    "A6": "The log that each sender says it saw is the beginning of this one.",
    "A7": "The log's keeper signed a checkpoint of this log at the end of each round.",
    "A8": "Everybody who stated a round's model cosigned the checkpoint.",
    "A9": "Keys and shares were exchanged as the protocol says, each message when it was due.",
    "A10": "Every contribution has exactly the lanes of its sender's cohorts.",
    "A11": "Survivors are those whose contributions came; cohorts, quorums and margins are as the charter asks.",
    "A12": "A quorum of every cohort confirmed these survivors and no others.",
    "A13": "The shares and ciphertexts handed out are those that were owed, and open what their owners committed to.",
    "A14": "Published counts and sums are whole, and possible for so many institutions; counts of encrypted votes are "
    "the custodian's.",
    "A15": "The institutions' proofs, or the witness's word, show every published sum to be true.",
    "A16": "The positions that take part in the values follow from the counts.",
    "A17": "The model follows from the base weights, the counts and the sums.",
    "A18": "Every round came to its end, and everybody stated the same model.",
    "A19": "The model given is that model, tensor by tensor.",
    "A20": "Every contribution is stored as its sender signed it.",
    "A21": "Every published sum is the sum of the contributions; the custodian counted that of the ciphertexts.",
    "A22": "The charter's institutions are on the last roster given, with their keys, and no key in it is revoked.",
    "A23": "The CKKS context of every round is stored as the charter names it.",
}

FULL = ("A20", "A21")
"""Checks of full depth."""

GIVEN_MODEL = "A19"
"""The check that needs a model to be given."""

GIVEN_ROSTERS = "A22"
"""The check that needs rosters to be given."""

ENCRYPTED = "A23"
"""The check that is made where votes are encrypted."""

CHECK_OF_KIND = {
    **dict.fromkeys(("advertise", "advertised", "share", "shares"), "A9"),
    **dict.fromkeys(("masked", "encrypted"), "A10"),
    **dict.fromkeys(("survivors", "again", "collected"), "A11"),
    **dict.fromkeys(("confirm", "confirmed"), "A12"),
    **dict.fromkeys(("unmask", "release"), "A13"),
    **dict.fromkeys(("counted", "sums"), "A14"),
    **dict.fromkeys(("proof", "proofs", "attest", "attested", "unproven"), "A15"),
    "model": "A18",
}
"""Kind of a message -> the check that fails where it is not the one that is due."""

NOT_PROVEN = (
    "That the institutions' votes and changes were made of the text that they say, or honestly: what each contributed "
    "is secret, and only the sum is checked.",
    "That the public keys belong to the institutions named: compare them with what each institution says over another "
    "channel.",
    "That nothing was sent besides what the log holds, or that somebody who is said to have vanished did.",
    "What can be learned about one institution's text from the published counts, sums and model: no noise was added.",
    "That a model's configuration and tokeniser are the agreed ones: only its tensors are compared.",
    "When anything happened: the times of cosignatures are those of their signers' clocks.",
)
"""What no check shows."""

NOT_PROVEN_ENCRYPTED = (
    "That the custodian decrypted nothing but sums, or kept what it decrypted to itself: its key opens each "
    "institution's ciphertexts too.",
    "That the counts are those of the ciphertexts, if an institution helped the custodian: only the custodian can "
    "count, and a proof can speak of other votes than its institution's ciphertexts.",
)
"""What no check shows besides where votes are encrypted."""
