"""Layer sampling: which client prunes which decoder layers (FedSpaLLM, arXiv 2410.14852).

The paper has each client sample as many layers as it can afford. The distribution is our own choice, made for a
coverage guarantee: layers and clients are each put in an order drawn from the public beacon, and the clients' quotas
are laid end to end around the ring of layers. A client with quota m gets m different layers, each layer being as likely
as any other; every layer's cohort has floor(S / L) or ceil(S / L) clients, where S is the sum of quotas and L the
number of layers.

The orders are those of SHA-256(label, beacon, round, index): everybody draws the same ones, and nobody could choose
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from fedspallm_secure.charter import drawn_order
from fedspallm_secure.errors import CharterError

__all__ = ["sample_layers"]


def sample_layers(
    shares: Sequence[Fraction], layers: int, minimum_cohort: int, beacon: bytes, position: int
) -> tuple[tuple[int, ...], ...]:
    """The cohort of every decoder layer.

    Args:
        shares: each client's capacity as a share of the layers, in (0, 1]; floor(share * layers) are assigned.
        layers: L, number of decoder layers.
        minimum_cohort: fewest clients a layer must get.
        beacon: public randomness.
        position: of the pattern in the schedule; each pattern draws anew.

    Returns:
        For each layer the indices of its clients, ascending.

    Raises:
        CharterError: a share outside (0, 1], or capacities that can't give every layer its minimum cohort.
    """
    for index, share in enumerate(shares):
        if not 0 < share <= 1:
            raise CharterError(
                f"Client {index} has capacity {share}.", "Give a share of the layers above 0 and at most 1."
            )
    quotas = [floor(share * layers) for share in shares]
    if sum(quotas) < minimum_cohort * layers:
        raise CharterError(
            f"The capacities give {sum(quotas)} layer assignments; {layers} layers with at least {minimum_cohort} "
            f"institutions each need {minimum_cohort * layers}.",
            "Raise capacities, add institutions, or lower the minimum cohort.",
        )
    ring = drawn_order("layers", beacon, position, layers)
    cohorts: list[list[int]] = [[] for _ in range(layers)]
    begin = 0
    for client in drawn_order("clients", beacon, position, len(shares)):
        for offset in range(quotas[client]):
            cohorts[ring[(begin + offset) % layers]].append(client)
        begin += quotas[client]
    return tuple(tuple(sorted(cohort)) for cohort in cohorts)
