"""Generates a synthetic data set in the competition's format."""

import dataclasses
import io
import logging
import os

import numpy as np
import pandas as pd
import pydicom.encaps
from tqdm import tqdm

from tfrecord_tools import cli, schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import atomic_write
from tfrecord_tools.synthetic import lesion_renderer

_LOG = logging.getLogger(__name__)

# Figures of the competition's train.csv: shares of malignant images, sites, blank fields; images per patient.
MALIGNANT_RATE = 0.0176
_SITE_SHARES = (0.057, 0.153, 0.258, 0.517, 0.011, 0.004)
_BENIGN_DIAGNOSES = {"unknown": 0.834, "nevus": 0.16, "seborrheic keratosis": 0.004, "lentigo NOS": 0.002}
_BLANK_SHARES = {"sex": 0.002, "age_approx": 0.002, "anatom_site_general_challenge": 0.016}
_PATIENT_MEDIAN, _PATIENT_SIGMA, _PATIENT_RANGE = 12, 0.77, (2, 115)
_IMAGE_SIZES = ((480, 360), (600, 450), (640, 480), (512, 512), (768, 576), (1024, 768))


def make_table(rng, num_patients, malignant_rate):
    """Draws the rows of one split.

    Args:
        rng: `numpy.random.Generator`.
        num_patients: Number of patients; 2 to 115 images each, median 12.
        malignant_rate: Share of malignant images; at least one image is malignant.

    Returns:
        DataFrame with train.csv's columns, all text, rows in no order of patients.
    """
    sizes = np.exp(rng.normal(np.log(_PATIENT_MEDIAN), _PATIENT_SIGMA, num_patients))
    sizes = np.clip(np.rint(sizes), *_PATIENT_RANGE).astype(int)
    patient = np.repeat(np.arange(num_patients), sizes)
    numbers = rng.choice(10**7, num_patients, replace=False)
    sexes = rng.choice(schema.CATEGORIES["sex"], num_patients, p=(0.52, 0.48))
    ages = np.clip(5 * np.rint(rng.normal(49, 14, num_patients) / 5), 15, 90)
    malignant = np.zeros(len(patient), bool)
    # Melanoma grows likelier with age, as in the real table.
    odds = ages[patient] / ages[patient].sum()
    malignant[rng.choice(len(patient), max(1, round(malignant_rate * len(patient))), replace=False, p=odds)] = True
    benign = rng.choice(list(_BENIGN_DIAGNOSES), len(patient), p=list(_BENIGN_DIAGNOSES.values()))
    table = pd.DataFrame(
        {
            "image_name": [f"ISIC_{number:07d}" for number in rng.choice(10**7, len(patient), replace=False)],
            "patient_id": [f"IP_{number:07d}" for number in numbers[patient]],
            "sex": sexes[patient],
            "age_approx": [f"{age:.1f}" for age in ages[patient]],
            "anatom_site_general_challenge": rng.choice(
                schema.CATEGORIES["anatom_site_general_challenge"], len(patient), p=_SITE_SHARES
            ),
            "diagnosis": np.where(malignant, "melanoma", benign),
            "benign_malignant": np.where(malignant, "malignant", "benign"),
            "target": malignant.astype(int).astype(str),
        }
    )
    for column, share in _BLANK_SHARES.items():
        table.loc[rng.random(len(table)) < share, column] = ""
    return table.sample(frac=1, random_state=rng).reset_index(drop=True)


def draw_images(rng, table, output, split):
    """Draws every row's image into `jpeg/{split}` and, of the test split, the same JPEG into a file of `dicom/test`."""
    looks = {patient: lesion_renderer.draw_patient_appearance(rng) for patient in sorted(set(table["patient_id"]))}
    for row in tqdm(table.itertuples(), split, len(table), unit="image", disable=None):
        severity = rng.uniform(0.5, 1.0) if row.target == "1" else 0.4 * rng.beta(1, 6)
        size = _IMAGE_SIZES[rng.integers(len(_IMAGE_SIZES))]
        jpeg = codec.encode(lesion_renderer.draw_lesion(rng, looks[row.patient_id], severity, size)[0], 90)
        files = {f"jpeg/{split}/{row.image_name}.jpg": jpeg}
        if split == "test":
            files[f"dicom/test/{row.image_name}.dcm"] = wrap_in_dicom(jpeg, row, size)
        for name, data in files.items():
            with atomic_write.replaced(os.path.join(output, name)) as path, open(path, "wb") as file:
                file.write(data)


def wrap_in_dicom(jpeg, row, size):
    """Wraps a JPEG as the competition's DICOM files are, their faults included.

    The header claims 4:2:2 whatever the JPEG is, values carry literal quotes, `PatientID` is the image's name, and the
    age is five years low.

    Args:
        jpeg: JPEG bytes.
        row: Named tuple of text with `image_name`, `sex`, `age_approx` and `anatom_site_general_challenge`.
        size: (width, height) in pixels.

    Returns:
        The file's bytes.
    """
    # The faults are meant.
    with pydicom.config.disable_value_validation():
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        dataset.SOPClassUID = pydicom.uid.VLPhotographicImageStorage
        dataset.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[row.image_name])
        dataset.PatientID, dataset.PatientName = f'"{row.image_name}"', f'"{row.image_name.replace("_", "^")}"'
        dataset.PatientSex = {"male": "M", "female": "F"}.get(row.sex, "")
        dataset.PatientAge = f"{float(row.age_approx) - 5:03.0f}Y" if row.age_approx else ""
        dataset.BodyPartExamined = row.anatom_site_general_challenge.upper() or "SKIN"
        dataset.Columns, dataset.Rows = size
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "YBR_FULL_422", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.PixelData = pydicom.encaps.encapsulate([jpeg])
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthConfig(cli.Config):
    """Size and seed of a synthetic data set."""

    output: str = cli.option(help="Directory to write.")
    num_patients: int = cli.option(60, lower=1, help="Training patients, 16 images each on average.")
    malignant_rate: float = cli.option(
        MALIGNANT_RATE, lower=0.001, upper=0.999, help="Prevalence: fraction of malignant images."
    )
    seed: int = cli.option(0, lower=0, help="Random seed; the same seed gives the same bytes.")


def make_dataset(config):
    """Writes train.csv, test.csv, sample_submission.csv, jpeg/ and, of the test split, dicom/; same seed, same bytes.

    Args:
        config: `SynthConfig`.
    """
    for position, (split, count) in enumerate(
        (("train", config.num_patients), ("test", max(1, config.num_patients // 3)))
    ):
        rng = np.random.default_rng([config.seed, position])
        table = make_table(rng, count, config.malignant_rate)
        draw_images(rng, table, config.output, split)
        if split == "test":
            submission = table[["image_name"]].assign(target=0)
            atomic_write.write_text(
                os.path.join(config.output, "sample_submission.csv"), submission.to_csv(index=False)
            )
            table = table.drop(columns=["diagnosis", "benign_malignant", "target"])
        atomic_write.write_text(os.path.join(config.output, f"{split}.csv"), table.to_csv(index=False))
        _LOG.info(f"{split}: {len(table)} made-up images of {count} patients in {config.output}")
