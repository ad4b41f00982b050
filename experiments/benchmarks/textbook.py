"""The pipeline of the public notebooks: decode at full size, scale to [0, 1], resize, augment in `Dataset.map`."""

import math
from collections.abc import Sequence

import tensorflow as tf

# As in Deotte's notebooks: standard deviations of rotation and shear (degrees), zoom, and shift (pixels at 256 px).
ROTATION = 180.0
SHEAR = 2.0
ZOOM = 8.0
SHIFT = 8.0


def transform(image: tf.Tensor, size: int) -> tf.Tensor:
    """Rotates, shears, zooms and shifts an image by gathering the nearest pixels."""
    rotation, shear = (math.pi * scale * tf.random.normal([]) / 180 for scale in (ROTATION, SHEAR))
    zoom_y, zoom_x = (1 + tf.random.normal([]) / ZOOM for _ in range(2))
    shift_y, shift_x = (SHIFT * size / 256 * tf.random.normal([]) for _ in range(2))
    one = tf.constant(1.0)
    zero = tf.constant(0.0)
    factors = [
        [tf.cos(rotation), tf.sin(rotation), zero, -tf.sin(rotation), tf.cos(rotation), zero, zero, zero, one],
        [one, tf.sin(shear), zero, zero, tf.cos(shear), zero, zero, zero, one],
        [1 / zoom_y, zero, zero, zero, 1 / zoom_x, zero, zero, zero, one],
        [one, zero, shift_y, zero, one, shift_x, zero, zero, one],
    ]
    matrix = tf.eye(3)
    for factor in factors:
        matrix = matrix @ tf.reshape(tf.stack(factor), [3, 3])
    rows = tf.repeat(tf.range(size // 2, -size // 2, -1), size)
    columns = tf.tile(tf.range(-size // 2, size // 2), [size])
    grid = tf.cast(tf.stack([rows, columns, tf.ones([size * size], tf.int32)]), tf.float32)
    sources = tf.clip_by_value(tf.cast(matrix @ grid, tf.int32)[:2], -size // 2 + 1, size // 2)
    indices = tf.stack([size // 2 - sources[0], size // 2 - 1 + sources[1]], axis=1)
    return tf.reshape(tf.gather_nd(image, indices), [size, size, 3])


def load(serialized: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the augmented image and the label of a record."""
    spec = {"image": tf.io.FixedLenFeature([], tf.string), "target": tf.io.FixedLenFeature([], tf.int64)}
    record = tf.io.parse_single_example(serialized, spec)
    image = tf.cast(tf.image.decode_jpeg(record["image"], channels=3), tf.float32) / 255.0
    image = transform(tf.image.resize(image, [size, size]), size)
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_saturation(image, 0.7, 1.3)
    image = tf.image.random_contrast(image, 0.8, 1.2)
    return tf.image.random_brightness(image, 0.1), tf.cast(record["target"], tf.float32)


def make_dataset(files: Sequence[str], size: int, batch_size: int, shuffle: int = 2048) -> tf.data.Dataset:
    """Returns a dataset of one epoch of batches."""
    records = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).shuffle(shuffle)
    images = records.map(lambda serialized: load(serialized, size), num_parallel_calls=tf.data.AUTOTUNE)
    return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
