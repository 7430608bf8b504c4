"""What a machine keeps on disk between steps: model weights, one decoder layer a file, and what it decided once."""

from fedspallm_secure.workspace.journal import Journal
from fedspallm_secure.workspace.journal_file import FileJournal
from fedspallm_secure.workspace.layers import LayerStore

__all__ = ["FileJournal", "Journal", "LayerStore"]
