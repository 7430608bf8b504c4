"""How often does each token occur in everybody's calibration text? Asked of pooled statistics.

Adversary: whoever gets the published sums of second moments: the server, an institution, or a reader of the transcript.
What it does: the first decoder layer's first input is a function of one token, which the public model gives. So its
second moment is a sum over tokens of known matrices, each as often as the token occurs: linear equations, more of them
than there are tokens. Solved by least squares, their solution is the list of all counts.
Why it works on a plain sum of statistics: a sum hides the parts, and this tells of the whole.
What stops it here: of that input only the diagonal is summed, which is far fewer numbers than there are tokens (SPEC
section 22.9). Deeper inputs depend on other tokens too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import DiagonalQuantiser, MatrixQuantiser
from fedspallm_secure.charter import load_charter
from fedspallm_secure.messages import Sums, open_envelope
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.transcript import Transcript, read_log
from threat_model.attacks.attack import Attack, Trial
from threat_model.attacks.calibrated import Silent, make_model

__all__ = ["TOKEN_COUNTS"]

_NEARLY_ALL = 0.9
_INSTITUTIONS, _WINDOWS, _TOKENS = 3, 8, 32
_WORDS = 255
_SEED = 2


class _Text:
    """Three institutions' text, as the public model sees it.

    Args:
        folder: for text and model.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        make_model(folder / "base", words=_WORDS, hidden=32)
        rng = np.random.default_rng(_SEED)
        share = 1 / np.arange(1, _WORDS + 1)
        for name in self.names:
            drawn = rng.choice(_WORDS, (2 * _WINDOWS, _TOKENS), p=share / share.sum())
            texts = (" ".join(f"w{word}" for word in words) for words in drawn)
            (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    @property
    def names(self) -> list[str]:
        """The institutions'."""
        return [f"i{number}" for number in range(_INSTITUTIONS)]

    @property
    def config(self) -> Any:
        """Of a run that pools statistics."""
        from fedspallm_secure.runtime.config import build_config  # torch takes seconds, and few attacks need it

        raw: dict[str, Any] = {
            "model": "base",
            "pruning": {"method": "sparsegpt", "windows": _WINDOWS, "window": _TOKENS, "device": "cpu"},
            "protocol": {"aggregate": "statistics", "exchange": "once"},
            "evaluation": {"windows": 2, "alone": False, "central": False},
            "institution": [{"name": name, "calibration": f"{name}.jsonl"} for name in self.names],
        }
        return build_config(raw, self.folder)

    def windows(self) -> Any:
        """All calibration windows, int64 (n, T)."""
        import torch

        from fedspallm_secure.runtime.model import load_tokenizer
        from fedspallm_secure.runtime.windows import load_windows

        config = self.config
        windows = load_windows(config, load_tokenizer(config.model), lambda done, total: None)
        return torch.cat(list(windows.calibration.values()))

    def solved(self, moment: NDArray[np.float64]) -> Trial:
        """What the adversary finds, given the first input's summed moment, or its diagonal."""
        import torch

        from fedspallm_secure.runtime.model import load_model

        model: Any = load_model(self.config.model, "float32", torch.device("cpu"))
        with torch.no_grad():
            x = model.model.layers[0].input_layernorm(model.model.embed_tokens.weight).double().numpy()
        if moment.ndim == 1:
            equations, sums = (x * x).T, moment
        else:
            row, column = np.triu_indices(x.shape[1])
            equations, sums = (x[:, row] * x[:, column]).T, moment[row, column]
        found = np.rint(np.linalg.lstsq(equations, sums, rcond=None)[0])
        truth = np.bincount(self.windows().reshape(-1).numpy(), minlength=len(found))
        occur = truth > 0
        right = int(np.count_nonzero((found == truth)[occur]))
        told = f"{len(sums):,} equations for {len(found):,} tokens give the count of {right:,}"
        return Trial(right >= _NEARLY_ALL * int(occur.sum()), f"{told} of {occur.sum():,} that occur")


def _on_plain(folder: Path) -> Trial:
    import torch

    from fedspallm_secure.pruning import PruneSettings, layer_moments
    from fedspallm_secure.runtime.model import load_model

    text = _Text(folder)
    model = load_model(text.config.model, "float32", torch.device("cpu"))
    walk = layer_moments(model, text.windows(), diagonal=False, settings=PruneSettings(device="cpu"), layers=[0])
    _, (first, *_) = next(walk)
    return text.solved(first.total.double().numpy())


def _here(folder: Path) -> Trial:
    from fedspallm_secure.runtime.simulate import simulate

    text = _Text(folder)
    simulate(text.config, folder / "out", Silent())
    transcript = Transcript(folder / "out" / "transcript")
    plan = plan_round(load_charter(transcript.charter), 0)
    said = [open_envelope(envelope, plan.charter.keys) for _, envelope in read_log(transcript.log)]
    lane, n = plan.lanes[0], _INSTITUTIONS
    words = {message.sum: transcript.blobs.get(message.lanes[0].blob) for message in said if isinstance(message, Sums)}
    digits = lane.votes.unpack(words["votes"], lane.length)
    moment = DiagonalQuantiser(lane.votes.top // 2, plan.pooled(lane).exponent).decode(digits, n)
    if words["values"].size:
        rest = lane.values.unpack(words["values"], lane.most_values)
        moment = MatrixQuantiser(lane.values.top // 2, moment).decode(rest, n)
    return text.solved(moment)


TOKEN_COUNTS = Attack(
    "token_counts",
    "Pooled statistics do not tell how often each token occurs in the institutions' text.",
    _on_plain,
    _here,
)
