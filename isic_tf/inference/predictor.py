"""Predicts probabilities and embeddings with a run's trained folds."""

import numpy as np
import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.distribution import workers
from isic_tf.models import patient_context_head


def make_predictor(models, strategy, view=None, count=1, embed=""):
    """Creates the function that predicts an evaluation dataset; its graph is traced once.

    Args:
        models: Classifiers created in the strategy's scope; their malignant probabilities are averaged. Of one with
            context, the stage that sees a single image.
        strategy: `tf.distribute.Strategy`.
        view: See `test_time_augmentation.make_views`; None for the images as they are.
        count: Versions of each image, whose probabilities are averaged.
        embed: Name of a layer whose output `[b, f]` to give too, as `pooled`, the pooled features, or
            `patient_context_head.SEEN`; "" for none.

    Returns:
        Function from a dataset (see `input_pipeline.make_eval_dataset`; its batch divides by the number of this process's
        replicas) to an iterator of names (list of text), probabilities (float32 `[n]`) and, where `embed`, each
        model's output of that layer averaged over the versions (float32 `[n, models, f]`), a batch at a time, in the
        dataset's order.
    """
    replicas = workers.count_local_replicas(strategy)
    embedded = [one.get_layer(embed).output for one in models if embed]
    models = [patient_context_head.image_level_model(one) for one in models]
    if embed:
        # One pass gives both.
        models = [tf.keras.Model(one.inputs, [one.output, own]) for one, own in zip(models, embedded, strict=True)]

    def outputs_of(images, known):
        """Gives the mean probability `[b]` and the features `[b, models, f]` (f = 0 for none) of one version."""
        found = [one([images, *known] if known else images, training=False) for one in models]
        logits, features = zip(*found, strict=True) if embed else (found, None)
        probabilities = targets.mean_probability(logits)
        if not embed:
            return probabilities, tf.zeros([len(probabilities), len(models), 0])
        return probabilities, tf.cast(tf.stack(features, axis=1), tf.float32)

    def replica_outputs(inputs):
        images, *known, keys = inputs
        if view is None:
            return outputs_of(decoding.to_float(images), known)
        first, second = outputs_of(view(images, keys, tf.constant(0)), known)
        # A loop of the graph: the network is in it once more, not once for each version.
        for number in tf.range(1, count):
            more = outputs_of(view(images, keys, number), known)
            first, second = first + more[0], second + more[1]
        return first / count, second / count

    @tf.function
    def outputs(inputs):
        return [strategy.experimental_local_results(part) for part in strategy.run(replica_outputs, args=(inputs,))]

    def predict(dataset):
        for *inputs, names in dataset:
            # Names are text and stay on the host; what is drawn by them is drawn by their hash.
            inputs.append(tf.strings.to_hash_bucket_fast(names, 2**62))
            shares = list(zip(*(tf.split(part, replicas) for part in inputs), strict=True))
            given = strategy.experimental_distribute_values_from_function(
                lambda context, shares=shares: shares[context.replica_id_in_sync_group % replicas]
            )
            named = names.numpy() != b""
            probabilities, features = (np.concatenate(part)[named] for part in outputs(given))
            texts = [name.decode() for name in names.numpy()[named]]
            yield (texts, probabilities, features) if embed else (texts, probabilities)

    return predict
