"""Votes under CKKS: encrypted with one key that all share, added by anybody, counted by the one who holds the key.

Keys, encryption and decryption need TenSEAL, which is loaded when they are used; to check and add ciphertexts takes
NumPy alone.
"""

from fedspallm_secure.votes.ciphertexts import add_ciphertexts, check_ciphertexts, sum_digest
from fedspallm_secure.votes.context import KeyPair, PublicContext, SecretContext, make_key_pair
from fedspallm_secure.votes.custodian import Contribution, Custodian, LaneCounts, VotesLane, bind_key, check_bound
from fedspallm_secure.votes.encryption import Decryptor, Encryptor
from fedspallm_secure.votes.noise import typical_error
from fedspallm_secure.votes.parameters import MARGIN, CkksParameters, choose_parameters

__all__ = [
    "MARGIN",
    "CkksParameters",
    "Contribution",
    "Custodian",
    "Decryptor",
    "Encryptor",
    "KeyPair",
    "LaneCounts",
    "PublicContext",
    "SecretContext",
    "VotesLane",
    "add_ciphertexts",
    "bind_key",
    "check_bound",
    "check_ciphertexts",
    "choose_parameters",
    "make_key_pair",
    "sum_digest",
    "typical_error",
]
