"""The model card: what anybody who finds the model later has to know, in the form that the Hugging Face hub reads.

The card travels with the model, so it says what was done and measured and what stays private, and leaves out what
belongs to the machines of the run (folders, devices, times). Whatever the template writes is escaped for Markdown:
names come from users.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from fedspallm_secure.evaluation.comparison import columns, model_rows, sampled_layers, verdict
from fedspallm_secure.evaluation.results import Results
from fedspallm_secure.evaluation.wording import (
    bits_text,
    is_hub_name,
    model_text,
    pattern_text,
    perplexity_text,
    share_text,
)
from fedspallm_secure.evaluation.writing import write_whole

__all__ = ["write_model_card"]

_METHODS = {
    "sparsegpt": "SparseGPT (arXiv 2301.00774)",
    "wanda": "Wanda (arXiv 2306.11695)",
    "magnitude": "magnitude",
}


def write_model_card(results: Results, folder: Path) -> None:
    """Write README.md beside the model. Equal results give equal bytes.

    Args:
        results: of the run.
        folder: the model's folder.

    Raises:
        StorageError: the disk refuses.
    """
    environment = Environment(
        loader=PackageLoader("fedspallm_secure.evaluation"),
        autoescape=False,
        undefined=StrictUndefined,
        finalize=lambda value: _escaped(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "perplexity": perplexity_text,
        "share": share_text,
        "bits": bits_text,
        "pattern": pattern_text,
    }
    card = environment.get_template("model_card.md.j2").render(
        results=results,
        name=model_text(results.base_model),
        method=_METHODS[results.config["pruning"]["method"]],
        verdict=verdict(results),
        kinds=columns(results.perplexity),
        rows=model_rows(results),
        sampled=sampled_layers(results),
        institutions=list(results.bytes_up),
        protocol=results.config["protocol"],
        pooled=results.pooled,
    )
    write_whole(folder / "README.md", f"---\n{_front_matter(results)}---\n\n{card}")


def _front_matter(results: Results) -> str:
    """What the hub reads, as YAML. A base model that is a folder has no name there, so it is left out."""
    licence = re.sub(r"\s+", "-", results.base_licence.strip().lower())
    known = re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence) is not None
    fields: dict[str, object] = {"license": licence if known else "other"}
    if not known:
        fields["license_name"] = results.base_licence
    if is_hub_name(results.base_model):
        fields["base_model"] = results.base_model
    fields |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["pruned", "sparse", "federated", "fedspallm", results.config["pruning"]["method"]],
    }
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, within a line and a table's cell."""
    line = " ".join(text.split())
    entities = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", entities)
