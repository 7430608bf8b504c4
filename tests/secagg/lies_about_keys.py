"""Lies about keys and shares, which institutions and the server tell in either exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedspallm_secure.messages import Envelope, Identity, seal
from fedspallm_secure.secagg.keys import ChannelContext
from fedspallm_secure.secagg.sealing import seal_for
from fedspallm_secure.secagg.shamir import PRIME, SHARE_BYTES
from tests.messages.example_messages import EXAMPLES
from tests.secagg.lies import FRESH, ME, NO_HOLD, OTHER_CHARTER, Lies, Make, earlier, edit, field, flipped, may_be_named
from tests.secagg.small_round import identity, resealed
from tests.secagg.staged_round import STAGED, Scene

__all__ = ["ADVERTISED", "ADVERTISED_AGAIN", "SHARES", "SHARES_AGAIN"]

_ORDER_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"


def _listed(*names: str) -> Make:
    """The advertisements of these, in this order."""
    return lambda scene: scene.changed(ME, advertisements=tuple(dict(_advertisements(scene))[name] for name in names))


def _advertisements(scene: Scene) -> list[tuple[str, Envelope]]:
    return [(STAGED.open(envelope).sender, envelope) for envelope in scene.message(ME).advertisements]


def _advertised(name: str, change: Callable[[Envelope], Envelope]) -> Make:
    """The advertisements, of which one is another."""
    return lambda scene: scene.changed(
        ME,
        advertisements=tuple(
            change(envelope) if sender == name else envelope for sender, envelope in _advertisements(scene)
        ),
    )


def _keys(name: str, **changes: Any) -> Make:
    """The advertisements, of which `name` itself made another."""
    return _advertised(name, lambda envelope: resealed(STAGED, envelope, **changes))


def _group_key(name: str, group: int, sum_name: str, key: str | None) -> Make:
    """The same, with one key of one group."""

    def change(envelope: Envelope) -> Envelope:
        groups: list[Any] = list(STAGED.open(envelope).groups)  # type: ignore[union-attr]
        groups[group] = groups[group].model_copy(update={sum_name: key})
        return resealed(STAGED, envelope, groups=tuple(groups))

    return _advertised(name, change)


def _keys_of(scene: Scene, name: str) -> Any:
    return STAGED.open(dict(_advertisements(scene))[name])


_SENDERS = may_be_named("senders of the advertisements")
_IN_USE = "advertised a key that is in use already"
_ONE_EACH = "advertised not one key a group and sum"
_HOLDERS = "Of the 3 institutions that should hold our shares for lane lane0, 1"
_BOTH_EXCHANGES: Lies = {
    "nobody's": (_listed(), "Our own advertisement came back changed, or not at all"),
    "ours missing": (_listed("i0", "i2"), "Our own advertisement came back changed, or not at all"),
    "ours alone": (_listed(ME), f"{_HOLDERS} advertised; 2 are needed"),
    "one twice": (_listed("i0", ME, "i2", "i2"), _SENDERS),
    "permuted": (_listed(ME, "i0", "i2"), _SENDERS),
    "one in another's place": (_listed("i0", ME, "i0"), _SENDERS),
    "the server's own": (
        _advertised("i0", lambda envelope: resealed(STAGED, envelope, identity("server"), sender="server")),
        _SENDERS,
    ),
    "made up by the server": (
        _advertised(
            "i0", lambda envelope: resealed(STAGED, envelope, Identity("i0", identity("server").key), channel=FRESH)
        ),
        NO_HOLD,
    ),
    "one of another round": (_keys("i0", round=1), "'i0' speaks of round 1, not 0"),
    "one of another charter": (_keys("i0", charter=OTHER_CHARTER), "'i0' speaks of charter"),
    "one of another exchange": (_keys("i0", attempt=7), "'i0' did not advertise keys for this exchange"),
    "another kind among them": (
        _advertised(
            "i0",
            lambda envelope: seal(
                EXAMPLES["model"].model_copy(update={"charter": STAGED.digest, "round": 0, "sender": "i0"}),
                identity("i0"),
            ),
        ),
        "'i0' did not advertise keys for this exchange",
    ),
    "ours changed": (_keys(ME, channel=FRESH), "Our own advertisement came back changed, or not at all"),
    "keys of no group": (_keys("i0", groups=()), f"'i0' {_ONE_EACH}"),
    "no values key": (_group_key("i2", 1, "values", None), f"'i2' {_ONE_EACH}"),
    "our channel key": (
        lambda scene: _keys("i2", channel=_keys_of(scene, ME).channel)(scene),
        f"'i2' {_IN_USE}",
    ),
    "another's channel key": (
        lambda scene: _keys("i2", channel=_keys_of(scene, "i0").channel)(scene),
        f"'i2' {_IN_USE}",
    ),
    "another's mask key": (
        lambda scene: _group_key("i2", 1, "values", _keys_of(scene, "i0").groups[0].values)(scene),
        f"'i2' {_IN_USE}",
    ),
    "one key for two groups": (
        lambda scene: _group_key("i2", 1, "values", _keys_of(scene, "i2").groups[0].values)(scene),
        f"'i2' {_IN_USE}",
    ),
    "one key for channel and masks": (
        lambda scene: _group_key("i2", 0, "values", _keys_of(scene, "i2").channel)(scene),
        f"'i2' {_IN_USE}",
    ),
    "a channel key of small order": (
        _keys("i0", channel="00" * 32),
        "'i0' advertised an X25519 key of small order",
    ),
    "a mask key of small order": (
        _group_key("i2", 1, "values", _ORDER_8),
        "'i2' advertised an X25519 key of small order",
    ),
    "a key not in canonical form": (
        _group_key("i2", 0, "values", "ff" * 32),
        "'i2' advertised an X25519 key that is not in canonical form",
    ),
}
ADVERTISED: Lies = _BOTH_EXCHANGES | {
    "for another exchange": (edit(attempt=1), "Advertisements came for attempt 1, not 0"),
    "no votes key": (_group_key("i0", 0, "votes", None), f"'i0' {_ONE_EACH}"),
    "one key for both sums": (
        lambda scene: _group_key("i2", 0, "votes", _keys_of(scene, "i2").groups[0].values)(scene),
        f"'i2' {_IN_USE}",
    ),
    "a votes key of small order": (
        _group_key("i0", 0, "votes", "01" + "00" * 31),
        "'i0' advertised an X25519 key of small order",
    ),
}
ADVERTISED_AGAIN: Lies = _BOTH_EXCHANGES | {
    "for the first exchange": (edit(attempt=0), "Advertisements came for attempt 0, not 1"),
    "those of the first exchange": (
        lambda scene: resealed(STAGED, scene.said["advertised"][ME], attempt=1),
        _SENDERS,  # i3's is among them
    ),
    "one of the first exchange": (
        lambda scene: _advertised("i0", lambda _: scene.said["advertise"]["i0"])(scene),
        "'i0' did not advertise keys for this exchange",
    ),
    "a votes key": (_group_key("i2", 0, "votes", FRESH), f"'i2' {_ONE_EACH}"),
}


def _sealed(change: Callable[[dict[str, str]], Mapping[str, str]]) -> Make:
    """What came sealed for this client, changed."""
    return field("sealed", lambda sealed: dict(change(dict(sealed))))


def _resealed_by(name: str, plaintext: bytes) -> Make:
    """What `name` itself sealed for this client is something else."""

    def make(scene: Scene) -> Envelope:
        sender, attempt = scene.index(name), scene.message(ME).attempt
        secret: bytes = scene.played.clients[sender]._exchange._channels[scene.index(ME)]
        context = ChannelContext(STAGED.digest, 0, attempt, sender, scene.index(ME))
        return _sealed(lambda sealed: sealed | {name: seal_for(secret, context, plaintext)})(scene)

    return make


_NOT_SEALED = "The shares that came as 'i0''s were not sealed by it for this client in this exchange"
_NOT_OWED = "'i0' sealed something that is not the shares it owes us"
_NO_KEYS = "Shares came from somebody who advertised no keys to us"
_SHARES_IN_BOTH: Lies = {
    "for somebody else": (edit(to="i2"), "Shares came for 'i2', attempt"),
    "another's": (lambda scene: scene.true("i2"), "Shares came for 'i2', attempt"),
    "from ourselves": (_sealed(lambda sealed: sealed | {ME: sealed["i0"]}), _NO_KEYS),
    "from the server": (_sealed(lambda sealed: sealed | {"server": sealed["i0"]}), _NO_KEYS),
    "from a stranger": (_sealed(lambda sealed: sealed | {"eve": sealed["i0"]}), _NO_KEYS),
    "nobody's": (edit(sealed={}), f"{_HOLDERS} shared; 2 are needed"),
    "exchanged between their senders": (
        _sealed(lambda sealed: sealed | {"i0": sealed["i2"], "i2": sealed["i0"]}),
        _NOT_SEALED,
    ),
    "sealed for another": (
        lambda scene: _sealed(lambda sealed: sealed | {"i0": scene.message("i2").sealed["i0"]})(scene),
        _NOT_SEALED,
    ),
    "what we sealed ourselves": (
        lambda scene: _sealed(lambda sealed: sealed | {"i0": scene.message("i0").sealed[ME]})(scene),
        _NOT_SEALED,
    ),
    "a bit flipped": (_sealed(lambda sealed: sealed | {"i0": flipped(sealed["i0"])}), _NOT_SEALED),
    "a ciphertext cut short": (_sealed(lambda sealed: sealed | {"i0": sealed["i0"][:-4]}), _NOT_SEALED),
    "no ciphertext": (_sealed(lambda sealed: sealed | {"i0": ""}), _NOT_SEALED),
    "no base64": (_sealed(lambda sealed: sealed | {"i0": "A"}), _NOT_SEALED),
    "nothing sealed": (_resealed_by("i0", b""), _NOT_OWED),
    "a share too few": (_resealed_by("i0", bytes(SHARE_BYTES)), _NOT_OWED),
    "shares of more groups": (_resealed_by("i0", bytes(8 * SHARE_BYTES)), _NOT_OWED),
}
SHARES: Lies = _SHARES_IN_BOTH | {
    "for another exchange": (edit(attempt=1), f"Shares came for '{ME}', attempt 1"),
    "too few": (_sealed(lambda sealed: {"i3": sealed["i3"]}), f"{_HOLDERS} shared; 2 are needed"),
    "shares beyond the prime": (_resealed_by("i0", PRIME.to_bytes(SHARE_BYTES, "big") * 4), _NOT_OWED),
    "shares of one sum": (_resealed_by("i0", bytes(2 * SHARE_BYTES)), _NOT_OWED),
}
SHARES_AGAIN: Lies = _SHARES_IN_BOTH | {
    "of the first exchange": (lambda scene: scene.said["shares"][ME], f"Shares came for '{ME}', attempt 0"),
    "what was sealed in the first exchange": (
        lambda scene: _sealed(lambda sealed: sealed | {"i0": earlier(scene, "shares").sealed["i0"]})(scene),
        _NOT_SEALED,
    ),
    "from who is gone": (
        lambda scene: _sealed(lambda sealed: sealed | {"i3": earlier(scene, "shares").sealed["i3"]})(scene),
        _NO_KEYS,
    ),
    "a share beyond the prime": (_resealed_by("i0", bytes(SHARE_BYTES) + b"\xff" * SHARE_BYTES), _NOT_OWED),
    "shares of both sums": (_resealed_by("i0", bytes(4 * SHARE_BYTES)), _NOT_OWED),
}
