"""Builds a TFRecord set from a folder of JPEG or PNG files and a table.

python -m tfrecord_tools.build --csv=train.csv --images=jpeg --output=records/512 --image_size=512
python -m tfrecord_tools.build --csv=test.csv --images=jpeg --output=records/512 --image_size=512 --split=test
"""

import hashlib
import os

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags

from tfrecord_tools import command, images, index, schema, shards, tables


def patient_codes(patient_ids):
    """Gives each patient's integer in the records: int64 `[n]` in order of first appearance, -1 where blank."""
    return pd.factorize(patient_ids.replace("", None))[0]


def to_records(rows, paths, split, image_size, quality):
    """Turns rows of a table into serialized records.

    Args:
        rows: DataFrame of text with a column `patient_code` of int64.
        paths: Dict from image name to the path of its file.
        split: `train` or `test`.
        image_size: Side in pixels.
        quality: JPEG quality, 1 to 100.

    Returns:
        Function from a row's position to bytes; safe to call from several threads.
    """
    columns = [column for column in tables.CODED[split] if column in rows]
    coded = {column: [schema.encode(column, value) for value in rows[column]] for column in columns}
    names, codes = rows["image_name"].tolist(), rows["patient_code"].tolist()

    def convert(row):
        path = paths[names[row]]
        with tf.io.gfile.GFile(path, "rb") as file:
            image = images.decode(file.read(), path)
        integers = {column: values[row] for column, values in coded.items()}
        jpeg = images.encode(images.resize(image, image_size), quality)
        height, width = image.shape[:2]
        return schema.to_example(jpeg, names[row], patient_id=codes[row], width=width, height=height, **integers)

    return convert


def build(csv, images, output, split, image_size, num_shards, num_folds, folds, quality, workers):
    """Builds one split of a record set; the same input gives the same bytes.

    Args:
        csv: Table with `image_name`, `patient_id`, in a training split `target`, and the competition's other columns.
        images: Folder of JPEG or PNG files named like `image_name`, in it or in its folder named like the split.
        output: Folder to write.
        split: `train` (labelled, in folds) or `test` (neither).
        image_size: Side of the square images in pixels.
        num_shards: Number of shards at the most.
        num_folds: Number of folds, where `folds` is None.
        folds: CSV file of `image_name` and `fold` to use instead; or None.
        quality: JPEG quality, 1 to 100.
        workers: Number of threads.

    Raises:
        ValueError: All that is wrong with the table, together; or an image cannot be decoded.
    """
    if folds and split != "train":
        raise ValueError(f"--folds goes with --split=train, got --split={split}")
    table = schema.read_table(csv, ())
    paths = tables.find_images(images, split)
    if problems := tables.find_problems(table, split, paths):
        raise ValueError("; ".join([f"{csv} does not fit {images}", *problems]))
    shards.refuse_foreign(output, split)
    tables.note_unknown_categories(table, split)
    table["patient_code"] = patient_codes(table["patient_id"])
    fold_table = schema.read_table(folds, ("image_name", "fold")) if folds else None
    rows = shards.plan(table, num_shards, num_folds if split == "train" else 0, fold_table)
    convert = to_records(rows, {name: found[0] for name, found in paths.items()}, split, image_size, quality)
    entries, in_place = shards.write(rows, convert, output, split, workers)
    # The manifest goes first: with it, a run that is killed from here on can be repeated in the same folder.
    with in_place:
        _describe(rows, entries, output, split, csv, image_size, quality)
        shards.remove_others(output, split, entries)
    patients = rows["patient_id"].nunique()
    print(f"{split}: {len(rows)} records of {patients} patients in {len(entries)} shards in {output}")


def _describe(rows, entries, output, split, csv, image_size, quality):
    with tf.io.gfile.GFile(csv, "rb") as file:
        source = {"csv": os.path.basename(csv), "sha256": hashlib.sha256(file.read()).hexdigest()}
    facts = {"image_size": image_size, "resize": "stretch", "quality": quality, "source": source}
    index.write_manifest(output, split, entries, **facts)
    listed = rows.assign(
        shard=[entries[shard]["name"] for shard in rows["shard"]],
        position=np.concatenate([np.arange(entry["records"]) for entry in entries]),
        target=[schema.encode("target", target) for target in rows["target"]] if split == "train" else "",
        fold=rows["fold"] if split == "train" else "",
    )
    index.write_index(output, split, listed)


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Table with image_name, patient_id, target and the competition's other columns.")
    flags.DEFINE_string("images", None, "Folder of JPEG or PNG files, in it or in its folder named like --split.")
    flags.DEFINE_string("output", None, "Folder of the record set.")
    flags.DEFINE_enum("split", "train", ["train", "test"], "A train split has labels and folds, a test split neither.")
    flags.DEFINE_integer("image_size", 1024, "Side of the square images, pixels.", 8, 8192)
    flags.DEFINE_integer("num_shards", 15, "Number of shards at the most, split evenly between the folds.", 1, 100)
    flags.DEFINE_integer("num_folds", 5, "Number of folds.", lower_bound=2)
    flags.DEFINE_string("folds", None, "CSV with image_name and fold to use instead of --num_folds.")
    flags.DEFINE_integer("quality", 95, "JPEG quality.", 1, 100)
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Images in work at once.", lower_bound=1)
    flags.mark_flags_as_required(["csv", "images", "output"])


if __name__ == "__main__":
    command.run(build, define_flags)
