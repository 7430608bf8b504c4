"""Where a machine keeps model weights between steps: on disk, one decoder layer a file."""

from fedspallm_secure.workspace.layers import LayerStore

__all__ = ["LayerStore"]
