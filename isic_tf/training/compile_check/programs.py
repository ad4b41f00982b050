"""Exports the programs of a training run as one core of a TPU gets them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.distribution import replica_programs, tpu_compiler, tpus
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.training import memory_estimate, train_state, train_step
from isic_tf.training.config import TrainConfig
from tfrecord_tools import errors

# Steps of an epoch: only constants of the learning rate depend on them.
_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Program:
    """A program to be compiled for one core.

    Args:
        content: Serialized HLO module.
        graph: The TensorFlow graph that it was made from.
    """

    content: bytes
    graph: tf.Graph

    def compile(self, topology: str, cores: int) -> tpu_compiler.CompiledProgram:
        """Compiles it for all cores of a TPU, see `tpu_compiler.compile_program`."""
        return tpu_compiler.compile_program(self.content, topology, cores)


class RunPrograms:
    """The programs of a training run with a number of cores.

    The variables are created once; batch size and micro-batches may be changed for each program.

    Attributes:
        state: See `train_state.make_state`.
    """

    def __init__(self, config: TrainConfig, cores: int) -> None:
        """Builds the network, from random weights, and its optimizer.

        Args:
            config: The configuration of the run.
            cores: Number of cores that share a batch.

        Raises:
            ConfigError: This build of TensorFlow compiles for TPUs only.
        """
        if not tpus.compiles_for_host():
            raise errors.ConfigError(
                "expected a TensorFlow that compiles for this machine for --compile_for, got tensorflow-tpu; run it "
                "where the package tensorflow is installed instead"
            )
        self._config = dataclasses.replace(config, weights="none", init_from="")
        self._strategy = replica_programs.ReplicaProgramStrategy(cores)
        self._cores = cores
        self.state = train_state.make_state(self._strategy, self._config, _STEPS)

    @property
    def variable_bytes(self) -> int:
        """Bytes of the variables of the training step."""
        return memory_estimate.count_checkpoint(self.state)

    def export_step(self, **changes: Any) -> Program:
        """Exports the training step.

        Args:
            **changes: Options of the configuration that differ from that of the run, such as `global_batch_size`.
        """
        config = dataclasses.replace(self._config, **changes)
        step = train_step.make_replica_step(self.state, config)
        return self._export(step, self._describe_batch(config))

    def export_augmentation(self) -> Program:
        """Exports the augmentation of the training step."""
        policy = policies.read_policy(self._config.augment_policy, self._config.augment_strength)
        augment = augmenter.make_augment(policy)
        return self._export(augment, self._describe_batch(self._config))

    def export_prediction(self, versions: int = 1) -> Program:
        """Exports the prediction of a batch, of the size of the training step's.

        Args:
            versions: Versions of each image whose probabilities are averaged, see `test_time_augmentation`.
        """
        view = test_time_augmentation.make_views(versions, "dihedral", {}, seed=0) if versions > 1 else None
        outputs = predictor.make_replica_outputs([self.state.model], view, versions, classes=self._config.class_set)
        images, _, _ = self._describe_batch(self._config)
        share = images.shape[0]
        metadata = [tf.TensorSpec([share, part.shape[-1]]) for part in self.state.model.inputs[1:]]
        keys = tf.TensorSpec([share], tf.int64)

        def predict(*inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return outputs(inputs)

        return self._export(predict, [images, *metadata, keys])

    def _describe_batch(self, config: TrainConfig) -> list[tf.TensorSpec]:
        """Describes images, labels and seeds of a core."""
        share = config.global_batch_size // self._cores
        model = self.state.model
        # The output of a model with patient context is of the positive classes alone; its labels are of all.
        columns = config.class_set.num_outputs + sum(part.shape[-1] for part in model.inputs[1:])
        size = config.image_size
        return [
            tf.TensorSpec([share, size, size, 3], tf.uint8),
            tf.TensorSpec([share, columns], tf.float32),
            tf.TensorSpec([share, 2], tf.int64),
        ]

    def _export(self, function: Callable[..., Any], arguments: Sequence[tf.TensorSpec]) -> Program:
        strategy = self._strategy

        @functools.wraps(function)
        def run(*inputs: tf.Tensor) -> Any:
            return strategy.run(function, args=inputs)

        program = tf.function(run, jit_compile=True)
        graph = program.get_concrete_function(*arguments).graph
        lower = program.experimental_get_compiler_ir(*arguments)
        return Program(lower(stage="hlo_serialized", platform_name="CPU"), graph)
