"""The classes that a network predicts, and which of them make the single score."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from isic_tf.artifacts import class_columns
from isic_tf.data.targets import diagnosis_classes
from tfrecord_tools import errors, schema
from tfrecord_tools.table_formats import diagnoses

KINDS = ("binary", "diagnosis", "column", "columns")


@dataclasses.dataclass(frozen=True)
class ClassSet:
    """Classes in the order of a network's outputs; none for a network of one output, malignant or not.

    Attributes:
        names: Names of the classes.
        positive: Those of them that make the single score: in a softmax their probabilities add up to it; of several
            labels the largest is it.
        multi_label: Whether each class has a probability of its own (a sigmoid), instead of one softmax over all.

    Examples:
        >>> ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL")).places
        (0, 1)
        >>> ClassSet().num_outputs
        1
    """

    names: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    multi_label: bool = False

    @property
    def num_outputs(self) -> int:
        """Number of outputs of a network."""
        return max(1, len(self.names))

    @property
    def places(self) -> tuple[int, ...]:
        """Places of the positive classes among the outputs, in their order; 0 where there are no classes."""
        return tuple(place for place, name in enumerate(self.names) if name in self.positive) or (0,)

    @property
    def is_softmax(self) -> bool:
        """Whether the outputs are one softmax, so that the probabilities of an image add up to 1."""
        return self.num_outputs > 1 and not self.multi_label

    def join(self, probabilities: np.ndarray) -> np.ndarray:
        """Computes the single score of the positive classes: in a softmax their sum, of several labels the largest.

        Args:
            probabilities: float `[n, classes]`.

        Returns:
            float `[n]`.

        Examples:
            >>> ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL")).join(np.array([[0.25, 0.5, 0.25]]))
            array([0.75])
        """
        positive = probabilities[:, list(self.places)]
        joined: np.ndarray = positive.max(axis=1) if self.multi_label else positive.sum(axis=1)
        return joined

    def choose(self, name: str) -> "ClassSet":
        """Returns the same classes with one of them as the only positive one.

        Args:
            name: Name of a class, in any case of letters.

        Raises:
            ConfigError: It is not one of the classes.
        """
        found = [own for own in self.names if own.casefold() == name.strip().casefold()]
        if not found:
            known = ", ".join(self.names) or "none, only malignant or not"
            raise errors.ConfigError(f"expected one of the classes of the run ({known}), got {name!r}; name another")
        return dataclasses.replace(self, positive=(found[0],))

    def facts(self, target: str = "") -> dict[str, Any]:
        """Returns what the sidecar of a prediction file says of the classes; empty where there are none.

        Args:
            target: What the network was trained on, see `parse_target`; "" where unknown.
        """
        if not self.names:
            return {}
        facts = {"classes": self.names, "positive_classes": self.positive, "multi_label": self.multi_label}
        return {**facts, "target": target} if target else facts

    def describe_positive(self) -> str:
        """Returns the positive classes for a message, such as `MEL or BCC`."""
        return " or ".join(self.positive)


BINARY = ClassSet()


def parse_target(text: str) -> tuple[str, tuple[str, ...]]:
    """Parses the option `--target`.

    Args:
        text: `binary`, `diagnosis`, `column:NAME` or `columns:A,B`.

    Returns:
        One of `KINDS`, and the names of the columns.

    Raises:
        ConfigError: The text is something else.

    Examples:
        >>> parse_target("columns:melanoma,ulcerated")
        ('columns', ('melanoma', 'ulcerated'))
    """
    kind, separator, rest = text.partition(":")
    columns = tuple(split_names(rest)) if kind == "columns" else (rest.strip(),)
    if kind in ("binary", "diagnosis") and not separator:
        return kind, ()
    if kind == "column" and "," in rest:
        raise errors.ConfigError(
            f"expected one column in --target=column:NAME, got {rest!r}; use --target=columns:A,B for several columns "
            "of 0 and 1"
        )
    if kind not in ("column", "columns") or not all(columns) or not columns:
        raise errors.ConfigError(
            f"expected --target to be binary, diagnosis, column:NAME or columns:A,B (columns of --table), got {text!r}"
        )
    class_columns.check_names(columns)
    return kind, columns


def name_groups(target: str) -> tuple[str, str]:
    """Returns what images of the positive classes, and all others, are called in messages.

    Args:
        target: See `parse_target`.

    Examples:
        >>> name_groups("column:ulcerated")
        ('positive', 'negative')
    """
    is_own = parse_target(target)[0] in ("column", "columns")
    return ("positive", "negative") if is_own else ("malignant", "benign")


def split_names(text: str) -> list[str]:
    """Splits names that are separated by commas; of an empty text there are none."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def make_class_set(target: str, classes: str = "", positive_classes: str = "") -> ClassSet:
    """Makes the classes that options describe.

    Args:
        target: See `parse_target`.
        classes: Names of the classes of a column, separated by commas; a run records them.
        positive_classes: Names of the classes that make the single score; "" for melanoma, or the class 1 of 0 and 1.

    Returns:
        `ClassSet`.

    Raises:
        ConfigError: The classes are not known or have no such names, or it is open which of them are positive.

    Examples:
        >>> make_class_set("column:dx", "bcc,mel,nv").positive
        ('mel',)
        >>> make_class_set("binary") == BINARY
        True
    """
    kind, columns = parse_target(target)
    given = split_names(classes)
    wanted = split_names(positive_classes)
    if kind in ("binary", "diagnosis") and given:
        raise errors.ConfigError(f"expected --classes only with --target=column:NAME, got --target={target}; omit it")
    if kind == "binary":
        if wanted:
            raise errors.ConfigError("expected --positive_classes only with classes, got --target=binary; omit it")
        return BINARY
    if kind == "diagnosis":
        # The further class exists only where it is asked for.
        extra = [name for name in wanted if name.casefold() == diagnosis_classes.OTHER]
        names = (*diagnosis_classes.CLASSES, *([diagnosis_classes.OTHER] if extra else []))
        return _choose_positive(names, wanted or [diagnosis_classes.MELANOMA], multi_label=False)
    if kind == "columns":
        if given and tuple(given) != columns:
            raise errors.ConfigError(
                f"expected no --classes with --target={target}, whose classes are the columns, got {classes}; omit it"
            )
        return _choose_positive(columns, wanted, multi_label=True)
    if not given:
        raise errors.ConfigError(
            f"expected the names of the classes of --target={target}, which no table was read for; give --classes=A,B,C"
        )
    class_columns.check_names(given)
    if len(given) < 2:
        raise errors.ConfigError(f"expected two classes or more for --target={target}, got only {classes}; add another")
    return _choose_positive(tuple(given), wanted, multi_label=False)


def _choose_positive(names: tuple[str, ...], wanted: Sequence[str], multi_label: bool) -> ClassSet:
    """Returns the classes with those that are wanted as positive ones, or else those whose names say so."""
    folded = {name.casefold(): name for name in names}
    unknown = [name for name in wanted if name.casefold() not in folded]
    if unknown:
        raise errors.ConfigError(
            f"expected --positive_classes to be some of the classes {', '.join(names)}, got {', '.join(unknown)}; "
            "correct them"
        )
    positive = {folded[name.casefold()] for name in wanted} or find_positive(names)
    if len(names) == 1:
        # Of a single label there is no choice.
        positive = set(names)
    if not positive or (not multi_label and len(positive) == len(names)):
        received = "all of them" if positive else "none, and no name says melanoma"
        raise errors.ConfigError(
            f"expected --positive_classes to name the classes that make the single score, some of {', '.join(names)}, "
            f"got {received}; give --positive_classes=A,B"
        )
    return ClassSet(names, tuple(name for name in names if name in positive), multi_label)


def find_positive(names: Sequence[str]) -> set[str]:
    """Finds the classes that are positive by their names: 1 of 0 and 1, or those of melanoma.

    Args:
        names: Names of the classes.

    Returns:
        Some of the names; empty where no name says so.
    """
    numbers = {name: name.removesuffix(".0") for name in names}
    if set(numbers.values()) == {"0", "1"}:
        return {name for name, number in numbers.items() if number == "1"}
    return {name for name in names if _is_melanoma(name)}


def _is_melanoma(name: str) -> bool:
    found = diagnoses.find_diagnosis(name)
    if found is not None:
        return found.is_melanoma
    return schema.encode("diagnosis", name) == schema.CATEGORIES["diagnosis"].index(diagnosis_classes.MELANOMA)
