"""Keys and shares: advertisements, what is derived from them, what is sealed, and how secrets are shared."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["KEYS"]

_SERVER = ("tests/secagg/test_malicious_server.py",)
_PEER = ("tests/secagg/test_malicious_peer.py",)
_LIES = ("tests/secagg/test_bad_messages_to_a_client.py",)
_DEFECTS = ("tests/secagg/test_bad_messages_to_the_server.py",)
_DERIVED = ("tests/secagg/test_keys.py",)
_SHAMIR = ("tests/secagg/test_shamir.py",)
_GRAPH = ("tests/secagg/test_graph.py",)
_SPARSE = ("tests/secagg/test_sparse_survivors.py",)
_GROUPS = ("tests/secagg/test_groups.py",)

_MASK = "return bytes.fromhex(self.charter) + _u32(self.round) + _SUMS[self.sum] + _u32(self.attempt) + _u32(self.lane)"
_CHANNEL = "numbers = (self.round, self.attempt, self.sender, self.receiver)"
_EXCHANGE = "secagg/exchange.py"


def _never(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, "if False:"),)


def _without(line: str) -> tuple[tuple[str, str], ...]:
    """The same block without one of its statements."""
    return ((line, "pass"),)


KEYS: tuple[Mutation, ...] = (
    Mutation(
        "our own advertisement may come back changed",
        _EXCHANGE,
        _never("if advertisements.get(self._index) != self.advertisement:"),
        _SERVER,
    ),
    Mutation(
        "advertisements for another attempt are taken",
        _EXCHANGE,
        (("if message.attempt != self.attempt:\n", "if False:\n"),),
        _LIES,
    ),
    Mutation(
        "another attempt's keys are taken",
        _EXCHANGE,
        (
            (
                "if not isinstance(body, Advertise) or body.attempt != self.attempt:",
                "if not isinstance(body, Advertise):",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "who is gone may advertise again",
        _EXCHANGE,
        (
            (
                "(self._context.peers_of(self._index) | {self._index}) & self._invited",
                "self._context.peers_of(self._index) | {self._index}",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "too few may hold a client's shares",
        _EXCHANGE,
        _without('self._check_holders(advertisements, "advertised")'),
        _SERVER,
    ),
    Mutation(
        "too few may share with a client",
        _EXCHANGE,
        _without('self._check_holders(senders.keys() | {self._index}, "shared")'),
        _SERVER,
    ),
    Mutation(
        "shares may be for somebody else",
        _EXCHANGE,
        (("if message.to != name or message.attempt != self.attempt:", "if message.attempt != self.attempt:"),),
        _LIES,
    ),
    Mutation(
        "a share may be no number of the field",
        _EXCHANGE,
        (
            (
                "if len(plaintext) != 2 * size * len(places) or any("
                'int.from_bytes(piece, "big") >= PRIME for piece in pieces):',
                "if len(plaintext) != 2 * size * len(places):",
            ),
        ),
        _LIES,
    ),
    Mutation(
        "a client takes a key that is in use",
        _EXCHANGE,
        (
            (
                "check_advertisement(self._context, index, body, seen)",
                "check_advertisement(self._context, index, body, {})",
            ),
        ),
        _LIES,
    ),
    Mutation(
        "a seed is not committed to",
        _EXCHANGE,
        (
            (
                "return None if seed is None else commit_to_seed(bytes(seed))",
                'return None if seed is None else "0" * 64',
            ),
        ),
        _PEER,
    ),
    Mutation(
        "a key may be missing from an advertisement",
        "secagg/advertisement.py",
        _never("if not _one_each(advertisement.groups, len(context.groups_of(index)), sums):"),
        _PEER,
    ),
    Mutation(
        "one key may serve two ends of one institution",
        "secagg/advertisement.py",
        (("if len(set(keys)) != len(keys) or any(", "if any("),),
        _PEER,
    ),
    Mutation(
        "another's key may be advertised",
        "secagg/advertisement.py",
        (
            (
                "if len(set(keys)) != len(keys) or any(seen.get(key, index) != index for key in keys):",
                "if len(set(keys)) != len(keys):",
            ),
        ),
        _PEER,
    ),
    Mutation(
        "no commitment is needed",
        "secagg/advertisement.py",
        _never("if not _one_each(share.commitments, len(context.groups_of(index)), sums_of(context, share.attempt)):"),
        _PEER,
    ),
    Mutation(
        "the server takes points that share no secret",
        "secagg/server_exchange.py",
        _without("check_point(key, message.sender)"),
        _PEER,
    ),
    Mutation(
        "a point may be written in two ways",
        "secagg/keys.py",
        _never('if int.from_bytes(raw, "little") >= _FIELD:'),
        _PEER,
    ),
    Mutation(
        "a mask's key is the same in every run",
        "secagg/keys.py",
        ((_MASK, _MASK.replace("bytes.fromhex(self.charter) + ", "")),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key is the same in every round",
        "secagg/keys.py",
        ((_MASK, _MASK.replace("_u32(self.round) + ", "")),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key is the same for both sums",
        "secagg/keys.py",
        ((_MASK, _MASK.replace("_SUMS[self.sum] + ", "")),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key is the same in every attempt",
        "secagg/keys.py",
        ((_MASK, _MASK.replace("_u32(self.attempt) + ", "")),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key is the same for every lane",
        "secagg/keys.py",
        ((_MASK, _MASK.replace(" + _u32(self.lane)", "")),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key does not depend on the pair",
        "secagg/keys.py",
        (("context.encode() + _u32(low) + _u32(high)", "context.encode()"),),
        _DERIVED,
    ),
    Mutation(
        "a mask's key does not depend on the client",
        "secagg/keys.py",
        (("context.encode() + _u32(client)", "context.encode()"),),
        _DERIVED,
    ),
    Mutation(
        "one secret gives one key, whatever it is for",
        "secagg/keys.py",
        (("info=_PREFIX + label + info", "info=_PREFIX + info"),),
        _DERIVED,
    ),
    Mutation(
        "shares of another run open",
        "secagg/keys.py",
        (
            (
                'return bytes.fromhex(self.charter) + b"".join(_u32(number) for number in numbers)',
                'return b"".join(_u32(number) for number in numbers)',
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "shares of another round open", "secagg/keys.py", ((_CHANNEL, _CHANNEL.replace("self.round, ", "")),), _SERVER
    ),
    Mutation(
        "shares of another attempt open",
        "secagg/keys.py",
        ((_CHANNEL, _CHANNEL.replace("self.attempt, ", "")),),
        _DERIVED,
    ),
    Mutation(
        "shares open for their sender",
        "secagg/keys.py",
        ((_CHANNEL, "numbers = (self.round, self.attempt, *sorted((self.sender, self.receiver)))"),),
        _SERVER,
    ),
    Mutation(
        "the associated data of a sealed share is empty",
        "secagg/sealing.py",
        (
            ("key, aad = _key(secret, context), context.encode()", 'key, aad = _key(secret, context), b""'),
            ("decode_base64(sealed), context.encode())", 'decode_base64(sealed), b"")'),
        ),
        ("tests/secagg/test_sealing.py",),
    ),
    Mutation(
        "every channel has the same key for everything",
        "secagg/sealing.py",
        (
            (
                'return derive(secret, b"share-channel", context.encode())',
                'return derive(secret, b"share-channel", b"")',
            ),
        ),
        ("tests/secagg/test_sealing.py",),
    ),
    Mutation(
        "shares are the secret",
        "secagg/shamir.py",
        (('int.from_bytes(entropy(_COEFFICIENT_BYTES), "big") % PRIME for _', "0 for _"),),
        _SHAMIR,
    ),
    Mutation(
        "fewer shares than the threshold are enough",
        "secagg/shamir.py",
        (("for _ in range(threshold - 1))", "for _ in range(threshold - 2))"),),
        _SHAMIR,
    ),
    Mutation(
        "any secret passes for the committed one",
        "secagg/shamir.py",
        (("if secret is None or not correct(secret):", "if secret is None:"),),
        _PEER,
    ),
    Mutation(
        "a small cohort's threshold does not reckon with colluders",
        "secagg/graph.py",
        (("Graph(others, unmasking_threshold(members, colluders))", "Graph(others, unmasking_threshold(members, 0))"),),
        _GRAPH,
    ),
    Mutation(
        "a quorum does not reckon with colluders",
        "secagg/groups.py",
        (("unmasking_threshold(n, parameters.colluders) if", "unmasking_threshold(n, 0) if"),),
        _SERVER,
    ),
    Mutation(
        "lanes share a graph although their cohorts differ",
        "secagg/groups.py",
        (("by_cohort.setdefault(lane.cohort, [])", "by_cohort.setdefault(lanes[0].cohort, [])"),),
        _GROUPS,
    ),
    Mutation(
        "a large graph hides less than it should",
        "secagg/degree.py",
        (("SECURITY = 40\n", "SECURITY = 30\n"),),
        ("tests/secagg/test_degree.py",),
    ),
    Mutation(
        "survivors may lie so that a ring has parted",
        "secagg/groups.py",
        (("return fewest if fewest < self.threshold else None", "return None"),),
        _SPARSE,
    ),
    Mutation(
        "one survivor too few in two stretches is enough",
        "secagg/groups.py",
        (("if fewest < self.threshold else", "if fewest < self.threshold - 1 else"),),
        _SPARSE,
    ),
    Mutation(
        "nobody asks whether a ring has parted",
        "secagg/enough.py",
        (("    if thin is not None:\n", "    if False:\n"),),
        _SPARSE,
    ),
    Mutation(
        "only stretches across the ring are looked at",
        "secagg/stretches.py",
        (("twice[place + half + 1 : place + n - half]", "twice[place + n // 2 : place + n // 2 + 1]"),),
        ("tests/secagg/test_stretches.py",),
    ),
    Mutation(
        "the server passes on shares that leave somebody out",
        "secagg/server_exchange.py",
        (
            (
                "if message.attempt != self.attempt or message.sealed.keys() != set(peers):",
                "if message.attempt != self.attempt:",
            ),
        ),
        _PEER,
    ),
    Mutation(
        "the server takes no commitment for one",
        "secagg/server_exchange.py",
        _without("check_commitments(self.context, sender, message)"),
        _PEER,
    ),
)
