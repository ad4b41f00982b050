"""The graphs that `strategy.run` hands to a TPU's compiler: their operations, types and shapes.

`tpu_ops.txt` lists the allowed operations and their allowed types. The only allowed resources are variables, which may
only be read and assigned. What runs outside `strategy.run`, such as reading records, stays on the host and is not
restricted.
"""

import contextlib
import math
import pathlib
import re
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
# Operations that pass a variable on, and operations that use it. `RngReadAndSkip` advances the state of a dropout
# layer, which is a variable too.
CARRIERS = {"Placeholder", "Identity", "While", "If", "PartitionedCall", "StatefulPartitionedCall"}
TAKERS = {"ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "RngReadAndSkip"}
SIZE, BATCH = 32, 4
# Allowed types of attributes for which the list names none.
TYPES = {"bfloat16", "bool", "float32", "int32", "int64", "uint8", "uint32", "uint64", "resource"}


def read_list():
    """Returns a dict from operation to a dict from attribute to its allowed types, separated by `|`."""
    lines = [line.split() for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return {name: dict(part.split("=") for part in parts) for name, *parts in lines}


SAFE = {name: {key: set(types.split("|")) for key, types in found.items()} for name, found in read_list().items()}


def operations(graph, wanted=lambda operation: True, seen=None):
    """Yields the wanted operations, and all operations of the functions that they call, as branches and loops too."""
    seen = set() if seen is None else seen
    for operation in filter(wanted, graph.get_operations()):
        yield operation
        for attribute in operation.node_def.attr.values():
            for function in [attribute.func, *attribute.list.func]:
                if function.name and function.name not in seen:
                    seen.add(function.name)
                    yield from operations(graph._get_function(function.name).graph, seen=seen)


def find_problems(graph, wanted=lambda operation: True):
    """Lists why a TPU would refuse the wanted operations."""
    return sorted({problem for operation in operations(graph, wanted) for problem in list_problems(operation)})


def list_problems(operation):
    kind = operation.type
    attributes = operation.node_def.attr
    if kind not in SAFE:
        yield f"{kind} is not listed"
    for name, attribute in attributes.items():
        types = {tf.as_dtype(number).name for number in [attribute.type, *attribute.list.type] if number}
        for other in types - SAFE.get(kind, {}).get(name, TYPES):
            yield f"{kind} of {other} is not listed"
    if "_XlaMustCompile" in attributes and not attributes["_XlaMustCompile"].b:
        yield f"{kind} refuses to be compiled"
    for tensor in operation.outputs:
        # Outputs that nothing reads, or that only other devices use, may have an unknown shape.
        unused = not tensor.consumers() and all(tensor is not output for output in operation.graph.outputs)
        unused |= kind == "FusedBatchNormV3" and tensor.value_index == 5
        if not (unused or tensor.dtype == tf.resource or tensor.shape.is_fully_defined()):
            yield f"{kind} has an output of unknown shape"
        if tensor.dtype in (tf.string, tf.variant):
            yield f"{kind} has an output of type {tensor.dtype.name}"
    if any(tensor.dtype == tf.resource for tensor in operation.inputs) and kind not in CARRIERS | TAKERS:
        yield f"{kind} takes a resource"


class TracedError(Exception):
    """Ends a step that was only to be traced."""


class Recorder(tf.distribute.OneDeviceStrategy):
    """Records the graphs of what it runs, compiled by XLA as on a TPU; with `compiled=False` it only traces them."""

    def __init__(self, compiled=True):
        super().__init__("/cpu:0")
        self.compiled = compiled
        self.graphs = []

    def run(self, fn, args=(), kwargs=None, options=None):
        function = tf.function(fn, jit_compile=self.compiled or None)
        self.graphs.append(function.get_concrete_function(*args).graph)
        if not self.compiled:
            raise TracedError
        return super().run(function, args)


EVERYTHING = {**presets.deotte(), **presets.winner(), **presets.strong()}
# Each part of the head, of the loss and of the update occurs in at least one of them.
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
        "layer_decay": 0.9,
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


def trace_step(state, config, share=lambda step: step):
    """Traces the training step of a replica, or what `share` makes of it; returns the graph."""
    columns = sum(part.shape[-1] for part in state.model.inputs[1:]) + state.model.output_shape[-1]
    size = config.image_size
    shapes = [([BATCH, size, size, 3], tf.uint8), ([BATCH, columns], tf.float32), ([BATCH, 2], tf.int64)]
    step = tf.function(share(train_step.make_replica_step(state, config)))
    return step.get_concrete_function(*(tf.TensorSpec(*shape) for shape in shapes)).graph


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_has_only_operations_that_a_tpu_supports(monkeypatch, name):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    config = make_config(**{**STEPS[name], "precision": "mixed_bfloat16"})
    state = train_state.make_state(tf.distribute.get_strategy(), config, 3)
    assert find_problems(trace_step(state, config)) == []


AUGMENT_SHAPES = [([BATCH, SIZE, SIZE, 3], tf.uint8), ([BATCH, 1], tf.float32), ([BATCH, 2], tf.int64)]


@pytest.mark.parametrize("on_tpu", [False, True])
def test_augmentation_has_only_operations_that_a_tpu_supports(on_tpu):
    assert EVERYTHING.keys() - {"fill", "pick"} == policies.OPERATIONS.keys()
    for policy in ({**EVERYTHING, "fill": "constant"}, presets.deotte()):
        change = tf.function(augmenter.make_augment(policy, tf.bfloat16, on_tpu))
        graph = change.get_concrete_function(*(tf.TensorSpec(*shape) for shape in AUGMENT_SHAPES)).graph
        assert find_problems(graph) == []


def find_slow_operations(policy, on_tpu):
    """Lists the operations of the compiled augmentation that a TPU does one pixel or one row at a time."""
    change = tf.function(augmenter.make_augment(policy, tf.bfloat16, on_tpu), jit_compile=True, autograph=False)
    values = [tf.zeros(*shape) for shape in AUGMENT_SHAPES]
    program = change.experimental_get_compiler_ir(*values)(stage="hlo")
    found = re.findall(r"= (\S+) (gather|scatter|while|dynamic-update-slice)\(", program)
    return {(kind, re.sub(r"\{.*", "", shape)) for shape, kind in found}


@pytest.mark.parametrize("name", ["light", "deotte", "winner", "strong"])
def test_a_tpus_augmentation_gathers_no_pixels(name):
    # The share of an image in a mix is looked up in a table of quantiles.
    expected = {("gather", f"f32[{BATCH}]")} if name == "strong" else set()
    assert find_slow_operations(presets.PRESETS[name](), on_tpu=True) == expected


def test_gathers_of_pixels_are_found():
    assert ("gather", "s32") in {(kind, shape[:3]) for kind, shape in find_slow_operations(presets.light(), False)}


@pytest.fixture
def plan(record_set):
    return mixture.plan_fold(mixture.read_sets(str(record_set)), 0)


def test_training_steps_compile_and_run_as_one_program(plan, monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    config = make_config(**{"precision": "mixed_bfloat16", "ema": 0.9, "clip_norm": 1.0, "warmup_epochs": 0.0})
    strategy = Recorder()
    state = train_state.make_state(strategy, config, 3)
    step = train_step.make_train_step(strategy, state, config)
    batches = distributed_input.make_batches(strategy, plan, None, config, start=0)
    # The shapes of the input are known as well, so that one program serves all steps.
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(batches.element_spec))
    before = [weight.numpy() for weight in state.model.trainable_weights]
    # Several steps at once, in a loop of the graph.
    step(batches, 2)
    assert int(state.step) == 2
    assert int(state.bad_step) == -1
    assert 0 < float(state.gradient_norm) < math.inf
    assert all(np.any(weight.numpy() != old) for weight, old in zip(state.model.trainable_weights, before, strict=True))
    assert len(strategy.graphs) == 1
    assert find_problems(strategy.graphs[0]) == []


@pytest.mark.parametrize("versions", ["one", "dihedral", "training"])
def test_prediction_compiles_and_runs_as_one_program(plan, monkeypatch, versions):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    view = None
    count = 1
    if versions != "one":
        count = 8 if versions == "dihedral" else 2
        view = test_time_augmentation.make_views(count, versions, {"augment_policy": "light"}, seed=1)
    strategy = Recorder()
    config = make_config(**{"precision": "mixed_bfloat16", "pooling": "gem"})
    networks = [train_state.make_state(strategy, config, 3).model for _ in range(2 if view is None else 1)]
    dataset = input_pipeline.make_eval_dataset(plan.held_out, image_size=SIZE, batch_size=BATCH, threads=1)
    options = {"view": view, "count": count, "embed": "pooled"}
    found = list(predictor.make_predictor(networks, strategy, **options)(dataset))
    (graph,) = strategy.graphs
    assert find_problems(graph) == []
    expected = predictor.make_predictor(networks, tf.distribute.get_strategy(), **options)(dataset)
    for (names, scores, features), (others, wanted, pooled) in zip(found, expected, strict=True):
        assert names == others
        # They differ in what is rounded to bfloat16, and when.
        assert scores == pytest.approx(wanted, abs=0.01)
        assert features == pytest.approx(pooled, abs=0.02 * float(np.abs(pooled).max()))


def trace_prediction(strategy, network, plan, known=None, **options):
    """Traces the prediction of a network; returns the graph."""
    reading = {"image_size": SIZE, "batch_size": BATCH, "threads": 1, "metadata": known}
    dataset = input_pipeline.make_eval_dataset(plan.held_out, **reading)
    with pytest.raises(TracedError):
        list(predictor.make_predictor([network], strategy, **options)(dataset))
    return strategy.graphs[-1]


# The smallest network of each family.
@pytest.mark.parametrize(
    "backbone",
    [
        "efficientnet-lite0",
        "efficientnet-b0",
        "efficientnetv2-b0",
        "convnext-tiny",
        "resnet-rs-50",
        "regnetx-002",
        "densenet-121",
        "mobilenetv3-small",
    ],
)
def test_real_networks_have_only_operations_that_a_tpu_supports(plan, backbone):
    config = make_config(precision="mixed_bfloat16", augment_strength=0.0, backbone=backbone)
    strategy = Recorder(compiled=False)
    state = train_state.make_state(strategy, config, 3)
    assert find_problems(trace_step(state, config)) == []
    options = {"view": test_time_augmentation.make_views(8, "dihedral", {}, seed=1), "count": 8}
    assert find_problems(trace_prediction(strategy, state.model, plan, **options)) == []


@pytest.mark.parametrize(
    ("name", "embed"), [("every part", "pooled"), ("bags of a patient's images", patient_context_head.HEAD_INPUT)]
)
def test_prediction_with_every_head_has_only_operations_that_a_tpu_supports(plan, monkeypatch, name, embed):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    config = make_config(**{**STEPS[name], "precision": "mixed_bfloat16"})
    strategy = Recorder(compiled=False)
    network = train_state.make_state(strategy, config, 3).model
    known = np.zeros([len(plan.held_out), network.inputs[1].shape[1]]) if "metadata" in STEPS[name] else None
    assert find_problems(trace_prediction(strategy, network, plan, known, embed=embed)) == []


def test_a_training_step_of_the_set_model_has_only_operations_that_a_tpu_supports():
    strategy = Recorder()
    network = set_transformer.build_set_transformer(3, units=8)
    optimizer = tf.keras.optimizers.AdamW(1e-3)
    step = set_model_training.make_train_step(strategy, network, optimizer)
    values = [tf.random.stateless_normal([2, 4, width], [width, 0]) for width in (3, 1)]
    assert math.isfinite(float(step((*values, tf.ones([2, 4, 1]), tf.ones([2, 4])), tf.constant(8.0))))
    assert [find_problems(graph) for graph in strategy.graphs] == [[], []]


class EightCores(tf.distribute.cluster_resolver.ClusterResolver):
    """Stands in for the resolver of a host that has a TPU with eight cores."""

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
        {"ema": 0.9, "clip_norm": 1.0, "gradient_accumulation_steps": 2, "layer_decay": 0.9},
        {"loss": "auc", "backbone_lr_multiplier": 0.1},
        {"sync_batch_norm": True, "ema": 0.9},
    ],
)
def test_eight_cores_share_a_training_step_and_exchange_only_sums(monkeypatch, changes):
    monkeypatch.setattr(backbones, "build_backbone", trunk_with_norm)
    config = make_config(**{"precision": "mixed_bfloat16", "augment_strength": 0.0, **changes})
    # A TensorFlow 1 graph is built without checking that the devices exist.
    with tf.Graph().as_default():
        strategy = tf.distribute.TPUStrategy(EightCores())
        assert strategy.num_replicas_in_sync == 8
        state = train_state.make_state(strategy, config, 3)

        def share(step):
            def shared(*batch):
                return strategy.run(step, args=batch)

            return shared

        graph = trace_step(state, config, share)
        trained = len(state.model.trainable_weights)
    assert find_problems(graph, on_cores) == []
    sums = [operation.type for operation in graph.get_operations() if on_cores(operation)].count("CrossReplicaSum")
    # One sum per gradient, and more where the loss or batch norm uses the images of all cores.
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
        (lambda images: tf.where(images > 0), "Where has an output of unknown shape"),
        (
            lambda images: tf.reshape(images, [tf.cast(images[0, 0, 0, 0], tf.int32), -1]),
            "Reshape has an output of unknown shape",
        ),
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
def test_what_a_tpu_does_not_support_is_found(function, problem):
    specification = tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.float32)
    found = find_problems(tf.function(function).get_concrete_function(specification).graph)
    assert [one for one in found if one.startswith(problem)], found


def test_every_listed_operation_has_a_kernel_for_tpus():
    # The first use of XLA registers the kernels; the build for TPUs then fails, since it cannot compile for this host.
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.function(lambda: tf.constant(0), jit_compile=True)()
    registered = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        types = {part.name: {tf.as_dtype(t).name for t in part.allowed_values.list.type} for part in kernel.constraint}
        for key, allowed in types.items() or [("", set())]:
            registered.setdefault((kernel.device_type, kernel.op), {}).setdefault(key, set()).update(allowed)
    # Only TensorFlow's build for TPUs lists the kernels for TPUs, which include all kernels of the CPU's compiler.
    device = "XLA_TPU_JIT" if any(device == "XLA_TPU_JIT" for device, _ in registered) else "XLA_CPU_JIT"
    assert device == "XLA_TPU_JIT" or tpus.compiles_for_host()
    # An argument, and what only TPU cores do.
    unregistered = {"Placeholder", "TPUReplicateMetadata", *(["CrossReplicaSum"] if device == "XLA_CPU_JIT" else [])}
    for name, attributes in SAFE.items():
        if name not in unregistered:
            assert (device, name) in registered, name
            for key, types in attributes.items():
                assert types <= registered[device, name].get(key, types), (name, key)
