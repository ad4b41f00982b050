"""Whether the detectors of a run find images unlike its training images, beside the rule "maximum probability".

    python experiments/benchmarks/unlike_detection.py RUN [RECORDS]

RUN is a binary run, RECORDS its record set, if not where its flags say. Intervals are of 95 % and over patients, of
other sets over lesions or pictures. The rule flags an image where the probability of its class is low, with the
threshold that 5 % of the out-of-fold predictions fall below.

False alarms are those of held-out images. In sample, the limits of a fold are set on the same images; nested, on those
of the other patients that the fold holds out, of which up to 60 groups are judged in turn. Of a run on the images of
ISIC 2020, damage is made on every sixth image, and judged by the fold that held the image out, which never saw it, and
by all folds. Pictures that are not skin are whole and in quarters. All pictures are read from JPEG files of quality 95:
PNG files of the same pixels are more unlike the records (experiments/LOG.md).

What the detector is made of was chosen by false alarms, by what is drawn and, for the neighbors, by every other lesion
of the clinical close-ups.
"""

import pathlib
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator

import common
import cv2
import image_quality
import numpy as np
import pandas as pd
import skimage
import sklearn
import tensorflow as tf

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import image_files, input_pipeline, mixture, photographs
from isic_tf.distribution import cpu
from isic_tf.inference import fold_networks
from isic_tf.metrics import clustered_share
from isic_tf.novelty import detector, detector_file

RNG = np.random.default_rng(0)
SIDE = 512
# What the issue asks for, in percent.
AIMS = {
    "clinical close-ups (MILK10k)": ">= 80",
    "photographs and scans": ">= 98",
    "drawn shapes": ">= 98",
    "drawn textures": ">= 98",
}
FEW = 200
# As `fit_fold_detector` uses of the training images.
MOST_IMAGES = 2000
# Of patients whose images are judged with the limits of all others.
GROUPS = 60

DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    **{f"blur, sigma {sigma} px": image_quality.blur(sigma) for sigma in (2, 4, 8)},
    **{f"brightness x {factor}": image_quality.scale(*[factor] * 3) for factor in (0.6, 0.4, 0.2, 1.6)},
    **{f"{100 * cast:.0f} % less blue": image_quality.scale(1, 1, 1 - cast) for cast in (0.4, 0.6)},
    **{f"{100 * cast:.0f} % less red": image_quality.scale(1 - cast, 1, 1) for cast in (0.4, 0.6)},
    **{f"JPEG quality {quality}": image_quality.compress(quality) for quality in (20, 10, 5)},
}


class Picture(typing.NamedTuple):
    """A picture: its set, what it belongs to (a patient, a lesion or a larger picture), and RGB values."""

    kind: str
    group: str
    pixels: np.ndarray


class Judged(typing.NamedTuple):
    """What the folds say of n images."""

    features: np.ndarray  # float32 [folds, n, s]
    scores: np.ndarray  # float32 [folds, n]


def draw(number: int) -> np.ndarray:
    """Draws a picture of one of eight kinds."""
    image = np.full((SIDE, SIDE, 3), RNG.integers(0, 256, 3), np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def point() -> tuple[int, int]:
        return tuple(RNG.integers(0, SIDE, 2).tolist())

    def color() -> tuple[int, int, int]:
        return tuple(RNG.integers(0, 256, 3).tolist())

    match number % 8:
        case 1:
            return RNG.integers(0, 256, image.shape, np.uint8)
        case 2:
            fields = (columns // RNG.integers(8, 64) + rows // RNG.integers(8, 64)) % 2
            return (fields[..., None] * RNG.integers(100, 256, 3)).astype(np.uint8)
        case 3:
            for _ in range(20):
                cv2.circle(image, point(), int(RNG.integers(10, 120)), color(), -1)
        case 4:
            image[:] = 255
            for row in range(35, SIDE, 35):
                text = "".join(map(chr, RNG.integers(65, 90, 24)))
                cv2.putText(image, text, (5, row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
        case 5:
            image = (255 / SIDE * np.stack([columns, rows, (rows + columns) / 2], -1)).astype(np.uint8)
            return np.rot90(image, number // 8)
        case 6:
            for _ in range(40):
                cv2.line(image, point(), point(), color(), int(RNG.integers(1, 12)))
        case 7:
            for _ in range(15):
                cv2.rectangle(image, point(), point(), color(), -1)
    return image


def draw_texture() -> np.ndarray:
    """Draws a picture whose brightness and colors vary over all distances, as those of photographs do."""

    def vary() -> np.ndarray:
        frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij"))
        frequencies[0, 0] = 1
        noise = RNG.normal(size=(SIDE, SIDE)) + 1j * RNG.normal(size=(SIDE, SIDE))
        field = np.fft.ifft2(noise / frequencies ** RNG.uniform(0.9, 2.3)).real[..., None]
        return (field - field.mean()) / field.std()

    image = RNG.integers(0, 256, 3) + vary() * RNG.uniform(10, 60) * RNG.uniform(0.6, 1.2, 3)
    if RNG.random() < 0.5:
        image = image + vary() * RNG.uniform(5, 30) * RNG.normal(size=3)
    if RNG.random() < 0.4:
        image = image + 28 * np.sign(vary()) * RNG.normal(size=3)
    return np.clip(image, 0, 255).astype(np.uint8)


def read(path: pathlib.Path) -> np.ndarray:
    """Reads an image file as RGB."""
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def list_pictures() -> Iterator[Picture]:
    """Yields the pictures of all sets but those of the run."""
    table = pd.read_csv(common.REAL_DATA / "tables" / "MILK10k_Training_Metadata.csv").set_index("isic_id")
    for path in common.find_real("milk10k/*.jpg"):
        own = table.loc[path.stem]
        kind = "dermoscopic (MILK10k)" if own["image_type"] == "dermoscopic" else "clinical close-ups (MILK10k)"
        yield Picture(kind, own["lesion_id"], read(path))
    files = common.find_real("isic2017/train/*.jpg")
    for path in files[:: len(files) // FEW][:FEW]:
        yield Picture("dermoscopic (ISIC 2017)", path.stem, read(path))
    shown = pathlib.Path(sklearn.__file__).parent / "datasets" / "images"
    scanned = pathlib.Path(skimage.__file__).parent / "data"
    for path in sorted([*shown.glob("*.jpg"), *scanned.glob("*.png"), *scanned.glob("*.jpg")]):
        image = read(path)
        height, width = (side // 2 for side in image.shape[:2])
        corners = [image[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
        for part in (image, *corners):
            yield Picture("photographs and scans", path.stem, part)
    for number in range(80):
        yield Picture("drawn shapes", str(number), draw(number))
    for number in range(160):
        yield Picture("drawn textures", str(number), draw_texture())


def judge(networks: fold_networks.FoldNetworks, rows: pd.DataFrame, size: int, images: object = None) -> Judged:
    """Returns the features and scores of images by every fold, in the order of the rows."""
    predict = networks.make_predictor(stages=True)
    dataset = input_pipeline.make_eval_dataset(rows, image_size=size, batch_size=32, images=images)
    features, scores = [], []
    for fold in range(len(networks)):
        names, own_scores, stages = zip(*predict(dataset, [fold]), strict=True)
        places = pd.Index(np.concatenate(names)).get_indexer(rows["image_name"])
        features.append(np.concatenate(stages)[places, 0])
        scores.append(np.concatenate(own_scores)[places])
    return Judged(np.stack(features), np.stack(scores))


def judge_pictures(
    networks: fold_networks.FoldNetworks, pictures: list[Picture], options: dict[str, typing.Any], run: str
) -> Judged:
    """Judges pictures as `isic_tf.predict --images` reads them, from files of JPEG."""
    with tempfile.TemporaryDirectory() as directory:
        for number, picture in enumerate(pictures):
            cv2.imwrite(f"{directory}/{number:06d}.jpg", picture.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        rows = image_files.list_files(directory)
        size = options["image_size"]
        with photographs.open_reader(rows, size, run_directory.read_flags(run), cpu.count_cores()) as reader:
            return judge(networks, rows, size, reader)


def state(flags: np.ndarray, groups: object) -> str:
    """Returns a share in percent with its interval."""
    found = clustered_share.estimate(np.asarray(flags), groups)
    return f"{100 * found['share']:.1f} ({100 * found['share_low']:.1f}-{100 * found['share_high']:.1f})"


def measure_all(detectors: list[detector.Detector], features: np.ndarray) -> np.ndarray:
    """Returns `unlike` by each fold, float64 `[folds, n]`."""
    return np.stack([detector.measure(*pair) for pair in zip(detectors, features, strict=True)])


def doubt(scores: np.ndarray) -> np.ndarray:
    """Returns the plain rule's value: high where the larger of both probabilities is low."""
    return -np.maximum(scores, 1 - scores)


def measure_nested(
    detectors: list[detector.Detector], features: np.ndarray, held_by: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Returns `unlike` of each held-out image, with the limits of the fold's other patients, float64 `[n]`."""
    values = np.full(len(patients), np.nan)
    for fold, own in enumerate(features):
        names = np.unique(patients[held_by == fold])
        training = own[held_by != fold]
        training = training[np.unique(np.linspace(0, len(training) - 1, MOST_IMAGES).astype(int))]
        for group in np.array_split(RNG.permutation(names), min(GROUPS, len(names))):
            is_judged = (held_by == fold) & np.isin(patients, group)
            others = own[(held_by == fold) & ~is_judged]
            used = detectors[fold]
            fitted = detector.fit_detector(training, others, len(used.mean), used.references.shape[1])
            values[is_judged] = detector.measure(fitted, own[is_judged])
    return values


def main(run: str, records: str = "") -> None:
    """Prints the tables."""
    options = run_directory.read_network(run)
    paths = run_directory.trained_folds(run)
    strategy = tf.distribute.get_strategy()
    networks = fold_networks.FoldNetworks(paths, options, strategy)
    detectors = [typing.cast(detector.Detector, detector_file.load_detector(path)) for path in paths]
    rows = mixture.read_sets(records or run_directory.read_flags(run)["data_dir"])
    held_by = np.full(len(rows), -1)
    for fold, path in enumerate(paths):
        seen = seen_images.read_seen_images(str(pathlib.Path(path).parent))
        held_by[~rows["image_name"].isin(seen["image_name"])] = fold
    rows, held_by = rows[held_by >= 0].reset_index(drop=True), held_by[held_by >= 0]
    patients = rows["patient_id"].to_numpy()

    judged = judge(networks, rows, options["image_size"])
    own = held_by, np.arange(len(rows))
    unlike = measure_all(detectors, judged.features)[own]
    doubts = doubt(judged.scores[own])
    limit = np.quantile(doubts, 1 - detector.FALSE_ALARM_RATE)
    nested = measure_nested(detectors, judged.features, held_by, patients)
    others = [np.quantile(doubts[patients != patient], 1 - detector.FALSE_ALARM_RATE) for patient in patients]
    table = {
        f"held-out images, n = {len(rows)}": ["limits in sample", "limits nested"],
        "aim": ["", "3 to 7"],
        "unlike": [state(unlike > 1, patients), state(nested > 1, patients)],
        "maximum probability": [state(doubts > limit, patients), state(doubts > others, patients)],
    }
    image_quality.print_table("False alarms, % (95 % interval)", pd.DataFrame(table))

    pictures = list(list_pictures())
    found = judge_pictures(networks, pictures, options, run)
    values = detector.join(measure_all(detectors, found.features).T)
    doubts = doubt(found.scores.mean(axis=0))
    kinds = np.array([picture.kind for picture in pictures])
    groups = np.array([picture.group for picture in pictures])
    lines = [
        (kind, (kinds == kind).sum(), AIMS.get(kind, ""), *(state(flags[kinds == kind], groups[kinds == kind])
         for flags in (values > 1, doubts > limit)))
        for kind in dict.fromkeys(kinds)
    ]  # fmt: skip
    columns = ["images", "n", "aim", "unlike", "maximum probability"]
    image_quality.print_table("Flagged of other images, % (95 % interval)", pd.DataFrame(lines, columns=columns))
    missed = [f"{groups[place]} {values[place]:.2f}" for place in np.flatnonzero(values <= 1)]
    shown = [text for text, kind in zip(missed, kinds[values <= 1], strict=True) if AIMS.get(kind) == ">= 98"]
    print("not found of pictures that are not skin:", ", ".join(shown))

    files = common.REAL_DATA / "isic2020" / "jpeg512" / "train"
    if not (files / f"{rows['image_name'].iloc[0]}.jpg").exists():
        return
    chosen = np.arange(0, len(rows), 6)
    images = [read(files / f"{name}.jpg") for name in rows["image_name"].iloc[chosen]]
    lines = []
    for name, apply in DAMAGES.items():
        damaged = judge_pictures(networks, [Picture(name, "", apply(image)) for image in images], options, run)
        values = measure_all(detectors, damaged.features)
        own = held_by[chosen], np.arange(len(chosen))
        flags = [values[own] > 1, doubt(damaged.scores[own]) > limit]
        flags += [detector.join(values.T) > 1, doubt(damaged.scores.mean(axis=0)) > limit]
        lines.append((name, *(state(one, patients[chosen]) for one in flags)))
    columns = ["damage at 512 px", *(f"{rule}, {by}" for by in ("held-out fold", "all folds") for rule in columns[3:])]
    title = f"Flagged of {len(chosen)} damaged images, % (95 % interval)"
    image_quality.print_table(title, pd.DataFrame(lines, columns=columns))


if __name__ == "__main__":
    main(*sys.argv[1:])
