"""Reads ages, sexes and sites of the body, as published tables and DICOM files write them."""

import functools
import re
from collections.abc import Mapping

from tfrecord_tools import schema
from tfrecord_tools.table_formats import vocabularies

_UNKNOWN = frozenset({"", "unknown", "unk", "u", "-1", "-1.0", "na", "n/a", "nan", "none", "null", "not specified"})
_SEXES = {
    "male": ("male", "m", "man"),
    "female": ("female", "f", "woman"),
    # As DICOM and clinics write it; records have no category for it.
    "": ("other", "o"),
}
# 45, 45.0, 45 years, 85+ and >85.
_YEARS = re.compile(r"(?:>=?\s*)?(\d{1,3})(?:[.,]\d{1,6})?\s*(?:\+|y|yrs?|years?)?")
_MONTHS = re.compile(r"(\d{1,4})\s*(?:m|mos?|months?)")
_DAYS_OR_WEEKS = re.compile(r"(\d{1,4})(?:d|w)")
_DAYS = {"d": 1, "w": 7}
_SIDE = re.compile(r"^(?:(?:left|right|skin of|the) )+")


def read_age(text: str) -> str | None:
    """Reads an age.

    Args:
        text: Years, also with decimals or as `85+`; or the form of DICOM, such as `045Y`, `018M`, `003W` or `010D`.

    Returns:
        Whole years from 0 to 120; "" for a word for unknown; None for what is no age.

    Examples:
        >>> read_age("45.0"), read_age("85+"), read_age("018M"), read_age("unknown"), read_age("old")
        ('45', '85', '1', '', None)
    """
    folded = _fold(text)
    if folded in _UNKNOWN:
        return ""
    if years := _YEARS.fullmatch(folded):
        age = int(years[1])
    elif months := _MONTHS.fullmatch(folded):
        age = int(months[1]) // 12
    elif days := _DAYS_OR_WEEKS.fullmatch(folded):
        age = int(days[1]) * _DAYS[folded[-1]] // 365
    else:
        return None
    return str(age) if age <= schema.MAX_AGE else None


def read_sex(text: str) -> str | None:
    """Reads a sex.

    Args:
        text: A word or its abbreviation, in any case of letters.

    Returns:
        `male` or `female`; "" for a word for unknown or for one that records have no category for; None for what is
        not understood.

    Examples:
        >>> read_sex("F"), read_sex("Male"), read_sex("UNK"), read_sex("x")
        ('female', 'male', '', None)
    """
    folded = _fold(text)
    if folded in _UNKNOWN:
        return ""
    return next((sex for sex, words in _SEXES.items() if folded in words), None)


def read_site(text: str) -> str | None:
    """Reads a site of the body.

    Args:
        text: A site as the ISIC Archive (general, or any level of its hierarchy), its challenges, HAM10000, MILK10k,
            Derm7pt or PAD-UFES-20 write it, in any case of letters, with or without its side.

    Returns:
        One of `schema.CATEGORIES["anatom_site_general_challenge"]`; "" for a word for unknown or without a counterpart;
        None for what is not understood.

    Examples:
        >>> read_site("Trunk"), read_site("head_neck_face"), read_site("left forearm"), read_site("acral NOS")
        ('torso', 'head/neck', 'upper extremity', '')
    """
    folded = _fold_site(text)
    return _read_sites().get(folded, _read_sites().get(_SIDE.sub("", folded)))


def list_sites() -> Mapping[str, tuple[str, ...]]:
    """Returns the words for sites.

    Returns:
        Dict from category to its words; those under "" stand for unknown.
    """
    content = vocabularies.read("sites.yaml")
    found = {}
    for category, listed in content.items():
        words = [word for part in listed for word in ([part] if isinstance(part, str) else part)]
        found["" if category == "unknown" else category] = tuple(words)
    return found


@functools.cache
def _read_sites() -> dict[str, str]:
    return {"": "", **{_fold_site(word): category for category, words in list_sites().items() for word in words}}


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _fold_site(text: str) -> str:
    return _fold(re.sub(r"[/_-]", " ", text)) or text.strip()
