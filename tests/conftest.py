"""Tests run side by side, so each has one thread (waiting for each other costs more), and stays off the hub."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
