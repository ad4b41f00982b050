"""Validates a classifier on the held-out images."""

from isic_tf.data import clinical_metadata, input_pipeline
from tfrecord_tools import errors


def validate(predict, held_out, config, images=None, pause=lambda: None):
    """Predicts the held-out rows; gives them with a column `prediction`. Calls `pause` after each batch."""
    if held_out.empty:
        return held_out.assign(prediction=[])
    dataset = input_pipeline.make_eval_dataset(
        held_out,
        image_size=config.image_size,
        # No more at once than training has on the devices.
        batch_size=config.global_batch_size // config.gradient_accumulation_steps,
        threads=config.threads,
        images=images,
        known=clinical_metadata.encode(held_out, config.metadata) if config.metadata else None,
    )
    found = {}
    for names, scores in predict(dataset):
        found.update(zip(names, scores, strict=True))
        pause()
    missing = [name for name in held_out["image_name"] if name not in found]
    if missing:
        raise errors.IsicError(
            f"{len(missing)} images of the index are not in its shards, {missing[0]} first; index again"
        )
    table = held_out.assign(prediction=[found[name] for name in held_out["image_name"]])
    if not table["prediction"].between(0, 1).all():
        raise errors.IsicError(
            "the network predicts values that are no number; start anew with a lower --learning_rate"
        )
    return table


def is_past_best(history, patience):
    """Tells whether the best ROC AUC is `patience` epochs old; never where that is 0."""
    aucs = [row["auc"] for row in history if "auc" in row]
    return 0 < patience <= len(aucs) - 1 - aucs.index(max(aucs)) if aucs else False


def average_batch_statistics(classifier):
    """Sets every replica's moving statistics to their mean.

    They drift apart, and a saved model holds their mean: without this, the figures would be those of another model
    than the one that is kept.
    """
    for variable in classifier.non_trainable_variables:
        variable.assign(variable.read_value())
