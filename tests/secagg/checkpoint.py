"""What a machine holds, remembered so cheaply that it can be compared after every one of many thousand messages."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Any

from fedspallm_secure.messages import Frozen, Identity
from fedspallm_secure.secagg import Client, Group, Lane, RoundContext, Server

__all__ = ["Checkpoint"]

_NEVER_CHANGE = (str, bytes, int, float, type(None), Enum, Frozen, Identity, Lane, Group, RoundContext)


class Checkpoint:
    """All containers and objects that can be reached from a machine, each with a flat copy of what is in it.

    What never changes is compared by identity first, so that a look costs microseconds.

    Args:
        machine: as it is now.
    """

    def __init__(self, machine: Client | Server) -> None:
        self._held: list[tuple[Any, Any]] = []
        self._drawn: list[tuple[Random, Any]] = []
        self._remember(machine, set())

    def unchanged(self) -> bool:
        """Whether the machine holds what it held. Entropy that it drew meanwhile does not count."""
        return all(_contents(holder) == contents for holder, contents in self._held)

    def restore(self) -> None:
        """Make the machine what it was, its source of entropy included."""
        for holder, contents in self._held:
            if isinstance(holder, bytearray | list):
                holder[:] = contents
            else:
                members = holder if isinstance(holder, dict | set) else vars(holder)
                members.clear()
                members.update(contents)
        for random, state in self._drawn:
            random.setstate(state)

    def _remember(self, value: Any, seen: set[int]) -> None:
        source = getattr(value, "__self__", None)  # entropy is a method of a generator
        if isinstance(source, Random):
            self._drawn.append((source, source.getstate()))
        if isinstance(value, _NEVER_CHANGE) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, dict | list | set | bytearray) or _is_ours(value):
            self._held.append((value, _contents(value)))
        for member in _members(value):
            self._remember(member, seen)


def _is_ours(value: Any) -> bool:
    return type(value).__module__.startswith("fedspallm_secure.") and hasattr(value, "__dict__")


def _contents(holder: Any) -> Any:
    if isinstance(holder, bytearray):
        return bytes(holder)
    return holder.copy() if isinstance(holder, dict | list | set) else vars(holder).copy()


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif _is_ours(value):
        yield from vars(value).values()
