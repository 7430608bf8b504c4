"""Breaks the security checks one after the other, and sees for each that a test notices.

A test that passes says little about a check unless it fails without it. `python -m tests.mutations` says which checks
could go without anybody noticing.
"""
