"""The requests of docs/guides/export.md, answered with the signatures of a SavedModel by TensorFlow Serving's rules.

TensorFlow Serving itself is not installed; its rules are those of its page "RESTful API".
"""

import ast
import base64
import http.server
import json
import re
import runpy
import threading

import numpy as np
import pytest
import tensorflow as tf
from harness import ROOT

from isic_tf.serving import run_parts, saved_model

CLIENT = ROOT / "experiments" / "examples" / "tensorflow_serving_client.py"
CALIBRATION = {"method": "temperature", "temperature": 0.5, "prevalence": 0.5, "used_at": None}


def make_network(inputs):
    """Its logit is the mean of the image's values and the first input of the metadata, the scaled age."""
    images, known = tf.keras.Input((8, 8, 3)), tf.keras.Input((inputs,))
    mean = tf.reduce_mean(images, axis=(1, 2, 3))[:, tf.newaxis]
    return tf.keras.Model([images, known], mean + known[:, :1])


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("model"))
    saved_model.save([make_network(5)], 8, "age,sex", folder, parts=run_parts.RunParts(calibration=CALIBRATION))
    return tf.saved_model.load(folder).signatures


def decode(value):
    """Turns JSON values into what a tensor is made of: an object with `b64` is bytes."""
    if isinstance(value, dict):
        assert list(value) == ["b64"]
        return base64.b64decode(value["b64"], validate=True)
    return list(map(decode, value)) if isinstance(value, list) else value


def answer(signatures, body):
    """Answers a request as TensorFlow Serving does."""
    function = signatures[body.get("signature_name", "serving_default")]
    specs = function.structured_input_signature[1]
    assert ("instances" in body) != ("inputs" in body)
    if "instances" in body:
        # All rows name the same inputs.
        assert {tuple(sorted(row)) for row in body["instances"]} == {tuple(sorted(specs))}
        columns = {name: [row[name] for row in body["instances"]] for name in specs}
    else:
        columns = body["inputs"]
    given = {name: tf.constant(decode(columns[name]), spec.dtype) for name, spec in specs.items()}
    found = {name: values.numpy().tolist() for name, values in function(**given).items()}
    if len(found) == 1:
        (found,) = found.values()
    elif "instances" in body:
        found = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return {"predictions" if "instances" in body else "outputs": found}


def gray(value):
    return tf.io.encode_png(tf.fill([8, 8, 3], tf.constant(value, tf.uint8))).numpy()


def list_examples():
    section = (ROOT / "docs" / "guides" / "export.md").read_text().split("## TensorFlow Serving")[1].split("\n## ")[0]
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]


def test_the_requests_of_the_guide_fit_the_signatures_and_the_answers_their_form(signatures):
    by_row, rows, by_column, columns = list_examples()
    for row, value in zip(by_row["instances"], (0, 255), strict=True):
        row["image"]["b64"] = base64.b64encode(gray(value)).decode()
    found = answer(signatures, json.loads(json.dumps(by_row)))
    # 55 years are a third of a standard deviation above the mean; unknown is 0.
    wanted = 1 / (1 + np.exp(-np.array([5 / 15, 1.0])))
    assert [row["prediction"] for row in found["predictions"]] == pytest.approx(wanted, abs=1e-6)
    # This model knows nothing of unlike images.
    assert [set(row) for row in rows["predictions"]] == [{*found["predictions"][0], "unlike"}] * 2
    found = answer(signatures, by_column)
    odds = np.array([0.318, 0.102]) / (1 - np.array([0.318, 0.102]))
    # The temperature squares them, and the prevalence of 0.0176 instead of 0.5 multiplies them.
    odds = odds**2 * 0.0176 / (1 - 0.0176)
    assert found["outputs"] == pytest.approx(odds / (1 + odds), abs=1e-6)
    assert [type(value) for value in columns["outputs"]] == [type(value) for value in found["outputs"]]


def test_pixels_are_nested_lists(signatures):
    pixels = np.full((1, 8, 8, 3), 51, np.uint8)
    body = {"signature_name": "pixels", "inputs": {"pixels": pixels.tolist(), "age_approx": [50], "sex": ["male"]}}
    found = answer(signatures, json.loads(json.dumps(body)))
    assert found["outputs"]["prediction"] == pytest.approx([1 / (1 + np.exp(-0.2))], abs=1e-6)


def test_the_client_sends_files_and_prints_what_is_answered(signatures, tmp_path, monkeypatch, capsys):
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append((self.path, body["signature_name"]))
            # The metadata that this model uses, too.
            rows = [{**row, "age_approx": -1, "sex": ""} for row in body["instances"]]
            content = json.dumps(answer(signatures, {**body, "instances": rows})).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    for name, value in (("a.png", 0), ("b.png", 255)):
        (tmp_path / name).write_bytes(gray(value))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v1/models/lesion"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(CLIENT), address, "a.png", "b.png"])
    try:
        runpy.run_path(str(CLIENT), run_name="__main__")
    finally:
        server.shutdown()
        server.server_close()
    assert received == [("/v1/models/lesion:predict", "serving_default")]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["a.png", "b.png"]
    printed = [ast.literal_eval(line.split(" ", 1)[1]) for line in lines]
    assert [row["prediction"] for row in printed] == pytest.approx([0.5, 1 / (1 + np.exp(-1))], abs=1e-6)
