"""Whether the Hugging Face hub can be asked at all: its own clients would try for half a minute or more."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants

__all__ = ["reach_hub"]


def reach_hub() -> None:
    """Ask once.

    Raises:
        ConnectionError: the hub can't be reached, or HF_HUB_OFFLINE forbids to try.
    """
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("there is no such file or directory, and HF_HUB_OFFLINE forbids to ask the hub")
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=10):
            pass
    except HTTPError:
        pass  # it answers
    except OSError as error:
        raise ConnectionError(f"there is no such file or directory, and the hub can't be reached ({error})") from error
