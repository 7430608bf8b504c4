"""Test vectors: README.md says what is in them, generate.py makes them, check.py checks them without the package."""
