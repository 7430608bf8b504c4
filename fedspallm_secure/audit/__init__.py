"""What an auditor finds in a transcript, without the server: numbered checks, a verdict, and ways to read it.

Runs on the base install, without torch: whoever has the files can check them. The page alone needs jinja2, so it
is not imported here.
"""

from fedspallm_secure.audit.auditor import Depth, audit
from fedspallm_secure.audit.text import show_verdict
from fedspallm_secure.audit.verdict import Event, Finding, Participant, Status, Verdict, to_json

__all__ = [
    "Depth",
    "Event",
    "Finding",
    "Participant",
    "Status",
    "Verdict",
    "audit",
    "show_verdict",
    "to_json",
]
