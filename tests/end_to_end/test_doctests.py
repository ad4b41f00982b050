"""The examples of docstrings run and give what they say."""

import doctest
import importlib
import inspect
import logging

import pytest
from harness import ROOT

from tfrecord_tools import cli

ROOTS = ("isic_tf", "tfrecord_tools")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for root in ROOTS
    for path in (ROOT / root).rglob("*.py")
    if ">>> " in path.read_text()
)


class _Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions too, which otherwise belong to the module of the decorator."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object) if inspect.isfunction(object) else object)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Log lines are not what an example returns.
    cli.show_log(logging.ERROR)
    module = importlib.import_module(name)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=options)
    for found in _Finder().find(module, name):
        runner.run(found)
    assert not runner.failures


def test_every_public_function_of_both_packages_has_an_example():
    missing = []
    for root in ROOTS:
        for path in sorted((ROOT / root).glob("*/__init__.py")):
            package = importlib.import_module(f"{root}.{path.parent.name}")
            for name in package.__all__:
                found = getattr(package, name)
                if callable(found) and ">>> " not in (found.__doc__ or ""):
                    missing.append(f"{package.__name__}.{name}")
    assert missing == []
