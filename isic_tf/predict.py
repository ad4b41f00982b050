"""Predicts records or image files with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv --tta=8

The same command again goes on where it was stopped.
"""

import os

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from isic_tf import (
    calibration,
    devices,
    files,
    listing,
    metadata,
    model,
    parts,
    patient_context,
    pipeline,
    runs,
    submission,
    together,
    unseen,
    views,
)
from isic_tf import records as shards
from tfrecord_tools import command, schema, storage

# Image files in a part.
_FILES = 256


def predict(
    workdir, records, images, csv, output, sample_submission, out_of_fold, tta, tta_policy, embeddings, calibrated,
    prevalence, seed, batch_size, threads, strategy, tpu,
):  # fmt: skip
    """Averages the probabilities of a run's folds and writes a prediction file, or a submission.

    Args:
        workdir: Run folder with at least one trained fold.
        records: Glob pattern of shards, or several separated by commas; or None.
        images: Folder of JPEG, PNG or DICOM files in place of records; or None.
        csv: CSV file of what the network sees beside image files, and of their patients; or None.
        output: CSV file to write: `image_name, prediction`, or `image_name, target` where a sample is given.
        sample_submission: CSV file whose names, in its order, the output must have; or None for the records' own.
        out_of_fold: Whether each image is shown only to the folds' networks that have not seen it or its patient.
        tta: Versions of each image, see `views.make_views`.
        tta_policy: One of `views.KINDS`.
        embeddings: NumPy archive to write too, see `parts.join_embeddings`; or None.
        calibrated: Whether to turn scores into probabilities by the run's `calibration.json`.
        prevalence: Share of malignant images where the predictions are to be used; None for that of the training.
        seed: Fixes the draws of `--tta_policy=training`.
        batch_size: Images in a step on one replica.
        threads: Images decoded at once; 0 for as many as there are cores.
        strategy: One of `devices.STRATEGIES`.
        tpu: See `devices.choose`.

    Raises:
        ValueError: There is no trained fold, no shard matches, a shard is corrupt, or the names are not the sample's.
    """
    if bool(records) == bool(images):
        raise ValueError("expected one of --records and --images")
    if prevalence is not None and not calibrated:
        raise ValueError("expected --calibrated with --prevalence, which corrects calibrated probabilities")
    run, paths = runs.read_network(workdir), runs.trained_folds(workdir)
    # Before the work, not after it: all that can fail on names and paths.
    for path in filter(None, (output, embeddings)):
        if tf.io.gfile.isdir(path):
            raise ValueError(f"expected a file's name for --output and --embeddings, got the folder {path}")
    scale = calibration.read(workdir) if calibrated else None
    view = views.make_views(tta, tta_policy, run, seed)
    strategy, threads = devices.choose(strategy, tpu), threads or pipeline.count_cores()
    rows, context = list_rows(records, images, csv, run), run.get("context") == "set"
    rows = rows.assign(networks=unseen.choose_networks(paths, rows, out_of_fold))
    # What is finished together: a shard, or a block of files, and the same networks.
    rows = rows.assign(part=pd.factorize(rows["networks"] + " " + rows["unit"].astype(str))[0])
    order = read_sample(sample_submission, rows["image_name"].tolist()) if sample_submission else None
    print(f"{len(rows)} images, {len(paths)} fold(s), {tta} version(s), {devices.describe(strategy)}", flush=True)
    if context:
        print(together.describe(rows), flush=True)
    chief = devices.is_chief(strategy)
    folder = f"{output}.parts" if chief else f"{output}.parts-of-another-worker"
    facts = (tta, tta_policy, seed, bool(embeddings), run, rows[["image_name", "shard", "networks"]].to_csv())
    done = parts.begin(folder, parts.digest(paths, *facts))
    reader = files.make_reader(rows, run["image_size"], run, threads) if images else None
    options = {"view": view if tta > 1 or tta_policy == "training" else None, "count": tta}
    options["embed"] = patient_context.SEEN if context else "pooled" if embeddings else ""
    left = rows[~rows["part"].isin(done)]
    with shards.explained(sorted(set(rows["shard"])) if records else []):
        networks = _predict_parts(left, len(rows), paths, run, strategy, options, reader, batch_size, threads, folder)
    if chief:
        table = parts.read(folder, rows["part"].unique())
        if context:
            table = together.judge_parts(folder, table, rows, networks)
        if embeddings:
            folds = [os.path.basename(os.path.dirname(path)) for path in paths]
            # Without the logit that the second stage sees besides.
            width = -1 if context else None
            parts.join_embeddings(folder, rows["part"].unique(), table["image_name"].tolist(), folds, embeddings, width)
        if out_of_fold:
            table = unseen.add_folds(table, rows, paths)
        table = table.set_index("image_name").loc[order or rows["image_name"]].reset_index()
        write(table, output, "target" if order else "prediction", scale, prevalence)
    storage.rmtree(folder)


def list_rows(records, images, csv, run):
    """Lists what is to be predicted, as rows for `pipeline.eval_dataset`, with `unit`: a shard, or a block of files."""
    fields, context = run.get("metadata", ""), run.get("context") == "set"
    if images:
        rows = files.add_patients(files.list_files(images, csv, fields), csv if context else None)
        return rows.assign(unit=rows.index // _FILES, known_target=schema.UNKNOWN)
    columns = metadata.columns(fields) + (["patient_id"] if context else [])
    rows = listing.list_records(schema.match(records), columns)
    if context:
        rows = rows.rename(columns={"patient_id": "patient_code"})
    labelled = rows["labelled"] & rows["shard"].map(os.path.basename).str.startswith("test")
    if labelled.any():
        print(f"note: {labelled.sum()} test records carry a label, which is not read; are these training records?")
    rows = listing.add_index(rows).assign(unit=rows["shard"])
    return listing.add_patients(rows) if context else rows


def _predict_parts(rows, total, paths, run, strategy, options, reader, batch_size, threads, folder):
    """Predicts rows, and writes each part once all of it is there; gives the networks of all folds."""
    with strategy.scope():
        networks = [model.build(run["backbone"], run["image_size"], path, **model.options(run)) for path in paths]
    fields, found = run.get("metadata", ""), {}
    # Each choice of networks has a graph of its own, which TensorFlow would take for a mistake.
    tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())
    missing = rows["part"].value_counts().to_dict()
    places = dict(zip(rows["image_name"], rows["part"], strict=True))
    with tqdm(total=total, initial=total - len(rows), unit="image", disable=None) as progress:
        for chosen, own in rows.groupby("networks", sort=False):
            kept = [network for network, digit in zip(networks, chosen, strict=True) if digit == "1"]
            dataset = pipeline.eval_dataset(
                own,
                image_size=run["image_size"],
                batch_size=batch_size * devices.local_replicas(strategy),
                threads=threads,
                known=metadata.encode(own, fields) if fields else None,
                images=reader,
            )
            for names, *values in model.make_predictor(kept, strategy, **options)(dataset):
                for name, *value in zip(names, *values, strict=True):
                    part = places[name]
                    found.setdefault(part, {})[name] = _spread(value, chosen)
                    if len(found[part]) == missing[part]:
                        _write_part(folder, part, rows, found.pop(part))
                progress.update(len(names))
    if found:
        raise ValueError(f"{sum(map(len, found.values()))} images came and others of their shards did not; index again")
    return networks


def _spread(value, chosen):
    """Puts the embeddings of the chosen networks in the places of all, NaN elsewhere."""
    probability, *embedding = value
    if not embedding:
        return probability, None
    whole = np.full((len(chosen), embedding[0].shape[-1]), np.nan, np.float32)
    whole[[digit == "1" for digit in chosen]] = embedding[0]
    return probability, whole


def _write_part(folder, part, rows, found):
    names = rows.loc[rows["part"] == part, "image_name"].tolist()
    values, embeddings = zip(*(found[name] for name in names), strict=True)
    table = pd.DataFrame({"image_name": names, "prediction": values})
    parts.write(folder, part, table, None if embeddings[0] is None else np.stack(embeddings))


def write(table, output, column, scale, prevalence):
    """Writes the prediction file, or the submission.

    Args:
        table: DataFrame of `image_name`, `prediction` and perhaps more.
        output: CSV file to write.
        column: Name of the predictions' column there.
        scale: See `calibration.read`, or None.
        prevalence: See `predict`.
    """
    if scale:
        table["prediction"] = calibration.apply(scale, table["prediction"].to_numpy(), prevalence)
    bad = table.loc[~table["prediction"].between(0, 1), "image_name"]
    if len(bad):
        raise ValueError(f"{len(bad)} predictions are no number from 0 to 1, that of {bad.iloc[0]} first")
    command.write_text(output, table.rename(columns={"prediction": column}).to_csv(index=False))
    print(f"wrote {len(table)} predictions to {output}, mean {table['prediction'].mean():.4f}")


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
    order = submission.read_order(path)
    problems = submission.find_problems(names, order)
    if problems:
        raise ValueError(f"the images are not those of {path}: {'; '.join(problems)}; check --records or --images")
    return order


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold; all its folds are averaged.")
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("images", None, "Folder of JPEG, PNG or DICOM files, in place of --records.")
    flags.DEFINE_string(
        "csv", None, "For --images: image_name, what the run's --metadata names, and patient_id for its --context=set."
    )
    flags.DEFINE_string("output", None, "CSV file to write: image_name, prediction.")
    flags.DEFINE_string(
        "sample_submission", None, "Write a submission instead: image_name, target in this file's order."
    )
    text = "Show an image only to the folds that have not seen it or its patient; adds the columns fold and target."
    flags.DEFINE_bool("out_of_fold", False, text)
    flags.DEFINE_integer("tta", 1, "Versions of each image whose probabilities are averaged.", 1, 1000)
    text = "Versions: symmetries of the square (8 at most), or draws of the training's augmentation."
    flags.DEFINE_enum("tta_policy", "dihedral", views.KINDS, text)
    flags.DEFINE_string("embeddings", None, "NumPy archive (.npz) of the pooled features of each fold, to write too.")
    flags.DEFINE_bool("calibrated", False, "Apply the run's calibration.json, see isic_tf.calibrate.")
    text = "With --calibrated: share of malignant images where the predictions are used, as 0.0176."
    flags.DEFINE_float("prevalence", None, text)
    flags.DEFINE_integer("seed", 0, "Fixes the draws of --tta_policy=training.", 0, 2**31 - 1)
    flags.DEFINE_integer("batch_size", 32, "Images in a step on one replica.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)
    devices.define_flags()
    flags.adopt_module_key_flags(devices)
    flags.mark_flags_as_required(["workdir", "output"])


if __name__ == "__main__":
    command.run(predict, define_flags)
