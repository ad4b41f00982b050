"""Fits the patient-context stage on out-of-fold predictions, or applies a fitted one."""

import numpy as np
import pandas as pd

from isic_tf.artifacts import embedding_archive, prediction_files, prediction_sidecar, submission_format
from isic_tf.distribution import strategies
from isic_tf.metrics import logit
from isic_tf.patient_context import context_ablation, lesion_features, second_stage
from isic_tf.postprocessing import ensemble_predictions, out_of_fold
from tfrecord_tools.io import csv_tables

_PERMUTATIONS = {"boost": 10, "set": 1}


def run_context(
    oof, predictions, metadata, embeddings, method, no_patient_context, join, permutations, seed, model_dir, output,
    sample_submission, strategy, tpu,
):  # fmt: skip
    """Fits a second stage and writes its honest out-of-fold predictions, or applies one to other patients.

    Args:
        oof: Out-of-fold files of stage one, to fit on; or None.
        predictions: Prediction files of the same models, to apply `model_dir` to; or None.
        metadata: CSV file with `image_name` and `patient_id`, to fit also `target`; and age, sex and site where known.
        embeddings: NumPy archive that `predict --embeddings` wrote of these images; or None.
        method: One of `second_stage.METHODS`.
        no_patient_context: Whether to judge by score and metadata alone.
        join: See `prediction_files.join_by_name`.
        permutations: How often to judge again with shuffled patients; None for 10 times, once for `set`.
        seed: Fixes what is drawn.
        model_dir: Folder of the second stage, to write or to apply; or None not to keep it.
        output: CSV file to write: `image_name, prediction, stage_one`, and `fold, target` out of fold.
        sample_submission: CSV file whose names, in its order, the output must have, as `image_name, target`; or None.
        strategy: One of `strategies.STRATEGIES`, that `set` is trained under.
        tpu: See `strategies.choose_strategy`.

    Raises:
        ValueError: Flags do not go together, a file is damaged, or names do not fit.
    """
    if bool(oof) == bool(predictions):
        raise ValueError("expected --oof to fit a second stage on, or --predictions to apply --model_dir to")
    if predictions and not model_dir:
        raise ValueError("expected --model_dir with --predictions: the folder that a call with --oof wrote")
    if oof and sample_submission:
        raise ValueError("--sample_submission is for --predictions; out-of-fold predictions are no submission")
    if no_patient_context and method != "boost":
        raise ValueError(f"--method={method} judges by the patient's others; without them give --method=boost")
    if predictions:
        apply(predictions, metadata, embeddings, join, model_dir, output, sample_submission)
        return
    known = out_of_fold.read(oof, metadata, join)
    for note in known.notes:
        print(f"note: {note}")
    given = gather(known.names, logit.logits(known.scores), metadata, embeddings)
    count = _PERMUTATIONS.get(method, 0) if permutations is None else permutations
    strategy = strategies.choose_strategy(strategy, tpu) if method == "set" else None
    found, figures = context_ablation.evaluate_gain(known, given, method, not no_patient_context, count, seed, strategy)
    if model_dir:
        stage = second_stage.fit(method, given, known.targets, not no_patient_context, seed, strategy)
        second_stage.save(stage, model_dir, figures)
        print(f"wrote the second stage to {model_dir}; predict --context applies it")
    columns = {"prediction": found, "stage_one": known.scores.mean(axis=1), "fold": known.folds}
    table = pd.DataFrame({"image_name": known.names, **columns, "target": known.targets})
    write(table, output, method, not no_patient_context, oof)


def apply(predictions, metadata, embeddings, join, model_dir, output, sample_submission):
    """Applies a second stage to prediction files; see `context`."""
    stage = second_stage.load(model_dir)
    names, scores = ensemble_predictions.read_scores(predictions, join)
    order = submission_format.match_sample(names, sample_submission) if sample_submission else names
    given = gather(names, logit.logits(scores), metadata, embeddings)
    found = second_stage.apply(stage, given)
    table = pd.DataFrame({"image_name": names, "prediction": found, "stage_one": scores.mean(axis=1)})
    if sample_submission:
        table = table.set_index("image_name").loc[order, ["prediction"]].reset_index()
        table = table.rename(columns={"prediction": "target"})
    write(table, output, stage.method, stage.patient_context, predictions)


def write(table, output, method, patient_context, stage_one):
    """Writes a prediction file and its sidecar, which tells whether the patients' other images had a part."""
    # What stage one looked at counts too.
    used = patient_context or prediction_sidecar.used_patient_context(stage_one)
    prediction_files.write_predictions(output, table, patient_context=used, made_by="isic_tf.context", method=method)
    said = {True: "the patients' other images had a part in it", False: "no other image of a patient had a part in it"}
    print(said.get(used, "no other image of a patient was used here; whether stage one did, no sidecar beside it says"))


def gather(names, logits, metadata, embeddings):
    """Reads what is known of the images, in their order.

    Args:
        names: Images, `[n]`.
        logits: Float `[n, files]`.
        metadata: See `context`.
        embeddings: See `context`.

    Returns:
        `lesion_features.Lesions`.

    Raises:
        ValueError: The table or the archive lacks an image.
    """
    table = csv_tables.read_table(metadata, ("image_name", "patient_id"))
    csv_tables.refuse_repeats(metadata, table, "hold")
    place = pd.Index(table["image_name"], dtype=object).get_indexer(names)
    if (place < 0).any():
        first = names[np.argmax(place < 0)]
        raise ValueError(f"{(place < 0).sum()} images are not in {metadata}, {first} first; check --metadata")
    rows = table.iloc[place].reset_index(drop=True)
    absent = [name for name in lesion_features.COLUMNS if name not in rows]
    if absent:
        print(f"note: {metadata} has no {', '.join(absent)}; judged without")
    features = embedding_archive.read_embeddings(embeddings, names) if embeddings else None
    return lesion_features.gather(logits, rows["patient_id"], rows, features)
