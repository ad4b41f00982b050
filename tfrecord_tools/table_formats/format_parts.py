"""Checks the fields of the description of a table."""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecord_tools import errors, schema
from tfrecord_tools.table_formats import diagnoses
from tfrecord_tools.table_formats.diagnoses import Diagnosis

# Columns of the package that a table can have.
COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "sex",
    "age_approx",
    "anatom_site_general_challenge",
    "diagnosis",
    "diagnosis_source",
    "image_type",
    "source",
)
# Columns with replacements for single values; those of a diagnosis are apart.
MAPPED = ("sex", "age_approx", "anatom_site_general_challenge", "image_type", "patient_id", "lesion_id", "source")
FIELDS = (
    "name", "title", "source", "recognized_by", "not_with", "without_header", "columns", "images", "classes",
    "otherwise", "values", "target", "image_type", "id_prefix", "lesion_key", "joins",
)  # fmt: skip
_TARGETS = {"0": "0", "0.0": "0", "false": "0", "1": "1", "1.0": "1", "true": "1", "": ""}
_POLICIES = ("melanoma", "malignant", "any")
_MALIGNANCIES = ("benign", "malignant", "indeterminate")


@dataclasses.dataclass(frozen=True)
class TargetRule:
    """A column whose truth stands.

    Attributes:
        column: Name of the column.
        values: Dict from folded value to "0", "1" or "" for unknown.
        policy: What 1 stands for there: `melanoma`, `malignant`, or `any` where both are the same.
        spares_indeterminate: Whether it does not count where the diagnosis is indeterminate.
    """

    column: str
    values: Mapping[str, str]
    policy: str
    spares_indeterminate: bool = False


def fold_value(text: str) -> str:
    """Returns the form in which values are compared: in small letters, with single blanks."""
    return " ".join(text.casefold().split())


def to_text(value: Any) -> Any:
    """Makes text of the scalars of parsed JSON: true, false and null; numbers are text already."""
    if isinstance(value, dict):
        return {str(key): to_text(part) for key, part in value.items()}
    if isinstance(value, list):
        return [to_text(part) for part in value]
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value


class FormatParts:
    """The fields of one description, as texts, lists and dicts."""

    def __init__(self, path: str, fields: Any) -> None:
        """Checks that the fields are known.

        Args:
            path: Name of the description in errors.
            fields: Dict.

        Raises:
            IsicError: `fields` is no dict, or has an unknown field.
        """
        self._path = path
        if not isinstance(fields, dict):
            raise errors.IsicError(f"{path}: expected the fields of a format, such as name and columns, got {fields!r}")
        self._check_names("a field", fields, FIELDS)
        self._fields = fields

    def _check_names(self, what: str, names: Mapping[str, Any], known: Sequence[str]) -> None:
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                raise errors.IsicError(f"{self._path}: expected {what} of {', '.join(known)}, got {name!r}{meant}")

    def _fail(self, field: str, expected: str, got: Any) -> errors.IsicError:
        shown = repr(got) if len(repr(got)) <= 80 else f"{repr(got)[:80]}..."
        return errors.IsicError(f"{self._path}: expected {field} to be {expected}, got {shown}; correct it")

    def get(self, field: str) -> Any:
        """Returns a field as it is; "" where it is absent."""
        return self._fields.get(field, "")

    def text(self, field: str) -> str:
        """Returns a field that is text."""
        return self._to_text(field, self.get(field))

    def _to_text(self, field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._fail(field, "text", value)
        return value.strip()

    def choice(self, field: str, choices: Sequence[str]) -> Any:
        """Returns a field that is one of a few texts, the first of them where it is absent."""
        value = self.text(field) or choices[0]
        if value not in choices:
            raise self._fail(field, f"one of {', '.join(choices)}", value)
        return value

    def list(self, field: str) -> tuple[str, ...]:
        """Returns a field that is a list of texts, or one text."""
        return self._to_list(field, self.get(field))

    def _to_list(self, field: str, value: Any) -> tuple[str, ...]:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise self._fail(field, "a text or a list of texts", value)
        return tuple(part.strip() for part in parts if part.strip())

    def _to_dict(self, field: str, value: Any) -> dict[str, Any]:
        value = value if value != "" else {}
        if not isinstance(value, dict):
            raise self._fail(field, "pairs of a name and a value", value)
        return value

    def texts(self, field: str) -> dict[str, str]:
        """Returns a field that is a dict of texts."""
        value = self._to_dict(field, self.get(field))
        return {name: self._to_text(f"{field} {name}", part) for name, part in value.items()}

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Returns the columns of the table for those of the package."""
        value = self._to_dict("columns", self.get("columns"))
        self._check_names("columns for some", value, COLUMNS)
        return {name: self._to_list(f"columns {name}", part) for name, part in value.items()}

    def classes(self) -> dict[str, Diagnosis]:
        """Returns the diagnoses of one-hot columns."""
        value = self._to_dict("classes", self.get("classes"))
        found = {name: self.diagnosis(f"classes {name}", part) for name, part in value.items()}
        # A class that stands for an unknown diagnosis, such as UNK, is one that is not set.
        return {name: part for name, part in found.items() if part}

    def values(self) -> dict[str, dict[str, str]]:
        """Returns the replacements of values, except for diagnoses."""
        value = self._to_dict("values", self.get("values"))
        self._check_names("values for some", value, (*MAPPED, "diagnosis"))
        found = {}
        for column in value:
            if column != "diagnosis":
                pairs = self._to_dict(f"values {column}", value[column])
                found[column] = {
                    fold_value(name): self._to_text(f"values {column} {name}", part) for name, part in pairs.items()
                }
                self._check_values(column, found[column])
        return found

    def _check_values(self, column: str, pairs: Mapping[str, str]) -> None:
        """Checks that replacements are values of the package."""
        for name, value in pairs.items():
            known = schema.CATEGORIES.get(column)
            if known and value and value not in known:
                raise self._fail(f"values {column} {name}", f"blank or one of {', '.join(known)}", value)
            if column == "age_approx" and value and not re.fullmatch(r"\d{1,3}", value):
                raise self._fail(f"values {column} {name}", "blank or whole years", value)

    def diagnoses(self) -> dict[str, Diagnosis | None]:
        """Returns the replacements of diagnoses; None for words that stand for an unknown one."""
        value = self._to_dict("values", self.get("values"))
        pairs = self._to_dict("values diagnosis", value.get("diagnosis", ""))
        return {fold_value(name): self.diagnosis(f"values diagnosis {name}", part) for name, part in pairs.items()}

    def diagnosis(self, field: str, value: Any) -> Diagnosis | None:
        """Returns the diagnosis of a word, or of a dict with `diagnosis`, `malignancy`, `is_melanoma`, `category`."""
        if isinstance(value, str):
            if not value.strip():
                return None
            found = diagnoses.find_diagnosis(value)
            if found is None:
                raise self._fail(field, "a diagnosis that is known, or {diagnosis: ..., malignancy: ...}", value)
            return found
        parts = self._to_dict(field, value)
        self._check_names(f"{field} with some", parts, ("diagnosis", "malignancy", "is_melanoma", "category"))
        name = self._to_text(field, parts.get("diagnosis", ""))
        base = diagnoses.find_diagnosis(name)
        malignancy = self._to_text(field, parts.get("malignancy", base.malignancy if base else ""))
        if not name or malignancy not in _MALIGNANCIES:
            raise self._fail(field, f"a diagnosis and a malignancy of {', '.join(_MALIGNANCIES)}", value)
        category = self._to_text(field, parts.get("category", base.category if base else "unknown"))
        if category not in schema.CATEGORIES["diagnosis"]:
            raise self._fail(f"{field} category", f"one of {', '.join(schema.CATEGORIES['diagnosis'])}", category)
        melanoma = self._to_text(field, parts.get("is_melanoma", str(bool(base and base.is_melanoma)))).lower()
        if melanoma not in ("true", "false"):
            raise self._fail(f"{field} is_melanoma", "true or false", melanoma)
        is_open = bool(base and base.may_be_melanoma and "is_melanoma" not in parts)
        return Diagnosis(base.name if base else name, malignancy, melanoma == "true", category, is_open)

    def target(self) -> TargetRule | None:
        """Returns the rule by which a column's own truth stands."""
        value = self._to_dict("target", self.get("target"))
        self._check_names("target with some", value, ("from", "column", "values", "policy", "except"))
        if value.get("from", "diagnosis") == "diagnosis":
            return None
        column = self._to_text("target column", value.get("column", ""))
        policy = self._to_text("target policy", value.get("policy", ""))
        if value["from"] != "column" or not column:
            raise self._fail("target", "from: diagnosis, or from: column with the name of the column", value)
        if policy not in _POLICIES:
            raise self._fail("target policy", f"one of {', '.join(_POLICIES)}", policy)
        pairs = self._to_dict("target values", value.get("values", ""))
        values = {fold_value(name): self._to_text("target values", part) for name, part in pairs.items()}
        for name, part in values.items():
            if part not in ("0", "1", ""):
                raise self._fail(f"target values {name}", "0, 1 or blank", part)
        exception = self._to_text("target except", value.get("except", ""))
        if exception not in ("", _MALIGNANCIES[-1]):
            raise self._fail("target except", f"{_MALIGNANCIES[-1]}, or absent", exception)
        return TargetRule(column, {**_TARGETS, **values}, policy, exception != "")

    def header(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the names of the columns of a table without a header, and the patterns of its first row."""
        value = self._to_dict("without_header", self.get("without_header"))
        self._check_names("without_header with some", value, ("columns", "matches"))
        names = self._to_list("without_header columns", value.get("columns", ""))
        patterns = self._to_list("without_header matches", value.get("matches", ""))
        if len(names) != len(patterns):
            raise self._fail("without_header matches", "one pattern for each column", list(patterns))
        try:
            for pattern in patterns:
                re.compile(pattern)
        except re.error as error:
            raise self._fail("without_header matches", f"regular expressions ({error})", pattern) from error
        return names, patterns

    def lesion_key(self) -> tuple[str, ...]:
        """Returns the columns of the package that name a lesion together."""
        names = self.list("lesion_key")
        for name in names:
            if name not in COLUMNS:
                raise self._fail("lesion_key", f"some of {', '.join(COLUMNS)}", name)
        return names
