"""The log as a Merkle tree that only grows, and how a participant holds its keeper to one version of it."""

from fedspallm_secure.tlog.chain import Chain
from fedspallm_secure.tlog.checkpoint import Checkpoint, checkpoint_text, origin_of, parse_checkpoint
from fedspallm_secure.tlog.evidence import Evidence, OwnPlace, Place
from fedspallm_secure.tlog.held import HeldLog
from fedspallm_secure.tlog.merkle import MerkleTree, check_consistency, check_inclusion, leaf_hash
from fedspallm_secure.tlog.note import Cosignature, cosign, open_note, sign_note, signers
from fedspallm_secure.tlog.view import LogView

__all__ = [
    "Chain",
    "Checkpoint",
    "Cosignature",
    "Evidence",
    "HeldLog",
    "LogView",
    "MerkleTree",
    "OwnPlace",
    "Place",
    "check_consistency",
    "check_inclusion",
    "checkpoint_text",
    "cosign",
    "leaf_hash",
    "open_note",
    "origin_of",
    "parse_checkpoint",
    "sign_note",
    "signers",
]
