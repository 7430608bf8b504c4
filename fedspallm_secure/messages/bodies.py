"""Every message of a round. Large payloads are blobs: a message carries their SHA-256.

Every message names the charter and the round, so that none can be replayed elsewhere, and its sender, who signs it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedspallm_secure.messages.checks import Attest, Attested, ModelStatement, Proof, Proofs, Unproven
from fedspallm_secure.messages.exchange import Advertise, Advertised, Again, Share, Shares
from fedspallm_secure.messages.sums import Confirm, Confirmed, Masked, Sums, Survivors, Unmask
from fedspallm_secure.messages.votes import Collected, Counted, Encrypted, Release

__all__ = ["Message"]

_Exchange = Advertise | Advertised | Share | Shares | Again
_Sum = Masked | Survivors | Confirm | Confirmed | Unmask | Sums
_Votes = Encrypted | Release | Collected | Counted
_Check = Proof | Proofs | Attest | Attested | Unproven | ModelStatement

Message = Annotated[_Exchange | _Sum | _Votes | _Check, Field(discriminator="kind")]
"""Any message of the protocol."""
