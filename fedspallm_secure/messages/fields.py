"""Types of the fields that messages and the charter share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

__all__ = ["Base64", "Count", "Hex8", "Hex32", "Hex33", "LaneName", "Name", "SumName"]

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes (a SHA-256, an X25519 or Ed25519 public key) as lower-case hexadecimal."""

Hex33 = Annotated[str, Field(pattern=r"^[0-9a-f]{66}$")]
"""33 bytes (one share of a secret) as lower-case hexadecimal."""

Hex8 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""8 bytes (a number below 2^64) as lower-case hexadecimal."""

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
"""Bytes as padded base64 (RFC 4648); `decode_base64` refuses every spelling but one."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A participant: letters, digits, dot, underscore, dash; at most 64."""

LaneName = Annotated[str, Field(min_length=1, max_length=256)]
"""A tensor's parameter name."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A non-negative integer that every JSON reader holds exactly."""

SumName = Literal["votes", "values"]
"""The two sums of a round."""
