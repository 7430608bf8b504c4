"""Measurements of cost and quality. Each is a command: python -m benchmarks.NAME --help."""
