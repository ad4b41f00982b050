"""Starts a run from another run's weights, without letting them carry a held-out image across."""

import os

import pandas as pd

from isic_tf import backbones, mixture, model, runs
from tfrecord_tools import command, schema, storage

_SEEN_FILE = "seen_images.csv"


def find(init_from, fold):
    """Finds the folder of the weights that a fold starts from.

    Args:
        init_from: Run folder, of which each fold takes its own fold's weights; or the folder of one fold in it, or
            `full`, for all folds.
        fold: The fold to train; None for all images.

    Returns:
        Path of the fold's folder.

    Raises:
        ValueError: There are no trained weights.
    """
    init_from = init_from.rstrip("/")
    own = runs.fold_dir(init_from, fold)
    for folder in (own, init_from):
        # A run has figures of its own, of all its folds together.
        if runs.is_finished(folder) and storage.exists(os.path.join(folder, runs.BEST_WEIGHTS)):
            return folder
    there = [os.path.dirname(path) for path in runs.fold_files(init_from, runs.METRICS_FILE)]
    others = f"; there are {', '.join(there)}, and any of them may be named" if there else ""
    raise ValueError(
        f"expected --init_from to be a run with a finished {os.path.basename(own)}, got {init_from}{others}"
    )


def list_seen(plan, source=None):
    """Lists the images that a fold's weights are of, those of the weights that it starts from too.

    Args:
        plan: See `mixture.plan_fold`.
        source: See `origin`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text; "" where unknown or the set's own number).
    """
    seen = plan.rows[["image_name", "patient_id"]]
    # A set's own numbers would name other people in another set.
    own_number = seen["patient_id"].str.fullmatch(r"(\d+:)?-?\d+")
    seen = seen.assign(patient_id=seen["patient_id"].where(~own_number, ""))
    before = [read_seen(source)] if source else []
    return pd.concat([*before, seen]).drop_duplicates()


def read_seen(folder):
    """Reads what `write_seen` wrote."""
    return schema.read_table(os.path.join(folder, _SEEN_FILE), ("image_name", "patient_id"))


def write_seen(folder, seen):
    """Writes into a fold's folder what its weights are of, see `list_seen`."""
    command.write_text(os.path.join(folder, _SEEN_FILE), seen.to_csv(index=False))


def origin(source, weights):
    """Finds the folder that tells what the weights have seen that a fold starts from; None where nothing does.

    Args:
        source: See `find`, or None.
        weights: The flag `--weights`.
    """
    if source or weights in backbones.WEIGHTS:
        return source
    folder = os.path.dirname(weights)
    return folder if storage.exists(os.path.join(folder, _SEEN_FILE)) else None


def refuse_leaks(plan, source, pairs=None):
    """Raises a ValueError where the weights of a folder are of images or patients that a plan holds out.

    Args:
        plan: See `mixture.plan_fold`.
        source: See `origin`.
        pairs: See `schema.read_pairs`: images that show the same are as one; or None.
    """
    seen, held_out = read_seen(source), plan.held_out
    names, patients = mixture.linked(seen["image_name"], pairs), set(seen["patient_id"]) - {""}
    leaked = held_out["image_name"].isin(names) | held_out["patient_id"].isin(patients)
    if leaked.any():
        raise ValueError(
            f"the weights of {source} have seen {leaked.sum()} of the {len(held_out)} held-out images, their "
            f"duplicates or patients, {held_out.loc[leaked, 'image_name'].iloc[0]} first; give weights of a run with "
            "the same folds"
        )


def load(classifier, source, recipe):
    """Copies weights from another run: the backbone's, and the head's where it is of the same shape.

    Args:
        classifier: Keras model to change, in its strategy's scope.
        source: See `find`.
        recipe: Dict of the recipe's flags.

    Raises:
        ValueError: The other run has another backbone.
    """
    flags = runs.read_flags(os.path.dirname(source))
    if flags["backbone"] != recipe["backbone"]:
        raise ValueError(f"expected a run of {recipe['backbone']} for --init_from, {source} is of {flags['backbone']}")
    path = os.path.join(source, runs.BEST_WEIGHTS)
    # No layer's weights depend on the size of the image.
    other = model.build(flags["backbone"], recipe["image_size"], path, **model.options(flags))
    trunk, their_trunk = model.trunk_of(classifier), model.trunk_of(other)
    trunk.set_weights(their_trunk.get_weights())
    theirs = {layer.name: layer.get_weights() for layer in other.layers if layer is not their_trunk}
    fresh = []
    for layer in classifier.layers:
        weights = layer.get_weights()
        if layer is trunk or not weights:
            continue
        found = theirs.get(layer.name, [])
        if [part.shape for part in found] == [part.shape for part in weights]:
            layer.set_weights(found)
        else:
            fresh.append(layer.name)
    print(f"  starting from {path}" + (f", but for {', '.join(fresh)}" if fresh else ""), flush=True)
