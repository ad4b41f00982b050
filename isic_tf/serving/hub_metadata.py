"""The metadata of a model card that the Hugging Face Hub reads: a block of YAML, with the out-of-fold ROC AUC."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

_TASK = "image-classification"
# Formats of files are tags on the Hub, and no libraries.
_TAGS = {"saved_model": ("saved_model",), "tflite": ("tflite", "litert"), "onnx": ("onnx",)}


class _Dumper(yaml.SafeDumper):
    """Writes text with a `<` in double quotes, in which it can be escaped."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "<" in text else None),
)


def format_metadata(run: Mapping[str, Any], format: str, target: str, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    r"""Formats the metadata, to be put between two lines of `---`.

    The license is `unknown`, an identifier that the Hub accepts, until the user replaces it: weights carry the terms of
    the images that they were trained on. `datasets` lists datasets of the Hub only, which no run knows, and is left to
    the user too.

    Args:
        run: Flags of the run without directories, see `run_flags.hide_directories`.
        format: `saved_model`, `tflite` or `onnx`.
        target: What the network predicts.
        metrics: See `card_figures.read_metrics`.

    Returns:
        YAML, in which every value is escaped.

    Examples:
        >>> text = format_metadata({"backbone": "b", "image_size": 64}, "onnx", "malignant or not", {})
        >>> yaml.safe_load(text)["license"]
        'unknown'
    """
    facts: dict[str, Any] = {
        "license": "unknown",
        # What opens a SavedModel; the Hub has no library for the other formats.
        **({"library_name": "tf-keras"} if format == "saved_model" else {}),
        "pipeline_tag": _TASK,
        "tags": [_TASK, "medical", "dermoscopy", "melanoma", "isic-tf", *_TAGS[format]],
        "metrics": ["roc_auc"],
    }
    chosen = {name: found for name, found in metrics.items() if name == "all together"} or metrics
    if chosen:
        facts["model-index"] = [_describe_results(run, target, chosen)]
    content = yaml.dump(facts, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    # Only in quoted text: a viewer that takes the block for Markdown must not find HTML in it.
    return content.replace("<", r"\x3C").replace(
        "license: unknown\n",
        "# Fill in: the license that the images allow, such as cc-by-nc-4.0 (ISIC 2020, HAM10000).\n"
        "license: unknown\n"
        "# Add `datasets:` with their names on the Hub, where the images are there.\n",
        1,
    )


def _describe_results(run: Mapping[str, Any], target: str, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns an entry of `model-index`: one task and dataset, and a metric for each row of figures."""
    sets = str(run.get("data_dir") or "unknown")
    dataset = {"type": re.sub(r"\W+", "-", sets).strip("-").lower() or "unknown", "name": sets, "split": "out of fold"}
    return {
        "name": f"{run['backbone']} at {run['image_size']} px",
        "results": [
            {
                "task": {"type": _TASK, "name": target},
                "dataset": dataset,
                "metrics": [_describe_auc(name, found) for name, found in metrics.items()],
            }
        ],
    }


def _describe_auc(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    low, high = metrics.get("auc_low"), metrics.get("auc_high")
    interval = "no interval" if low is None else f"95 % interval over patients {low:.4f} to {high:.4f}"
    described = f"ROC AUC on held-out patients, {name}, {interval}"
    return {"type": "roc_auc", "name": described, "value": round(float(metrics["auc"]), 4)}
