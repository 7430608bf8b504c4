"""The right to release what a ledger has written down, each release once.

Only a ledger hands it out, after the spending is on the disk. It dies with its process: what was not released then is
spent all the same, since nobody can tell whether it left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.privacy.entries import Release, Use
from fedspallm_secure.privacy.noise import Entropy, add_noise, add_symmetric_noise, share_of_noise

__all__ = ["Allowance"]


class Allowance:
    """What is left to release of one use.

    Args:
        use: as it was written down.
    """

    def __init__(self, use: Use) -> None:
        self._use = use
        self._left = {release.name: release for release in use.releases}

    def release(self, name: str, total: NDArray[np.int64], entropy: Entropy) -> NDArray[np.int64]:
        """A sum of clipped records with this institution's share of the noise.

        Args:
            name: of the release.
            total: int64, shape (m,), the sum of what `clip_diagonal` or `clip_matrix` made of each record with the
                release's `clipping`; it stays as it is.
            entropy: os.urandom.

        Returns:
            int64, shape (m,): what may leave the institution, or go into the secure sum.

        Raises:
            LocalProtocolError: it is not in the use, was released before, or has another shape or type; nothing was
                drawn.
        """
        release = self._left.get(name)
        if release is None:
            raise LocalProtocolError(
                f"{name!r} was released before, or is not in what was written down.",
                "Write down another use that names it, as long as the budget lasts.",
            )
        if total.shape != (release.numbers,) or total.dtype != np.int64:
            raise LocalProtocolError(
                f"{name!r} is {release.numbers} whole numbers of 64 bits in the ledger, not {total.dtype} of shape "
                f"{total.shape}.",
                "Write down what is released, and add up clipped records.",
            )
        del self._left[name]
        return _noisy(total, release, self._use, entropy)


def _noisy(total: NDArray[np.int64], release: Release, use: Use, entropy: Entropy) -> NDArray[np.int64]:
    variance = share_of_noise(release.variance, use.institutions, use.colluders, use.dropouts)
    noisy = total.copy()
    if release.kind == "diagonal":
        add_noise(noisy, variance, entropy)
    else:
        add_symmetric_noise(noisy, release.inputs, variance, entropy)
    return noisy
