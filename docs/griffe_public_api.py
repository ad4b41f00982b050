"""Griffe extension: what the static reader cannot know of the public API.

A package names its public functions by importing them, for type checkers or in a stub. Where a command has the same
name, as `isic_tf.train`, Griffe keeps the command's module. And the documentation of a configuration's fields is the
help of its flags, which may be computed.
"""

import ast
import dataclasses
import importlib
import inspect

import griffe


class PublicApi(griffe.Extension):
    """Puts public functions in the place of modules of the same name, and lists the fields of configurations."""

    def on_package(self, *, pkg, **_):
        """Griffe calls this for every top-level package that it has loaded."""
        prefer_exports(pkg)
        for module in [pkg, *iterate_modules(pkg)]:
            for cls in module.classes.values():
                if not cls.is_alias and cls.name.endswith("Config"):
                    list_fields(cls)


def iterate_modules(package):
    """Yields all modules below a package."""
    for module in package.modules.values():
        if not module.is_alias:
            yield module
            yield from iterate_modules(module)


def prefer_exports(package):
    """Puts what a package or its stub imports in the place of modules of the same name."""
    for path in (package.filepath, package.filepath.with_suffix(".pyi")):
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            source = ".".join(filter(None, (package.path if node.level else "", node.module)))
            for imported in node.names:
                name = imported.asname or imported.name
                if isinstance(package.members.get(name), griffe.Module):
                    alias = griffe.Alias(name, f"{source}.{imported.name}", lineno=node.lineno, parent=package)
                    package.members[name] = alias


def list_fields(cls):
    """Adds the fields of a configuration, inherited ones included, to its docstring."""
    config = getattr(importlib.import_module(cls.module.path), cls.name)
    if not dataclasses.is_dataclass(config) or not cls.docstring:
        return
    fields = [field for field in dataclasses.fields(config) if "help" in field.metadata]
    if not fields:
        return
    lines = [f"    {field.name} ({_format_type(field)}): {_format_help(field)}" for field in fields]
    cls.docstring.value = "\n".join([cls.docstring.value.rstrip(), "", "Attributes:", *lines])
    for name in [name for name, member in cls.members.items() if member.is_attribute]:
        del cls.members[name]


def _format_type(field):
    return field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)


def _format_help(field):
    text = " ".join(field.metadata["help"].split())
    if choices := field.metadata.get("choices"):
        text += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if field.default is dataclasses.MISSING:
        return f"{text} **Required.**"
    if field.default in (None, ""):
        return text
    # The default of the machine that builds the documentation says nothing about others.
    default = "number of CPU cores" if field.name == "workers" else f"`{field.default}`"
    return f"{text} Default: {default}."
