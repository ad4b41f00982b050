"""The networks of a run's folds as one network whose weights are exchanged: it is built, and its graph traced, once."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.inference import predictor
from isic_tf.models import classifiers
from isic_tf.models.config import read_model_config
from isic_tf.models.pretrained import weights_files

# Bytes of decoded images that are predicted between two exchanges of weights, which take some hundredths of a second.
_BLOCK_BYTES = 2**27


class FoldNetworks:
    """The networks of all folds of a run, one of which is in the memory of the device at a time.

    Attributes:
        network: The classifier, see `classifiers.build_classifier`, with the weights of the fold that was chosen last.
    """

    def __init__(self, paths: Sequence[str], run: Mapping[str, Any], strategy: tf.distribute.Strategy) -> None:
        """Builds the network and reads the weights of all folds.

        Args:
            paths: Weights files of the folds, `[folds]`.
            run: Options of the run, see `run_directory.read_network`.
            strategy: `tf.distribute.Strategy`.

        Raises:
            CorruptRecordError: A weights file is damaged, or of another network.
        """
        self._strategy = strategy
        config = read_model_config(os.path.dirname(os.path.dirname(paths[0])), run)
        self._classes = config.class_set
        with strategy.scope():
            self.network = classifiers.build_from_config(config, paths[0])
            self._weights = [_read_weights(self.network)]
            for path in paths[1:]:
                weights_files.load_weights(self.network, path)
                self._weights.append(_read_weights(self.network))
            self._variables = self.network.weights
        self._chosen = len(paths) - 1

    def __len__(self) -> int:
        """Returns the number of folds."""
        return len(self._weights)

    def choose(self, fold: int) -> None:
        """Gives the network the weights of a fold.

        Args:
            fold: Place of the fold, from 0.
        """
        if fold != self._chosen:
            with self._strategy.scope():
                for variable, value in zip(self._variables, self._weights[fold], strict=True):
                    variable.assign(value, read_value=False)
            self._chosen = fold

    def make_predictor(
        self, view: Callable[..., tf.Tensor] | None = None, count: int = 1, embed: str = "", stages: bool = False
    ) -> Callable[[tf.data.Dataset, Sequence[int]], Iterator[tuple[Any, ...]]]:
        """Creates the function that predicts an evaluation dataset with some of the folds.

        Args:
            view: See `predictor.make_predictor`.
            count: See `predictor.make_predictor`.
            embed: See `predictor.make_predictor`.
            stages: See `predictor.make_predictor`.

        Returns:
            Function from a dataset and the places of the folds, from 0, to an iterator over batches, see
            `predictor.make_predictor`; probabilities are means of these folds.
        """
        predict_fold = predictor.make_predictor(
            [self.network], self._strategy, view, count, embed, self._classes, stages, _is_cpu(self._strategy)
        )

        def predict(dataset: tf.data.Dataset, folds: Sequence[int]) -> Iterator[tuple[Any, ...]]:
            for block in _read_ahead(_split_into_blocks(dataset)):
                found = []
                # In an order that exchanges no weights between two blocks.
                order = sorted(folds, key=lambda fold: fold != self._chosen)
                for fold in order:
                    self.choose(fold)
                    found.append(list(predict_fold(block)))
                places = [order.index(fold) for fold in folds]
                for batches in zip(*(found[place] for place in places), strict=True):
                    yield _join_folds(batches, self._classes)

        return predict


def _is_cpu(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether a strategy is that of one CPU; elsewhere, merged normalizations were not measured."""
    return strategy is tf.distribute.get_strategy() and not tf.config.list_logical_devices("GPU")


def _read_weights(network: tf.keras.Model) -> list[tf.Tensor]:
    """Returns the weights as tensors on the host, which are exchanged four times as fast as arrays."""
    with tf.device("CPU:0"):
        return [tf.constant(value) for value in network.get_weights()]


def _split_into_blocks(dataset: tf.data.Dataset) -> Iterator[list[tuple[tf.Tensor, ...]]]:
    """Yields lists of as many batches as fit into a block, at least one."""
    batches = iter(dataset)
    for first in batches:
        count = max(1, _BLOCK_BYTES // max(1, int(tf.size(first[0]))))
        yield [first, *itertools.islice(batches, count - 1)]


def _read_ahead(blocks: Iterable[Any]) -> Iterator[Any]:
    """Yields blocks while the next one is being read."""
    iterator = iter(blocks)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, iterator, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, iterator, None)
            yield block


def _join_folds(batches: Sequence[tuple[Any, ...]], classes: targets.ClassSet) -> tuple[Any, ...]:
    """Joins what each fold predicts for a batch: names, mean probabilities and, where there are any, features.

    Every fold gives features of the same kinds, with the networks as the second axis.
    """
    names = batches[0][0]
    means = np.asarray(np.mean([batch[1] for batch in batches], axis=0, dtype=np.float32))
    probabilities = targets.settle(means, classes)
    features = [np.concatenate(kind, axis=1) for kind in zip(*(batch[2:] for batch in batches), strict=True)]
    return (names, probabilities, *features)
