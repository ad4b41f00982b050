"""Reads the notebooks that the repository holds."""

import nbformat
from harness import ROOT


def read(name):
    return nbformat.read(ROOT / "experiments" / "notebooks" / f"{name}.ipynb", as_version=4)


def source(notebook, tag):
    """The source of the cell with a tag."""
    return next(cell.source for cell in notebook.cells if tag in cell.metadata.get("tags", ()))
