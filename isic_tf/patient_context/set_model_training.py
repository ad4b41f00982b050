"""How set networks are trained, on one replica or several: the gradient is that of the mean over all their lesions."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.optim import lr_schedules, optimizers
from isic_tf.patient_context import length_bucketing
from tfrecord_tools import errors

# Share of the lesions that an epoch leaves out, so that no patient's set is seen twice alike.
_LEFT_OUT = 0.1
# Times that a network is judged, its end among them.
_JUDGED = 10


def train(network, tables, sets, config, steps, strategy, seed, members):
    """Trains networks, each without a part of the patients, on whom it is judged; graphs are traced once for all.

    Args:
        network: Keyword arguments of `set_transformer.build_set_transformer`.
        tables: float32 arrays of features `[n, dim]`, logits `[n, 1]` and targets `[n, 1]`.
        sets: See `length_bucketing.group`.
        config: `OptimizerConfig`; its `epochs` and `warmup_epochs` follow from `steps`.
        steps: Training steps of a network, which the last pass through the patients may exceed.
        strategy: `tf.distribute.Strategy`.
        seed: Seed of the first network; sets those of TensorFlow, NumPy and Python too.
        members: Number of networks and of parts of the patients.

    Returns:
        List of each network's weights (a list of arrays), as they were when the cross-entropy on its part was lowest;
        and the corrections of each lesion by the network that did not see its patient, float64 `[n]`.

    Raises:
        IsicError: The training diverges.
    """
    parts = _deal(sets, tables[-1], members, np.random.default_rng(seed))
    longest = max(len(length_bucketing.batches(part)) for part, _ in parts)
    epochs = -(-steps // longest)
    config = dataclasses.replace(config, epochs=epochs, warmup_epochs=epochs / 10)
    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        trained = build_set_transformer(**network)
        optimizer = optimizers.make_optimizer(config, lr_schedules.make_schedule(config, longest))
        optimizers.build(optimizer, trained.trainable_variables)
    step, judge, found = make_train_step(strategy, trained, optimizer), build_corrector(**network), []
    corrections = np.zeros(len(tables[0]))
    for number, (part, held_out) in enumerate(parts):
        if number:
            tf.keras.utils.set_random_seed(seed + number)
            trained.set_weights(build_set_transformer(**network).get_weights())
            for variable in optimizer.variables:
                variable.assign(tf.zeros_like(variable))
        rng = np.random.default_rng([seed, number])
        rounds = np.array_split(np.arange(config.epochs), min(_JUDGED, config.epochs))
        passes = (sum(_pass(step, tables, part, strategy, rng) for _ in one) for one in rounds)
        weights, own = _choose(passes, trained, judge, tables, held_out)
        found.append(weights)
        corrections += own
    return found, corrections


def _deal(sets, targets, count, rng):
    """Deals the patients, those with a malignant lesion first; gives of each part the others and the part itself."""
    malignant = np.array([targets[rows].max() for rows in sets])
    order = np.lexsort((rng.random(len(sets)), -malignant))
    place = np.empty(len(sets), int)
    place[order] = np.arange(len(sets)) % count
    split = [([], []) for _ in range(count)]
    for number in range(count):
        for rows, own in zip(sets, place == number, strict=True):
            split[number][int(own)].append(rows)
    # A lone patient is not held out: there would be none to learn from.
    return [(others or own, own) for others, own in split]


def _choose(passes, trained, judge, tables, held_out):
    """Trains to the end; gives the weights that were best on the held-out patients and their corrections `[n]`."""
    indices, best = length_bucketing.batches(held_out), (np.inf, None, None)
    rows = np.concatenate([*held_out, np.zeros(0, int)]).astype(int)
    logits, targets = (table[rows, 0].astype("float64") for table in tables[1:])
    for loss in passes:
        weights = trained.get_weights()
        corrections = judge(weights, tables, indices)
        if not all(np.isfinite(values).all() for values in (loss, corrections, *weights)):
            raise errors.IsicError(
                "the set network diverged: its loss or a weight is no number; lower the learning rate"
            )
        judged = cross_entropy(logits + corrections[rows], targets)
        # Where nobody is held out, the last.
        if judged < best[0] or not len(rows):
            best = judged, weights, corrections
    return best[1:]


def cross_entropy(logits, targets):
    """Computes the mean cross-entropy of logits `[n]` and targets `[n]`; 0 for none."""
    return float(np.sum(np.logaddexp(0, logits) - targets * logits)) / max(len(logits), 1)


@functools.lru_cache(maxsize=4)
def build_corrector(**network):
    """Builds a network to be applied; of one for a kind the graph is kept."""
    return make_corrector(build_set_transformer(**network))


def make_corrector(model):
    """Creates the function that applies a network of its own, without a strategy; its graph is traced once.

    Args:
        model: See `set_transformer.build_set_transformer`; its weights are overwritten.

    Returns:
        Function of weights (list of arrays), tables (float32 features `[n, dim]` and logits `[n, 1]` first) and indices
        (see `length_bucketing.batches`) to the corrections, float64 `[n]`, 0 in rows that are in no index.
    """
    # The correction alone: added in float32, it would round the logits of patients without any.
    correction = tf.keras.Model(model.inputs, model.get_layer("correction").output)
    # For sets of all lengths.
    shapes = [tf.TensorSpec([None, None, *last], tf.float32) for last in ([model.inputs[0].shape[-1]], [], [1])]
    correct = tf.function(lambda *inputs: correction(inputs, training=False), shapes, autograph=False)

    def corrector(weights, tables, indices):
        model.set_weights(weights)
        corrections = np.zeros(len(tables[0]))
        for index in indices:
            features, logits, mask = length_bucketing.gather(index, tables[:2])
            corrections[index[index >= 0]] = correct(features, mask, logits).numpy()[..., 0][index >= 0]
        return corrections

    return corrector


def _pass(step, tables, sets, strategy, rng):
    """Passes through all patients once; gives the sum of the batches' losses."""
    total = 0.0
    for index in length_bucketing.batches(sets, rng):
        index = np.where(rng.random(index.shape) < _LEFT_OUT, -1, index)
        *values, mask = length_bucketing.gather(index, tables, strategy.num_replicas_in_sync)
        total += step(length_bucketing.share(strategy, (*values, mask)), tf.constant(max(mask.sum(), 1.0)))
    return float(total)


def make_train_step(strategy, network, optimizer):
    """Creates the training step; its shapes are static, one graph for each padded length.

    Args:
        strategy: `tf.distribute.Strategy`.
        network: See `build`, created in the strategy's scope.
        optimizer: Keras optimizer, created there too.

    Returns:
        Function from a tuple of distributed float32 features `[b, L, d]`, logits `[b, L, 1]`, targets `[b, L, 1]` and
        mask `[b, L]`, and the number of lesions on all replicas together, float32 `[]`, to the mean cross-entropy over
        these lesions, float32 `[]`.
    """
    variables = network.trainable_variables

    def replica_gradients(features, logits, targets, mask, count):
        with tf.GradientTape() as tape:
            found = network([features, mask, logits], training=True)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=found)[..., 0]
            loss = tf.reduce_sum(losses * mask) / count
        return loss, tape.gradient(loss, variables)

    @tf.function(autograph=False)
    def gradients(shares, count):
        losses, parts = strategy.run(replica_gradients, args=(*shares, count))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None), parts

    # Apart, since its graph is the same for all lengths. The optimizer sums over the replicas.
    @tf.function(autograph=False)
    def update(parts):
        strategy.run(lambda own: optimizer.apply_gradients(zip(own, variables, strict=True)), args=(parts,))

    def step(shares, count):
        loss, parts = gradients(shares, count)
        update(parts)
        return loss

    return step
