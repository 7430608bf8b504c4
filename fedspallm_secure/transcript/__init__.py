"""What stays of a run: the signed messages in order, and the payloads they name."""

from fedspallm_secure.transcript.blobs import BlobStore
from fedspallm_secure.transcript.log import Log

__all__ = ["BlobStore", "Log"]
