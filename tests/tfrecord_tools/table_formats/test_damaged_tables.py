"""A thousand damaged tables of the published formats: each ends in a right table, or in one clear line."""

import csv
import io
import random

import pytest
from table_makers import make_raw

from tfrecord_tools import errors
from tfrecord_tools.table_formats import diagnoses, normalization, table_format
from tfrecord_tools.table_formats.config import TablesConfig

COUNT = 1000
WORDS = ("melanoma", "nevus", "basal cell carcinoma", "seborrheic keratosis")
SEXES, AGES = ("male", "female", ""), ("45", "60.0", "unknown")
CONFIG = TablesConfig(tables=("none.csv",), policy="malignant", indeterminate="benign")
FORMATS = [each for each in table_format.list_published().values() if each.joins == "image"]


def write_cells(each):
    """A header and four rows of a format, with a value that fits in every column."""
    header = list(dict.fromkeys([*each.recognized_by, *each.used_columns]))
    if each.header:
        header = list(each.header)
    purposes = {name: column for column, names in each.columns.items() for name in names}
    words = [word for word, found in each.diagnoses.items() if found] or list(WORDS)
    rows = []
    for row in range(4):
        cells = []
        for name in header:
            if name in each.images or purposes.get(name) == "image_name":
                cells.append(f"ISIC_{len(cells)}00{row}")
            elif name in each.classes:
                cells.append("1" if list(each.classes).index(name) == row % len(each.classes) else "0")
            elif each.target and name == each.target.column:
                cells.append(find_target(each, words, row))
            else:
                cells.append(fill(purposes.get(name), words, row))
        rows.append(cells)
    return header, rows


def find_target(each, words, row):
    """The text of the target that the diagnosis of the row has."""
    word = words[row % len(words)]
    finding = each.diagnoses.get(word) or diagnoses.find_diagnosis(word)
    target = str(row % 2) if each.classes else diagnoses.to_target(finding, "malignant", "benign")
    return next(text for text, value in reversed(each.target.values.items()) if value == target)


def fill(column, words, row):
    if column == "sex":
        return SEXES[row % 3]
    if column == "age_approx":
        return AGES[row % 3]
    if column == "diagnosis":
        return words[row % len(words)]
    return {"anatom_site_general_challenge": "torso", "image_type": "dermoscopic"}.get(column, f"X_{row // 2}")


def write(each, header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(([] if each.header else [header]) + rows)
    return make_raw(*text.getvalue().splitlines())


def damage(rng, header, rows):
    """Renames, drops, doubles, shuffles or blanks columns, one to three times."""
    header, columns = list(header), [list(cells) for cells in zip(*rows, strict=True)]
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(header))
        kind = rng.choice(["rename", "respell", "drop", "double", "contradict", "shuffle", "blank"])
        if kind == "rename":
            header[place] = rng.choice(["x", "", "diagnosis", "sex", f"{header[place]}_2"])
        elif kind == "respell":
            header[place] = rng.choice([str.upper, str.title, lambda name: f" {name} "])(header[place])
        elif kind == "drop" and len(header) > 1:
            del header[place], columns[place]
        elif kind == "double":
            header.append(header[place])
            columns.append(columns[place])
        elif kind == "contradict":
            header.append(header[place])
            columns.append(columns[place][::-1])
            # Were the first of the two made blank now, nothing could tell that the second is wrong.
            break
        elif kind == "shuffle":
            order = rng.sample(range(len(header)), len(header))
            header, columns = [header[k] for k in order], [columns[k] for k in order]
        elif kind == "blank":
            columns[place] = [""] * len(columns[place])
    return header, [list(cells) for cells in zip(*columns, strict=True)]


def read(each, header, rows):
    """The rows of the normalized table by image name."""
    table, _ = normalization.normalize([write(each, header, rows)], CONFIG)
    found = {row["image_name"]: row for row in table.to_dict("records")}
    assert len(found) == len(table)
    return found


def try_to_read(each, header, rows):
    """The table, or None and the error."""
    try:
        return read(each, header, rows), ""
    except errors.IsicError as error:
        return None, str(error)


def test_a_damaged_table_is_read_right_or_refused_in_one_line():
    rng = random.Random(0)
    tables = [(each, *write_cells(each)) for each in FORMATS]
    right = [(each, header, rows, read(each, header, rows)) for each, header, rows in tables]
    outcomes = {"read": 0, "refused": 0}
    for number in range(COUNT):
        each, header, rows, expected = right[number % len(right)]
        damaged = damage(rng, header, rows)
        found, message = try_to_read(each, *damaged)
        outcomes["read" if found is not None else "refused"] += 1
        if found is not None:
            check(found, expected, (each.name, damaged))
        assert "\n" not in message
        assert len(message) < 1500
    assert min(outcomes.values()) > COUNT / 10, outcomes


def check(found, expected, case):
    """Every value that a damaged table still gives is that of the whole table."""
    assert set(found) <= set(expected), case
    for name, row in found.items():
        for column in ("target", "sex", "age_approx", "anatom_site_general_challenge"):
            # A blank may be filled in from the second column of that name.
            values = {row.get(column, ""), expected[name].get(column, "")} - {""}
            assert len(values) < 2, (column, case)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_a_whole_table_of_each_format_is_recognized(each):
    table = read(each, *write_cells(each))
    assert len(table) >= 1
    assert all(diagnoses.find_diagnosis(word) for word in WORDS)
