"""What sums of second moments mean: diagonals -> the scale of the matrices -> weights pruned from their sum.

The first sum carries, for each input, the diagonal of its second moment; for SparseGPT the second sum carries the rest,
in steps of what that diagonal allows. Whoever vanished between the two counts with its diagonal alone, which is as if
its text had been more varied: the sum stays a second moment. Where the rest is missing, or was not shown to be true,
the diagonal decides alone, as in Wanda.

With noise (docs/privacy.md), both sums are whole numbers of one grid, of inputs that were divided by their sizes on a
public text, so that the noise has about one ratio to all of them. A diagonal is drawn towards its mean and a matrix
towards its diagonal, as far as the noise hides the rest (`aggregation.noisy`); where it hides all of a matrix, the
diagonal decides. At last the sizes are multiplied on again.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import (
    DiagonalQuantiser,
    MatrixQuantiser,
    draw_diagonal,
    draw_matrix,
    prune_from_diagonal,
    prune_from_moment,
)
from fedspallm_secure.errors import NumericalError, RemoteProtocolError
from fedspallm_secure.messages import LaneBlob, SumName
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.published import PublishedSums
from fedspallm_secure.secagg import Lane, Participation

__all__ = ["PooledLanes"]


class PooledLanes:
    """The meaning of lanes that carry one input's second moment.

    Args:
        plan: of the round.
        public: the weights the round starts from.
        published: reads the sums.
    """

    def __init__(self, plan: RoundPlan, public: PublicWeights, published: PublishedSums) -> None:
        self._plan = plan
        self._public = public
        self._published = published

    def diagonal(self, lane: Lane, counts: LaneBlob, participation: Participation) -> NDArray[np.float64]:
        """The sum of the institutions' diagonals, shape (inputs,), not negative; of scaled inputs where there is noise,
        drawn towards their mean.

        Raises:
            RemoteProtocolError: an entry that so many institutions can't have given.
        """
        digits = self._digits(lane, "votes", counts, lane.length, participation)
        diagonal = self.diagonal_quantiser(lane).decode(digits, participation.number(lane, "votes"))
        variance = self._variance(lane, "votes", participation)
        return np.maximum(diagonal, 0) if variance is None else draw_diagonal(diagonal, variance)

    def eligible(self, lane: Lane, counts: LaneBlob, participation: Participation) -> int:
        """How many entries of the rest are summed: all, or none where too few institutions are there.

        Raises:
            RemoteProtocolError: an entry of the diagonal that so many institutions can't have given.
        """
        self._digits(lane, "votes", counts, lane.length, participation)  # before anything follows from the sum
        enough = participation.number(lane, "votes") >= participation.bar(lane)
        return lane.most_values if enough else 0

    def diagonal_quantiser(self, lane: Lane) -> DiagonalQuantiser:
        """How a diagonal is written as digits."""
        return DiagonalQuantiser(lane.votes.top // 2, self._plan.pooled(lane).exponent)

    def matrix_quantiser(self, lane: Lane, counts: LaneBlob, participation: Participation) -> MatrixQuantiser:
        """How the rest is written as digits."""
        one, Q = self._plan.pooled(lane), lane.values.top // 2
        return MatrixQuantiser(Q, self.diagonal(lane, counts, participation), one.exponent if one.noise else None)

    def weights(
        self, lane: Lane, counts: LaneBlob, sums: LaneBlob | None, participation: Participation
    ) -> dict[str, NDArray[Any]]:
        """The new weights of all tensors that see the input: name -> (rows, columns), dtype of the base.

        Args:
            lane: which.
            counts: its published diagonal.
            sums: the published rest, or None where there is none.
            participation: who contributed.

        Raises:
            RemoteProtocolError: an entry that so many institutions can't have given.
            NumericalError: the sum is no second moment, whatever the damping.
        """
        pooled, tensors = self._plan.charter.pooled, self._plan.tensors(lane)
        assert pooled is not None
        matrices = [self._public.weight(tensor) for tensor in tensors]
        moment = self._moment(lane, counts, sums, participation)
        if moment is None:
            diagonal = self.diagonal(lane, counts, participation)
            new = prune_from_diagonal(matrices, self._unscaled(lane, diagonal), self._plan.pattern)
        else:
            damping = Fraction(pooled.damping)
            try:
                new = prune_from_moment(
                    matrices, self._unscaled(lane, moment), self._plan.pattern, damping, pooled.block
                )
            except NumericalError as error:
                raise NumericalError(f"Lane {lane.name}: {error.problem}", error.todo) from error
        return {tensor.name: weight for tensor, weight in zip(tensors, new, strict=True)}

    def _moment(
        self, lane: Lane, counts: LaneBlob, sums: LaneBlob | None, participation: Participation
    ) -> NDArray[np.float64] | None:
        """The sum of the institutions' matrices, None where the diagonal decides alone."""
        length = self.eligible(lane, counts, participation)
        if sums is None or length == 0:
            return None
        digits = self._digits(lane, "values", sums, length, participation)
        quantiser = self.matrix_quantiser(lane, counts, participation)
        moment = quantiser.decode(digits, participation.number(lane, "values"))
        variance = self._variance(lane, "values", participation)
        return moment if variance is None else draw_matrix(moment, variance)

    def _unscaled(self, lane: Lane, moment: NDArray[np.float64]) -> NDArray[np.float64]:
        """A diagonal or matrix of scaled inputs as that of the inputs themselves."""
        noise = self._plan.pooled(lane).noise
        if noise is None:
            return moment
        scale = np.ldexp(np.array(noise.scale, np.float64), -16)
        products = scale * scale if moment.ndim == 1 else scale[:, None] * scale  # exact
        unscaled: NDArray[np.float64] = moment * products
        return unscaled

    def _variance(self, lane: Lane, name: SumName, participation: Participation) -> float | None:
        """Of the noise on the diagonal, in units of the scaled moment squared; None without noise.

        Everybody adds what makes a quorum less the colluders add all of it, and as a rule more are there.
        """
        one, plan = self._plan.pooled(lane), self._plan
        if one.noise is None:
            return None
        added = one.noise.variance * participation.number(lane, name)
        honest = plan.quorum(lane.cohort) - plan.charter.parameters.colluders
        return float(np.ldexp(added / honest, -2 * one.exponent))

    def _digits(
        self, lane: Lane, name: SumName, published: LaneBlob, length: int, participation: Participation
    ) -> NDArray[Any]:
        digits = self._published.digits(lane, name, published, length)
        most = participation.number(lane, name) * lane.packing(name).top
        if digits.size and digits.max() > most:
            raise RemoteProtocolError(
                f"Lane {lane.name} sums up to {digits.max()}; {participation.number(lane, name)} institutions can give "
                f"{most} at most.",
                "The round fails: the server published no sum. Ask it what it added up.",
            )
        return digits
