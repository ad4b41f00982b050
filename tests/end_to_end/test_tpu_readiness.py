"""What runs inside `strategy.run`, as a TPU's compiler gets it: operations, types and shapes of the traced graphs.

`tpu_ops.txt` lists the operations that may be there and the types they may have. Resources may be variables alone, and
these only read and assigned. What `strategy.run` is not given, as reading records, stays on the host and is free.
"""

import contextlib
import math
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk
from tensorflow.python.framework import kernels
from tensorflow.python.tpu import tpu_system_metadata

from isic_tf.augmentation import augmenter, policies, presets
from isic_tf.data import input_pipeline, mixture
from isic_tf.distribution import tpus
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.models import backbones, patient_context_head, set_transformer
from isic_tf.patient_context import set_model_training
from isic_tf.training import distributed_input, train_state, train_step

LIST = pathlib.Path(__file__).with_name("tpu_ops.txt")
# What hands a variable on, and what takes it; `RngReadAndSkip` advances the state of a dropout layer, a variable too.
CARRIERS = {"Placeholder", "Identity", "While", "If", "PartitionedCall", "StatefulPartitionedCall"}
TAKERS = {"ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "RngReadAndSkip"}
SIZE, BATCH = 32, 4
# Of attributes for which the list names none.
TYPES = {"bfloat16", "bool", "float32", "int32", "int64", "uint8", "uint32", "uint64", "resource"}


def read_list():
    """Gives a dict from an operation to a dict from its attributes to the types that they may have."""
    lines = [line.split() for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return {name: dict(part.split("=") for part in parts) for name, *parts in lines}


SAFE = {name: {key: set(types.split("|")) for key, types in found.items()} for name, found in read_list().items()}


def operations(graph, wanted=lambda operation: True, seen=None):
    """Yields the wanted operations, and all of the functions that they name: called ones, branches and loops."""
    seen = set() if seen is None else seen
    for operation in filter(wanted, graph.get_operations()):
        yield operation
        for attribute in operation.node_def.attr.values():
            for function in [attribute.func, *attribute.list.func]:
                if function.name and function.name not in seen:
                    seen.add(function.name)
                    yield from operations(graph._get_function(function.name).graph, seen=seen)


def find_problems(graph, wanted=lambda operation: True):
    """Lists what a TPU would not take of the operations that are wanted."""
    return sorted({problem for operation in operations(graph, wanted) for problem in judge(operation)})


def judge(operation):
    kind, attributes = operation.type, operation.node_def.attr
    if kind not in SAFE:
        yield f"{kind} is not listed"
    for name, attribute in attributes.items():
        types = {tf.as_dtype(number).name for number in [attribute.type, *attribute.list.type] if number}
        for other in types - SAFE.get(kind, {}).get(name, TYPES):
            yield f"{kind} of {other} is not listed"
    if "_XlaMustCompile" in attributes and not attributes["_XlaMustCompile"].b:
        yield f"{kind} refuses to be compiled"
    for tensor in operation.outputs:
        # What nothing looks at; and what only other devices use, of a shape that is never told.
        unused = not tensor.consumers() and all(tensor is not output for output in operation.graph.outputs)
        unused |= kind == "FusedBatchNormV3" and tensor.value_index == 5
        if not (unused or tensor.dtype == tf.resource or tensor.shape.is_fully_defined()):
            yield f"{kind} gives a shape that is not known"
        if tensor.dtype in (tf.string, tf.variant):
            yield f"{kind} gives a {tensor.dtype.name}"
    if any(tensor.dtype == tf.resource for tensor in operation.inputs) and kind not in CARRIERS | TAKERS:
        yield f"{kind} takes a resource"


class SeenError(Exception):
    """Ends a step that was to be traced alone."""


class Recorder(tf.distribute.OneDeviceStrategy):
    """Keeps the graphs of what it is to run, and runs it compiled by XLA as a TPU's strategy does, or not at all."""

    def __init__(self, compiled=True):
        super().__init__("/cpu:0")
        self.compiled, self.graphs = compiled, []

    def run(self, fn, args=(), kwargs=None, options=None):
        function = tf.function(fn, jit_compile=self.compiled or None)
        self.graphs.append(function.get_concrete_function(*args).graph)
        if not self.compiled:
            raise SeenError
        return super().run(function, args)


EVERYTHING = {**presets.deotte(), **presets.winner(), **presets.strong()}
# Each part of the head, of the loss and of the update in one of them at least.
STEPS = {
    "defaults": {},
    "every part": {
        "target": "diagnosis",
        "metadata": "age,sex,site",
        "loss": "focal",
        "pooling": "gem",
        "hidden_units": 8,
        "dropout_samples": 2,
        "ema": 0.9,
        "clip_norm": 1.0,
        "gradient_accumulation_steps": 2,
        "augment_policy": "strong",
    },
    "two rates": {
        "loss": "auc",
        "optimizer": "sgd",
        "backbone_lr_multiplier": 0.1,
        "freeze_epochs": 1,
        "malignant_weight": 2.0,
    },
    "bags of a patient's images": {"context": "set", "bag_size": 2},
}


def trace_step(state, recipe, share=lambda step: step):
    """Traces what a replica does in a training step, or what `share` makes of that; gives the graph."""
    columns = sum(part.shape[-1] for part in state.model.inputs[1:]) + state.model.output_shape[-1]
    size = recipe.image_size
    shapes = [([BATCH, size, size, 3], tf.uint8), ([BATCH, columns], tf.float32), ([BATCH, 2], tf.int64)]
    step = tf.function(share(train_step.make_replica_step(state, recipe)))
    return step.get_concrete_function(*(tf.TensorSpec(*shape) for shape in shapes)).graph


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_holds_nothing_that_a_tpu_does_not_take(monkeypatch, name):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    recipe = make_config(**{**STEPS[name], "precision": "mixed_bfloat16"})
    state = train_state.make_state(tf.distribute.get_strategy(), recipe, 3)
    assert find_problems(trace_step(state, recipe)) == []


def test_every_operation_of_augmentation_is_one_that_a_tpu_takes():
    assert EVERYTHING.keys() - {"fill", "pick"} == policies.OPERATIONS.keys()
    for policy in ({**EVERYTHING, "fill": "constant"}, presets.deotte()):
        change = tf.function(augmenter.make_augment(policy, tf.bfloat16))
        shapes = [([BATCH, SIZE, SIZE, 3], tf.uint8), ([BATCH, 1], tf.float32), ([BATCH, 2], tf.int64)]
        graph = change.get_concrete_function(*(tf.TensorSpec(*shape) for shape in shapes)).graph
        assert find_problems(graph) == []


@pytest.fixture
def plan(record_set):
    return mixture.plan_fold(mixture.read_sets(str(record_set)), 0)


def test_training_steps_compile_and_run_as_a_whole(plan, monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    recipe = make_config(**{"precision": "mixed_bfloat16", "ema": 0.9, "clip_norm": 1.0, "warmup_epochs": 0.0})
    strategy = Recorder()
    state = train_state.make_state(strategy, recipe, 3)
    step = train_step.make_train_step(strategy, state, recipe)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    # Of the input too every shape is known, so that one program serves all steps.
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(batches.element_spec))
    before = [weight.numpy() for weight in state.model.trainable_weights]
    # Several at once, in a loop of the graph.
    step(batches, 2)
    assert int(state.step) == 2
    assert int(state.bad_step) == -1
    assert 0 < float(state.gradient_norm) < math.inf
    assert all(np.any(weight.numpy() != old) for weight, old in zip(state.model.trainable_weights, before, strict=True))
    assert len(strategy.graphs) == 1
    assert find_problems(strategy.graphs[0]) == []


@pytest.mark.parametrize("versions", ["one", "dihedral", "training"])
def test_prediction_compiles_and_runs_as_a_whole(plan, monkeypatch, versions):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    view, count = None, 1
    if versions != "one":
        count = 8 if versions == "dihedral" else 2
        view = test_time_augmentation.make_views(count, versions, {"augment_policy": "light"}, seed=1)
    strategy = Recorder()
    recipe = make_config(**{"precision": "mixed_bfloat16", "pooling": "gem"})
    networks = [train_state.make_state(strategy, recipe, 3).model for _ in range(2 if view is None else 1)]
    dataset = input_pipeline.make_eval_dataset(plan.held_out, image_size=SIZE, batch_size=BATCH, threads=1)
    options = {"view": view, "count": count, "embed": "pooled"}
    found = list(predictor.make_predictor(networks, strategy, **options)(dataset))
    (graph,) = strategy.graphs
    assert find_problems(graph) == []
    expected = predictor.make_predictor(networks, tf.distribute.get_strategy(), **options)(dataset)
    for (names, scores, features), (others, wanted, pooled) in zip(found, expected, strict=True):
        assert names == others
        # What is rounded to 8 bits, and when, differs.
        assert scores == pytest.approx(wanted, abs=0.01)
        assert features == pytest.approx(pooled, abs=0.02 * float(np.abs(pooled).max()))


def trace_prediction(strategy, network, plan, known=None, **options):
    """Traces how a network predicts; gives the graph."""
    reading = {"image_size": SIZE, "batch_size": BATCH, "threads": 1, "known": known}
    with pytest.raises(SeenError):
        list(
            predictor.make_predictor([network], strategy, **options)(
                input_pipeline.make_eval_dataset(plan.held_out, **reading)
            )
        )
    return strategy.graphs[-1]


@pytest.mark.parametrize("backbone", ["efficientnet-b0", "efficientnetv2-b0"])
def test_real_networks_hold_nothing_that_a_tpu_does_not_take(plan, backbone):
    recipe, strategy = (
        make_config(precision="mixed_bfloat16", augment_strength=0.0, backbone=backbone),
        Recorder(compiled=False),
    )
    state = train_state.make_state(strategy, recipe, 3)
    assert find_problems(trace_step(state, recipe)) == []
    options = {"view": test_time_augmentation.make_views(8, "dihedral", {}, seed=1), "count": 8}
    assert find_problems(trace_prediction(strategy, state.model, plan, **options)) == []


@pytest.mark.parametrize(
    ("name", "embed"), [("every part", "pooled"), ("bags of a patient's images", patient_context_head.SEEN)]
)
def test_prediction_of_every_head_holds_nothing_that_a_tpu_does_not_take(plan, monkeypatch, name, embed):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    recipe, strategy = make_config(**{**STEPS[name], "precision": "mixed_bfloat16"}), Recorder(compiled=False)
    network = train_state.make_state(strategy, recipe, 3).model
    known = np.zeros([len(plan.held_out), network.inputs[1].shape[1]]) if "metadata" in STEPS[name] else None
    assert find_problems(trace_prediction(strategy, network, plan, known, embed=embed)) == []


def test_a_step_of_the_second_stage_holds_nothing_that_a_tpu_does_not_take():
    strategy = Recorder()
    network, optimizer = set_transformer.build_set_transformer(3, units=8), tf.keras.optimizers.AdamW(1e-3)
    step = set_model_training.make_train_step(strategy, network, optimizer)
    values = [tf.random.stateless_normal([2, 4, width], [width, 0]) for width in (3, 1)]
    assert math.isfinite(float(step((*values, tf.ones([2, 4, 1]), tf.ones([2, 4])), tf.constant(8.0))))
    assert [find_problems(graph) for graph in strategy.graphs] == [[], []]


class EightCores(tf.distribute.cluster_resolver.ClusterResolver):
    """What the resolver of a host with a TPU of eight cores says, where there is none."""

    task_type, task_id, _tpu = "worker", 0, "local"

    def cluster_spec(self):
        return tf.train.ClusterSpec({})

    def master(self, *_, **__):
        return ""

    get_master = master

    def get_job_name(self):
        return "localhost"

    def num_accelerators(self, *_, **__):
        return {"TPU": 8}

    def get_tpu_system_metadata(self):
        kinds = [*(("TPU", core) for core in range(8)), ("CPU", 0), ("TPU_SYSTEM", 0)]
        name = "/job:localhost/replica:0/task:0/device:{}:{}"
        found = [types.SimpleNamespace(name=name.format(*kind), device_type=kind[0]) for kind in kinds]
        return tpu_system_metadata.TPUSystemMetadata(8, 1, 8, None, found)


def trunk_with_norm(backbone, image_size, weights="none"):
    images = tf.keras.Input((image_size, image_size, 3))
    return tf.keras.Model(images, tf.keras.layers.BatchNormalization()(images), name=backbone)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.9, "clip_norm": 1.0, "gradient_accumulation_steps": 2},
        {"loss": "auc", "backbone_lr_multiplier": 0.1},
        {"sync_batch_norm": True, "ema": 0.9},
    ],
)
def test_eight_cores_share_a_training_step_and_exchange_sums_alone(monkeypatch, changes):
    monkeypatch.setattr(backbones, "build_backbone", trunk_with_norm)
    recipe = make_config(**{"precision": "mixed_bfloat16", "augment_strength": 0.0, **changes})
    # In a graph of the older kind nothing asks whether the devices are there.
    with tf.Graph().as_default():
        strategy = tf.distribute.TPUStrategy(EightCores())
        assert strategy.num_replicas_in_sync == 8
        state = train_state.make_state(strategy, recipe, 3)

        def share(step):
            def shared(*batch):
                return strategy.run(step, args=batch)

            return shared

        graph = trace_step(state, recipe, share)
        trained = len(state.model.trainable_weights)
    assert find_problems(graph, on_cores) == []
    sums = [operation.type for operation in graph.get_operations() if on_cores(operation)].count("CrossReplicaSum")
    # Of every gradient, and of what compares or normalises the images of all cores.
    assert sums > trained if changes.keys() & {"loss", "sync_batch_norm"} else sums == trained


def on_cores(operation):
    return "_tpu_replicate" in operation.node_def.attr


def turn(images):
    unit = tf.constant([[1.0, 0, 0, 0, 1, 0, 0, 0]])
    options = {"interpolation": "BILINEAR", "output_shape": images.shape[1:3], "fill_value": 0.0}
    return tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=unit, **options)


def look_up(images):
    table = tf.raw_ops.HashTableV2(key_dtype=tf.int32, value_dtype=tf.int32)
    keys = tf.cast(images, tf.int32)
    return tf.raw_ops.LookupTableFindV2(table_handle=table, keys=keys, default_value=0)


def in_a_loop(images):
    for _ in tf.range(3):
        images = turn(images)
    return images


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda images: tf.strings.as_string(images), "AsString is not listed"),
        (lambda images: tf.strings.length(tf.constant("name")), "Const of string is not listed"),
        (lambda images: tf.where(images > 0), "Where gives a shape that is not known"),
        (lambda images: tf.reshape(images, [tf.cast(images[0, 0, 0, 0], tf.int32), -1]), "Reshape gives a shape"),
        (turn, "ImageProjectiveTransformV3 is not listed"),
        (in_a_loop, "ImageProjectiveTransformV3 is not listed"),
        (tf.function(turn), "ImageProjectiveTransformV3 is not listed"),
        (lambda images: tf.cond(images[0, 0, 0, 0] > 0, lambda: turn(images), lambda: images), "ImageProj"),
        (tf.function(lambda images: images + 1, jit_compile=False), "PartitionedCall refuses to be compiled"),
        (lambda images: tf.cast(images, tf.complex64), "Cast of complex64 is not listed"),
        (lambda images: tf.cast(images, tf.float16), "Cast of float16 is not listed"),
        (look_up, "LookupTableFindV2 takes a resource"),
    ],
)
def test_what_a_tpu_does_not_take_is_found(function, problem):
    specification = tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.float32)
    found = find_problems(tf.function(function).get_concrete_function(specification).graph)
    assert [one for one in found if one.startswith(problem)], found


def test_every_listed_operation_has_a_kernel_for_tpus():
    # The first use of XLA registers them; the build for TPUs then finds that it cannot compile for this host.
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.function(lambda: tf.constant(0), jit_compile=True)()
    registered = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        types = {part.name: {tf.as_dtype(t).name for t in part.allowed_values.list.type} for part in kernel.constraint}
        for key, allowed in types.items() or [("", set())]:
            registered.setdefault((kernel.device_type, kernel.op), {}).setdefault(key, set()).update(allowed)
    # Only TensorFlow's build for TPUs knows theirs, among which are all of the CPU's compiler.
    device = "XLA_TPU_JIT" if any(device == "XLA_TPU_JIT" for device, _ in registered) else "XLA_CPU_JIT"
    assert device == "XLA_TPU_JIT" or tpus.compiles_for_host()
    # An argument, and what cores alone do.
    unregistered = {"Placeholder", "TPUReplicateMetadata", *(["CrossReplicaSum"] if device == "XLA_CPU_JIT" else [])}
    for name, attributes in SAFE.items():
        if name not in unregistered:
            assert (device, name) in registered, name
            for key, types in attributes.items():
                assert types <= registered[device, name].get(key, types), (name, key)
