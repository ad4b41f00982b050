import cv2
import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.deduplication import image_similarity, local_detail, near_duplicates, view_alignment
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import duplicate_pairs, record_index, tf_example, tfrecord


def picture(seed, height=240, width=240):
    """Returns texture of several scales, like skin: uint8 `[height, width, 3]`."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (2, 6, 16)]
    return np.uint8(np.clip(140 + 40 * sum(layers), 40, 250))


def turn(image, degrees):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height))


def crop(image, top, bottom, left, right):
    height, width = image.shape[:2]
    rows = slice(round(top * height), round((1 - bottom) * height))
    return image[rows, round(left * width) : round((1 - right) * width)]


def reencode(image, quality):
    return cv2.imdecode(np.frombuffer(codec.encode(np.ascontiguousarray(image), quality), np.uint8), 1)


EDITS = {
    "encoded at quality 50": lambda image: reencode(image, 50),
    "encoded at quality 30": lambda image: reencode(image, 30),
    "halved": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "stretched 3:2": lambda image: cv2.resize(image, None, fx=1.5, fy=1, interpolation=cv2.INTER_CUBIC),
    "padded": lambda image: cv2.copyMakeBorder(image, image.shape[0] // 4, image.shape[0] // 4, 0, 0, 0),
    "turned 90": lambda image: np.rot90(image),
    "turned 180": lambda image: np.rot90(image, 2),
    "turned 270": lambda image: np.rot90(image, 3),
    "turned 10": lambda image: turn(image, 10),
    "turned 45": lambda image: turn(image, 45),
    "flipped": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "cropped all around": lambda image: crop(image, 0.025, 0.025, 0.025, 0.025),
    "cropped at a corner": lambda image: crop(image, 0.05, 0, 0, 0.05),
    "cropped more at a corner": lambda image: crop(image, 0.09, 0, 0.09, 0),
    "darker": lambda image: cv2.convertScaleAbs(image, alpha=0.75),
    "all at once": lambda image: reencode(turn(crop(image, 0.05, 0, 0.05, 0)[:, ::-1], 10), 50),
}


def match(pictures, first=None, max_distance=0.4):
    """Matches images; returns the pairs as a list, and the distances."""
    pairs, distances = near_duplicates.match_views(
        [image_similarity.make_views(one) for one in pictures], first, max_distance, 2
    )
    return [tuple(pair) for pair in pairs.tolist()], distances


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_photograph_is_found_among_others(edit):
    originals = [picture(seed) for seed in range(12)]
    pairs, distances = match([*originals, np.ascontiguousarray(EDITS[edit](originals[5]))])
    assert pairs == [(5, 12)]
    assert 0 <= distances[0] <= 0.4


def test_a_rotation_of_an_image_that_is_not_square_is_found():
    originals = [picture(seed, 240, 360) for seed in range(12)]
    assert match([*originals, turn(originals[5], 45)])[0] == [(5, 12)]


def test_the_distance_grows_with_the_edit():
    original = picture(0)
    near, far = (match([original, reencode(original, quality)])[1][0] for quality in (95, 10))
    assert near < 0.05 < far <= 0.4


def test_images_with_almost_no_content_do_not_match():
    rng = np.random.default_rng(0)
    # Rounded, this shading is the same faint bands in each.
    shades = np.linspace(150, 160, 240)[:, None, None]
    blank = [np.uint8(np.rint(shades + rng.normal(0, 0.1, (240, 240, 3)))) for _ in range(6)]
    constant = [np.full((240, 240, 3), value, np.uint8) for value in (0, 0, 90, 255)]
    assert match(blank + constant)[0] == []


def test_a_black_surround_is_no_likeness():
    circle = cv2.circle(np.zeros((240, 240, 3), np.uint8), (130, 110), 100, (1, 1, 1), -1)
    faint = [np.uint8(140 + (picture(seed) - 140.0) * 0.1) * circle for seed in range(6)]
    assert match(faint, max_distance=0.6)[0] == []


def test_the_distance_is_that_of_the_nearest_views():
    views = [
        image_similarity.make_views(one) for one in (picture(0, 200, 300), crop(picture(0, 200, 300), 0, 0.03, 0, 0))
    ]
    rows = np.concatenate(views)
    across = np.array([(one, len(views[0]) + other) for one in range(len(views[0])) for other in range(len(views[1]))])
    described = image_similarity.describe(rows), local_detail.find_details(rows)
    distances = view_alignment.compare(rows, *described, across)
    assert len(set(distances[distances < 0.4])) > 1
    assert near_duplicates.match_views(views, None, 0.4, 2)[1].tolist() == [distances.min()]


def test_of_a_cluster_all_pairs_are_listed():
    originals = [picture(seed) for seed in range(8)]
    copies = [reencode(originals[3], quality) for quality in range(70, 96, 2)]
    assert len(copies) > 2 * near_duplicates._NEAREST
    members = [3, *range(8, 8 + len(copies))]
    assert match(originals + copies)[0] == [(one, other) for one in members for other in members if one < other]


def test_between_sets_pairs_within_either_are_left_out():
    first, second = [picture(0), np.rot90(picture(0)), picture(1)], [picture(0)[::-1], picture(2), picture(2)]
    assert match([np.ascontiguousarray(one) for one in first + second], first=3)[0] == [(0, 3), (1, 3)]


def test_one_image_has_no_pairs():
    assert match([picture(0)])[0] == []


@pytest.mark.parametrize(
    ("shape", "count"), [((100, 100), 1), ((96, 100), 1), ((100, 150), 2), ((150, 100), 2), ((3, 1000), 2), ((1, 1), 1)]
)
def test_views_of_an_image_by_its_shape(shape, count):
    views = image_similarity.make_views(picture(0, *shape))
    assert views.shape == (count, image_similarity.SIDE, image_similarity.SIDE)
    assert views.dtype == np.uint8


def test_views_leave_a_black_frame_out():
    image = picture(0, 96, 96)
    framed = image_similarity.make_views(cv2.copyMakeBorder(image, 24, 24, 0, 0, cv2.BORDER_CONSTANT))
    assert len(framed) == 3
    difference = framed[2].astype(int) - image_similarity.make_views(image)[0]
    assert np.abs(difference).mean() < 8


def write(folder, named):
    folder.mkdir()
    for name, image in named.items():
        (folder / name).write_bytes(cv2.imencode(f".{name.rpartition('.')[2]}", image)[1].tobytes())


def find(output, images=None, records=None, against=None, max_distance=0.4, workers=2):
    paths = {"images": images, "records": records, "output": output, "against": against}
    paths = {name: path and str(path) for name, path in paths.items()}
    found = near_duplicates.find_duplicates(
        near_duplicates.DuplicatesConfig(**paths, max_distance=max_distance, workers=workers)
    )
    written = pd.read_csv(output)
    # What the function returns is what it writes.
    assert found.to_dict("list") == written.to_dict("list")
    return written


@pytest.fixture
def folder(tmp_path):
    """Directory of six images: b and d are edits of e, and the names of c need quoting in a CSV file."""
    named = {f"{name}.jpg": picture(seed) for seed, name in enumerate(("a", 'c,"1"', "e"))}
    named |= {"d.png": reencode(named["e.jpg"], 90), 'c,"2".png': named['c,"1".jpg'][::-1]}
    write(tmp_path / "jpeg", named)
    # Its name sorts before that of an image which is listed before it.
    write(tmp_path / "jpeg" / "train", {"b.jpeg": cv2.resize(named["e.jpg"], (150, 100))})
    return tmp_path / "jpeg"


def test_the_list_is_sorted_and_complete(folder, tmp_path, capsys):
    found = find(tmp_path / "pairs.csv", images=folder)
    assert list(found) == ["image_name_1", "image_name_2", "distance"]
    pairs = {("b", "d"), ("b", "e"), ("d", "e"), ('c,"1"', 'c,"2"')}
    assert {tuple(pair) for pair in found[["image_name_1", "image_name_2"]].to_numpy()} == pairs
    assert found["distance"].is_monotonic_increasing
    assert f"6 images: 4 pairs in 2 clusters, written to {tmp_path / 'pairs.csv'}" in capsys.readouterr().out
    assert len(duplicate_pairs.read_pairs(str(tmp_path / "pairs.csv"))) == 4


def test_the_same_images_give_the_same_bytes(folder, tmp_path):
    for workers in (1, 3):
        find(tmp_path / f"{workers}.csv", images=folder, workers=workers)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


def test_pairs_above_the_largest_distance_are_left_out(folder, tmp_path):
    every = find(tmp_path / "all.csv", images=folder)
    limit = every["distance"].iloc[1] + 1e-4
    near = find(tmp_path / "near.csv", images=folder, max_distance=limit)
    assert near["distance"].tolist() == every["distance"][every["distance"] <= limit].tolist()
    assert 2 <= len(near) < len(every)


def test_without_pairs_the_list_has_only_its_header(tmp_path):
    write(tmp_path / "jpeg", {"a.jpg": picture(0), "b.jpg": picture(1)})
    assert find(tmp_path / "pairs.csv", images=tmp_path / "jpeg").empty
    assert (tmp_path / "pairs.csv").read_text() == "image_name_1,image_name_2,distance\n"


def test_records_are_compared_with_the_images_they_were_made_from(made_up, record_set, tmp_path, capsys):
    records = f"{record_set}/train*.tfrec"
    names = set(record_index.read_index(str(record_set), "train")["image_name"])
    # Of 64 px there is little fine detail left.
    found = find(tmp_path / "pairs.csv", records=records, against=made_up / "jpeg", max_distance=0.6)
    assert set(found["image_name_1"][found["image_name_1"] == found["image_name_2"]]) == names
    out = capsys.readouterr().out
    assert f"{len(names)} against " in out
    assert f"pairs ({len(names)} of them with the same name)" in out
    assert find(tmp_path / "train.csv", records=records)["image_name_1"].isin(names).all()


@pytest.mark.parametrize("both", [True, False])
def test_exactly_one_source_is_required(both, tmp_path):
    with pytest.raises(
        ValueError, match=f"expected one of --images and --records, got {'both' if both else 'neither'}"
    ):
        find(tmp_path / "pairs.csv", images=tmp_path if both else None, records="*.tfrec" if both else None)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no images in .*jpeg, expected JPEG, PNG, BMP, TIFF, WebP or DICOM files"),
        ({"a.jpg": picture(0), "a.png": picture(1)}, r"names have more: .a. \(.*a.jpg, .*a.png\); remove or"),
    ],
)
def test_a_directory_without_images_or_with_a_name_twice_is_refused(files, message, tmp_path):
    write(tmp_path / "jpeg", files)
    with pytest.raises(ValueError, match=message):
        find(tmp_path / "pairs.csv", images=tmp_path / "jpeg")
    assert not (tmp_path / "pairs.csv").exists()


def test_an_image_that_cannot_be_decoded_is_named(folder, tmp_path):
    (folder / "f.jpg").write_bytes((folder / "e.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"f\.jpg is truncated \(2000 bytes\)"):
        find(tmp_path / "pairs.csv", images=folder)
    record = tf_example.to_example((folder / "f.jpg").read_bytes(), "ISIC_7")
    with open(tmp_path / "train0-1.tfrec", "wb") as file:
        tfrecord.write(file, record)
    with pytest.raises(ValueError, match=r"^image ISIC_7: .*-1\.tfrec at byte 0 is truncated .*; leave out the record"):
        find(tmp_path / "pairs.csv", records=tmp_path / "train*.tfrec")


def test_a_directory_as_output_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(errors.ConfigError, match="expected the path of a file to write, got the directory"):
        find(tmp_path, images="none")


def test_a_pattern_that_matches_nothing_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="no shards match"):
        find(tmp_path / "pairs.csv", images=folder, against=tmp_path / "none*.tfrec")


@pytest.mark.realdata
def test_planted_edits_of_real_images_are_found_and_nothing_else(real_data):
    paths = sorted((real_data / "isic2020" / "jpeg512" / "train").iterdir())
    originals = [cv2.imread(str(path)) for path in paths]
    chosen = range(0, 384, 16)
    edited = [np.ascontiguousarray(edit(originals[one])) for edit in EDITS.values() for one in chosen]
    pairs, _ = match(edited + originals, first=len(edited))
    truth = {(place, len(edited) + one) for place, one in enumerate([*chosen] * len(EDITS))}
    assert len(truth) == 24 * len(EDITS)
    assert len(truth & set(pairs)) >= 0.95 * len(truth)
    assert len(truth & set(pairs)) >= 0.95 * len(pairs)


@pytest.mark.realdata
def test_originals_are_found_in_the_squares_they_were_stretched_to(real_data, tmp_path):
    images, against = real_data / "isic2020" / "dicom", real_data / "isic2020" / "jpeg512"
    found = find(tmp_path / "pairs.csv", images=images, against=against)
    assert len(found) == 6
    assert (found["image_name_1"] == found["image_name_2"]).all()


@pytest.mark.realdata
def test_a_photograph_in_two_years_of_the_challenge_is_found(real_data, tmp_path):
    (tmp_path / "2017").mkdir()
    for path in (real_data / "isic2017" / "train").glob("ISIC_00142*"):
        (tmp_path / "2017" / path.name).symlink_to(path)
    found = find(tmp_path / "pairs.csv", images=tmp_path / "2017", against=real_data / "isic2020" / "jpeg512")
    assert found[["image_name_1", "image_name_2"]].to_numpy().tolist() == [["ISIC_0014289", "ISIC_7101732"]]
