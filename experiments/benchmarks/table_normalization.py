"""`tfrecord_tools.tables` on the rows and columns of ISIC 2024, in a process of its own: time and memory."""

import pathlib
import resource
import subprocess
import sys
import tempfile

import common
import numpy as np

COUNT = 401_059
PATIENTS = 1042
MALIGNANT = 393
SITES = ("posterior torso", "lower extremity", "anterior torso", "upper extremity", "head/neck", "")
FIRST = "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,image_type,tbp_tile_type"
LAST = (
    "attribution,copyright_license,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3,iddx_4,iddx_5,mel_mitotic_index,"
    "mel_thick_mm,tbp_lv_dnn_lesion_confidence"
)
# Columns of measures between them; one of each has the name by which the table is recognized.
MEASURES = ("tbp_lv_areaMM2", *(f"tbp_lv_{number}" for number in range(33)))
BENIGN = "Benign,Benign,,,,,,"
MELANOMA = (
    'Malignant::Malignant melanocytic proliferations (Melanoma)::Melanoma Invasive,Malignant,"Malignant melanocytic '
    'proliferations (Melanoma)",Melanoma Invasive,,,0/mm^2,0.4'
)


def write_table(path: pathlib.Path) -> None:
    """Writes random rows."""
    rng = np.random.default_rng(0)
    measures = [",".join(f"{value:.14f}" for value in row) for row in rng.normal(30, 9, (5000, len(MEASURES)))]
    ages = rng.choice([*(f"{age}.0" for age in range(5, 90, 5)), ""], COUNT)
    sites, sexes = rng.choice(SITES, COUNT), rng.choice(["male", "female", ""], COUNT)
    patients, malignant = rng.integers(PATIENTS, size=COUNT), set(rng.choice(COUNT, MALIGNANT, replace=False).tolist())
    clinic = '"Frazer Institute, The University of Queensland, Dermatology Research Centre",CC-BY'
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{FIRST},{','.join(MEASURES)},{LAST}\n")
        for row in range(COUNT):
            is_malignant = row in malignant
            lesion = f"IL_{row:07d}" if row % 18 == 0 else ""
            file.write(
                f"ISIC_{row:07d},{int(is_malignant)},IP_{patients[row]:07d},{ages[row]},{sexes[row]},{sites[row]},3.04,"
                f"TBP tile: close-up,3D: white,{measures[row % len(measures)]},{clinic},{lesion},"
                f"{MELANOMA if is_malignant else BENIGN},97.5\n"
            )


def normalize(directory: pathlib.Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tfrecord_tools.tables",
        f"--tables={directory / 'train-metadata.csv'}",
        f"--output={directory / 'train.csv'}",
        "--policy=malignant",
        "--keep=tbp_lv_areaMM2",
    ]
    subprocess.run(command, check=True, cwd=common.ROOT, stdout=subprocess.DEVNULL)  # noqa: S603


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write_table(folder / "train-metadata.csv")
    size = (folder / "train-metadata.csv").stat().st_size
    wall_seconds = common.measure_seconds(lambda: normalize(folder))
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(
    f"{COUNT:,} rows of {FIRST.count(',') + LAST.count(',') + len(MEASURES) + 2} columns ({size / 1e6:.0f} MB): "
    f"{wall_seconds:.1f} s (aim 20; CPU time {usage.ru_utime + usage.ru_stime:.1f} s), "
    f"{usage.ru_maxrss / 1e6:.2f} GB (aim 2)"
)
