"""A strategy to compile what one core of a TPU runs, with the exchange between the cores, on a machine without them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.distribute import one_device_strategy, tpu_strategy


class ReplicaProgramStrategy(tf.distribute.Strategy):
    """Runs a function as one of several replicas whose sums and gathered values are operations of its program.

    `tf.distribute.TPUStrategy` needs the TPU, and the kernel of its `CrossReplicaSum` is only in the build of
    TensorFlow for TPUs. Here a sum over the replicas is `XlaAllReduce`, which becomes the same instruction of XLA, and
    a value is gathered as under `TPUStrategy`. A program is only to be compiled, never to be run: it would wait for
    replicas that do not exist.

    Examples:
        >>> strategy = ReplicaProgramStrategy(8)
        >>> def add(values):
        ...     return tf.distribute.get_replica_context().all_reduce("SUM", values)
        >>> program = tf.function(lambda values: strategy.run(add, args=(values,)), jit_compile=True)
        >>> "replica_groups={{0,1,2,3,4,5,6,7}}" in program.experimental_get_compiler_ir(tf.ones([2]))(stage="hlo")
        True
    """

    def __init__(self, replicas: int) -> None:
        """Sets the number of replicas that would run the program together."""
        super().__init__(_ReplicaProgram(self, replicas))


class _ReplicaProgram(one_device_strategy.OneDeviceExtended):
    """Places everything on the first CPU, as one replica of several."""

    def __init__(self, strategy: tf.distribute.Strategy, replicas: int) -> None:
        super().__init__(strategy, "/cpu:0")
        self._replicas = replicas

    @property
    def _num_replicas_in_sync(self) -> int:
        return self._replicas

    def _call_for_each_replica(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        own_number = gen_xla_ops.xla_replica_id()
        with tpu_strategy._TPUReplicaContext(self._container_strategy(), own_number):
            return function(*args, **kwargs)

    def _reduce_to(
        self, reduce_op: tf.distribute.ReduceOp, value: tf.Tensor, destinations: Any, options: Any
    ) -> tf.Tensor:
        groups = [list(range(self._replicas))]
        total = gen_xla_ops.xla_all_reduce(value, groups, reduce_op="Add", mode="CrossReplica")
        return total / self._replicas if reduce_op == tf.distribute.ReduceOp.MEAN else total
