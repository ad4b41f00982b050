"""Serializes and describes `tf.train.Example` messages, without TensorFlow."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfrecord_tools import errors, schema


def to_example(image: bytes, image_name: str, **integers: int) -> bytes:
    """Serializes one record; the same arguments give the same bytes.

    Args:
        image: JPEG bytes.
        image_name: Name without directory and extension.
        **integers: Any of `schema.METADATA` and `target`; -1 where unknown. Omit `target` for an unlabeled record.

    Returns:
        Bytes of a `tf.train.Example`.

    Raises:
        IsicError: An argument is not a feature of the schema.
    """
    unknown = sorted(set(integers) - {*schema.METADATA, "target"})
    if unknown:
        raise errors.IsicError(f"expected features {', '.join(schema.METADATA)} or target, got {', '.join(unknown)}")
    features: dict[str, bytes | int] = {"image": image, "image_name": image_name.encode()}
    for name, value in integers.items():
        features[name] = int(value)
    return serialize(features)


def parse_spec(labeled: bool) -> dict[str, Any]:
    """Returns the features to parse: `image` and `image_name` are required, absent integers become -1.

    Args:
        labeled: Whether to parse `target`. False for a test split, because some published test records carry labels.

    Returns:
        Dict of `tf.io.FixedLenFeature` for `tf.io.parse_single_example`.
    """
    import tensorflow as tf

    texts = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "image_name")}
    names = (*schema.METADATA, "target") if labeled else schema.METADATA
    integers = {name: tf.io.FixedLenFeature([], tf.int64, schema.UNKNOWN) for name in names}
    return {**texts, **integers}


_FIELD = descriptor_pb2.FieldDescriptorProto
# The three messages that hold a list of values, and the type of their values.
_LISTS = {"BytesList": _FIELD.TYPE_BYTES, "FloatList": _FIELD.TYPE_FLOAT, "Int64List": _FIELD.TYPE_INT64}


def _add_field(
    parent: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: int | str,
    repeated: bool = False,
    **options: Any,
) -> None:
    """Adds a field to a message; `kind` is a scalar type or the name of a message of this package."""
    label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    if isinstance(kind, str):
        options |= {"type": _FIELD.TYPE_MESSAGE, "type_name": f".isic_tf.{kind}"}
    else:
        options |= {"type": kind}
    parent.field.add(name=name, number=number, label=label, **options)


def _describe_example() -> descriptor_pb2.FileDescriptorProto:
    """Describes `tf.train.Example` and its parts, wire-compatible with TensorFlow's own messages."""
    file = descriptor_pb2.FileDescriptorProto(name="isic_tf/example.proto", package="isic_tf", syntax="proto3")
    for name, kind in _LISTS.items():
        _add_field(file.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(_LISTS, start=1):
        _add_field(feature, f"{name.removesuffix('List').lower()}_list", number, name, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _FIELD.TYPE_STRING)
    _add_field(entry, "value", 2, "Feature")
    _add_field(features, "feature", 1, "Features.FeatureEntry", repeated=True)
    _add_field(file.message_type.add(name="Example"), "features", 1, "Features")
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe_example())
Example: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("isic_tf.Example"))


def serialize(features: Mapping[str, bytes | int]) -> bytes:
    """Serializes features; the same features give the same bytes.

    Args:
        features: Dict from name to bytes or int.

    Returns:
        Bytes of a `tf.train.Example`.

    Examples:
        >>> message = Example.FromString(serialize({"target": 1}))
        >>> list(message.features.feature["target"].int64_list.value)
        [1]
    """
    message = Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        values = feature.bytes_list if isinstance(value, bytes) else feature.int64_list
        values.value.append(value)
    return message.SerializeToString(deterministic=True)
