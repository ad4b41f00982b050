"""Eight versions of an image at 256 px from records of 1024 px: a prediction against its forward passes alone."""

import tempfile

import common
import tensorflow as tf

from isic_tf.data import input_pipeline
from isic_tf.distribution import cpu
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.models import classifiers

SIZE, BATCH, VERSIONS, RECORDS = 256, 32, 8, 128

with tempfile.TemporaryDirectory() as folder:
    _, rows = common.make_set(folder, 12)
    rows = input_pipeline.in_file_order(rows.sample(RECORDS, random_state=0))
    options = {"image_size": SIZE, "batch_size": BATCH, "threads": cpu.count_cores()}
    classifier = classifiers.build_classifier("efficientnet-b0", SIZE)
    strategy = tf.distribute.get_strategy()
    predict = predictor.make_predictor(
        [classifier], strategy, test_time_augmentation.make_views(VERSIONS, "dihedral", {}, 0), VERSIONS
    )

    def whole():
        for _ in predict(input_pipeline.make_eval_dataset(rows, **options)):
            pass

    images = tf.random.uniform([BATCH, SIZE, SIZE, 3])
    forward = tf.function(lambda: classifier(images, training=False))

    def passes():
        for _ in range(VERSIONS * RECORDS // BATCH):
            forward()

    whole()
    passes()
    alone, all_of_it = common.compare(
        f"{RECORDS} records of 1024 px at {SIZE} px, {VERSIONS} versions, B0", "0.95", passes, whole
    )
    print(f"{all_of_it / alone:.3f} times the forward passes alone (aim 1.05), {RECORDS / all_of_it:.1f} images/s")
