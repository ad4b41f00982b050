"""Makes up a data set in the competition's shape, to try every command without the 100 GB.

A patient's moles share a look. A melanoma departs from it in asymmetry, border and colours, more or less clearly, so
both the image and the patient's other images tell. Nothing measured on it says anything about real skin.

    python -m tfrecord_tools.synth --output=made_up --num_patients=60
"""

import io
import os

import cv2
import numpy as np
import pandas as pd
import pydicom.encaps
from absl import flags
from tqdm import tqdm

from tfrecord_tools import command, images, schema

# Figures of the competition's train.csv: shares of malignant images, sites, blank fields; images per patient.
MALIGNANT_RATE = 0.0176
_SITE_SHARES = (0.057, 0.153, 0.258, 0.517, 0.011, 0.004)
_BENIGN_DIAGNOSES = {"unknown": 0.834, "nevus": 0.16, "seborrheic keratosis": 0.004, "lentigo NOS": 0.002}
_BLANK_SHARES = {"sex": 0.002, "age_approx": 0.002, "anatom_site_general_challenge": 0.016}
_PATIENT_MEDIAN, _PATIENT_SIGMA, _PATIENT_RANGE = 12, 0.77, (2, 115)
_IMAGE_SIZES = ((480, 360), (600, 450), (640, 480), (512, 512), (768, 576), (1024, 768))


def patient_look(rng):
    """Draws what a patient's moles have in common.

    Args:
        rng: `numpy.random.Generator`.

    Returns:
        Dict of skin tone and mole colour (BGR, float in [0, 1]), mole radius (of the image's half height), hairiness
        (mean number of hairs) and evenness (0 to 1: how round this patient's moles are).
    """
    pigment = rng.beta(1.5, 3)
    skin = np.array([0.68, 0.74, 0.90]) - pigment * np.array([0.36, 0.32, 0.28])
    mole = skin * np.array([0.46, 0.50, 0.66]) * rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    radius, hairiness = rng.uniform(0.25, 0.42), rng.gamma(1.0, 5.0)
    skin, mole = skin.astype(np.float32), mole.astype(np.float32)
    return {"skin": skin, "mole": mole, "radius": radius, "hairiness": hairiness, "evenness": rng.uniform(0.3, 1.0)}


def draw_lesion(rng, look, severity, size):
    """Draws one dermoscopic image.

    Args:
        rng: `numpy.random.Generator`.
        look: See `patient_look`.
        severity: Departure from the look, 0 (an ordinary mole) to 1 (a textbook melanoma).
        size: (width, height) in pixels.

    Returns:
        uint8 `[height, width, 3]`, BGR; and the lesion's opacity, float32 `[h, w]` in [0, 1], at the image's size where
        that is at most 256 high, else smaller.
    """
    width, height = size
    scale = min(1.0, 256 / height)
    x, y = _grid(int(width * scale), int(height * scale))
    image = look["skin"] * (1 + 0.03 * _noise(rng, x.shape, 5)[..., None]) * (1 + 0.05 * rng.normal() * x[..., None])
    mask, dx, dy = _lesion_mask(rng, look, severity, x, y)
    image += mask[..., None] * (_lesion_colour(rng, look, severity, dx, dy) - image)
    if rng.random() < 0.25:
        image *= np.clip((rng.uniform(1.15, 1.5) - np.hypot(x, y)) / 0.06, 0, 1)[..., None]
    image = cv2.resize(np.clip(image * 255, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    image = cv2.add(image, rng.integers(0, 9, image.shape, np.uint8))
    _draw_hairs(rng, image, rng.poisson(look["hairiness"]))
    if rng.random() < 0.15:
        _draw_ruler(rng, image)
    return image, mask


def draw_anywhere(count, side, seed):
    """Draws small lesions anywhere in an image, every other a textbook melanoma, to judge what explains a network.

    Args:
        count: Number of images.
        side: Side S in pixels, up to 128.
        seed: The same gives the same.

    Returns:
        Images, uint8 `[n, S, S, 3]`, RGB; masks of the lesions, bool `[n, S, S]`; and labels, 0 or 1, `[n]`.
    """
    rng, images, masks, labels = np.random.default_rng(seed), [], [], np.arange(count) % 2
    for label in labels:
        look = {**patient_look(rng), "radius": rng.uniform(0.12, 0.2), "hairiness": 1.0}
        image, mask = draw_lesion(rng, look, float(label), (2 * side, 2 * side))
        top, left = rng.integers(side // 4, 3 * side // 4 + 1, 2)
        part = slice(top, top + side), slice(left, left + side)
        images.append(image[(*part, slice(None, None, -1))])
        masks.append(mask[part] > 0.5)
    return np.array(images), np.array(masks), labels


def _grid(width, height):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (x - (width - 1) / 2) / (height / 2), (y - (height - 1) / 2) / (height / 2)


def _noise(rng, shape, cells):
    """Smooth noise of mean 0 and deviation near 1, with about `cells` features across the height."""
    coarse = rng.normal(size=(cells, max(1, round(cells * shape[1] / shape[0])))).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _lesion_mask(rng, look, severity, x, y):
    """Opacity of the lesion, and coordinates about its centre in units of its radius."""
    radius = look["radius"] * rng.uniform(0.85, 1.15) * (1 + 0.6 * severity)
    dx, dy = (x - rng.normal(0, 0.12)) / radius, (y - rng.normal(0, 0.1)) / radius
    angles = np.linspace(0, 2 * np.pi, 720)
    outline = np.ones(720)
    for order in range(1, 9):
        # Even low orders keep two axes of symmetry; the others are the melanoma's.
        roughness = 0.05 * (1.3 - look["evenness"]) + severity * (0.16 if order in (1, 3) else 0.07)
        outline += roughness * rng.normal() / np.sqrt(order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    index = ((np.arctan2(dy, dx) + np.pi) * (719 / (2 * np.pi))).astype(np.int32)
    softness = 0.22 * (1 - 0.8 * severity * (rng.random() < 0.8)) + 0.03
    edge = np.clip(0.5 + (outline.astype(np.float32)[index] - np.hypot(dx, dy)) / softness, 0, 1)
    return edge * edge * (3 - 2 * edge) * rng.uniform(0.85, 1.0), dx, dy


def _lesion_colour(rng, look, severity, dx, dy):
    """BGR colour of the lesion at every pixel; severity adds black, blue-grey, red and white areas."""
    darkness = 1 - 0.18 * np.exp(-(dx**2 + dy**2)) + 0.10 * _noise(rng, dx.shape, 16) + 0.08 * _noise(rng, dx.shape, 48)
    colour = look["mole"] * rng.uniform(0.88, 1.12) * darkness[..., None]
    for foreign in ((0.10, 0.09, 0.12), (0.50, 0.42, 0.38), (0.28, 0.25, 0.62), (0.78, 0.78, 0.82)):
        foreign, strength = np.array(foreign, np.float32), severity * rng.uniform(0.5, 1.5)
        centre, spread = rng.normal(0, 0.5, 2).tolist(), rng.uniform(0.3, 0.7)
        area = np.exp(-((dx - centre[0]) ** 2 + (dy - centre[1]) ** 2) / spread**2)
        colour += np.clip(strength * area, 0, 0.9)[..., None] * (foreign - colour)
    return colour


def _draw_hairs(rng, image, count):
    height, width = image.shape[:2]
    steps = np.linspace(0, 1, 24)[:, None]
    for _ in range(min(count, 60)):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * (width, height)
        bend = (start + end) / 2 + 0.3 * (bend - (start + end) / 2)
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        shade, thickness = rng.integers(15, 70), max(1, round(height / 400 * rng.uniform(0.6, 2)))
        cv2.polylines(image, [curve.astype(np.int32)], False, [int(shade)] * 3, thickness, cv2.LINE_AA)


def _draw_ruler(rng, image):
    height, width = image.shape[:2]
    spacing, top = height / rng.uniform(16, 28), rng.random() < 0.5
    for tick in range(int(width / spacing)):
        at, length = int((tick + 0.5) * spacing), int(height * (0.07 if tick % 5 == 0 else 0.04))
        ends = (0, length) if top else (height - 1, height - 1 - length)
        cv2.line(image, (at, ends[0]), (at, ends[1]), (30, 30, 30), max(1, height // 300), cv2.LINE_AA)


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
    looks = {patient: patient_look(rng) for patient in sorted(set(table["patient_id"]))}
    for row in tqdm(table.itertuples(), split, len(table), unit="image", disable=None):
        severity = rng.uniform(0.5, 1.0) if row.target == "1" else 0.4 * rng.beta(1, 6)
        size = _IMAGE_SIZES[rng.integers(len(_IMAGE_SIZES))]
        jpeg = images.encode(draw_lesion(rng, looks[row.patient_id], severity, size)[0], 90)
        files = {f"jpeg/{split}/{row.image_name}.jpg": jpeg}
        if split == "test":
            files[f"dicom/test/{row.image_name}.dcm"] = wrap_in_dicom(jpeg, row, size)
        for name, data in files.items():
            with command.replaced(os.path.join(output, name)) as path, open(path, "wb") as file:
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


def make(output, num_patients, malignant_rate, seed):
    """Writes train.csv, test.csv, sample_submission.csv, jpeg/ and, of the test split, dicom/; same seed, same bytes.

    Args:
        output: Folder to write; a third as many patients again go to the test split, without labels.
        num_patients: Patients of the training split.
        malignant_rate: Share of malignant images, above 0 and below 1.
        seed: Any whole number from 0.
    """
    for position, (split, count) in enumerate((("train", num_patients), ("test", max(1, num_patients // 3)))):
        rng = np.random.default_rng([seed, position])
        table = make_table(rng, count, malignant_rate)
        draw_images(rng, table, output, split)
        if split == "test":
            submission = table[["image_name"]].assign(target=0)
            command.write_text(os.path.join(output, "sample_submission.csv"), submission.to_csv(index=False))
            table = table.drop(columns=["diagnosis", "benign_malignant", "target"])
        command.write_text(os.path.join(output, f"{split}.csv"), table.to_csv(index=False))
        print(f"{split}: {len(table)} made-up images of {count} patients in {output}")


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("output", None, "Folder to write.")
    flags.DEFINE_integer("num_patients", 60, "Training patients, 16 images each on average.", lower_bound=1)
    flags.DEFINE_float("malignant_rate", MALIGNANT_RATE, "Share of malignant images.", 0.001, 0.999)
    flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.", lower_bound=0)
    flags.mark_flag_as_required("output")


if __name__ == "__main__":
    command.run(make, define_flags)
