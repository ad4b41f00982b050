"""Generates a synthetic data set in the competition's format."""

import collections
import concurrent.futures
import io
import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pydicom.encaps
from tqdm import tqdm

from tfrecord_tools import schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import atomic_write, output_lock
from tfrecord_tools.synthetic import lesion_renderer
from tfrecord_tools.synthetic.config import SynthConfig

_LOG = logging.getLogger(__name__)

# Figures of the competition's train.csv: body sites, blank fields, images per patient.
_SITE_RATES = (0.057, 0.153, 0.258, 0.517, 0.011, 0.004)
_BENIGN_DIAGNOSES = {"unknown": 0.834, "nevus": 0.16, "seborrheic keratosis": 0.004, "lentigo NOS": 0.002}
_BLANK_RATES = {"sex": 0.002, "age_approx": 0.002, "anatom_site_general_challenge": 0.016}
_PATIENT_MEDIAN = 12
_PATIENT_SIGMA = 0.77
_PATIENT_RANGE = (2, 115)
_IMAGE_SIZES = ((480, 360), (600, 450), (640, 480), (512, 512), (768, 576), (1024, 768))
_JPEG_QUALITY = 90
# Columns that test.csv does not have.
_LABEL_COLUMNS = ["diagnosis", "benign_malignant", "target"]


def make_dataset(config: SynthConfig) -> dict[str, pd.DataFrame]:
    """Writes a synthetic data set; the same seed gives the same bytes.

    Writes train.csv, test.csv, sample_submission.csv, the images in jpeg/train and jpeg/test, and those of the test
    split in dicom/test too. The test split has a third of the number of training patients.

    Args:
        config: `SynthConfig`.

    Returns:
        Dict of `train` and `test`: the tables as written, DataFrames of text.

    Raises:
        ConfigError: The directory holds the train.csv or test.csv of another set.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     tables = make_dataset(SynthConfig(output=directory, num_patients=1, seed=140))
        ...     sorted(os.listdir(directory))
        ['dicom', 'jpeg', 'sample_submission.csv', 'test.csv', 'train.csv']
        >>> "target" in tables["train"], "target" in tables["test"]
        (True, False)
    """
    with output_lock.locked(os.path.join(config.output, "train.csv")):
        return _write_splits(config)


def _write_splits(config: SynthConfig) -> dict[str, pd.DataFrame]:
    """Writes both splits to a locked place; see `make_dataset`."""
    counts = {"train": config.num_patients, "test": max(1, config.num_patients // 3)}
    generators = {split: np.random.default_rng([config.seed, position]) for position, split in enumerate(counts)}
    labeled = {split: make_table(generators[split], count, config.malignant_rate) for split, count in counts.items()}
    tables = {"train": labeled["train"], "test": labeled["test"].drop(columns=_LABEL_COLUMNS)}
    paths = {split: os.path.join(config.output, f"{split}.csv") for split in counts}
    for split, table in tables.items():
        # The images of another set would stay beside these.
        atomic_write.refuse_other_content(paths[split], table.to_csv(index=False))
    for split, table in tables.items():
        draw_images(generators[split], labeled[split], config.output, split)
        if split == "test":
            submission = table[["image_name"]].assign(target=0)
            path = os.path.join(config.output, "sample_submission.csv")
            atomic_write.write_text(path, submission.to_csv(index=False))
        atomic_write.write_text(paths[split], table.to_csv(index=False))
        _LOG.info(f"{split}: {len(table)} synthetic images of {counts[split]} patients in {config.output}")
    return tables


def make_table(rng: np.random.Generator, num_patients: int, malignant_rate: float) -> pd.DataFrame:
    """Samples the rows of one split.

    Args:
        rng: `numpy.random.Generator`.
        num_patients: Number of patients; 2 to 115 images each, median 12.
        malignant_rate: Prevalence, the fraction of malignant images; at least one image is malignant.

    Returns:
        DataFrame of text with the columns of train.csv, rows in random order.
    """
    # The order of the samples fixes the table of a seed.
    sizes = np.exp(rng.normal(np.log(_PATIENT_MEDIAN), _PATIENT_SIGMA, num_patients))
    sizes = np.clip(np.rint(sizes), *_PATIENT_RANGE).astype(int)
    patient = np.repeat(np.arange(num_patients), sizes)
    numbers = rng.choice(10**7, num_patients, replace=False)
    sexes = rng.choice(schema.CATEGORIES["sex"], num_patients, p=(0.52, 0.48))
    ages = np.clip(5 * np.rint(rng.normal(49, 14, num_patients) / 5), 15, 90)
    num_malignant = max(1, round(malignant_rate * len(patient)))
    # The probability of melanoma grows with age, as in the real table.
    probabilities = ages[patient] / ages[patient].sum()
    malignant = np.zeros(len(patient), bool)
    malignant[rng.choice(len(patient), num_malignant, replace=False, p=probabilities)] = True
    benign = rng.choice(list(_BENIGN_DIAGNOSES), len(patient), p=list(_BENIGN_DIAGNOSES.values()))
    images = rng.choice(10**7, len(patient), replace=False)
    sites = rng.choice(schema.CATEGORIES["anatom_site_general_challenge"], len(patient), p=_SITE_RATES)
    table = pd.DataFrame(
        {
            "image_name": [f"ISIC_{number:07d}" for number in images],
            "patient_id": [f"IP_{number:07d}" for number in numbers[patient]],
            "sex": sexes[patient],
            "age_approx": [f"{age:.1f}" for age in ages[patient]],
            "anatom_site_general_challenge": sites,
            "diagnosis": np.where(malignant, "melanoma", benign),
            "benign_malignant": np.where(malignant, "malignant", "benign"),
            "target": malignant.astype(int).astype(str),
        }
    )
    for column, rate in _BLANK_RATES.items():
        table.loc[rng.random(len(table)) < rate, column] = ""
    return table.sample(frac=1, random_state=rng).reset_index(drop=True)


def draw_images(rng: np.random.Generator, table: pd.DataFrame, output: str, split: str) -> None:
    """Renders the image of each row to `jpeg/{split}`; in the test split, the same JPEG also to a file in `dicom/test`.

    Args:
        rng: `numpy.random.Generator`.
        table: See `make_table`.
        output: Directory of the data set.
        split: `train` or `test`.
    """
    patients = sorted(set(table["patient_id"]))
    appearances = {patient: lesion_renderer.draw_patient_appearance(rng) for patient in patients}
    threads = os.cpu_count() or 1
    waiting: collections.deque[concurrent.futures.Future[None]] = collections.deque()
    rows = tqdm(table.itertuples(), split, len(table), unit="image", disable=None)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for row in rows:
            # Sampled here, one image after the other, so that the images do not depend on the number of threads.
            severity = rng.uniform(0.5, 1.0) if row.target == "1" else 0.4 * rng.beta(1, 6)
            size = _IMAGE_SIZES[rng.integers(len(_IMAGE_SIZES))]
            render = lesion_renderer.plan_lesion(rng, appearances[row.patient_id], severity, size)
            waiting.append(pool.submit(_write_image, render, row, size, output, split))
            if len(waiting) > 4 * threads:
                waiting.popleft().result()
        for written in waiting:
            written.result()


def _write_image(
    render: Callable[[], tuple[np.ndarray, np.ndarray]], row: Any, size: tuple[int, int], output: str, split: str
) -> None:
    """Renders an image and writes its files."""
    jpeg = codec.encode(render()[0], _JPEG_QUALITY)
    files = {f"jpeg/{split}/{row.image_name}.jpg": jpeg}
    if split == "test":
        files[f"dicom/test/{row.image_name}.dcm"] = wrap_in_dicom(jpeg, row, size)
    for name, data in files.items():
        with atomic_write.replaced(os.path.join(output, name)) as path, open(path, "wb") as file:
            file.write(data)


def wrap_in_dicom(jpeg: bytes, row: Any, size: tuple[int, int]) -> bytes:
    """Wraps a JPEG in a DICOM file that has the faults of the competition's DICOM files.

    The header claims 4:2:2 chroma subsampling whatever the JPEG has, values have literal quotes, `PatientID` is the
    name of the image, and the age is five years too low.

    Args:
        jpeg: Bytes of a JPEG.
        row: Named tuple of text with `image_name`, `sex`, `age_approx` and `anatom_site_general_challenge`.
        size: (width, height) in pixels.

    Returns:
        Bytes of a DICOM file.
    """
    # pydicom would reject the intended faults.
    with pydicom.config.disable_value_validation():
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        dataset.SOPClassUID = pydicom.uid.VLPhotographicImageStorage
        dataset.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[row.image_name])
        dataset.PatientID = f'"{row.image_name}"'
        dataset.PatientName = f'"{row.image_name.replace("_", "^")}"'
        dataset.PatientSex = {"male": "M", "female": "F"}.get(row.sex, "")
        dataset.PatientAge = f"{float(row.age_approx) - 5:03.0f}Y" if row.age_approx else ""
        dataset.BodyPartExamined = row.anatom_site_general_challenge.upper() or "SKIN"
        dataset.Columns, dataset.Rows = size
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = 8
        dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelRepresentation = 0
        dataset.PixelData = pydicom.encaps.encapsulate([jpeg])
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()
