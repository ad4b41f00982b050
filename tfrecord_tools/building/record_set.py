"""Describes a record set that was built or indexed."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordSet:
    """One split of a record set on disk, as `build_record_set` and `index_record_set` return it.

    Attributes:
        directory: Directory with the shards, `{split}.manifest.json` and `{split}.index.csv`.
        split: `train` or `test`.
        records: Number of records.
        shards: Paths of the shards, in order.
        skipped: Names of the images that could not be read (with `--on_error=skip`), in order of their shards.

    Examples:
        >>> found = RecordSet(directory="records", split="train", records=2071, shards=("records/train00-2071.tfrec",))
        >>> found.records, found.skipped
        (2071, ())
    """

    directory: str
    split: str
    records: int
    shards: tuple[str, ...]
    skipped: tuple[str, ...] = ()
