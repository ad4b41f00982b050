"""Describes how a table of another data set is read: the names of its columns, and what its values stand for."""

import dataclasses
import functools
import importlib.resources
import json
import re
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem
from tfrecord_tools.table_formats import format_parts
from tfrecord_tools.table_formats.diagnoses import Diagnosis

_MAX_BYTES = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_BRACKETS = 2000
_PUBLISHED = "published"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFormat:
    """The form of one table. Names of columns are compared in any case of letters, values as well.

    Examples:
        >>> table_format = parse_format("clinic.yaml", {
        ...     "name": "clinic", "columns": {"image_name": "photo", "diagnosis": "histology"},
        ...     "values": {"diagnosis": {"mm": "melanoma"}},
        ... })
        >>> table_format.recognized_by
        ('photo', 'histology')
        >>> table_format.diagnoses["mm"].malignancy
        'malignant'

    Attributes:
        name: Name of the format.
        title: What reports call it.
        source: The value of the column `source`.
        recognized_by: Columns that a table of this form has.
        not_with: Columns that a table of this form does not have.
        header: Names of the columns of a table without a header; empty where it has one.
        header_matches: Regular expressions, one for each column, that tell such a table by its first row.
        columns: Dict from a column of the package to those of the table; the first counts that is filled and
            understood.
        images: Dict from columns of image files to their image type, where a row has several images.
        classes: Dict from one-hot columns to diagnoses.
        otherwise: Diagnosis of a row in which no class is set; None for none.
        values: Dict from a column of the package to a dict from the table's folded values to those of the package.
        diagnoses: Dict from the table's folded words to diagnoses, before those that `find_diagnosis` knows.
        target: The rule by which the table's own truth stands; None where the diagnosis decides.
        image_type: Image type where no column has it.
        id_prefix: What is put before patients and lesions that are plain numbers.
        lesion_key: Columns that name a lesion together; empty where `lesion_id` is enough.
        joins: Whether a row is an `image` or a `lesion`.
    """

    name: str
    title: str
    source: str
    recognized_by: tuple[str, ...]
    not_with: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    header_matches: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, Diagnosis] = dataclasses.field(default_factory=dict)
    otherwise: Diagnosis | None = None
    values: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    diagnoses: Mapping[str, Diagnosis | None] = dataclasses.field(default_factory=dict)
    target: format_parts.TargetRule | None = None
    image_type: str = ""
    id_prefix: str = ""
    lesion_key: tuple[str, ...] = ()
    joins: typing.Literal["image", "lesion"] = "image"

    @property
    def used_columns(self) -> tuple[str, ...]:
        """Columns of the table that the format names, each once."""
        listed = [name for names in self.columns.values() for name in names]
        own = [self.target.column] if self.target else []
        return tuple(dict.fromkeys([*self.images, *listed, *self.classes, *own]))

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of the table that say what an image shows."""
        own = [self.target.column] if self.target else []
        return tuple(dict.fromkeys([*self.columns.get("diagnosis", ()), *self.classes, *own]))


def read_format(path: str) -> TableFormat:
    """Reads the description of a table.

    Args:
        path: JSON or YAML file.

    Returns:
        `TableFormat`.

    Raises:
        IsicError: The file does not exist, or is no such description.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        ...     print("name: clinic", "columns: {image_name: photo}", sep=chr(10), file=file, flush=True)
        ...     read_format(file.name).columns
        {'image_name': ('photo',)}
    """
    if not filesystem.exists(path):
        known = ", ".join(sorted(list_published()))
        raise errors.IsicError(f"expected a format: auto, a JSON or YAML file, or one of {known}; got {path!r}")
    content = filesystem.read(path)
    if len(content) > _MAX_BYTES:
        raise errors.IsicError(f"expected a format of at most 1 MB, {path} has {len(content)} bytes; shorten it")
    return parse_format(path, _load(path, content))


@functools.cache
def list_published() -> Mapping[str, TableFormat]:
    """Returns the formats of published tables.

    Returns:
        Dict from name to `TableFormat`, in alphabetical order.

    Examples:
        >>> list_published()["isic_tf"].columns["image_name"]
        ('image_name',)
    """
    directory = importlib.resources.files(__package__) / _PUBLISHED
    files = sorted((file for file in directory.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    found = [parse_format(file.name, _load(file.name, file.read_bytes())) for file in files]
    return {table_format.name: table_format for table_format in found}


def _load(path: str, content: bytes) -> Any:
    """Parses JSON or YAML; all scalars become text, so that `no`, `1.0` and `NV` stay as they are."""
    try:
        text = content.decode("utf-8-sig")
        if path.lower().endswith(".json"):
            return format_parts.to_text(json.loads(text, parse_int=str, parse_float=str))
        _refuse_odd_yaml(path, text)
        # Makes text of every scalar, and nothing but texts, lists and dicts.
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "JSON" if path.lower().endswith(".json") else "YAML"
        reason = " ".join(str(error).split()) or "it is nested too deeply"
        raise errors.IsicError(f"{path} is not a format in {kind} (UTF-8): {reason}; correct it") from error


def _refuse_odd_yaml(path: str, text: str) -> None:
    """Refuses values of which a short text makes large ones: aliases of aliases, and deep nesting."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        depth += isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken))
        if isinstance(token, yaml.AliasToken):
            raise errors.IsicError(f"{path} refers to a value by an alias (*name), expected it in full; write it out")
        if depth > _MOST_BRACKETS:
            raise errors.IsicError(
                f"{path} has more than {_MOST_BRACKETS} lists and pairs in brackets, expected a format; shorten it"
            )


def parse_format(path: str, fields: Any) -> TableFormat:
    """Checks the description of a table.

    Args:
        path: Name of the description in errors.
        fields: Dict of texts, lists and dicts, see `TableFormat` and docs/guides/external_tables.md.

    Returns:
        `TableFormat`.

    Raises:
        IsicError: A field is unknown, or has a value that it cannot have.
    """
    parts = format_parts.FormatParts(path, fields)
    name = parts.text("name")
    if not _NAME.fullmatch(name):
        raise errors.IsicError(f"{path}: expected a name of letters, digits and underscores, got {name!r}; add it")
    columns = parts.columns()
    images = parts.texts("images")
    classes = parts.classes()
    target = parts.target()
    joins = parts.choice("joins", ("image", "lesion"))
    header, header_matches = parts.header()
    key = "lesion_id" if joins == "lesion" else "image_name"
    if key not in columns and not images:
        raise errors.IsicError(f"{path}: expected a column for {key} in columns, got none; add it")
    required = [*images, *columns.get(key, ())[:1], *columns.get("diagnosis", ())[:1], *classes]
    required += [target.column] if target else []
    return TableFormat(
        name=name,
        title=parts.text("title") or name,
        source=parts.text("source") or name,
        recognized_by=parts.list("recognized_by") or tuple(dict.fromkeys(required)),
        not_with=parts.list("not_with"),
        header=header,
        header_matches=header_matches,
        columns=columns,
        images=images,
        classes=classes,
        otherwise=parts.diagnosis("otherwise", parts.get("otherwise")),
        values=parts.values(),
        diagnoses=parts.diagnoses(),
        target=target,
        image_type=parts.text("image_type"),
        id_prefix=parts.text("id_prefix"),
        lesion_key=parts.lesion_key(),
        joins=joins,
    )
