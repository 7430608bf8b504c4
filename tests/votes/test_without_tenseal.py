"""Whoever only checks and adds ciphertexts needs no TenSEAL, and whoever does need it is told so."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
sys.modules["tenseal"] = None  # as if it were not installed
import numpy as np
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.votes import add_ciphertexts, check_ciphertexts, choose_parameters, make_key_pair, sum_digest
parameters = choose_parameters(3)
words = np.ones(parameters.words, np.uint64)
streams = [check_ciphertexts(parameters, 9, name, iter([words])) for name in "abc"]
print(sum_digest(add_ciphertexts(parameters, 9, streams)) == sum_digest([3 * words]))
try:
    make_key_pair(parameters)
except ConfigError as error:
    print(error)
"""


def test_adding_works_without_tenseal_and_encrypting_says_what_is_missing() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    added, missing = done.stdout.splitlines()
    assert added == "True"
    assert missing.endswith("Run pip install 'fedspallm-secure[ckks]'.")
