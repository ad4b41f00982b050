"""Predicts probabilities and embeddings with the trained folds of a run."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.distribution import workers
from isic_tf.inference import merged_batch_norms
from isic_tf.models import patient_context_head, stage_features

Network = Callable[..., Any]
Predictor = Callable[[tf.data.Dataset], Iterator[tuple[Any, ...]]]


def make_predictor(
    models: Sequence[tf.keras.Model],
    strategy: tf.distribute.Strategy,
    view: Callable[..., tf.Tensor] | None = None,
    count: int = 1,
    embed: str = "",
    classes: targets.ClassSet = targets.BINARY,
    stages: bool = False,
    merged: bool = False,
) -> Predictor:
    """Creates the function that predicts an evaluation dataset; its graph is traced once.

    Args:
        models: Classifiers created in the scope of the strategy, whose malignant probabilities are averaged; of those
            with a context head, the image-level model.
        strategy: `tf.distribute.Strategy`.
        view: See `test_time_augmentation.make_views`; None for the images as they are.
        count: Number of versions of each image, whose probabilities are averaged.
        embed: Name of a layer whose output `[b, f]` is returned as well, such as `pooled`, the pooled features, or
            `patient_context_head.HEAD_INPUT`; "" for none.
        classes: The classes that the classifiers predict.
        stages: Whether the features of every resolution are returned as well, see `stage_features`.
        merged: Whether normalizations are merged into convolutions, see `merged_batch_norms`.

    Returns:
        Function from a dataset (see `input_pipeline.make_eval_dataset`; its batch size is a multiple of the number of
        replicas of this process) to an iterator over batches, in the order of the dataset: names (list of text),
        probabilities (float32 `[n]`; of several classes scores `[n, 1 + classes]`, see `targets.mean_scores`) and, with
        `embed`, each model's output of that layer, averaged over the versions (float32 `[n, models, f]`); with `stages`
        also each model's features of the first version (float32 `[n, models, s]`).

    Examples:
        >>> images = tf.keras.Input((8, 8, 3))
        >>> logits = tf.keras.layers.Dense(1, kernel_initializer="zeros")(tf.keras.layers.Flatten()(images))
        >>> predict = make_predictor([tf.keras.Model(images, logits)], tf.distribute.get_strategy())
        >>> dataset = tf.data.Dataset.from_tensors((np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"]))
        >>> next(iter(predict(dataset)))
        (['a', 'b'], array([0.5, 0.5], dtype=float32))
    """
    replicas = workers.count_local_replicas(strategy)
    replica_outputs = make_replica_outputs(models, view, count, embed, classes, stages, merged)
    has_part = (True, True, bool(embed), stages)

    @tf.function
    def outputs(inputs: Any) -> list[Any]:
        return [strategy.experimental_local_results(part) for part in strategy.run(replica_outputs, args=(inputs,))]

    def predict(dataset: tf.data.Dataset) -> Iterator[tuple[Any, ...]]:
        for *inputs, names in dataset:
            # Names are text and stay on the host; random versions are sampled by their hash.
            keys = tf.strings.to_hash_bucket_fast(names, 2**62)
            distributed = distribute([*inputs, keys], strategy, replicas)
            # Unnamed rows fill up the last batch.
            is_named = names.numpy() != b""
            probabilities, *features = (np.concatenate(part)[is_named] for part in outputs(distributed))
            # After the mean over versions.
            probabilities = targets.settle(probabilities, classes)
            texts = [name.decode() for name in names.numpy()[is_named]]
            yield tuple(itertools.compress((texts, probabilities, *features), has_part))

    return predict


def make_replica_outputs(
    models: Sequence[tf.keras.Model],
    view: Callable[..., tf.Tensor] | None = None,
    count: int = 1,
    embed: str = "",
    classes: targets.ClassSet = targets.BINARY,
    stages: bool = False,
    merged: bool = False,
) -> Callable[[Sequence[tf.Tensor]], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Creates what one replica does with a batch; all of it compiles under XLA with static shapes.

    Args:
        models: See `make_predictor`.
        view: See `make_predictor`.
        count: See `make_predictor`.
        embed: See `make_predictor`.
        classes: See `make_predictor`.
        stages: See `make_predictor`.
        merged: See `make_predictor`.

    Returns:
        Function from uint8 images `[b, S, S, 3]`, the model's other inputs and int64 hashes of the names `[b]`, in one
        sequence, to probabilities or scores, see `targets.mean_scores`, and both kinds of features, float32
        `[b, models, f]` and `[b, models, s]` (0 for none).
    """
    networks: list[Network] = [_with_features(model, embed, stages) for model in models]
    if merged:
        networks = [merged_batch_norms.merge(network) for network in networks]

    def evaluate(images: tf.Tensor, metadata: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _mean_outputs(networks, images, metadata, (bool(embed), stages), classes)

    def replica_outputs(inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, *metadata, keys = inputs
        if view is None:
            return evaluate(decoding.to_float(images), metadata)
        probabilities, features, of_first = evaluate(view(images, keys, tf.constant(0)), metadata)
        # A loop of the graph holds the networks once more, instead of once for each version.
        for number in tf.range(1, count):
            more = evaluate(view(images, keys, number), metadata)
            probabilities = probabilities + more[0]
            features = features + more[1]
        return probabilities / count, features / count, of_first

    return replica_outputs


def _with_features(model: tf.keras.Model, embed: str, stages: bool) -> tf.keras.Model:
    """Returns the image-level model that gives the features that are asked for as well, in one pass."""
    embedding = [model.get_layer(embed).output] if embed else []
    if stages:
        return stage_features.add_stage_features(model, embedding)
    image_level = patient_context_head.image_level_model(model)
    return tf.keras.Model(image_level.inputs, [image_level.output, *embedding]) if embed else image_level


def _mean_outputs(
    networks: Sequence[Network],
    images: tf.Tensor,
    metadata: Sequence[tf.Tensor],
    wanted: Sequence[bool],
    classes: targets.ClassSet,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the mean probabilities or scores, and both kinds of features, float32 `[b, models, f]` (0 for none)."""
    inputs = [images, *metadata] if metadata else images
    outputs = [network(inputs, training=False) for network in networks]
    logits, *features = zip(*outputs, strict=True) if any(wanted) else [outputs]
    probabilities = targets.mean_scores(logits, classes)
    nothing = tf.zeros([len(probabilities), len(networks), 0])
    found = [tf.cast(tf.stack(features.pop(0), axis=1), tf.float32) if is_wanted else nothing for is_wanted in wanted]
    return probabilities, found[0], found[1]


def distribute(parts: Sequence[tf.Tensor], strategy: tf.distribute.Strategy, replicas: int) -> Any:
    """Splits a batch among the replicas of this process.

    Args:
        parts: Tensors `[B, ...]`, with B a multiple of the number of replicas.
        strategy: `tf.distribute.Strategy`.
        replicas: Replicas of this process, see `workers.count_local_replicas`.

    Returns:
        Distributed tuple of tensors `[B / replicas, ...]`, an argument for `strategy.run`.
    """
    shares = list(zip(*(tf.split(part, replicas) for part in parts), strict=True))

    def own_share(context: tf.distribute.ReplicaContext) -> tuple[tf.Tensor, ...]:
        return shares[context.replica_id_in_sync_group % replicas]

    return strategy.experimental_distribute_values_from_function(own_share)
