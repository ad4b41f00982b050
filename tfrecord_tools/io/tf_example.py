"""Serializes and describes `tf.train.Example` messages, without TensorFlow."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfrecord_tools import errors, schema


def to_example(image, image_name, **integers):
    """Serializes one record; the same arguments give the same bytes.

    Args:
        image: JPEG bytes.
        image_name: Name without folder or extension.
        **integers: Any of `METADATA` and `target`; -1 where unknown. Leave `target` out for an unlabelled record.

    Returns:
        Bytes of a `tf.train.Example`.

    Raises:
        IsicError: An argument is no feature of the schema.
    """
    unknown = sorted(set(integers) - {*schema.METADATA, "target"})
    if unknown:
        raise errors.IsicError(f"expected features {', '.join(schema.METADATA)} or target, got {', '.join(unknown)}")
    texts = {"image": image, "image_name": image_name.encode()}
    return serialize(texts | {name: int(value) for name, value in integers.items()})


def parse_spec(labelled):
    """Gives the features to parse: `image` and `image_name` required, the integers -1 where a record lacks them.

    Args:
        labelled: Whether `target` is parsed. False for a test split: published test records have carried labels.

    Returns:
        Dict of `tf.io.FixedLenFeature` for `tf.io.parse_single_example`.
    """
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "image_name")}
    integers = (*schema.METADATA, "target") if labelled else schema.METADATA
    return spec | {name: tf.io.FixedLenFeature([], tf.int64, schema.UNKNOWN) for name in integers}


_FIELD = descriptor_pb2.FieldDescriptorProto
# Message: its fields as (name, number, label, type or the message's name, and the number of the `oneof` or None).
_LISTS = {"BytesList": _FIELD.TYPE_BYTES, "FloatList": _FIELD.TYPE_FLOAT, "Int64List": _FIELD.TYPE_INT64}


def _add(parent, name, number, kind, label=_FIELD.LABEL_OPTIONAL, **options):
    typed = {"type": kind} if isinstance(kind, int) else {"type": _FIELD.TYPE_MESSAGE, "type_name": f".isic_tf.{kind}"}
    return parent.field.add(name=name, number=number, label=label, **typed, **options)


def _describe():
    file = descriptor_pb2.FileDescriptorProto(name="isic_tf/example.proto", package="isic_tf", syntax="proto3")
    for name, kind in _LISTS.items():
        _add(file.message_type.add(name=name), "value", 1, kind, _FIELD.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(_LISTS, start=1):
        _add(feature, f"{name.removesuffix('List').lower()}_list", number, name, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add(entry, "key", 1, _FIELD.TYPE_STRING)
    _add(entry, "value", 2, "Feature")
    _add(features, "feature", 1, "Features.FeatureEntry", _FIELD.LABEL_REPEATED)
    _add(file.message_type.add(name="Example"), "features", 1, "Features")
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())
Example = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("isic_tf.Example"))


def serialize(features):
    """Serializes features; the same ones give the same bytes.

    Args:
        features: Dict from name to bytes or int.

    Returns:
        Bytes of a `tf.train.Example`.
    """
    message = Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value.append(value)
    return message.SerializeToString(deterministic=True)
