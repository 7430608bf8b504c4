"""A bad round vector, played with the package's own machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedspallm_secure.messages import Envelope
from protocol.vectors.making.stage import Stage

__all__ = ["replay"]

Json = dict[str, Any]


def replay(given: Json, good: Mapping[str, Json]) -> None:
    """Play a round up to the message in question with the package's machines, and deliver that message."""
    vector = good[given["of"]]
    events = vector["output"]["events"][: given["after"]]
    envelopes = [Envelope.model_validate_json(json.dumps(envelope)) for envelope in given.get("deliver", [])]
    with TemporaryDirectory() as folder:
        stage = Stage(vector["input"] | {"weights": given.get("weights", vector["input"]["weights"])}, Path(folder))
        stage.put(vector["output"]["blobs"] | given.get("blobs", {}))
        if "log" in given:
            log = {number: event["envelope"] for number, event in enumerate(events) if "envelope" in event}
            log |= {int(number): envelope for number, envelope in given["log"].items()}
            stage.attest([Envelope.model_validate_json(json.dumps(log[number])) for number in log if log[number]])
        elif given["to"] == stage.charter.server:
            for event in events:
                if "deadline" in event:
                    stage.coordinator.close()
                elif event["from"] != stage.charter.server:
                    stage.coordinator.receive(Envelope.model_validate_json(json.dumps(event["envelope"])))
            for envelope in envelopes:
                stage.coordinator.receive(envelope)
            if "deadline" in given:
                stage.coordinator.close()
        else:
            institution = stage.institutions[given["to"]]
            institution.start()
            for event in events:
                if given["to"] in event.get("to", []):
                    institution.receive(Envelope.model_validate_json(json.dumps(event["envelope"])))
            for envelope in envelopes:
                institution.receive(envelope)
