"""Trains set networks on one replica or several: the gradient is that of the mean over all lesions of a batch."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.optim import lr_schedules, optimizers
from isic_tf.optim.config import OptimizerConfig
from isic_tf.patient_context import length_bucketing
from tfrecord_tools import errors

# Rate of the lesions that an epoch leaves out, so that a patient's set is different every time.
_DROP_RATE = 0.1
# How often a network is evaluated in training; the last time at the end.
_EVALUATIONS = 10

Tables = tuple[np.ndarray, ...]
Sets = list[np.ndarray]
Corrector = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetModelOptions:
    """Options for building and training set networks.

    Attributes:
        members: Number of networks, whose logits are averaged, and of parts of the patients.
        steps: Training steps of a network, each of up to 1,024 lesions; the last epoch is completed.
        learning_rate: Peak of the learning rate, which decreases on a cosine.
        weight_decay: Decoupled weight decay, multiplied by the learning rate.
        units: Units of the network, see `set_transformer.build_set_transformer`.
        heads: Attention heads.
        blocks: Attention blocks.
        dropout: Dropout rate.
        seed: Seed of the first network; sets the seeds of TensorFlow, NumPy and Python too.
    """

    members: int = 4
    steps: int = 400
    learning_rate: float = 2e-3
    weight_decay: float = 1.0
    units: int = 32
    heads: int = 4
    blocks: int = 1
    dropout: float = 0.2
    seed: int = 0

    def network(self, dim: int) -> dict[str, Any]:
        """Returns the keyword arguments of `set_transformer.build_set_transformer` for `dim` features."""
        return {
            "dim": dim,
            "units": self.units,
            "heads": self.heads,
            "blocks": self.blocks,
            "dropout": self.dropout,
        }


def train(
    network: Mapping[str, Any], tables: Tables, sets: Sets, options: SetModelOptions, strategy: tf.distribute.Strategy
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Trains networks, each without a part of the patients, on which it is evaluated; graphs are traced once for all.

    Args:
        network: Keyword arguments of `set_transformer.build_set_transformer`.
        tables: float32 arrays of features `[n, dim]`, logits `[n, 1]` and targets `[n, 1]`.
        sets: See `length_bucketing.group`.
        options: How to train.
        strategy: `tf.distribute.Strategy`.

    Returns:
        The weights of each network (list of arrays) as they were when the cross-entropy on its part was lowest; and the
        correction of each lesion by the network that did not train on its patient, float64 `[n]`.

    Raises:
        DivergenceError: The training diverges.
    """
    parts = _deal(sets, tables[-1], options.members, np.random.default_rng(options.seed))
    batches_per_epoch = max(len(length_bucketing.batches(part)) for part, _ in parts)
    epochs = -(-options.steps // batches_per_epoch)
    config = OptimizerConfig(
        weight_decay=options.weight_decay,
        learning_rate=options.learning_rate,
        epochs=epochs,
        warmup_epochs=epochs / 10,
    )
    tf.keras.utils.set_random_seed(options.seed)
    with strategy.scope():
        trained = build_set_transformer(**network)
        optimizer = optimizers.make_optimizer(config, lr_schedules.make_schedule(config, batches_per_epoch))
        optimizers.create_variables(optimizer, trained.trainable_variables)
    step = make_train_step(strategy, trained, optimizer)
    correct = build_corrector(**network)
    members = []
    corrections = np.zeros(len(tables[0]))
    for number, (part, held_out) in enumerate(parts):
        if number:
            tf.keras.utils.set_random_seed(options.seed + number)
            trained.set_weights(build_set_transformer(**network).get_weights())
            _reset(optimizer)
        rng = np.random.default_rng([options.seed, number])
        rounds = np.array_split(np.arange(epochs), min(_EVALUATIONS, epochs))
        losses = (sum(_run_epoch(step, tables, part, strategy, rng) for _ in epochs_of) for epochs_of in rounds)
        weights, own_corrections = _choose(losses, trained, correct, tables, held_out)
        members.append(weights)
        corrections += own_corrections
    return members, corrections


def _reset(optimizer: tf.keras.optimizers.Optimizer) -> None:
    for variable in optimizer.variables:
        variable.assign(tf.zeros_like(variable))


def _deal(sets: Sets, targets: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[Sets, Sets]]:
    """Deals the patients into parts, malignant ones evenly; returns for each part the other patients and its own."""
    is_malignant = np.array([targets[rows].max() for rows in sets])
    order = np.lexsort((rng.random(len(sets)), -is_malignant))
    place = np.empty(len(sets), int)
    place[order] = np.arange(len(sets)) % count
    parts = []
    for number in range(count):
        others = [rows for rows, own_place in zip(sets, place, strict=True) if own_place != number]
        own = [rows for rows, own_place in zip(sets, place, strict=True) if own_place == number]
        # A lone patient is trained on as well, since there would be no other.
        parts.append((others or own, own))
    return parts


def _choose(
    losses: Iterator[float] | Sequence[float],
    trained: tf.keras.Model,
    correct: Corrector,
    tables: Tables,
    held_out: Sets,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Trains to the end; returns the weights that were best on the held-out patients and their corrections `[n]`."""
    indices = length_bucketing.batches(held_out)
    rows = np.concatenate([*held_out, np.zeros(0, int)]).astype(int)
    logits, targets = (table[rows, 0].astype("float64") for table in tables[1:])
    lowest = np.inf
    best = trained.get_weights(), np.zeros(len(tables[0]))
    for loss in losses:
        weights = trained.get_weights()
        corrections = correct(weights, tables, indices)
        if not all(np.isfinite(values).all() for values in (loss, corrections, *weights)):
            raise errors.DivergenceError(
                "the set network diverged: its loss or a weight is NaN or infinite; lower the learning rate"
            )
        evaluated = cross_entropy(logits + corrections[rows], targets)
        # Where no patient is held out, the last weights are kept.
        if evaluated < lowest or not len(rows):
            lowest = evaluated
            best = weights, corrections
    return best


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Computes the mean cross-entropy of logits `[n]` and targets `[n]`; 0 where n is 0."""
    return float(np.sum(np.logaddexp(0, logits) - targets * logits)) / max(len(logits), 1)


@functools.lru_cache(maxsize=4)
def build_corrector(**network: Any) -> Corrector:
    """Builds a network to be applied; networks of the same arguments share one, and its graph."""
    return make_corrector(build_set_transformer(**network))


def make_corrector(model: tf.keras.Model) -> Corrector:
    """Creates the function that applies a network without a strategy; its graph is traced once.

    Args:
        model: See `set_transformer.build_set_transformer`; its weights are overwritten.

    Returns:
        Function from weights (list of arrays), tables (float32 features `[n, dim]` and logits `[n, 1]` first) and
        indices (see `length_bucketing.batches`) to corrections, float64 `[n]`, 0 for rows that are in no index. It may
        be called by several threads.
    """
    # The correction alone: added in float32, it would round the logits of patients without any.
    correction = tf.keras.Model(model.inputs, model.get_layer("correction").output)
    # For sets of all lengths.
    shapes = [tf.TensorSpec([None, None, *last], tf.float32) for last in ([model.inputs[0].shape[-1]], [], [1])]
    apply = tf.function(lambda *inputs: correction(inputs, training=False), shapes, autograph=False)
    # A server calls it from several threads, and models share the network.
    lock = threading.Lock()

    def correct(
        weights: Sequence[np.ndarray], tables: Sequence[np.ndarray], indices: Sequence[np.ndarray]
    ) -> np.ndarray:
        corrections = np.zeros(len(tables[0]))
        with lock:
            model.set_weights(weights)
            for index in indices:
                features, logits, mask = length_bucketing.gather(index, tables[:2])
                is_lesion = index >= 0
                corrections[index[is_lesion]] = apply(features, mask, logits).numpy()[..., 0][is_lesion]
        return corrections

    return correct


def _run_epoch(
    step: Callable[..., tf.Tensor],
    tables: Tables,
    sets: Sets,
    strategy: tf.distribute.Strategy,
    rng: np.random.Generator,
) -> float:
    """Trains on all patients once; returns the sum of the losses of the batches."""
    total = 0.0
    for index in length_bucketing.batches(sets, rng):
        kept = np.where(rng.random(index.shape) < _DROP_RATE, -1, index)
        *values, mask = length_bucketing.gather(kept, tables, strategy.num_replicas_in_sync)
        total += step(length_bucketing.share(strategy, (*values, mask)), tf.constant(max(mask.sum(), 1.0)))
    return float(total)


def make_train_step(
    strategy: tf.distribute.Strategy, network: tf.keras.Model, optimizer: tf.keras.optimizers.Optimizer
) -> Callable[..., tf.Tensor]:
    """Creates the training step; its shapes are static, with one graph for each padded length.

    Args:
        strategy: `tf.distribute.Strategy`.
        network: See `set_transformer.build_set_transformer`, created in the scope of the strategy.
        optimizer: Keras optimizer, created there too.

    Returns:
        Function from a tuple of distributed float32 features `[b, L, d]`, logits `[b, L, 1]`, targets `[b, L, 1]` and
        mask `[b, L]`, and the number of lesions on all replicas together, float32 `[]`, to the mean cross-entropy over
        these lesions, float32 `[]`.
    """
    variables = network.trainable_variables

    def replica_gradients(
        features: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            found = network([features, mask, logits], training=True)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=found)[..., 0]
            loss = tf.reduce_sum(losses * mask) / count
        return loss, tape.gradient(loss, variables)

    @tf.function(autograph=False)
    def gradients(shares: Any, count: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        losses, parts = strategy.run(replica_gradients, args=(*shares, count))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None), parts

    # A function of its own, since its graph is the same for all lengths. The optimizer sums over the replicas.
    @tf.function(autograph=False)
    def update(parts: list[tf.Tensor]) -> None:
        strategy.run(lambda own: optimizer.apply_gradients(zip(own, variables, strict=True)), args=(parts,))

    def step(shares: Any, count: tf.Tensor) -> tf.Tensor:
        loss, parts = gradients(shares, count)
        update(parts)
        return loss

    return step
