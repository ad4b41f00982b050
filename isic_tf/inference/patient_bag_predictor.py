"""A patient's lesions judged all together, by a network whose second stage was trained on bags of some of them."""

import numpy as np
import scipy.special

from isic_tf.inference import prediction_shards, predictor
from isic_tf.models import patient_context_head, set_transformer
from isic_tf.patient_context import length_bucketing, set_model_training


def make_predictor(classifier, strategy, rows):
    """Creates the function that predicts an evaluation dataset, as `predictor.make_predictor` does.

    With context the backbone sees the images one by one, and their features stay in memory, 5 kB an image of
    EfficientNet-B0. All names and probabilities come with the last batch, and none with those before.

    Args:
        classifier: See `classifiers.build_classifier`; created in the strategy's scope.
        strategy: `tf.distribute.Strategy`.
        rows: DataFrame with `image_name` and `patient_id` ("" where unknown) of all images that will be predicted.

    Returns:
        Function from a dataset to an iterator of names (list of text) and probabilities (float `[n]`).
    """
    stage_two = patient_context_head.layer_of(classifier)
    if not stage_two:
        return predictor.make_predictor([classifier], strategy)
    stream = predictor.make_predictor([classifier], strategy, embed=patient_context_head.SEEN)
    patients = rows.set_index("image_name")["patient_id"]
    correct = make_corrector(classifier)

    def predict(dataset):
        names, seen = [], []
        for found, _, values in stream(dataset):
            names += found
            seen.append(values[:, 0])
            yield [], []
        logits = correct(stage_two.sets.get_weights(), np.concatenate(seen), patients.loc[names])
        yield names, scipy.special.expit(logits)

    return predict


def make_corrector(classifier):
    """Creates the function that corrects a patient's logits by all its lesions, see `set_model_training.make_corrector`.

    Args:
        classifier: One with context, see `classifiers.build_classifier`; any of those that will be used.

    Returns:
        Function from the weights of a `patient_context_head.Context`'s network, what it sees of the images (float32
        `[n, f + 1]`, features and last the malignant logit) and their patients (text `[n]`, "" where unknown: such a
        lesion is judged alone) to malignant logits, float32 `[n]`. The order of the images changes nothing.
    """
    # A copy of its own, so that no strategy has a say in where it runs.
    dim = classifier.get_layer(patient_context_head.SEEN).output.shape[-1] - 1
    apply = set_model_training.make_corrector(set_transformer.build_set_transformer(dim))

    def correct(weights, seen, patients):
        # Ordered by logit and two features.
        indices = length_bucketing.batches(length_bucketing.group(np.asarray(patients, str), seen[:, :-4:-1]))
        return (seen[:, -1] + apply(weights, (seen[:, :-1], seen[:, -1:]), indices)).astype(np.float32)

    return correct


def correct_parts(folder, table, rows, networks):
    """Replaces the predictions of parts, which are of the images one by one, by those of each patient's images.

    The features of all images by one network are in memory at once.

    Args:
        folder: See `prediction_shards.begin`; the embeddings of its parts are those of the layer `patient_context_head.SEEN`.
        table: See `prediction_shards.read`.
        rows: DataFrame of the images with `image_name`, `part`, `patient_id` and `networks`, see
            `fold_selection.choose_networks`.
        networks: Classifiers of all folds.

    Returns:
        The table with the mean probability of the networks that an image was shown to.
    """
    own = rows.set_index("image_name").loc[table["image_name"]]
    total, count, correct = np.zeros(len(own)), np.zeros(len(own)), make_corrector(networks[0])
    for place, network in enumerate(networks):
        shown = (own["networks"].str[place] == "1").to_numpy()
        if shown.any():
            seen = prediction_shards.read_shard_embeddings(folder, rows["part"].unique(), place)[shown]
            weights = patient_context_head.layer_of(network).sets.get_weights()
            total[shown] += scipy.special.expit(correct(weights, seen, own["patient_id"][shown]))
            count[shown] += 1
    return table.assign(prediction=total / count)


def describe(rows):
    """Says in a line how many images have others of their patient beside them."""
    known = rows.loc[rows["patient_id"] != "", "patient_id"]
    beside = int(known.duplicated(keep=False).sum())
    remedy = "" if beside else "; patients are known by an index, by records, or by --csv of --images"
    return f"patient context: {beside} of {len(rows)} images are judged beside others of their patient{remedy}"
