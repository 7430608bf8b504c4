"""What a machine keeps on disk between steps: model weights, what it decided once, and files that survive a crash."""

from fedspallm_secure.workspace.journal import Journal
from fedspallm_secure.workspace.journal_file import FileJournal
from fedspallm_secure.workspace.layers import LayerStore
from fedspallm_secure.workspace.line_file import (
    LineFile,
    LineForm,
    TornLineError,
    make_folder,
    read_lines,
    sync_folder,
)
from fedspallm_secure.workspace.model_folder import BaseWeights, Mismatch, ModelFolder, check_model
from fedspallm_secure.workspace.whole_file import write_whole

__all__ = [
    "BaseWeights",
    "FileJournal",
    "Journal",
    "LayerStore",
    "LineFile",
    "LineForm",
    "Mismatch",
    "ModelFolder",
    "TornLineError",
    "check_model",
    "make_folder",
    "read_lines",
    "sync_folder",
    "write_whole",
]
