"""The text of a checkpoint: which log, how many entries, and their root (C2SP tlog-checkpoint).

    fedspallm-secure.invalid/v1/log/<charter digest>
    <size in decimal digits>
    <root in base64>

It travels as a signed note. The keeper of the log signs under the log's origin, who cosigns under its own name.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LogHead, decode_base64

__all__ = ["Checkpoint", "checkpoint_text", "origin_of", "parse_checkpoint"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_LIMIT = 2**53  # what `LogHead` holds
_TODO = "Ask for the checkpoint again; keep this one as evidence."


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says.

    Attributes:
        origin: of the log.
        head: how far it goes, and the root.
    """

    origin: str
    head: LogHead


def origin_of(charter: str) -> str:
    """The name of the log of the run under the charter with this digest."""
    return f"fedspallm-secure.invalid/v1/log/{charter}"


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The text to be signed."""
    root = base64.b64encode(bytes.fromhex(checkpoint.head.root)).decode()
    return f"{checkpoint.origin}\n{checkpoint.head.size}\n{root}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """What a checkpoint's text says.

    Raises:
        RemoteProtocolError: not three lines as above.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines.pop() or not lines[0] or not _SIZE.fullmatch(lines[1]) or int(lines[1]) >= _LIMIT:
        raise RemoteProtocolError("This is no checkpoint: an origin, a size and a root are due.", _TODO)
    try:
        root = decode_base64(lines[2])
    except ValueError as error:
        raise RemoteProtocolError("The checkpoint's root is not base64.", _TODO) from error
    if len(root) != 32:
        raise RemoteProtocolError(f"The checkpoint's root has {len(root)} bytes; 32 are due.", _TODO)
    return Checkpoint(lines[0], LogHead(size=int(lines[1]), root=root.hex()))
