"""Reads the lists of words in the folder `vocabulary`."""

import importlib.resources
from typing import Any

import yaml

_DIRECTORY = "vocabulary"


def read(name: str) -> dict[str, Any]:
    """Reads a list of words.

    Args:
        name: Name of a file in the folder.

    Returns:
        Dict from the file; all its values are texts, and dicts and lists of them.
    """
    content = (importlib.resources.files(__package__) / _DIRECTORY / name).read_bytes()
    # Makes text of every scalar, and nothing but texts, lists and dicts.
    parsed: dict[str, Any] = yaml.load(content, Loader=yaml.BaseLoader)  # noqa: S506
    return parsed
