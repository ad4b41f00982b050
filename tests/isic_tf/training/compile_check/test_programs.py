import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk, tiny_with_norm

from isic_tf.distribution import tpu_compiler, tpus
from isic_tf.models import backbones, classifiers
from isic_tf.training.compile_check import programs
from tfrecord_tools import errors


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", tiny_with_norm)
    policy = {"precision": "mixed_bfloat16", "ema": 0.9, "augment_strength": 0.0}
    return programs.RunPrograms(make_config(global_batch_size=16, **policy), cores=8)


def shapes(program):
    """The shapes of images, labels and seeds, or of what else a program takes, before its variables."""
    found = [(tensor.shape.as_list(), tensor.dtype) for tensor in program.graph.inputs]
    return [shape for shape, dtype in found if dtype != tf.resource]


def test_a_step_is_that_of_one_core(run):
    program = run.export_step()
    assert shapes(program) == [[2, 32, 32, 3], [2, 1], [2, 2]]
    # The graph knows the sum over the cores, and the program updates its variables in place.
    kinds = {node.type for node in program.graph.get_operations()}
    assert {"XlaAllReduce", "AssignVariableOp"} <= kinds | _kinds_of_functions(program.graph)
    assert program.content
    assert run.variable_bytes > 0


def test_labels_have_a_column_for_each_class_whatever_the_network_returns(monkeypatch):
    """With patient context, it returns the score of the positive classes alone."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    target = {"target": "column:dx", "classes": "BCC,MEL,NV", "positive_classes": "BCC,MEL"}
    config = make_config(global_batch_size=16, context="set", bag_size=2, augment_policy="none", **target)
    # Beside the classes, the number of the patient.
    _, labels, _ = programs.RunPrograms(config, cores=8)._describe_batch(config)
    assert labels.shape == [2, 3 + 1]


def _kinds_of_functions(graph):
    return {node.op for function in graph.as_graph_def().library.function for node in function.node_def}


def test_batch_and_micro_batches_can_be_changed(run):
    assert shapes(run.export_step(global_batch_size=32, gradient_accumulation_steps=2))[0] == [4, 32, 32, 3]


def test_predictions_and_augmentation_are_exported(run):
    plain, versions = run.export_prediction(), run.export_prediction(versions=8)
    assert shapes(plain) == shapes(versions) == [[2, 32, 32, 3], [2]]
    # All versions but the first are in a loop.
    loops = [[node for node in one.graph.get_operations() if "While" in node.type] for one in (plain, versions)]
    assert [len(found) for found in loops] == [0, 1]
    assert shapes(run.export_augmentation()) == [[2, 32, 32, 3], [2, 1], [2, 2]]


def test_a_program_is_compiled_for_all_cores(run, monkeypatch):
    calls = []
    monkeypatch.setattr(tpu_compiler, "compile_program", lambda *arguments: calls.append(arguments))
    program = programs.Program(b"content", tf.Graph())
    program.compile("v3:2x2", 8)
    assert calls == [(b"content", "v3:2x2", 8)]


def test_a_tensorflow_that_compiles_for_tpus_only_is_refused(monkeypatch):
    monkeypatch.setattr(tpus, "compiles_for_host", lambda: False)
    with pytest.raises(
        errors.ConfigError, match="got tensorflow-tpu; run it where the package tensorflow is installed"
    ):
        programs.RunPrograms(make_config(), cores=1)
