"""Predicts a record set with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv
"""

import os

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from isic_tf import devices, metadata, model, pipeline, runs
from isic_tf import records as shards
from tfrecord_tools import command, schema


def predict(workdir, records, output, sample_submission, batch_size, threads, strategy, tpu):
    """Averages the probabilities of a run's folds and writes a prediction file, or a submission.

    Args:
        workdir: Run folder with at least one trained fold.
        records: Glob pattern of shards, or several separated by commas.
        output: CSV file to write: `image_name, prediction`, or `image_name, target` where a sample is given.
        sample_submission: CSV file whose names, in its order, the output must have; or None for the records' own.
        batch_size: Images in a step on one replica.
        threads: Images decoded at once; 0 for as many as there are cores.
        strategy: One of `devices.STRATEGIES`.
        tpu: See `devices.choose`.

    Raises:
        ValueError: There is no trained fold, no shard matches, a shard is corrupt, or the names are not the sample's.
    """
    paths = runs.fold_files(workdir, runs.BEST_WEIGHTS)
    run = runs.read_flags(workdir)
    if not paths:
        raise ValueError(f"expected a trained fold in {workdir}, found no fold*/{runs.BEST_WEIGHTS}; run isic_tf.train")
    for path in paths:
        if not runs.is_finished(os.path.dirname(path)):
            print(f"note: {path} is of a fold that is still in training")
    # Before the work, not after it: all that can fail on names and paths.
    if tf.io.gfile.isdir(output):
        raise ValueError(f"expected a file's name for --output, got the folder {output}")
    strategy = devices.choose(strategy, tpu)
    files = schema.match(records)
    fields = run.get("metadata", "")
    rows = shards.list_records(files, metadata.columns(fields))
    names = rows["image_name"].tolist()
    order = read_sample(sample_submission, names) if sample_submission else names
    image_size = int(run["image_size"])
    print(f"{len(names)} images in {len(files)} shards, {len(paths)} fold(s), {devices.describe(strategy)}", flush=True)
    with strategy.scope():
        models = [model.build(run["backbone"], image_size, path, **model.options(run)) for path in paths]
    batch_size *= devices.local_replicas(strategy)
    threads = threads or pipeline.count_cores()
    known = metadata.encode(rows, fields) if fields else None
    dataset = pipeline.eval_dataset(rows, image_size=image_size, batch_size=batch_size, threads=threads, known=known)
    found = {}
    with shards.explained(files), tqdm(total=len(names), unit="image", disable=None) as progress:
        for batch_names, probabilities in model.make_predictor(models, strategy)(dataset):
            found.update(zip(batch_names, probabilities, strict=True))
            progress.update(len(batch_names))
    if not devices.is_chief(strategy):
        return
    column = "target" if sample_submission else "prediction"
    table = pd.DataFrame({"image_name": order, column: np.array([found[name] for name in order])})
    command.write_text(output, table.to_csv(index=False))
    print(f"wrote {len(table)} predictions to {output}, mean {table[column].mean():.4f}")


def read_sample(path, names):
    """Reads a sample submission and checks that it asks for just the images that there are.

    Args:
        path: CSV with `image_name`.
        names: Names of the records.

    Returns:
        List of names in the sample's order.

    Raises:
        ValueError: A name comes twice, is missing from the records, or is extra there.
    """
    order = schema.read_table(path, ("image_name",))["image_name"].tolist()
    kinds = {
        "names twice in the sample": [name for name, count in pd.Series(order).value_counts().items() if count > 1],
        "missing from the records": sorted(set(order) - set(names)),
        "in the records but not in the sample": sorted(set(names) - set(order)),
    }
    problems = [f"{len(found)} {kind} ({', '.join(found[:3])})" for kind, found in kinds.items() if found]
    if problems:
        raise ValueError(f"the names of {path} and of the records differ: {'; '.join(problems)}; check --records")
    return order


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold; all its folds are averaged.")
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, prediction.")
    flags.DEFINE_string(
        "sample_submission", None, "Write a submission instead: image_name, target in this file's order."
    )
    flags.DEFINE_integer("batch_size", 32, "Images in a step on one replica.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)
    devices.define_flags()
    flags.adopt_module_key_flags(devices)
    flags.mark_flags_as_required(["workdir", "records", "output"])


if __name__ == "__main__":
    command.run(predict, define_flags)
