"""Patients whose lesions the report shows side by side: what patient context made of the scores of stage one."""

from isic_tf.evaluation import failure_cases

# Patients shown either way, and lesions of each.
_PATIENTS, _LESIONS = 2, 12


def find(table):
    """Finds patients with a melanoma that context moved most among the patient's lesions, for better and for worse.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target`, `prediction` and `stage_one`.

    Returns:
        List of DataFrames, one a patient, its rows from the highest prediction down, the melanomas always among the 12
        at most; with `rank` and `stage_one_rank` (1 the highest) and the patient's `count` of lesions.
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
    better, worse = moved[moved["moved"] > 0].iloc[::-1], moved[moved["moved"] < 0]
    chosen = [*better["patient_id"].head(_PATIENTS), *worse["patient_id"].head(_PATIENTS)]
    return [_top(known[known["patient_id"] == patient]) for patient in chosen]


def _top(rows):
    rows = rows.sort_values(["prediction", "image_name"], ascending=[False, True])
    # Stable: melanomas first, then as they are.
    kept = rows.sort_values("target", ascending=False, kind="stable").head(_LESIONS)
    return rows[rows.index.isin(kept.index)]


def describe(table, records):
    """Describes such patients for the report.

    Args:
        table: See `find`; without `stage_one` there are none.
        records: DataFrame of records that hold the images, see `joined_tables.read_records`; None for no pictures.

    Returns:
        List of dicts of `patient_id`, `count` and `lesions`, each a dict of `image_name`, `target`, `prediction`,
        `stage_one`, the ranks and `image`, a `data:` URL or None.

    Raises:
        ValueError: A shard is corrupt.
    """
    patients = find(table) if "stage_one" in table else []
    names = [name for rows in patients for name in rows["image_name"]]
    pictures = failure_cases.look(names, None, records)
    columns = ["image_name", "target", "prediction", "stage_one", "rank", "stage_one_rank"]
    described = []
    for rows in patients:
        lesions = [
            {**row, "image": pictures.get(row["image_name"], {}).get("image")}
            for row in rows[columns].to_dict("records")
        ]
        first = rows.iloc[0]
        described.append({"patient_id": first["patient_id"], "count": int(first["count"]), "lesions": lesions})
    return described
