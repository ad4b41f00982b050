"""Shows on an image what speaks for melanoma in the eyes of a run's networks: Grad-CAM.

python -m isic_tf.explain --workdir=runs/b0 --records='records/384/train*.tfrec' --output=explained.png

An image is explained by the folds that have not been trained on it. A map says where, not how much: its greatest value
is 1 on every image, however sure the network is.
"""

import itertools
import os
import typing

import numpy as np
import tensorflow as tf
from absl import flags

from isic_tf import augment, listing, metadata, model, patient_context, runs, show, targets, unseen
from tfrecord_tools import command, schema, storage

# Inches of a picture on the sheet, which is drawn at 100 dots an inch.
_SIDE = 1.9
_BATCH_SIZE = 8
_LABELS = {schema.UNKNOWN: "no label", 0: "benign", 1: "malignant"}


class Explanation(typing.NamedTuple):
    """What `explain_rows` finds, in the order of the rows."""

    images: np.ndarray  # uint8 [n, S, S, 3], what the networks saw
    maps: np.ndarray  # float32 [n, S, S] in [0, 1]
    probabilities: np.ndarray  # float32 [n], malignant
    seen: np.ndarray  # bool [n], whether every network has been trained on the image, or may have been


def gradcam(classifier, images, known=None):
    """Computes Grad-CAM maps (Selvaraju et al., ICCV 2017) of the malignant logit at the backbone's last convolution.

    A channel weighs as much as the logit's gradient, the mean over all places; what is negative is cut off.

    Args:
        classifier: Keras model, see `model.build`; with any backbone and head.
        images: uint8 `[n, S, S, 3]`.
        known: float32 `[n, m]`, see `metadata.encode`; None where the classifier sees no metadata.

    Returns:
        float32 `[n, h, w]`, 0 or more, in units of the logit, at the resolution of the features (see `enlarge`); and
        malignant logits, float32 `[n]`.
    """
    body, head = split(classifier)
    found = []
    for start in range(0, len(images), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        features = body(augment.as_float(tf.constant(images[part])), training=False)
        # Only the head is recorded, so that the backbone's activations need not be kept.
        with tf.GradientTape() as tape:
            tape.watch(features)
            inputs = features if known is None else [features, tf.constant(known[part])]
            logits = targets.malignant_logit(head(inputs, training=False))
        weights = tf.reduce_mean(tape.gradient(logits, features), axis=[1, 2], keepdims=True)
        found.append((tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy(), logits.numpy()))
    maps, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return maps, logits


def split(classifier):
    """Cuts a classifier behind its backbone into two Keras models: of images, and of features and metadata."""
    features = model.trunk_of(classifier).get_output_at(-1)
    image, *known = classifier.inputs
    head = tf.keras.Model([features, *known] if known else features, classifier.output)
    return tf.keras.Model(image, features), head


def enlarge(maps, image_size):
    """Brings maps to the images' resolution and their range to [0, 1].

    Args:
        maps: float32 `[n, h, w]`, 0 or more.
        image_size: Side S in pixels.

    Returns:
        float32 `[n, S, S]` in [0, 1], the greatest value of each 1; all 0 where nothing speaks for melanoma.
    """
    large = tf.image.resize(maps[..., np.newaxis], [image_size, image_size], "bilinear")[..., 0].numpy()
    greatest = large.max(axis=(1, 2), keepdims=True)
    return np.divide(large, greatest, out=np.zeros_like(large), where=greatest > 0)


def overlay(images, maps):
    """Lays maps over grey versions of the images, the more opaque the more speaks for melanoma.

    Args:
        images: uint8 `[n, S, S, 3]`.
        maps: float32 `[n, S, S]` in [0, 1].

    Returns:
        uint8 `[n, S, S, 3]`.
    """
    from matplotlib import colormaps

    grey = (images @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]
    # From violet over orange to yellow: no colour of skin comes in grey pictures, and it can be told apart in any kind
    # of colour blindness.
    colours = 255 * colormaps["plasma"](maps)[..., :3]
    opacity = 0.65 * maps[..., np.newaxis] ** 0.7
    return np.rint(grey + opacity * (colours - grey)).astype(np.uint8)


def explain_rows(workdir, rows):
    """Explains records by the networks of a run that have not been trained on them, by all where there are none.

    Of networks with patient context, by the stage that sees single images.

    The maps of several networks are averaged before they are scaled, so that one counts as much as its logit.

    Args:
        workdir: Run folder with at least one trained fold.
        rows: DataFrame of records with `shard`, `position`, `image_name` and what `metadata.columns` lists, in order of
            shard and position, see `listing.list_records`.

    Returns:
        `Explanation`.

    Raises:
        ValueError: There is no trained fold, or a shard is corrupt.
    """
    run, paths = runs.read_network(workdir), runs.trained_folds(workdir)
    image_size, fields = run["image_size"], run.get("metadata", "")
    images = show.load(rows, image_size)
    known = metadata.encode(rows, fields) if fields else None
    # Which image each network explains, `[networks, n]`.
    used = np.array([unseen.find_unseen(path, rows) for path in paths])
    seen = ~used.any(axis=0)
    used |= seen
    total, probabilities = 0.0, np.zeros(len(rows), np.float32)
    for path, own in zip(paths, used, strict=True):
        if own.any():
            classifier = model.build(run["backbone"], image_size, path, **model.options(run))
            classifier = patient_context.stage_one(classifier)
            maps, logits = gradcam(classifier, images[own], None if known is None else known[own])
            total = np.zeros((len(rows), *maps.shape[1:]), np.float32) + total
            total[own] += maps
            probabilities[own] += tf.sigmoid(logits).numpy()
    return Explanation(images, enlarge(total, image_size), probabilities / used.sum(axis=0), seen)


def list_records(workdir, records):
    """Lists the records of some shards with the metadata that a run's networks see; see `explain_rows`.

    Args:
        workdir: Run folder.
        records: Glob pattern of shards, or several separated by commas.

    Raises:
        ValueError: There is no run, no shard matches, or a shard is corrupt.
    """
    columns = metadata.columns(runs.read_flags(workdir).get("metadata", ""))
    return listing.list_records(schema.match(records), columns)


def explain(workdir, records, output, images, names, seed):
    """Writes a contact sheet: each image, its Grad-CAM map, the probability.

    Args:
        workdir: Run folder with at least one trained fold.
        records: Glob pattern of shards, or several separated by commas.
        output: Picture to write, `.png`, `.jpg` or `.pdf`.
        images: Number of records, drawn evenly from all shards.
        names: Image names to explain instead, separated by commas; or "".
        seed: Seed of the draw.

    Raises:
        ValueError: There is no trained fold, no shard matches, a name is not there, or a shard is corrupt.
    """
    if os.path.splitext(output)[1].lower() not in (".png", ".jpg", ".pdf"):
        raise ValueError(f"expected --output to end in .png, .jpg or .pdf, got {output!r}")
    rows = show.choose(list_records(workdir, records), images, names, seed)
    found = explain_rows(workdir, rows)
    labels = [_LABELS[label] for label in show.read_labels(rows)]
    draw(output, found, rows["image_name"], labels)
    print(f"wrote {len(rows)} images and their maps to {output}")
    if found.seen.any():
        print(
            f"note: every network of {workdir} has been trained on {found.seen.sum()} of these images, or may have been"
        )


def draw(output, found, names, labels):
    """Draws the contact sheet, three images a row at most.

    Args:
        output: Picture to write.
        found: `Explanation`.
        names: Names of the images, `[n]`.
        labels: Texts, `[n]`.
    """
    from matplotlib.figure import Figure

    wide = min(3, len(names))
    tall = -(-len(names) // wide)
    figure = Figure(figsize=(2 * _SIDE * wide, (_SIDE + 0.35) * tall), dpi=100, layout="constrained")
    axes = figure.subplots(tall, 2 * wide, squeeze=False)
    captions = [f"{name}\n{label}" for name, label in zip(names, labels, strict=True)]
    chances = [f"{chance:.3f} malignant" for chance in found.probabilities]
    chances = [text + ("\nseen in training" if seen else "") for text, seen in zip(chances, found.seen, strict=True)]
    pairs = zip(found.images, captions, overlay(found.images, found.maps), chances, strict=True)
    pictures = (pair for image, caption, map_, chance in pairs for pair in ((image, caption), (map_, chance)))
    for axis, picture in itertools.zip_longest(axes.flat, pictures):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if picture:
            axis.imshow(picture[0])
            # Names are data: no dollar sign in them may start a formula.
            axis.set_xlabel(picture[1], fontsize=8, parse_math=False)
    with command.replaced(output) as temporary, storage.open(temporary, "wb") as file:
        figure.savefig(file, format=os.path.splitext(output)[1][1:].lower())


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold.")
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("output", None, "Picture to write: .png, .jpg or .pdf.")
    flags.DEFINE_integer("images", 12, "Number of records, drawn evenly from all shards.", 1, 200)
    flags.DEFINE_string("names", "", "Image names to explain instead, separated by commas.")
    flags.DEFINE_integer("seed", 0, "Another seed draws other records.", 0, 2**31 - 1)
    flags.mark_flags_as_required(["workdir", "records", "output"])


if __name__ == "__main__":
    command.run(explain, define_flags)
