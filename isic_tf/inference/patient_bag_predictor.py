"""Predicts all lesions of a patient together, by networks whose context head was trained on bags of some of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy.special
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.inference import fold_networks, prediction_shards, predictor
from isic_tf.models import patient_context_head, set_transformer
from isic_tf.patient_context import length_bucketing, set_model_training

Corrector = Callable[[Sequence[np.ndarray], np.ndarray, Any], np.ndarray]


def make_predictor(
    classifier: tf.keras.Model,
    strategy: tf.distribute.Strategy,
    rows: pd.DataFrame,
    classes: targets.ClassSet = targets.BINARY,
) -> predictor.Predictor:
    """Creates the function that predicts an evaluation dataset, as `predictor.make_predictor` does.

    With a context head the backbone is applied to one image at a time, and the features stay in memory, 5 kB per image
    for EfficientNet-B0. All names and probabilities come with the last batch, none with those before.

    Args:
        classifier: See `classifiers.build_classifier`; created in the scope of the strategy.
        strategy: `tf.distribute.Strategy`.
        rows: DataFrame with `image_name` and `patient_id` ("" where unknown) of all images that will be predicted.
        classes: The classes that the classifier predicts.

    Returns:
        Function from a dataset to an iterator of names (list of text) and probabilities (float `[n]`; of several
        classes scores `[n, 1 + classes]`, those of the image level rescaled to the corrected single score).
    """
    head = patient_context_head.find_context_layer(classifier)
    if not head:
        return predictor.make_predictor([classifier], strategy, classes=classes)
    embed = patient_context_head.HEAD_INPUT
    predict_inputs = predictor.make_predictor([classifier], strategy, embed=embed, classes=classes)
    patients = rows.set_index("image_name")["patient_id"]
    correct = make_corrector(classifier)

    def predict(dataset: tf.data.Dataset) -> Iterator[tuple[Any, ...]]:
        names: list[str] = []
        head_inputs = []
        scores = []
        for batch_names, batch_scores, values in predict_inputs(dataset):
            names += batch_names
            scores.append(batch_scores)
            head_inputs.append(values[:, 0])
            yield [], []
        logits = correct(head.sets.get_weights(), np.concatenate(head_inputs), patients.loc[names])
        single = scipy.special.expit(logits)
        if not classes.names:
            yield names, single
        else:
            probabilities = targets.rescale(np.concatenate(scores)[:, 1:], single, classes)
            yield names, np.concatenate([single[:, None], probabilities.astype(np.float32)], axis=1)

    return predict


def make_corrector(classifier: tf.keras.Model) -> Corrector:
    """Creates the function that corrects logits by all lesions of the patient.

    Args:
        classifier: One with a context head, see `classifiers.build_classifier`; any of those that will be used.

    Returns:
        Function from the weights of a context head's network, the inputs of the head (float32 `[n, f + 1]`, features
        and, last, the malignant logit) and the patients (text `[n]`, "" where unknown: such a lesion is a set of its
        own) to malignant logits, float32 `[n]`. The order of the images does not matter.
    """
    # A network of its own, outside of any strategy.
    dim = classifier.get_layer(patient_context_head.HEAD_INPUT).output.shape[-1] - 1
    correct_sets = set_model_training.make_corrector(set_transformer.build_set_transformer(dim))

    def correct(weights: Sequence[np.ndarray], head_inputs: np.ndarray, patients: Any) -> np.ndarray:
        features = head_inputs[:, :-1]
        logits = head_inputs[:, -1:]
        # A patient's lesions are ordered by logit and two features.
        sets = length_bucketing.group(np.asarray(patients, str), head_inputs[:, :-4:-1])
        corrections = correct_sets(weights, (features, logits), length_bucketing.batches(sets))
        return (head_inputs[:, -1] + corrections).astype(np.float32)

    return correct


def correct_parts(
    directory: str, table: pd.DataFrame, rows: pd.DataFrame, networks: fold_networks.FoldNetworks
) -> pd.DataFrame:
    """Replaces predictions of single images by predictions of each patient's images together.

    The features of all images by one network are in memory at once.

    Args:
        directory: See `prediction_shards.open_parts`; the embeddings of its parts are those of the layer
            `patient_context_head.HEAD_INPUT`.
        table: See `prediction_shards.read_parts`.
        rows: DataFrame of the images with `image_name`, `part`, `patient_id` and `networks`, see
            `fold_selection.choose_networks`.
        networks: Networks of all folds.

    Returns:
        The table with the mean probability of the networks that predict an image.
    """
    own_rows = rows.set_index("image_name").loc[table["image_name"]]
    parts = rows["part"].unique()
    correct = make_corrector(networks.network)
    head = cast(patient_context_head.Context, patient_context_head.find_context_layer(networks.network))
    total = np.zeros(len(own_rows))
    count = np.zeros(len(own_rows))
    for place in range(len(networks)):
        is_used = (own_rows["networks"].str[place] == "1").to_numpy()
        if is_used.any():
            head_inputs = prediction_shards.read_part_embeddings(directory, parts, place)[is_used]
            networks.choose(place)
            weights = head.sets.get_weights()
            logits = correct(weights, head_inputs, own_rows["patient_id"][is_used])
            total[is_used] += scipy.special.expit(logits)
            count[is_used] += 1
    return table.assign(prediction=total / count)


def describe_patients(rows: pd.DataFrame) -> str:
    """Describes in a line how many images have other images of their patient.

    Args:
        rows: DataFrame with `patient_id` (text, "" where unknown).

    Returns:
        The line; where no image has others, with what to do.
    """
    known = rows.loc[rows["patient_id"] != "", "patient_id"]
    with_others = int(known.duplicated(keep=False).sum())
    line = f"patient context: {with_others} of {len(rows)} images are predicted together with others of their patient"
    if with_others:
        return line
    return f"{line}; patients are read from an index, from records, or from --csv with --images"
