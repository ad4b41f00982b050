"""Predicts JPEG files with a SavedModel of isic_tf.export, using only TensorFlow: serve_client.py MODEL a.jpg b.jpg."""

import sys

import tensorflow as tf

predict = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
inputs = {name: spec.dtype for name, spec in predict.structured_input_signature[1].items() if name != "image"}
for path in sys.argv[2:]:
    # Clinical metadata, for a model that uses it, such as sex="female". Here all of it is unknown.
    unknown = {tf.string: "", tf.int64: -1, tf.float32: float("nan")}
    known = {name: tf.constant([unknown[dtype]], dtype) for name, dtype in inputs.items()}
    print(path, f"{predict(image=[tf.io.read_file(path)], **known)['prediction'][0]:.4f}")
