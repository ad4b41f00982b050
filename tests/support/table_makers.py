"""Tables and formats in memory, for the tests of table formats."""

from tfrecord_tools.table_formats import normalized_table, raw_table, table_format


def make_raw(*lines, path="a.csv"):
    """A table of lines, the first of them the header."""
    return raw_table.make_raw(path, "\n".join([*lines, ""]).encode())


def make_format(**fields):
    """A format, by default of a table with the columns image and dx."""
    default = {"name": "clinic", "columns": {"image_name": "image", "diagnosis": "dx", "lesion_id": "lesion"}}
    return table_format.parse_format("clinic.yaml", default | fields)


def normalize(*lines, path="a.csv", keep=(), **fields):
    """The rows of a table in such a format."""
    return normalized_table.normalize_table(make_raw(*lines, path=path), make_format(**fields), keep)
