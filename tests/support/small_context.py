"""Classifiers with a patient-context head that are built and applied in a second."""

import functools

import numpy as np
from harness import tiny_trunk

from isic_tf.models import backbones, classifiers, patient_context_head, set_transformer


def patch_small_classifiers(monkeypatch):
    """Makes `classifiers.build_classifier` small and without dropout, its correction not 0 at first; returns it."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    monkeypatch.setattr(
        set_transformer,
        "build_set_transformer",
        functools.partial(set_transformer.build_set_transformer, units=8, blocks=1, dropout=0.0),
    )
    build = classifiers.build_classifier

    def built(*arguments, **options):
        classifier = build(*arguments, **{**options, "dropout": 0.0})
        if context := patient_context_head.find_context_layer(classifier):
            kernel = next(weight for weight in context.sets.weights if "correction/kernel" in weight.name)
            kernel.assign(np.linspace(-1, 1, 8, dtype=np.float32)[:, None])
        return classifier

    monkeypatch.setattr(classifiers, "build_classifier", built)
    return built
