"""The formats of submissions to the ISIC challenges with several classes, and which class of a run fits which column.

All of them hold a row for each image (of MILK10k: for each lesion) of the test set, and a number from 0 to 1 for each
class, above 0.5 where the lesion is called one of that class. The numbers of a row need not add up to 1. The official
scorer (`isic-challenge-scoring`) takes only columns of numbers with a decimal point.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence

import numpy as np

from tfrecord_tools import errors

THRESHOLD = 0.5
_BENIGN_KERATOSIS = (
    "benign keratosis",
    "benign keratosis like lesion",
    "pigmented benign keratosis",
    "seborrheic keratosis",
    "lichenoid keratosis",
    "lichen planus like keratosis",
    "solar lentigo",
    "lentigo nos",
)
# Words of the classes that mean the same in all of the challenges.
_WORDS = {
    "MEL": ("melanoma",),
    "NV": ("nevus", "melanocytic nevus"),
    "BCC": ("basal cell carcinoma",),
    "BKL": _BENIGN_KERATOSIS,
    "DF": ("dermatofibroma",),
    "VASC": ("vascular lesion", "vascular"),
}


class ChallengeFormat(typing.NamedTuple):
    """The columns of a challenge's submission."""

    title: str
    key: str  # column of the names: `image` or `lesion_id`
    words: Mapping[str, Sequence[str]]  # columns of the classes, in their order, and other names of each
    unknown: str = ""  # column of what is none of the classes; filled with 0 where a run has no such class

    @property
    def classes(self) -> list[str]:
        """Names of the columns of classes."""
        return list(self.words)


def _choose(**words: Sequence[str]) -> dict[str, Sequence[str]]:
    return {name: (*_WORDS.get(name, ()), *more) for name, more in words.items()}


FORMATS = {
    "isic2018": ChallengeFormat(
        "ISIC 2018, task 3",
        "image",
        _choose(
            MEL=(),
            NV=(),
            BCC=(),
            AKIEC=("actinic keratosis", "ak", "bowen's disease", "squamous cell carcinoma in situ"),
            BKL=(),
            DF=(),
            VASC=(),
        ),
    ),
    "isic2019": ChallengeFormat(
        "ISIC 2019",
        "image",
        _choose(
            MEL=(),
            NV=(),
            BCC=(),
            AK=("actinic keratosis",),
            BKL=(),
            DF=(),
            VASC=(),
            SCC=("squamous cell carcinoma",),
            # Not "unknown": in the tables of 2020 that is a benign lesion whose diagnosis is not stated.
            UNK=("none of the others",),
        ),
        unknown="UNK",
    ),
    "milk10k": ChallengeFormat(
        "MILK10k",
        "lesion_id",
        _choose(
            AKIEC=("actinic keratosis", "ak", "bowen's disease", "squamous cell carcinoma in situ"),
            BCC=(),
            BEN_OTH=("other benign",),
            BKL=(),
            DF=(),
            INF=("inflammatory", "inflammatory and infectious conditions"),
            MAL_OTH=("other malignant",),
            MEL=(),
            NV=(),
            SCCKA=("squamous cell carcinoma", "scc", "keratoacanthoma"),
            VASC=(),
        ),
    ),
}


@dataclasses.dataclass(frozen=True)
class ClassPlaces:
    """Which classes of a run make which column of a challenge.

    Attributes:
        columns: Dict from column to the places of the classes of the run; none for a column of zeros.
        dropped: Classes of the run that were left out because the user asked for it.
    """

    columns: dict[str, list[int]]
    dropped: list[str]


def place_classes(names: Sequence[str], wanted: ChallengeFormat, pairs: Sequence[str] = ()) -> ClassPlaces:
    """Finds the column of each class of a run.

    Args:
        names: Classes of the run.
        wanted: The challenge's format.
        pairs: What the user says: `COLUMN=CLASS`, `COLUMN=` for a column of zeros, `=CLASS` for a class without one.

    Returns:
        `ClassPlaces`.

    Raises:
        ConfigError: A pair names no such column or class, a class has no column, or a column no class.

    Examples:
        >>> zeros = ["BCC=", "BKL=", "DF=", "VASC="]
        >>> places = place_classes(["akiec", "nevus", "melanoma"], FORMATS["isic2018"], zeros)
        >>> places.columns["AKIEC"], places.columns["MEL"], places.columns["DF"]
        ([0], [2], [])
    """
    given = _parse_pairs(names, wanted, pairs)
    columns: dict[str, list[int]] = {name: [] for name in wanted.classes}
    dropped = []
    homeless = []
    for place, name in enumerate(names):
        column = given[name] if name in given else _find_column(name, wanted)
        if column:
            columns[column].append(place)
        elif name in given:
            dropped.append(name)
        else:
            homeless.append(name)
    if homeless:
        raise errors.ConfigError(
            f"expected each class of the predictions to be one of {', '.join(wanted.classes)} ({wanted.title}), got "
            f"{', '.join(homeless)}; name their columns with --class_map=COLUMN={homeless[0]},..., or "
            f"leave them out with --class_map=={homeless[0]}"
        )
    empty = [name for name, places in columns.items() if not places and name not in _list_zeros(pairs)]
    missing = [name for name in empty if name != wanted.unknown]
    if missing:
        raise errors.ConfigError(
            f"expected classes for all columns of {wanted.title}, got none for {', '.join(missing)} (the predictions "
            f"have {', '.join(names)}); name them with --class_map={missing[0]}=CLASS,..., or fill columns with 0 by "
            f"--class_map={','.join(f'{name}=' for name in missing)}"
        )
    return ClassPlaces(columns, dropped)


def _parse_pairs(names: Sequence[str], wanted: ChallengeFormat, pairs: Sequence[str]) -> dict[str, str]:
    """Returns the column of each class that pairs name, "" for none."""
    folded = {name.casefold(): name for name in names}
    columns = {"": "", **{name.casefold(): name for name in wanted.classes}}
    found: dict[str, str] = {}
    for pair in pairs:
        column, separator, name = (part.strip() for part in pair.partition("="))
        is_known = column.casefold() in columns and (name.casefold() in folded or (not name and column))
        if not separator or not is_known:
            raise errors.ConfigError(
                f"expected --class_map of COLUMN=CLASS with a column of {', '.join(wanted.classes)} and a class of "
                f"{', '.join(names)}, got {pair!r}; correct it"
            )
        if not name:
            continue
        own = folded[name.casefold()]
        if own in found:
            raise errors.ConfigError(f"expected each class once in --class_map, got {own} twice; remove one")
        found[own] = columns[column.casefold()]
    return found


def _list_zeros(pairs: Sequence[str]) -> set[str]:
    """Returns the columns that pairs fill with zeros."""
    parted = [pair.partition("=") for pair in pairs]
    return {column.strip().upper() for column, _, name in parted if not name.strip()}


def _find_column(name: str, wanted: ChallengeFormat) -> str:
    """Returns the column that a class fits by its name, "" for none."""
    folded = _fold(name)
    for column, words in wanted.words.items():
        if folded in (_fold(column), *map(_fold, words)):
            return column
    return ""


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def fill_columns(probabilities: np.ndarray, places: ClassPlaces, adds_up: bool) -> dict[str, np.ndarray]:
    """Computes the columns of a challenge.

    Args:
        probabilities: float64 `[n, classes]` of the run, from 0 to 1.
        places: See `place_classes`.
        adds_up: Whether several classes of a column exclude each other, so that their probabilities add up; otherwise
            the largest counts.

    Returns:
        Dict from column to float64 `[n]`, from 0 to 1.

    Examples:
        >>> places = ClassPlaces({"MEL": [0, 2], "UNK": []}, [])
        >>> fill_columns(np.array([[0.25, 0.25, 0.5]]), places, adds_up=True)
        {'MEL': array([0.75]), 'UNK': array([0.])}
    """
    filled = {}
    for column, own in places.columns.items():
        chosen = probabilities[:, own]
        if not own:
            filled[column] = np.zeros(len(probabilities))
        else:
            filled[column] = chosen.sum(axis=1).clip(0, 1) if adds_up else chosen.max(axis=1)
    return filled
