"""A bad round vector, played with the package's own machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedspallm_secure.messages import Envelope
from fedspallm_secure.tlog import Evidence
from protocol.vectors.making.stage import Stage

__all__ = ["replay"]

Json = dict[str, Any]


def replay(given: Json, good: Mapping[str, Json]) -> Envelope | None:
    """Play a round up to the message in question with the package's machines, and deliver that message.

    Returns:
        The institution's answer, if it is one that gets the message, and does not refuse it.
    """
    vector = good[given["of"]]
    events = vector["output"]["events"][: given["after"]]
    answer = None
    with TemporaryDirectory() as folder:
        stage = Stage(vector["input"] | {"weights": given.get("weights", vector["input"]["weights"])}, Path(folder))
        stage.put(vector["output"]["blobs"] | given.get("blobs", {}))
        if "log" in given:
            log = {number: event["envelope"] for number, event in enumerate(events) if "envelope" in event}
            log |= {int(number): envelope for number, envelope in given["log"].items()}
            shown = [_envelope(log[number]) for number in sorted(log) if log[number]]
            custodian = stage.charter.custodian
            if custodian is not None and given["to"] == custodian.name:
                stage.count(shown)
            else:
                stage.attest(shown)
        elif given["to"] == stage.charter.server:
            for event in events:
                if "deadline" in event:
                    stage.coordinator.close()
                elif event["from"] != stage.charter.server:
                    stage.coordinator.receive(_envelope(event["envelope"]))
            for one in given.get("deliver", []):
                stage.coordinator.receive(_envelope(one["envelope"]))
            if "deadline" in given:
                stage.coordinator.close()
        else:
            institution = stage.institutions[given["to"]]
            institution.start()
            heard = [event for event in events if given["to"] in event.get("evidence", {})]
            for event in heard:
                institution.receive(_envelope(event["envelope"]), _evidence(event["evidence"][given["to"]]))
            for one in given.get("deliver", []):
                answer = institution.receive(_envelope(one["envelope"]), _evidence(one["evidence"]))
    return answer


def _envelope(envelope: Json) -> Envelope:
    return Envelope.model_validate_json(json.dumps(envelope))


def _evidence(evidence: Json) -> Evidence:
    return Evidence.model_validate_json(json.dumps(evidence))
