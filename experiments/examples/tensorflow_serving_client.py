"""Asks TensorFlow Serving about JPEG or PNG files, with Python alone: tensorflow_serving_client.py ADDRESS a.jpg b.jpg.

ADDRESS is that of the model, such as http://localhost:8501/v1/models/lesion.
"""

import base64
import json
import pathlib
import sys
import urllib.request


def ask(address: str, body: dict) -> dict:
    """Sends a request to a model and returns the answer; an error of the server is raised as an HTTPError."""
    # The address is the user's own.
    request = urllib.request.Request(f"{address}:predict", json.dumps(body).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.load(response)


def encode(path: str) -> dict:
    """Returns an input of the model for one file; add the metadata that the model uses, such as "sex": "female"."""
    return {"image": {"b64": base64.b64encode(pathlib.Path(path).read_bytes()).decode()}}


if __name__ == "__main__":
    _, address, *paths = sys.argv
    answer = ask(address, {"signature_name": "serving_default", "instances": [encode(path) for path in paths]})
    for path, found in zip(paths, answer["predictions"], strict=True):
        # A model with one output answers numbers alone.
        print(path, found if isinstance(found, dict) else {"prediction": found})
