"""A network's features at every resolution: what it sees from edges and colors up to lesions."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from isic_tf.models import classifiers, patient_context_head

# From the side of the image to those of its feature maps.
_STEPS = (2, 4, 8, 16, 32)


def add_stage_features(classifier: tf.keras.Model, outputs: Sequence[tf.Tensor] = ()) -> tf.keras.Model:
    """Makes a model that computes the features of every resolution in the same pass.

    Args:
        classifier: See `classifiers.build_classifier`; of one with a context head, the image level is used.
        outputs: Further outputs of the model, tensors of the classifier above its backbone.

    Returns:
        Keras model with the classifier's image and metadata as inputs, and as outputs its image-level logits `[b, c]`,
        the further outputs, and last float32 `[b, f]`, the means over all positions of the last block of each
        resolution of the backbone, beginning with the finest.

    Examples:
        >>> classifier = classifiers.build_classifier("efficientnet-lite0", 32)
        >>> logits, stages = add_stage_features(classifier)(tf.zeros([2, 32, 32, 3]))
        >>> stages.shape
        TensorShape([2, 1472])
    """
    body, head = split(classifier, outputs)
    image, *known = patient_context_head.image_level_model(classifier).inputs
    features, stages = body(image)
    found = tf.nest.flatten(head([features, *known]))
    return tf.keras.Model([image, *known] if known else image, [*found, stages])


def split(
    classifier: tf.keras.Model, outputs: Sequence[tf.Tensor] = ()
) -> tuple[Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], tf.keras.Model]:
    """Splits a classifier after its backbone, into parts that share its weights.

    Args:
        classifier: See `add_stage_features`.
        outputs: See `add_stage_features`.

    Returns:
        A function, at inference, from images to the backbone's features `[b, h, w, f]` and the features of every
        resolution; and a Keras model from the list of features and metadata to the logits and the further outputs.
    """
    classifier = patient_context_head.image_level_model(classifier)
    backbone = classifiers.backbone_of(classifier)
    maps = tf.keras.Model(backbone.input, _list_maps(backbone))
    image, *known = classifier.inputs
    normalize = tf.keras.Model(image, backbone.get_input_at(-1))
    # As a model, the backbone would be traced once more.
    pool = tf.keras.layers.GlobalAveragePooling2D(dtype="float32")
    concatenate = tf.keras.layers.Concatenate(dtype="float32")

    def body(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Of one output alone, Keras returns no list.
        found = tf.nest.flatten(maps(normalize(images), training=False))
        return found[-1], concatenate([pool(one) for one in found])

    head = tf.keras.Model([backbone.get_output_at(-1), *known], [classifier.output, *outputs])
    return body, head


def count_features(classifier: tf.keras.Model) -> list[int]:
    """Counts the features of every resolution, beginning with the finest.

    Args:
        classifier: See `add_stage_features`.

    Returns:
        Numbers, of which the last is that of the backbone's own features.

    Examples:
        >>> count_features(classifiers.build_classifier("efficientnet-lite0", 32))
        [16, 24, 40, 112, 1280]
    """
    backbone = classifiers.backbone_of(patient_context_head.image_level_model(classifier))
    return [found.shape[-1] for found in _list_maps(backbone)]


def _list_maps(backbone: tf.keras.Model) -> list[tf.Tensor]:
    """Returns the outputs `[b, h, w, f]` of the last block of each resolution, and the backbone's own last.

    A block ends where its branch is joined; else it is the last layer of the fewest channels: blocks widen inside.
    """
    image_size = backbone.input.shape[1]
    # Rounded either way; other sides are those of padded maps.
    sides = {side for step in _STEPS for side in (image_size // step, -(-image_size // step))}
    joined: dict[int, tf.Tensor] = {}
    narrowest: dict[int, tf.Tensor] = {}
    for layer in backbone.layers:
        output = layer.output
        if isinstance(output, (list, tuple, dict)) or len(output.shape) != 4 or output.shape[1] not in sides:
            continue
        side, channels = output.shape[1], output.shape[-1]
        if isinstance(layer, (tf.keras.layers.Add, tf.keras.layers.Concatenate)):
            joined[side] = output
        if side not in narrowest or channels <= narrowest[side].shape[-1]:
            narrowest[side] = output
    found = {**narrowest, **joined}
    found.pop(backbone.output.shape[1], None)
    return [*(found[side] for side in sorted(found, reverse=True)), backbone.output]
