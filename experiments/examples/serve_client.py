"""Predicts JPEG files with a SavedModel of isic_tf.export, by TensorFlow alone: serve_client.py MODEL a.jpg b.jpg"""

import sys

import tensorflow as tf

predict = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
inputs = {name: spec.dtype for name, spec in predict.structured_input_signature[1].items() if name != "image"}
for path in sys.argv[2:]:
    # What a model with metadata should know of the patient, such as sex="female"; here nothing is known.
    known = {name: tf.constant([""] if dtype == tf.string else [-1], dtype) for name, dtype in inputs.items()}
    print(path, f"{predict(image=[tf.io.read_file(path)], **known)['prediction'][0]:.4f}")
