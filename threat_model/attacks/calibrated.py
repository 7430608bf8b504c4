"""A whole run of three institutions with text of their own, on a tiny model: what it publishes, and who was in it.

Documents differ in the words that they prefer, as real ones do; nothing but the draw tells those that an institution
calibrated on from the others. The adversary knows the kind of text, and prunes the public model with documents of its
own to know what to expect (`evaluation.membership`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import load_charter
from fedspallm_secure.messages import LaneBlob, Masked, Message, Sums, open_envelope
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.transcript import Transcript, read_log
from fedspallm_secure.workspace import LayerStore

if TYPE_CHECKING:
    from fedspallm_secure.evaluation import Auc
    from fedspallm_secure.runtime import Advance

__all__ = ["TOLD_APART", "VICTIM", "CalibratedRun", "Silent", "make_model"]

TOLD_APART = 0.6
"""Members are told from others where all of the 95 % interval of the area under the ROC curve lies above this."""

VICTIM = "i0"

_INSTITUTIONS = 3
_WINDOWS, _TOKENS = 32, 32
_DOCUMENTS = 5 * _WINDOWS
_WORDS = 1024
_PREFERENCE = 0.05  # of a Dirichlet distribution: the smaller, the fewer words a document has
_SEED = 1


class CalibratedRun:
    """A finished run.

    Args:
        folder: for text, model and all that the run writes.
        epsilon: of the run, decimal text; None for no noise.
    """

    def __init__(self, folder: Path, epsilon: str | None = None) -> None:
        from fedspallm_secure.runtime.config import build_config  # torch takes seconds, and few attacks need it
        from fedspallm_secure.runtime.simulate import simulate

        folder.mkdir(parents=True)
        make_model(folder / "base")
        rng = np.random.default_rng(_SEED)
        names = [f"i{number}" for number in range(_INSTITUTIONS)]
        for name in [*names, "public"]:
            _write_documents(folder / f"{name}.jsonl", rng)
        raw: dict[str, Any] = {
            "model": "base",
            "pruning": {"method": "wanda", "windows": _WINDOWS, "window": _TOKENS, "device": "cpu"},
            "evaluation": {"windows": 2, "alone": False, "central": False},
            "institution": [{"name": name, "calibration": f"{name}.jsonl"} for name in names],
        }
        if epsilon is not None:
            raw["privacy"] = {"epsilon": epsilon, "public": "public.jsonl"}
        self.config = build_config(raw, folder)
        self._out = folder / "out"
        simulate(self.config, self._out, Silent(), keep_work=True)
        transcript = Transcript(self._out / "transcript")
        self._blobs = transcript.blobs
        self._plan = plan_round(load_charter(transcript.charter), 0)
        self._said = [open_envelope(envelope, self._plan.charter.keys) for _, envelope in read_log(transcript.log)]

    @property
    def bound(self) -> float:
        """The area under the ROC curve that no adversary exceeds; 1 without noise."""
        from fedspallm_secure.evaluation import Results, auc_bound

        results = Results.model_validate_json((self._out / "results.json").read_bytes())
        spent = None if results.privacy is None else results.privacy.institutions[VICTIM]
        return 1.0 if spent is None or spent.multiplier is None else auc_bound(spent.releases**0.5 / spent.multiplier)

    def votes(self) -> dict[str, NDArray[np.float64]]:
        """The victim's own votes, as plain FedSpaLLM has them sent: parameter name -> (outputs, inputs)."""
        store = LayerStore(self._out / "work" / "round-0" / VICTIM)
        return {t.name: store.kept(t.layer, t.name).astype(np.float64) for t in self._plan.charter.base.pruned}

    def counts(self) -> dict[str, NDArray[np.float64]]:
        """The published counts over the number of institutions."""
        (message,) = (said for said in self._said if isinstance(said, Sums) and said.sum == "votes")
        return self._read(message, message.lanes)

    def masked(self) -> dict[str, NDArray[np.float64]]:
        """The victim's votes as it sent them, masked, read as if they were not."""
        (message,) = (
            said for said in self._said if isinstance(said, Masked) and (said.sum, said.sender) == ("votes", VICTIM)
        )
        return self._read(message, message.lanes)

    def told_apart(self, kept: dict[str, NDArray[np.float64]], *, institutions: int) -> Auc:
        """How well the victim's windows are told from others by which weights were kept.

        Args:
            kept: parameter name -> what is seen, (outputs, inputs).
            institutions: whose votes are in it: the victim's alone, or all.
        """
        import torch

        from fedspallm_secure.runtime.membership import Seen, attack

        seen = Seen({name: torch.from_numpy(share).float() for name, share in kept.items()}, {}, {})
        expected = Seen.together(self._shadows[:institutions])
        candidates = next(iter(self._candidates.values()))
        (area,) = attack(self._model, candidates, {"": (seen, expected)}, self._settings)[""].values()
        return area

    def _read(self, message: Message, lanes: tuple[LaneBlob, ...]) -> dict[str, NDArray[np.float64]]:
        blobs = {blob.lane: self._blobs.get(blob.blob) for blob in lanes}
        found = {}
        for lane in self._plan.lanes:
            tensor, packing, words = self._plan.tensors(lane)[0], lane.votes, blobs[lane.name]
            digits = np.concatenate([words // packing.radix**k % packing.radix for k in range(packing.digits)])
            shape = tensor.rows, tensor.columns
            found[tensor.name] = digits[: lane.length].reshape(shape).astype(np.float64) / len(
                self._plan.charter.roster
            )
        return found

    @cached_property
    def _settings(self) -> Any:
        from fedspallm_secure.pruning import PruneSettings

        return PruneSettings(device="cpu")

    @cached_property
    def _model(self) -> Any:
        import torch

        from fedspallm_secure.runtime.model import load_model

        return load_model(self.config.model, "auto", torch.device("cpu"))

    @cached_property
    def _candidates(self) -> dict[str, Any]:
        from fedspallm_secure.runtime.membership import adversary_windows
        from fedspallm_secure.runtime.model import load_tokenizer
        from fedspallm_secure.runtime.windows import load_windows

        tokenizer = load_tokenizer(self.config.model)
        calibration = load_windows(self.config, tokenizer, lambda done, total: None).calibration
        return {
            member.name: adversary_windows(member, self.config, tokenizer, calibration[member.name])
            for member in self.config.institution
        }

    @cached_property
    def _shadows(self) -> list[Any]:
        from fedspallm_secure.charter import parse_pattern
        from fedspallm_secure.runtime.membership import pruned_by

        pattern = parse_pattern(self.config.pruning.pattern[0])
        return [
            pruned_by(self._model, own.reference, method="wanda", pattern=pattern, settings=self._settings)
            for own in self._candidates.values()
        ]


class Silent:
    """Steps that nobody is shown."""

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """Begin a step."""
        yield lambda done, total: None

    def say(self, text: str) -> None:
        """Nobody reads it."""


def _write_documents(path: Path, rng: np.random.Generator) -> None:
    drawn = [rng.choice(_WORDS, _TOKENS, p=rng.dirichlet(np.full(_WORDS, _PREFERENCE))) for _ in range(_DOCUMENTS)]
    texts = (" ".join(f"w{word}" for word in words) for words in drawn)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def make_model(folder: Path, *, words: int = _WORDS, hidden: int = 256) -> None:
    """A random Llama of two layers, and a tokenizer that knows the words w0, w1, ...

    Args:
        folder: to make.
        words: how many.
        hidden: width of the model.
    """
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0} | {f"w{word}": word + 1 for word in range(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder)
    torch.manual_seed(_SEED)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        initializer_range=0.1,
        max_position_embeddings=_TOKENS,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
