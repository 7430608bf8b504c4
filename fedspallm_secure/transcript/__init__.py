"""What stays of a run: the signed messages in order, and the payloads they name."""

from fedspallm_secure.transcript.blobs import BlobStore
from fedspallm_secure.transcript.folder import Transcript
from fedspallm_secure.transcript.log import Log, read_log

__all__ = ["BlobStore", "Log", "Transcript", "read_log"]
