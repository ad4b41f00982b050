"""Melanoma scores of `sklesion` 0.2.2, a trained Keras model in a package (MIT), for a directory of JPEG files.

    pip install sklesion==0.2.2    # in an environment of its own: it wants TensorFlow 2.17
    python experiments/benchmarks/sklesion_predictions.py train.csv jpeg/train sklesion.csv

Its network (Xception, trained on HAM10000) receives the image and the patient's age, sex and site. The score is the
probability of its class for melanoma.
"""

import pathlib
import sys

import pandas as pd
from sklesion.model import SkinLesionClassifier

# The five sites of the network; "palms/soles" has none of its own.
SITES = {
    "head/neck": "head-or-neck",
    "upper extremity": "arm",
    "lower extremity": "leg-or-genital",
    "oral/genital": "leg-or-genital",
    "torso": "trunk",
}


def main(table: str, images: str, output: str) -> None:
    """Writes the scores of the table's images.

    Args:
        table: CSV file with image_name, sex, age_approx and anatom_site_general_challenge.
        images: Directory with a JPEG file for each of them.
        output: CSV file to write, with image_name and prediction.
    """
    classifier = SkinLesionClassifier()
    classes = {name: index for index, name in classifier.model_props["i_cl_map"].items()}
    unknown = next(name for name in classifier.model_props["oh_map"]["loc"] if name not in SITES.values())
    rows = []
    for row in pd.read_csv(table).itertuples():
        metadata = {
            "age": row.age_approx,
            "sex": row.sex if row.sex in ("female", "male") else "unknown",
            "location": SITES.get(row.anatom_site_general_challenge, unknown),
        }
        image = (pathlib.Path(images) / f"{row.image_name}.jpg").read_bytes()
        probabilities = classifier.predict_P({"image": image, "meta": metadata})[0]
        rows.append((row.image_name, probabilities[classes["mel"]]))
    pd.DataFrame(rows, columns=["image_name", "prediction"]).to_csv(output, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
