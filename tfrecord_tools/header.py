"""The first line of other people's tables: separators that are no commas, names in capitals."""

import io

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}


def refuse_separators(path, content, columns):
    """Refuses a table whose columns would be there if it were not for the separator.

    Args:
        path: The file, for the message.
        content: Its bytes.
        columns: Names that must be there.

    Raises:
        ValueError: The separator is no comma.
    """
    first = io.BytesIO(content).readline().decode("utf-8-sig", "replace").replace('"', "").casefold()
    for separator, name in _SEPARATORS.items():
        found = {part.strip() for part in first.split(separator)}
        if columns and "," not in first and len(found) > 1 and {column.casefold() for column in columns} <= found:
            raise ValueError(
                f"{path} is separated by {name}, expected commas: save it as a comma-separated table (CSV)"
            )


def spell(found, known):
    """Spells the columns of a table as they are known, whatever their capitals, unless two would get one name.

    Args:
        found: Names of a table's columns.
        known: Names as they are known.

    Returns:
        List of names, as many as `found`.
    """
    spelling = {name.casefold(): name for name in known}
    names = [spelling.get(name.casefold(), name) for name in found]
    return [name if names.count(name) == 1 else old for old, name in zip(found, names, strict=True)]
