"""Rounds that go well until somebody gets a message that it must refuse."""

from __future__ import annotations

from collections.abc import Mapping

from protocol.vectors.making.bad_again import bad_again
from protocol.vectors.making.bad_checks import bad_checks
from protocol.vectors.making.bad_encrypted import bad_encrypted
from protocol.vectors.making.bad_exchange import bad_exchange
from protocol.vectors.making.bad_log import bad_log
from protocol.vectors.making.bad_pooled import bad_pooled
from protocol.vectors.making.bad_survivors import bad_survivors
from protocol.vectors.making.editor import Collector, Editor, Json

__all__ = ["bad_rounds"]


def bad_rounds(good: Mapping[str, Json]) -> dict[str, Json]:
    """rounds/NAME -> vector that must be refused."""
    vectors: dict[str, Json] = {}
    one, again, unproven = (Editor(name, good[name]) for name in ("one_vanished", "again_and_witness", "unproven"))
    bad = Collector(one, vectors)
    bad_exchange(one, bad)
    bad_survivors(one, bad)
    bad_checks(one, bad)
    bad_log(one, bad)
    bad_again(again, Collector(again, vectors))
    encrypted = Editor("encrypted", good["encrypted"])
    bad_encrypted(encrypted, Collector(encrypted, vectors))
    bad_pooled(good, vectors)
    about = "A sum is called unproven, but everybody proved."
    Collector(unproven, vectors).change(
        "nobody_missing",
        about,
        unproven.find("unproven"),
        "C39",
        "no proof is missing",
        lambda body: body.update(missing=[]),
        to="berlin",
    )
    weights = dict(one.vector["input"]["weights"])
    first = next(iter(weights))
    weights[first] = "01" + weights[first][2:]
    about = "aachen starts from other weights than the charter names."
    base = {"weights": weights, "error": "StorageError"}
    bad.add("weights", about, 0, "aachen", "C44", "the charter says", **base)
    return vectors
