"""Shows patients' lesions side by side: how patient context changed the predictions of the image-level model."""

from typing import Any

import pandas as pd

from isic_tf.evaluation import failure_cases

# Patients shown per direction, and lesions per patient.
_PATIENTS = 2
_LESIONS = 12
_COLUMNS = ["image_name", "target", "prediction", "stage_one", "rank", "stage_one_rank"]


def find(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Finds the patients whose melanoma patient context moved most among the patient's lesions, up and down.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target`, `prediction` and `stage_one` (the predictions of the
            image-level model).

    Returns:
        One DataFrame per patient, its rows from the highest prediction down, at most 12 and always with the melanomas;
        with `rank` and `stage_one_rank` (1 is the highest) and the patient's `count` of lesions.
    """
    known = table[table["patient_id"] != ""]
    by_patient = known.groupby("patient_id")
    known = known.assign(
        rank=by_patient["prediction"].rank(ascending=False, method="min").astype(int),
        stage_one_rank=by_patient["stage_one"].rank(ascending=False, method="min").astype(int),
        count=by_patient["target"].transform("size"),
    )
    melanomas = known[(known["target"] == 1) & (known["count"] > 1)]
    moved = melanomas.assign(moved=(melanomas["stage_one_rank"] - melanomas["rank"]) / melanomas["count"])
    moved = moved.sort_values(["moved", "image_name"]).drop_duplicates("patient_id", keep="last")
    up = moved[moved["moved"] > 0].iloc[::-1]
    down = moved[moved["moved"] < 0]
    chosen = [*up["patient_id"].head(_PATIENTS), *down["patient_id"].head(_PATIENTS)]
    return [_highest(known[known["patient_id"] == patient]) for patient in chosen]


def _highest(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values(["prediction", "image_name"], ascending=[False, True])
    # Stable: melanomas first, then in order of prediction.
    kept = ordered.sort_values("target", ascending=False, kind="stable").head(_LESIONS)
    return ordered[ordered.index.isin(kept.index)]


def describe(table: pd.DataFrame, records: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Describes such patients for the report.

    Args:
        table: See `find`; without `stage_one` there are none.
        records: DataFrame of records that hold the images, see `joined_tables.read_records`; None for no images.

    Returns:
        List of dicts of `patient_id`, `count` and `lesions`, each a dict of `image_name`, `target`, `prediction`,
        `stage_one`, the ranks and `image`, a `data:` URL or None.

    Raises:
        IsicError: A shard is corrupt.
    """
    patients = find(table) if "stage_one" in table else []
    names = [name for rows in patients for name in rows["image_name"]]
    pictures = failure_cases.load_pictures(names, None, records)
    described = []
    for rows in patients:
        lesions = []
        for lesion in rows[_COLUMNS].to_dict("records"):
            picture = pictures.get(lesion["image_name"], {})
            lesions.append({**lesion, "image": picture.get("image")})
        first = rows.iloc[0]
        described.append({"patient_id": first["patient_id"], "count": int(first["count"]), "lesions": lesions})
    return described
