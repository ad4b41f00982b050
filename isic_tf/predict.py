"""Predicts records or image files with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv --tta=8

The same command again goes on where it was stopped.
"""

import contextlib
import os

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from isic_tf import (
    blends,
    calibration,
    devices,
    files,
    lesions,
    listing,
    metadata,
    model,
    parts,
    patient_context,
    pipeline,
    provenance,
    runs,
    second_stage,
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
    prevalence, context, seed, batch_size, threads, strategy, tpu,
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
        context: Folder of a second stage by `isic_tf.context` that judges a patient's images together; or None.
        seed: Fixes the draws of `--tta_policy=training`.
        batch_size: Images in a step on one replica.
        threads: Images decoded at once; 0 for as many as there are cores.
        strategy: One of `devices.STRATEGIES`.
        tpu: See `devices.choose`.

    Raises:
        ValueError: There is no trained fold, no shard matches, a shard or file is corrupt, a test record is labelled,
            or the names are not the sample's.
    """
    _check_flags(records, images, csv, out_of_fold, calibrated, prevalence, context)
    run, paths = runs.read_network(workdir), runs.trained_folds(workdir)
    # Before the work, not after it: all that can fail on names and paths.
    for path in filter(None, (output, embeddings)):
        if tf.io.gfile.isdir(path):
            raise ValueError(f"expected a file's name for --output and --embeddings, got the folder {path}")
    scale = calibration.read(workdir) if calibrated else None
    stage = _read_stage(context) if context else None
    view = views.make_views(tta, tta_policy, run, seed)
    strategy = devices.choose(strategy, tpu, {"records": records}, {"images": images})
    threads = threads or pipeline.count_cores()
    bags = run.get("context") == "set"
    rows = list_rows(records, images, csv, run, stage)
    rows = rows.assign(networks=unseen.choose_networks(paths, rows, out_of_fold))
    # What is finished together: a shard, or a block of files, and the same networks.
    rows = rows.assign(part=pd.factorize(rows["networks"] + " " + rows["unit"].astype(str))[0])
    order = read_sample(sample_submission, rows["image_name"].tolist()) if sample_submission else None
    print(f"{len(rows)} images, {len(paths)} fold(s), {tta} version(s), {devices.describe(strategy)}", flush=True)
    if calibrated:
        _note_calibration(scale, rows, tta)
    if bags or stage:
        print(together.describe(rows), flush=True)
    chief, folder = devices.is_chief(strategy), _parts_folder(output, strategy)
    options = {"view": view if tta > 1 or tta_policy == "training" else None, "count": tta}
    looks = bool(embeddings or (stage and stage.looks))
    options["embed"] = patient_context.SEEN if bags else "pooled" if looks else ""
    facts = (tta, tta_policy, seed, options["embed"], *_describe_inputs(run, rows, tta_policy))
    done = parts.begin(folder, parts.digest(paths, *facts))
    reader = files.open_reader(rows, run["image_size"], run, threads) if images else contextlib.nullcontext()
    left = rows[~rows["part"].isin(done)]
    with shards.explained(sorted(set(rows["shard"])) if records else []), reader as read:
        networks = _predict_parts(left, len(rows), paths, run, strategy, options, read, batch_size, threads, folder)
    if chief:
        table = parts.read(folder, rows["part"].unique())
        if bags:
            table = together.judge_parts(folder, table, rows, networks)
        # Without the logit that the set head sees besides.
        width = -1 if bags else None
        if stage:
            table = _judge_again(stage, table, rows, folder, width)
        if embeddings:
            folds = [os.path.basename(os.path.dirname(path)) for path in paths]
            parts.join_embeddings(folder, rows["part"].unique(), table["image_name"].tolist(), folds, embeddings, width)
        if out_of_fold:
            table = unseen.add_folds(table, rows, paths)
        table = table.set_index("image_name").loc[order or rows["image_name"]].reset_index()
        used = bags or bool(stage and stage.patient_context)
        facts = {"folds": len(paths), "tta": tta, "calibrated": calibrated}
        provenance.write(output, patient_context=used, made_by="isic_tf.predict", **facts)
        write(table, output, "target" if order else "prediction", scale, prevalence)
    storage.rmtree(folder)


def _check_flags(records, images, csv, out_of_fold, calibrated, prevalence, context):
    if bool(records) == bool(images):
        raise ValueError("expected one of --records and --images")
    if csv and records:
        raise ValueError("expected --csv with --images alone; records hold what the network sees, so leave it out")
    if prevalence is not None and not calibrated:
        raise ValueError("expected --calibrated with --prevalence, which corrects calibrated probabilities")
    calibration.refuse_prevalence(prevalence)
    if context and calibrated:
        raise ValueError("expected --context without --calibrated: the second stage gives probabilities itself")
    if context and out_of_fold:
        raise ValueError("expected --context without --out_of_fold: isic_tf.context --oof writes those")


def _read_stage(folder):
    stage = second_stage.load(folder)
    if stage.files != 1:
        remedy = "predict with each, then give the files to isic_tf.context --predictions"
        raise ValueError(f"{folder} was fitted on {stage.files} runs, here is one: {remedy}")
    return stage


def _judge_again(stage, table, rows, folder, width):
    """Replaces predictions by those of a second stage; gives those of the first as `stage_one`."""
    own = rows.set_index("image_name").loc[table["image_name"]].reset_index()
    looks = parts.read_embeddings(folder, rows["part"].unique())[..., :width] if stage.looks else None
    given = lesions.gather(blends.logits(table[["prediction"]].to_numpy()), own["patient_id"], own, looks)
    return table.assign(stage_one=table["prediction"], prediction=second_stage.apply(stage, given))


def _note_calibration(scale, rows, tta):
    """Says where calibrated predictions look better than they are, or are of other scores than were calibrated."""
    held_out = rows["networks"].str.contains("0").sum()
    if held_out:
        print(
            f"note: out-of-fold predictions of {held_out} images are what calibrations are fitted to, so calibrated "
            "they flatter; isic_tf.calibrate prints how good they are on other patients"
        )
    if tta > 1 and calibration.is_of_training(scale):
        print(
            f"note: the calibration is that of one version an image, these are means of {tta}; predict --out_of_fold "
            "with the same --tta gives what isic_tf.calibrate --oof fits one to"
        )


def _parts_folder(output, strategy):
    """Gives the folder of this process's parts; says where others predict the same."""
    if devices.is_alone(strategy):
        return f"{output}.parts"
    print(f"note: each of {devices.count_workers()} workers predicts all images; the first writes them")
    number = strategy.cluster_resolver.task_id
    return f"{output}.parts" if devices.is_chief(strategy) else f"{output}.parts-of-worker-{number}"


def _describe_inputs(run, rows, tta_policy):
    """Lists what else than weights and flags a part depends on: with any of it changed, parts are made anew."""
    policy = views.read_policy(run) if tta_policy == "training" else None
    # Metadata are in the rows. Of what is read later, the image bytes, size and time of change must do.
    sources = rows["path"] if "path" in rows else rows["shard"].unique()
    return run, policy, rows.to_csv(), parts.stamps(sources)


def list_rows(records, images, csv, run, stage=None):
    """Lists what is to be predicted, as rows for `pipeline.eval_dataset`, with `unit`: a shard, or a block of files."""
    fields, with_patients = run.get("metadata", ""), run.get("context") == "set" or bool(stage)
    if images:
        rows = files.add_patients(files.list_files(images, csv, fields), csv, lesions.COLUMNS if stage else ())
        return rows.assign(unit=rows.index // _FILES, known_target=schema.UNKNOWN)
    # What the second stage sees goes beyond what the network does.
    columns = list(lesions.COLUMNS) if stage else metadata.columns(fields)
    rows = listing.list_records(schema.match(records), columns + (["patient_id"] if with_patients else []))
    if with_patients:
        rows = rows.rename(columns={"patient_id": "patient_code"})
    labelled = rows["labelled"] & rows["shard"].map(os.path.basename).str.startswith("test")
    if labelled.any():
        raise ValueError(
            f"expected no label in test records, {labelled.sum()} have one, {rows.loc[labelled, 'image_name'].iloc[0]} "
            "first; name shards of training records train*, or rebuild them with tfrecord_tools.build --split=test"
        )
    rows = listing.add_index(rows).assign(unit=rows["shard"])
    return listing.add_patients(rows) if with_patients else rows


def _predict_parts(rows, total, paths, run, strategy, options, reader, batch_size, threads, folder):
    """Predicts rows, and writes each part once all of it is there; gives the networks of all folds."""
    # Workers make variables together, each whatever it has left; a second stage is asked when all parts are there.
    if rows.empty and devices.is_alone(strategy) and run.get("context") != "set":
        return []
    with strategy.scope():
        networks = [model.build(run["backbone"], run["image_size"], path, **model.options(run)) for path in paths]
    fields, found = run.get("metadata", ""), {}
    # Each choice of networks has a graph of its own, which TensorFlow would take for a mistake.
    tf.get_logger().addFilter(_is_no_retracing)
    members = rows.groupby("part")["image_name"].agg(list)
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
                    if len(found[part]) == len(members[part]):
                        _write_part(folder, part, members[part], found.pop(part))
                progress.update(len(names))
    if found:
        raise ValueError(f"{sum(map(len, found.values()))} images came and others of their shards did not; index again")
    return networks


def _is_no_retracing(record):
    return "retracing" not in record.getMessage()


def _spread(value, chosen):
    """Puts the embeddings of the chosen networks in the places of all, NaN elsewhere."""
    probability, *embedding = value
    if not embedding:
        return probability, None
    whole = np.full((len(chosen), embedding[0].shape[-1]), np.nan, np.float32)
    whole[[digit == "1" for digit in chosen]] = embedding[0]
    return probability, whole


def _write_part(folder, part, names, found):
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
    table = table.drop(columns="stage_one", errors="ignore") if column == "target" else table
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
        "csv", None, "For --images: image_name, what the run's --metadata names, and perhaps patient_id."
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
    text = "Folder of a second stage by isic_tf.context: judges each image beside the patient's others; adds stage_one."
    flags.DEFINE_string("context", None, text)
    flags.DEFINE_integer("seed", 0, "Fixes the draws of --tta_policy=training.", 0, 2**31 - 1)
    flags.DEFINE_integer("batch_size", 32, "Images in a step on one replica.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)
    devices.define_flags()
    flags.adopt_module_key_flags(devices)
    flags.mark_flags_as_required(["workdir", "output"])


if __name__ == "__main__":
    command.run(predict, define_flags)
