"""Whole runs: configuration, data, models, and the engine that moves messages."""
