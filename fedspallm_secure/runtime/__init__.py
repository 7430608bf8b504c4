"""Whole runs: configuration, data, models, and the engine that moves messages."""

from fedspallm_secure.runtime.steps import Advance, Steps

__all__ = ["Advance", "Steps"]
