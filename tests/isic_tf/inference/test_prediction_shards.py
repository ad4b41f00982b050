import hashlib

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import embedding_archive
from isic_tf.inference import prediction_shards
from tfrecord_tools.io import atomic_write


def make_table(names, start=0.0):
    return pd.DataFrame({"image_name": list(names), "prediction": start + 0.125 * np.arange(len(names))})


def test_a_float32_is_restored_exactly(tmp_path):
    values = np.random.default_rng(0).random(1000).astype(np.float32)
    prediction_shards.open_parts(str(tmp_path / "p"), "this")
    prediction_shards.write_part(
        str(tmp_path / "p"), 0, pd.DataFrame({"image_name": [f"i{n}" for n in range(1000)], "prediction": values})
    )
    assert prediction_shards.open_parts(str(tmp_path / "p"), "this") == {0}
    assert np.array_equal(
        prediction_shards.read_parts(str(tmp_path / "p"), [0])["prediction"].astype(np.float32), values
    )
    atomic_write.write_text(str(tmp_path / "weights"), "w")
    assert prediction_shards.digest([str(tmp_path / "weights")], 1) != prediction_shards.digest(
        [str(tmp_path / "weights")], 2
    )


def test_the_digest_covers_the_facts_and_then_the_content_of_the_files(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    # Worked by hand: the text of the tuple of facts, then the bytes of the files in their order.
    assert prediction_shards.digest(paths, 8, "dihedral") == hashlib.sha256(b"(8, 'dihedral')onetwo").hexdigest()
    assert prediction_shards.digest(paths[::-1], 8, "dihedral") != prediction_shards.digest(paths, 8, "dihedral")


def test_a_part_counts_once_its_table_is_written(tmp_path):
    directory = str(tmp_path / "parts")
    assert prediction_shards.open_parts(directory, "x") == set()
    # Interrupted between the embeddings and the table.
    np.save(tmp_path / "parts" / "part-00000.npy", np.zeros((1, 1, 2), np.float32))
    assert prediction_shards.open_parts(directory, "x") == set()
    prediction_shards.write_part(directory, 12, make_table("a"), np.zeros((1, 1, 2), np.float32))
    assert prediction_shards.open_parts(directory, "x") == {12}


def test_parts_of_another_digest_are_deleted(tmp_path, capsys):
    directory = str(tmp_path / "parts")
    prediction_shards.open_parts(directory, "x")
    prediction_shards.write_part(directory, 0, make_table("a"))
    assert prediction_shards.open_parts(directory, "y") == set()
    assert capsys.readouterr().out == f"{directory} holds parts of another prediction; starting over\n"
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["made_of.txt"]


def test_a_directory_without_a_digest_is_emptied(tmp_path):
    directory = str(tmp_path / "parts")
    prediction_shards.write_part(directory, 0, make_table("a"))
    assert prediction_shards.open_parts(directory, "x") == set()
    assert not (tmp_path / "parts" / "part-00000.csv").exists()


def test_parts_are_joined_in_the_order_of_their_numbers(tmp_path):
    directory = str(tmp_path)
    features = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    prediction_shards.write_part(directory, 10, make_table("c", 0.5), features[2:])
    prediction_shards.write_part(directory, 9, make_table("ab"), features[:2])
    found = prediction_shards.read_parts(directory, [10, 9])
    assert found["image_name"].tolist() == ["a", "b", "c"]
    assert found["prediction"].tolist() == [0, 0.125, 0.5]
    assert found["prediction"].dtype == np.float64
    assert np.array_equal(prediction_shards.read_part_embeddings(directory, [10, 9]), features)
    assert np.array_equal(prediction_shards.read_part_embeddings(directory, [10, 9], 1), features[:, 1])


@pytest.mark.parametrize("width", [None, -1])
def test_the_archive_holds_the_embeddings_of_all_parts(tmp_path, width):
    features = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    features[1, 0] = np.nan
    prediction_shards.write_part(str(tmp_path), 0, make_table("ab"), features[:2])
    prediction_shards.write_part(str(tmp_path), 1, make_table("c"), features[2:])
    output = str(tmp_path / "e.npz")
    prediction_shards.join_embeddings(str(tmp_path), [1, 0], ["a", "b", "c"], ["fold0", "fold1"], output, width)
    with np.load(output, allow_pickle=False) as archive:
        assert archive["image_name"].tolist() == ["a", "b", "c"]
        assert archive["fold"].tolist() == ["fold0", "fold1"]
        np.testing.assert_array_equal(archive["embeddings"], features[..., :width])
        assert archive["embeddings"].dtype == np.float32
    np.testing.assert_array_equal(embedding_archive.read_embeddings(output, ["c", "a"]), features[[2, 0], :, :width])


def test_stamps_hold_size_and_time_in_the_order_of_the_files(tmp_path):
    paths = []
    for name, content in (("a", b"1"), ("b", b"123")):
        (tmp_path / name).write_bytes(content)
        paths.append(str(tmp_path / name))
    stamps = prediction_shards.list_stamps(paths)
    assert [size for size, _ in stamps] == [1, 3]
    assert stamps == [(path.stat().st_size, path.stat().st_mtime_ns) for path in (tmp_path / "a", tmp_path / "b")]
