"""MkDocs hook: writes the command reference from the flags that the commands define."""

import importlib
import re

from absl import flags

from tfrecord_tools import cli

PAGE = "reference/cli.md"
MARKER = "<!-- commands -->"
COMMANDS = {
    "tfrecord_tools.synth": "tfrecord-synth",
    "tfrecord_tools.tables": "tfrecord-tables",
    "tfrecord_tools.duplicates": "tfrecord-duplicates",
    "tfrecord_tools.folds": "tfrecord-folds",
    "tfrecord_tools.build": "tfrecord-build",
    "tfrecord_tools.index": "tfrecord-index",
    "tfrecord_tools.verify": "tfrecord-verify",
    "isic_tf.train": "isic-train",
    "isic_tf.predict": "isic-predict",
    "isic_tf.diagnose": "isic-diagnose",
    "isic_tf.serve": "isic-serve",
    "isic_tf.evaluate": "isic-evaluate",
    "isic_tf.calibrate": "isic-calibrate",
    "isic_tf.ensemble": "isic-ensemble",
    "isic_tf.context": "isic-context",
    "isic_tf.explain": "isic-explain",
    "isic_tf.export": "isic-export",
    "isic_tf.submission": "isic-submission",
    "isic_tf.show": "isic-show",
    "isic_tf.weights": "isic-weights",
}
# Message of absl's validator for a flag that must be given.
_REQUIRED = "must have a value other than None"
# How absl's help of an old spelling begins.
_ALIAS = "Alias for --"


def on_page_markdown(markdown, page, **_):
    """Fills the command reference; MkDocs calls this for every page."""
    if page.file.src_uri != PAGE:
        return markdown
    return markdown.replace(MARKER, "\n".join(map(describe, COMMANDS)))


def describe(module_name):
    """Returns the section of one command.

    Args:
        module_name: Module of the command, as for `python -m`.

    Returns:
        Markdown text: name, description, examples and a table of the flags.
    """
    module = importlib.import_module(module_name)
    rows = [_format_row(flag) for flag in collect_flags(module) if not _is_old_spelling(flag)]
    return "\n".join(
        [
            f"## {module_name}",
            "",
            f"Entry point: `{COMMANDS[module_name]}`",
            "",
            *_format_docstring(module.__doc__ or ""),
            "| flag | type | default | description |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def collect_flags(module):
    """Returns the flags of a command, in order of definition.

    Args:
        module: Module whose `CONFIG` is a subclass of `tfrecord_tools.cli.Config`.

    Returns:
        List of `absl.flags.Flag`.
    """
    # Apart from absl's own collection, since commands have flags of the same name.
    values = flags.FlagValues()
    cli.define_flags(module.CONFIG, values, module_name=module.__name__)
    return [values[name] for name in values]


def _is_old_spelling(flag):
    return (flag.help or "").startswith(_ALIAS)


def _format_row(flag):
    cells = [f"`--{flag.name}`", _format_type(flag), _format_default(flag), _format_help(flag)]
    return f"| {' | '.join(cells)} |"


def _format_type(flag):
    kind = flag.flag_type().replace("comma separated list of strings", "list").replace("string enum", "enum")
    low, high = (getattr(flag.parser, f"{side}_bound", None) for side in ("lower", "upper"))
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    if low is not None:
        return f"{kind}, at least {low}"
    return kind


def _format_default(flag):
    if any(_REQUIRED in validator.message for validator in flag.validators):
        return "**required**"
    if flag.default is None or flag.default == "":
        return ""
    if flag.name == "workers":
        # Not that of the machine that builds the documentation.
        return "number of CPU cores"
    if isinstance(flag.default, list):
        return f"`{','.join(flag.default)}`"
    return f"`{str(flag.default).lower() if flag.boolean else flag.default}`"


def _format_help(flag):
    text = " ".join((flag.help or "").split())
    if choices := getattr(flag.parser, "enum_values", None):
        # absl puts the choices in front of an enum's help.
        text = re.sub(r"^<[^>]*>: ", "", text) + " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    # Of the characters that Markdown would read otherwise; what is in backticks stays.
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[])", r"\\\1", part) for part in parts)


def _format_docstring(text):
    """Returns the lines of a command's docstring; paragraphs that begin with a command are fenced."""
    lines = []
    for paragraph in text.strip().split("\n\n"):
        own = [line.strip() for line in paragraph.strip().splitlines()]
        is_command = own[0].startswith("python -m")
        lines += ["```console", *own, "```", ""] if is_command else [*own, ""]
    return lines
