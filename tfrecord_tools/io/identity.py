"""Compares image names, patients and lesions in a canonical form, and groups the images that must stay together.

One photograph is published under several names (`ISIC_0000000`, `ISIC_0000000_downsampled`, `isic_0000000.JPG`), and
one patient is typed in several ways (`IP_7` and `ip_7 `; `7`, `7.0` and `007`). Everything that asks whether two
images, patients or lesions are the same compares these keys; names in outputs stay as they were given.
"""

import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.io import components

_LOG = logging.getLogger(__name__)

# Words that stand for an unknown patient or lesion in published tables, records and DICOM files, without blanks.
_UNKNOWN_WORDS = {
    "-", "--", "---", ".", "..", "?", "??", "#n/a", "<na>", "anon", "anonym", "anonymised", "anonymized", "anonymous",
    "deidentified", "desconocido", "inconnu", "missing", "n.a.", "n.d.", "n/a", "n/k", "na", "nan", "nat", "nil",
    "noid", "none", "nopatient", "notapplicable", "notavailable", "notknown", "notprovided", "notrecorded",
    "notspecified", "null", "removed", "tbd", "unbekannt", "undefined", "unk", "unknown", "unspecified", "xxx", "xxxx",
}  # fmt: skip
# Those of them that are no abbreviation, which might be someone's initials.
_LONG_WORDS = {word for word in _UNKNOWN_WORDS if word.isalpha() and len(word) > 3}
# What stands around such words, as in `unknown_patient`, `IP_unknown` and `(unknown)`.
_AROUND_WORDS = re.compile(r"^(ip|il)_|patient|lesion|subject|[\W_]")
_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp|dcm|dicom)$")
_ARCHIVE_NAME = re.compile(r"isic[_-]?(\d+)(_downsampled)?")
_NUMBER = re.compile(r"([+-]?)0*(\d+)(\.0*)?")
_MINUS_SIGN = "\u2212"
# A patient with more than this share of the images, and so many times the images of others, is rarely one person.
_LARGE_SHARE = 0.1
_LARGE_RATIO = 2
# Images from which on one of so few patients is large; no patient of the competition has more than 115.
_LARGE_OF_FEW = {1: 10, 2: 115}
_DIGEST_DIGITS = 16


def image_key(name: str) -> str:
    """Returns the canonical form of an image name: the same for all names of one photograph.

    Args:
        name: Name with or without a directory, an extension or `_downsampled`, in any case of letters, with any blanks,
            zero-width characters and full-width digits.

    Returns:
        Text in small letters; for a name of the ISIC Archive `isic_` and its number without leading zeros; for a whole
        number its digits without leading zeros and decimals.

    Examples:
        >>> image_key("ISIC_0000123_downsampled"), image_key("jpeg/isic_123.JPG"), image_key(" Case 7.png")
        ('isic_123', 'isic_123', 'case7')
    """
    folded = _fold(name.replace("\\", "/").rsplit("/", 1)[-1])
    folded = _EXTENSION.sub("", folded)
    archive = _ARCHIVE_NAME.fullmatch(folded)
    if archive:
        return f"isic_{archive[1].lstrip('0') or '0'}"
    number = _NUMBER.fullmatch(folded)
    return number[2] if number and not number[1] else folded


def person_key(identifier: str) -> str:
    """Returns the canonical form of a patient's or a lesion's identifier; "" where it stands for an unknown one.

    Args:
        identifier: Text as in a table.

    Returns:
        Text in small letters without blanks; a whole number without leading zeros and decimals.

    Examples:
        >>> [person_key(text) for text in ("IP_7", " ip_7", "007", "7.0", "-1", "Unknown", "nan")]
        ['ip_7', 'ip_7', '7', '7', '', '', '']
    """
    folded = _fold(identifier)
    number = _NUMBER.fullmatch(folded)
    if number:
        # Numbers below 0, such as -1, -9 and -999, stand for unknown ones.
        is_negative = number[1] == "-" and number[2] != "0"
        return "" if is_negative else number[2]
    return "" if folded in _UNKNOWN_WORDS or _AROUND_WORDS.sub("", folded) in {"", *_LONG_WORDS} else folded


def _fold(text: str) -> str:
    """Removes blanks and invisible characters, and folds digits, dashes, widths and the case of letters."""
    if text.isascii() and text.isprintable():
        return "".join(text.split()).casefold()
    letters = []
    for letter in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(letter)
        if category == "Pd" or letter == _MINUS_SIGN:
            letters.append("-")
        # Zero-width characters and byte order marks are of the category "format", Cf.
        elif category not in ("Cf", "Cc"):
            letters.append(str(unicodedata.decimal(letter, letter)))
    return unicodedata.normalize("NFKC", "".join("".join(letters).split()).casefold())


def image_keys(names: pd.Series) -> pd.Series:
    """Returns `image_key` of every name; see there.

    Args:
        names: Text `[n]`.

    Returns:
        Text `[n]` with the same row labels.
    """
    return names.map({name: image_key(name) for name in names.unique()}).astype(object)


def person_keys(identifiers: pd.Series) -> pd.Series:
    """Returns `person_key` of every identifier, and "" for zeros that stand for an unknown patient.

    `0` is a code like any other where records or tables number patients from 0. It stands for an unknown patient where
    other identifiers are not numbers, and where more than a tenth of the images have it, and more than twice as many as
    any other.

    Args:
        identifiers: Text `[n]`.

    Returns:
        Text `[n]` with the same row labels, "" where unknown.

    Examples:
        >>> person_keys(pd.Series(["0", "P1", "p1 ", "-1"])).tolist()
        ['', 'p1', 'p1', '']
        >>> person_keys(pd.Series(["0", "1", "1"] + [str(code) for code in range(2, 12)])).tolist()[:2]
        ['0', '1']
    """
    keys = identifiers.map({text: person_key(text) for text in identifiers.unique()}).astype(object)
    zero = keys == "0"
    if not zero.any():
        return keys
    others = keys[~zero & (keys != "")]
    most = others.value_counts().max() if len(others) else 0
    are_codes = others.str.fullmatch(r"\d+").all()
    is_large = zero.mean() > _LARGE_SHARE and zero.sum() > _LARGE_RATIO * most
    return keys if are_codes and not is_large else keys.mask(zero, "")


def image_digest(image: bytes) -> str:
    """Returns a text that is the same for images of equal bytes: the first half of their SHA-256's digits.

    Args:
        image: Bytes of the image file.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.sha256(image).hexdigest()[:_DIGEST_DIGITS]


def group_images(table: pd.DataFrame, pairs: pd.DataFrame | None = None) -> np.ndarray:
    """Groups the images that must be in one fold: of one patient, one lesion or one photograph, directly or in a chain.

    Args:
        table: DataFrame of text with `image_name` and any of `patient_id`, `lesion_id` and `image_digest`, "" where
            unknown.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`. They may name other images, which link those
            of the table too.

    Returns:
        int64 `[n]`, groups in order of first appearance, from 0 without gaps. An image about which nothing is known is
        a group of its own.

    Examples:
        >>> table = pd.DataFrame({
        ...     "image_name": ["ISIC_1", "ISIC_2", "ISIC_3", "ISIC_4", "isic_1.jpg"],
        ...     "patient_id": ["IP_1", "", "ip_1", "", ""],
        ...     "lesion_id": ["", "IL_1", "IL_1", "", ""],
        ... })
        >>> group_images(table).tolist()
        [0, 0, 0, 1, 0]
    """
    count = len(table)
    names = [image_keys(table["image_name"])]
    if pairs is not None:
        names += [image_keys(pairs[column]) for column in schema.PAIR_COLUMNS]
    # The rows are the first items; each photograph, patient, lesion and digest is one more, linked to its rows.
    photographs, distinct = pd.factorize(pd.concat(names))
    photographs = photographs + count
    links = [np.stack([np.arange(count), photographs[:count]], axis=1), photographs[count:].reshape(2, -1).T]
    columns = [person_keys(table[column]) for column in ("patient_id", "lesion_id") if column in table]
    if "image_digest" in table:
        columns.append(table["image_digest"])
    people, num_items = components.link_rows(columns, count + len(distinct))
    labels = components.label_components(np.concatenate([*links, people]), num_items)[:count]
    groups, _ = pd.factorize(labels)
    return groups.astype(np.int64)


def describe_merged(table: pd.DataFrame) -> list[str]:
    """Describes what the canonical form changed in a table, for a log.

    Args:
        table: See `group_images`.

    Returns:
        One line per fact: identifiers that stand for an unknown patient or lesion, spellings that were merged, a
        patient with more than a tenth of the images, and images of equal bytes; an empty list where there is nothing to
        say.
    """
    lines = []
    for column in ("patient_id", "lesion_id"):
        if column not in table:
            continue
        texts = table[column]
        keys = person_keys(texts)
        unknown = texts[(keys == "") & (texts != "")]
        if len(unknown):
            words = ", ".join(repr(text) for text in sorted(unknown.unique())[:5])
            lines.append(f"{len(unknown)} values of {column} ({words}) stand for an unknown one and count as blank")
        lines += describe_spellings(column, texts[keys != ""], keys[keys != ""])
        if column == "patient_id":
            lines += _describe_large(texts, keys)
    names = table["image_name"]
    lines += describe_spellings("image_name", names, image_keys(names))
    if "image_digest" in table:
        lines += _describe_copies(names, table["image_digest"])
    return lines


def _describe_large(patient_ids: pd.Series, keys: pd.Series) -> list[str]:
    """Describes the largest patient, where it has far more images than others."""
    counts = keys[keys != ""].value_counts()
    # An image of an unknown patient counts as a patient.
    sizes = [*counts, *[1] * (keys == "").sum()]
    if counts.empty:
        return []
    relative = max(_LARGE_SHARE * len(keys), _LARGE_RATIO * np.median(sizes))
    if counts.iloc[0] <= _LARGE_OF_FEW.get(len(sizes), relative):
        return []
    name = patient_ids[keys == counts.index[0]].iloc[0]
    remedy = "if this is not one person, leave patient_id blank there"
    return [f"patient {name!r} has {counts.iloc[0]} of {len(keys)} images; {remedy}"]


def _describe_copies(names: pd.Series, digests: pd.Series) -> list[str]:
    """Describes images of equal bytes."""
    copies = digests[(digests != "") & digests.duplicated(keep=False)]
    if copies.empty:
        return []
    example = names[digests == copies.iloc[0]]
    shown = " and ".join(repr(name) for name in example.iloc[:2])
    return [f"{len(copies)} images have equal bytes, of {copies.nunique()} photographs (for example {shown})"]


def describe_spellings(column: str, texts: pd.Series, keys: pd.Series) -> list[str]:
    """Describes keys that have several spellings.

    Args:
        column: Name of the column.
        texts: Text `[n]`, as given.
        keys: Text `[n]`, canonical forms.

    Returns:
        A line with the counts and an example; an empty list where no key has several spellings.
    """
    spellings = pd.DataFrame({"text": texts, "key": keys}).drop_duplicates()
    merged = spellings[spellings["key"].duplicated(keep=False)]
    if merged.empty:
        return []
    example = merged.loc[merged["key"] == merged["key"].iloc[0], "text"]
    shown = " and ".join(repr(text) for text in example.iloc[:2])
    return [f"{len(merged)} spellings of {column} are {merged['key'].nunique()} (for example {shown})"]


def log_merged(table: pd.DataFrame, source: str) -> None:
    """Logs `describe_merged`, each line with the name of the table.

    Args:
        table: See `group_images`.
        source: Path of the table.
    """
    for line in describe_merged(table):
        _LOG.warning(f"note: {source}: {line}")


def find_matches(names: Sequence[str] | pd.Series, others: Iterable[str]) -> np.ndarray:
    """Finds the names of photographs that are among others, whatever their spelling.

    Args:
        names: Text `[n]`, image names.
        others: Image names.

    Returns:
        bool `[n]`.

    Examples:
        >>> find_matches(["ISIC_0000001", "ISIC_0000002"], ["isic_1_downsampled.jpg"]).tolist()
        [True, False]
    """
    keys = {image_key(name) for name in others}
    return np.array([image_key(name) in keys for name in names], bool)
