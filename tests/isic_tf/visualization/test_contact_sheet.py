import cv2
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import input_pipeline, mixture
from isic_tf.visualization import contact_sheet

FLAGS = {
    "images": 3,
    "image_size": 64,
    "names": "",
    "augment": True,
    "versions": 2,
    "augment_policy": "light",
    "augment_strength": 1.0,
    "seed": 0,
}


@pytest.fixture
def drawn(monkeypatch):
    """The columns and titles of the sheets that are drawn."""
    calls, original = [], contact_sheet.draw_contact_sheet
    monkeypatch.setattr(contact_sheet, "draw_contact_sheet", lambda *given: calls.append(given) or original(*given))
    return calls


def sheet(record_set, output, split="train", **changes):
    contact_sheet.show(
        contact_sheet.ShowConfig(records=f"{record_set}/{split}*.tfrec", output=str(output), **{**FLAGS, **changes})
    )


def test_originals_are_next_to_their_versions_with_names_and_labels(record_set, index, tmp_path, drawn, capsys):
    sheet(record_set, tmp_path / "sheet.png")
    _, columns, title = drawn[0]
    assert title == "light, strength 1"
    assert [len(pictures) for pictures, _ in columns] == [3, 3, 3]
    labels = index.set_index("image_name")["target"]
    for image, caption in zip(*columns[0], strict=True):
        name, label = caption.split("\n")
        assert label == {0: "benign", 1: "malignant"}[labels[name]]
        row = index[index["image_name"] == name]
        expected = next(iter(input_pipeline.make_eval_dataset(row, image_size=64, batch_size=1, threads=1)))[0][0]
        assert np.array_equal(image, expected.numpy() / np.float32(255))
    assert columns[2][1] == ["epoch 2\n"] * 3
    assert f"wrote 3 images and 2 versions of each to {tmp_path / 'sheet.png'}" in capsys.readouterr().out
    height, width, _ = cv2.imread(str(tmp_path / "sheet.png")).shape
    # Versions of matplotlib round fractions of a pixel in their own ways.
    assert (height, width) == (pytest.approx(100 * (0.4 + 3 * 2.25), abs=1), pytest.approx(570, abs=1))


def test_the_versions_are_those_of_the_training_stream(record_set, tmp_path, drawn):
    rows = mixture.read_sets(str(record_set))
    dataset = input_pipeline.make_train_dataset(rows, image_size=64, batch_size=len(rows), seed=4, threads=2)
    images, _, seeds = next(iter(dataset))
    trained = augmenter.make_augment(policies.read_policy("light"))(images, tf.zeros(len(rows)), seeds)[0].numpy()
    by_key = {int(key): image for key, image in zip(seeds[:, 1], trained, strict=True)}
    name = rows["image_name"][7]
    sheet(record_set, tmp_path / "sheet.png", names=name, seed=4, versions=1)
    key = int(tf.strings.to_hash_bucket_fast(name, 2**62))
    assert np.abs(drawn[0][1][1][0][0] - by_key[key]).max() < 1e-5


def test_test_records_show_no_label_and_originals_alone_make_a_square(record_set, tmp_path, drawn):
    sheet(record_set, tmp_path / "sheet.pdf", split="test", augment=False, images=5)
    _, columns, title = drawn[0]
    assert title == ""
    assert all(caption.endswith("\nno label") for caption in columns[0][1])
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")


def test_mixed_labels_are_in_the_captions(record_set, tmp_path, drawn):
    policy = tmp_path / "policy.json"
    policy.write_text('{"mixup": {"alpha": 1}}')
    sheet(record_set, tmp_path / "sheet.png", images=12, augment_policy=str(policy))
    assert any("malignant" in caption for caption in drawn[0][1][1][1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "sheet.txt"}, "expected --output to end in .png, .jpg or .pdf, got 'sheet.txt'"),
        ({"names": "ISIC_gone"}, r"1 images of --names are not in these records \(first: ISIC_gone\); check --records"),
        ({"augment_policy": "lihgt"}, "did you mean light"),
        ({"records": "nowhere*"}, "no shards match 'nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(record_set, tmp_path, changes, message):
    flags = {"records": f"{record_set}/train*.tfrec", "output": str(tmp_path / "sheet.png"), **FLAGS}
    with pytest.raises(ValueError, match=message):
        contact_sheet.show(contact_sheet.ShowConfig(**{**flags, **changes}))
    assert not list(tmp_path.iterdir())
