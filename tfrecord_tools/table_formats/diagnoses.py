"""Tells what the words of diagnoses stand for: a name, malignancy, and the category that records have."""

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfrecord_tools.table_formats import vocabularies

_MELANOMA = "melanoma"
# British spellings, in the order in which they are replaced.
_SPELLINGS = (("naevus", "nevus"), ("naevi", "nevi"), ("haem", "hem"), ("tumour", "tumor"), ("rrhoeic", "rrheic"))
# Between the levels of the ISIC Archive's hierarchy in one text, such as Benign::Cysts::Milium.
_LEVELS = re.compile(r"\s*:+\s*")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What a diagnosis stands for.

    Attributes:
        name: Its name in English; the same for all its spellings.
        malignancy: `benign`, `malignant` or `indeterminate`.
        is_melanoma: Whether it is a melanoma.
        category: One of `schema.CATEGORIES["diagnosis"]`; `unknown` where none fits.
        may_be_melanoma: Whether it leaves open if it is one, as `malignant` alone does.
    """

    name: str
    malignancy: str
    is_melanoma: bool
    category: str
    may_be_melanoma: bool = False


def find_diagnosis(text: str) -> Diagnosis | None:
    """Finds a diagnosis by its words.

    Args:
        text: A diagnosis as the ISIC Archive, its challenges, HAM10000, Derm7pt, PH2 or PAD-UFES-20 write it, in any
            case of letters, or several levels of the Archive's hierarchy with colons between them.

    Returns:
        `Diagnosis`; None for words that are not understood. Of words with a comma the part before it counts where
        what follows is a subtype that is known for this malignancy.

    Examples:
        >>> find_diagnosis("MEL").name, find_diagnosis("Melanoma (in situ)").name
        ('melanoma', 'melanoma in situ')
        >>> find_diagnosis("Basal cell carcinoma, superficial, nodular").category
        'basal cell carcinoma'
        >>> find_diagnosis("nevus, melanoma")
    """
    return _find(text)


@functools.lru_cache(maxsize=4096)
def _find(text: str) -> Diagnosis | None:
    names, subtypes = _read_vocabulary()
    for level in reversed(_LEVELS.split(text)):
        found = names.get(_fold(level)) or _find_subtype(level, names, subtypes)
        if found is not None:
            return found
    return None


def _find_subtype(
    text: str, names: Mapping[str, Diagnosis], subtypes: Mapping[str, frozenset[str]]
) -> Diagnosis | None:
    """Finds the longest part of a text up to a comma that is a name, and of which the rest is a list of subtypes."""
    parts = text.split(",")
    for length in range(len(parts) - 1, 0, -1):
        found = names.get(_fold(",".join(parts[:length])))
        if found is not None:
            known = subtypes[found.malignancy]
            return found if all(_fold(part) in known for part in parts[length:]) else None
    return None


def _fold(text: str) -> str:
    """Returns the form in which diagnoses are compared: small letters, digits and single blanks."""
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    folded = letters.casefold().replace("'", "").replace("\u2019", "")
    for british, american in _SPELLINGS:
        folded = folded.replace(british, american)
    # Points between digits and a plus, as in CD4+, belong to a word.
    return " ".join(re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w.+]|_", " ", folded).split())


@functools.cache
def _read_vocabulary() -> tuple[dict[str, Diagnosis], dict[str, frozenset[str]]]:
    """Returns the diagnoses by their folded words, and the folded subtypes for each malignancy."""
    content = vocabularies.read("diagnoses.yaml")
    may_be_melanoma = set(content["may_be_melanoma"])
    found: dict[str, Diagnosis] = {}
    subtypes: dict[str, set[str]] = {}
    for malignancy in ("benign", "indeterminate", "malignant"):
        subtypes[malignancy] = set()
        for category, listed in content[malignancy].items():
            for name in _flatten(listed):
                is_melanoma = category == _MELANOMA
                found[_fold(name)] = Diagnosis(name, malignancy, is_melanoma, category, name in may_be_melanoma)
                subtypes[malignancy] |= {_fold(part) for part in name.split(",")[1:]}
    for name, words in content["aliases"].items():
        for word in words:
            found[_fold(word)] = found[_fold(name)]
            subtypes[found[_fold(name)].malignancy] |= {_fold(part) for part in word.split(",")[1:]}
    return found, {malignancy: frozenset(parts - found.keys()) for malignancy, parts in subtypes.items()}


def _flatten(listed: Iterable[Any]) -> Iterator[str]:
    for part in listed:
        if isinstance(part, str):
            yield part
        else:
            yield from part


def to_target(diagnosis: Diagnosis, policy: str, indeterminate: str) -> str | None:
    """Returns the target of a diagnosis under a policy.

    Args:
        diagnosis: The diagnosis.
        policy: `melanoma`: 1 is melanoma alone; `malignant`: 1 is any malignant diagnosis.
        indeterminate: What becomes of an indeterminate diagnosis, and under `melanoma` of a malignant one that leaves
            open whether it is a melanoma: `drop`, `benign` or `malignant`.

    Returns:
        "0" or "1"; None where the image is to be left out.

    Examples:
        >>> carcinoma, keratosis = find_diagnosis("BCC"), find_diagnosis("actinic keratosis")
        >>> to_target(carcinoma, "melanoma", "drop"), to_target(carcinoma, "malignant", "drop")
        ('0', '1')
        >>> to_target(keratosis, "malignant", "benign")
        '0'
    """
    is_open = diagnosis.may_be_melanoma and policy == "melanoma"
    if diagnosis.malignancy == "indeterminate" or is_open:
        return {"drop": None, "benign": "0", "malignant": "1"}[indeterminate]
    is_one = diagnosis.is_melanoma if policy == "melanoma" else diagnosis.malignancy == "malignant"
    return "1" if is_one else "0"
