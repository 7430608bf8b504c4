"""A second implementation of the protocol, written from SPEC.md alone, for checking vectors.

It is slow and plain, and shares no code with the first one: the standard library and `cryptography` are all it imports.
"""
