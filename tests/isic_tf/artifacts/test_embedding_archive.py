import numpy as np
import pytest

from isic_tf.artifacts import embedding_archive
from tfrecord_tools import errors

FEATURES = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def write(folder, **arrays):
    np.savez_compressed(folder / "e.npz", **arrays)
    return str(folder / "e.npz")


@pytest.fixture
def archive(tmp_path):
    return write(tmp_path, image_name=np.array(["a", "b", "c"]), embeddings=FEATURES)


def test_embeddings_are_returned_in_the_order_of_the_names(archive):
    found = embedding_archive.read_embeddings(archive, ["c", "a", "c"])
    assert found.dtype == np.float32
    assert found.tolist() == FEATURES[[2, 0, 2]].tolist()


def test_a_missing_archive_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"no embeddings at .*none.npz; create them with isic_tf.predict --embeddings"):
        embedding_archive.read_embeddings(str(tmp_path / "none.npz"), ["a"])


def test_images_without_embeddings_are_refused(archive):
    with pytest.raises(ValueError, match=r"2 images have no embeddings in .*e.npz \(first: x\); predict them with"):
        embedding_archive.read_embeddings(archive, ["a", "x", "y"])


def test_a_repeated_name_is_refused(tmp_path):
    path = write(tmp_path, image_name=np.array(["a", "b", "a"]), embeddings=FEATURES)
    with pytest.raises(ValueError, match="names an image twice; write it again with isic_tf.predict"):
        embedding_archive.read_embeddings(path, ["a"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image_name": np.array(["a"])}, "KeyError"),
        ({"image_name": np.array([1, 2, 3]), "embeddings": FEATURES}, "its arrays are int64"),
        ({"image_name": np.array(["a", "b", "c"]), "embeddings": FEATURES.astype("float64")}, "and float64"),
        ({"image_name": np.array(["a", "b", "c"]), "embeddings": FEATURES[0]}, r"float32 \(2, 2\)"),
        ({"image_name": np.array(["a", "b"]), "embeddings": FEATURES}, r"<U1 \(2,\) and float32 \(3, 2, 2\)"),
        ({"image_name": np.array(["a"], object), "embeddings": FEATURES}, "holds Python objects"),
    ],
)
def test_other_archives_are_refused(tmp_path, arrays, message):
    path = write(tmp_path, **arrays)
    with pytest.raises(errors.CorruptRecordError, match=f"e.npz is not an archive of embeddings .*{message}"):
        embedding_archive.read_embeddings(path, ["a"])


def test_a_truncated_archive_is_refused(archive):
    with open(archive, "rb") as file:
        content = file.read()
    with open(archive, "wb") as file:
        file.write(content[:-40])
    with pytest.raises(errors.CorruptRecordError, match="the archive is damaged"):
        embedding_archive.read_embeddings(archive, ["a"])
