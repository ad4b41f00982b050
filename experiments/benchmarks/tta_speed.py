"""Predicting eight versions of each image at 256 px from records of 1024 px, against the bare forward passes."""

import tempfile

import common
import tensorflow as tf

from isic_tf.data import input_pipeline
from isic_tf.distribution import cpu
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.models import classifiers

SIZE = 256
BATCH = 32
VERSIONS = 8
RECORDS = 128

with tempfile.TemporaryDirectory() as directory:
    _, all_rows = common.make_set(directory, 12)
    rows = input_pipeline.in_file_order(all_rows.sample(RECORDS, random_state=0))
    options = {"image_size": SIZE, "batch_size": BATCH, "threads": cpu.count_cores()}
    classifier = classifiers.build_classifier("efficientnet-b0", SIZE)
    view = test_time_augmentation.make_views(VERSIONS, "dihedral", {}, 0)
    predict = predictor.make_predictor([classifier], tf.distribute.get_strategy(), view, VERSIONS)

    def predict_records() -> None:
        for _ in predict(input_pipeline.make_eval_dataset(rows, **options)):
            pass

    images = tf.random.uniform([BATCH, SIZE, SIZE, 3])
    forward = tf.function(lambda: classifier(images, training=False))

    def run_forward_passes() -> None:
        for _ in range(VERSIONS * RECORDS // BATCH):
            forward()

    predict_records()
    run_forward_passes()
    claim = f"{RECORDS} records of 1024 px at {SIZE} px, {VERSIONS} versions, B0"
    forward_seconds, prediction_seconds = common.compare(claim, "0.95", run_forward_passes, predict_records)
    print(
        f"{prediction_seconds / forward_seconds:.3f} times the forward passes alone (aim 1.05), "
        f"{RECORDS / prediction_seconds:.1f} images/s"
    )
