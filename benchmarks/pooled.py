"""What pruning from pooled moments costs, with the same bits everywhere, beside the solver of local pruning.

Both prune the same weights from the same moments in the same run, in turns: ours in NumPy with exact products, theirs
in PyTorch, float32. Shapes are SmolLM2-135M's; inputs are correlated, and their sizes spread over two decades. Seconds
are of processor time, the best of the repetitions: with OMP_NUM_THREADS=1, those of one core.

Then the moment is pooled from institutions that send it in few bits, and pruned again: how many weights are pruned that
were not before, by how much the outputs err more on the text, and how often the damping had to be raised.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from time import process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from fedspallm_secure.aggregation import MatrixQuantiser, prune_from_diagonal, prune_from_moment
from fedspallm_secure.aggregation.factor import inverse_factor
from fedspallm_secure.charter import Pattern, parse_pattern
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.pruning.sparsegpt import sparsegpt

_DAMPING = Fraction(1, 100)
_BLOCK = 128
_TOKENS = 4096  # an institution
_SHAPES = {"q, k, v": (576, 960), "o": (576, 576), "gate, up": (576, 3072), "down": (1536, 576)}


@dataclass(frozen=True, eq=False)
class Case:
    """One input and the weights that see it.

    Attributes:
        W: float32 (outputs, inputs).
        moments: each institution's, float64 (inputs, inputs), symmetric.
        pattern: to prune to.
    """

    W: NDArray[np.float32]
    moments: list[NDArray[np.float64]]
    pattern: Pattern

    @classmethod
    def random(cls, inputs: int, outputs: int, institutions: int, pattern: Pattern) -> Case:
        """Correlated inputs whose sizes differ, of institutions whose texts differ a little."""
        rng = np.random.default_rng(0)
        decay = np.exp(-4 * np.arange(inputs) / inputs)[:, None]
        mixing, sizes = rng.normal(size=(inputs, inputs)) * decay, 10 ** rng.uniform(-1, 1, inputs)
        moments = []
        for _ in range(institutions):
            own = mixing * np.exp(0.3 * rng.normal(size=(inputs, 1)))
            X = rng.normal(size=(_TOKENS, inputs)) @ own * sizes
            moments.append(np.tril(X.T @ X) + np.tril(X.T @ X, -1).T)
        return cls(rng.normal(size=(outputs, inputs)).astype(np.float32) * np.float32(0.05), moments, pattern)

    @property
    def pooled(self) -> NDArray[np.float64]:
        """The sum of the moments, not quantised."""
        total: NDArray[np.float64] = np.add.reduce(self.moments)
        return total

    def error(self, new: NDArray[Any]) -> float:
        """||(W' - W) X||^2 over all institutions' text, as a share of ||W X||^2."""
        change = new.astype(np.float64) - self.W
        return float(((change @ self.pooled) * change).sum() / ((self.W @ self.pooled) * self.W).sum())


def solvers(case: Case, repetitions: int) -> dict[str, object]:
    """Seconds of both solvers, and by how much their results differ."""
    moment = case.pooled
    W, H = torch.from_numpy(case.W), torch.from_numpy(moment / np.diagonal(moment).max()).float()
    ours, theirs, diagonals = [], [], []
    for _ in range(repetitions):
        start = process_time()
        (new,) = prune_from_moment([case.W], moment, case.pattern, _DAMPING, _BLOCK)
        ours.append(process_time() - start)
        start = process_time()
        result = sparsegpt([W], H, case.pattern, damping=float(_DAMPING), block=_BLOCK)
        theirs.append(process_time() - start)
        start = process_time()
        prune_from_diagonal([case.W], np.diagonal(moment), case.pattern)
        diagonals.append(process_time() - start)
    expected, kept = result.weights[0].numpy(), result.kept[0].numpy()
    return {
        "seconds": min(ours),
        "torch_seconds": min(theirs),
        "wanda_seconds": min(diagonals),
        "masks_differ": float(np.mean((new != 0) != kept)),
        "weights_differ": float(np.linalg.norm(new - expected) / np.linalg.norm(expected)),
    }


def few_bits(case: Case, bits: int) -> dict[str, object]:
    """Pruning from moments whose entries each institution sends in so many bits, beside the sum of exact ones."""
    moment = case.pooled
    quantiser = MatrixQuantiser((2**bits - 1) // 2, np.diagonal(moment).copy())
    digits = [quantiser.encode(one) for one in case.moments]
    rounded = quantiser.decode(np.add.reduce([one.astype(np.uint64) for one in digits]), len(digits))
    roots = np.sqrt(quantiser.diagonal)
    lowest = np.linalg.eigvalsh(rounded / np.outer(roots, roots))[0]
    found: dict[str, object] = {"bits": bits, "lowest_eigenvalue_of_correlations": float(lowest)}
    (exact,) = prune_from_moment([case.W], moment, case.pattern, _DAMPING, _BLOCK)
    try:
        _, raises = inverse_factor(rounded, _DAMPING)
        (new,) = prune_from_moment([case.W], rounded, case.pattern, _DAMPING, _BLOCK)
    except NumericalError:
        return found | {"damping_raises": None}
    return found | {
        "damping_raises": raises,
        "masks_differ": float(np.mean((new != 0) != (exact != 0))),
        "error": case.error(new),
        "error_of_exact": case.error(exact),
    }


def main(
    pattern: Annotated[str, typer.Option(help="To prune to.")] = "0.5",
    institutions: Annotated[int, typer.Option(min=1, help="Whose moments are pooled.")] = 5,
    bits: Annotated[list[int], typer.Option(min=2, help="Of an entry of a moment.")] = [4, 6, 8, 10, 12, 14],  # noqa: B006
    repetitions: Annotated[int, typer.Option(min=1, help="Of which the best counts.")] = 3,
) -> None:
    """One JSON object: seconds of pruning from pooled moments beside local pruning, and what few bits change."""
    found: dict[str, object] = {"pattern": pattern, "institutions": institutions}
    for name, (inputs, outputs) in _SHAPES.items():
        case = Case.random(inputs, outputs, institutions, parse_pattern(pattern))
        shape: dict[str, object] = {"inputs": inputs, "outputs": outputs}
        found[name] = shape | solvers(case, repetitions)
        if name == "o":
            found["few bits"] = [few_bits(case, one) for one in bits]
    typer.echo(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
