"""One thread a process: tests run side by side, and threads that wait for each other would only slow them down."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
