import asyncio
import concurrent.futures
import io
import logging
import pathlib
import struct
import tempfile
import threading
import time
import zlib

import cv2
import dicom_files
import image_bytes
import numpy as np
import pytest
import tiff_bytes
from harness import wait_until
from starlette.testclient import TestClient

from isic_tf.diagnosis import DiagnoseConfig, diagnose
from isic_tf.patient_context import second_stage
from isic_tf.server import app, judging, metadata
from isic_tf.server.config import ServeConfig

PHOTO = cv2.resize(image_bytes.SMOOTH, (320, 240), interpolation=cv2.INTER_CUBIC)
# Every kind of file, whose pixels are those that the same file has elsewhere.
FILES = {
    "turned.jpg": image_bytes.rotated_jpeg(6, PHOTO),
    "cmyk.jpg": image_bytes.cmyk_jpeg(marked=True),
    "deep.png": cv2.imencode(".png", PHOTO.astype(np.uint16) * 257)[1].tobytes(),
    "lesion.tif": tiff_bytes.make_tiff(PHOTO),
    "lesion.bmp": cv2.imencode(".bmp", PHOTO)[1].tobytes(),
    "lesion.webp": cv2.imencode(".webp", PHOTO)[1].tobytes(),
    "lesion.dcm": dicom_files.made(PHOTO),
}
SECRET = "Erika Mustermann.jpg"


def post(client, *files, **options):
    return client.post("/judge", files=[("images", (name, data)) for name, data in files], **options)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_judged_as_diagnose_does(name, client, run, tmp_path):
    (tmp_path / name).write_bytes(FILES[name])
    (wanted,) = diagnose(DiagnoseConfig(workdir=str(run), images=(str(tmp_path / name),)))
    answer = post(client, (name, FILES[name]))
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["images"]
    assert found["score"] == pytest.approx(wanted.score, abs=1e-6)
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-6)
    assert found["interval"] == pytest.approx(wanted.interval, abs=1e-6)
    assert found["warnings"] == list(wanted.warnings)
    assert np.mean(found["fold_scores"]) == pytest.approx(found["score"])
    assert "Not a medical device" in answer.json()["notice"]
    assert found["picture"] is found["map"] is None


def test_images_keep_their_order_and_have_maps_where_asked(client):
    answer = post(client, *((name, FILES[name]) for name in ("lesion.dcm", "turned.jpg")), params={"maps": True})
    found = answer.json()["images"]
    assert [one["image"] for one in found] == ["image 1.dcm", "image 2"]
    alone = post(client, ("a", FILES["turned.jpg"])).json()["images"][0]
    assert found[1]["score"] == pytest.approx(alone["score"], abs=1e-6)
    for one in found:
        assert one["picture"].startswith("data:image/jpeg;base64,")
        assert one["map"] != one["picture"]


def test_another_prevalence_is_that_of_the_calibration_by_scores(client):
    files = [(name, FILES[name]) for name in ("turned.jpg", "lesion.bmp")]
    usual = post(client, *files).json()
    rare = post(client, *files, params={"prevalence": 0.01}).json()
    assert rare["prevalence"] == 0.01
    scores = [one["fold_scores"] for one in usual["images"]]
    found = client.post("/calibrate", json={"fold_scores": scores, "prevalence": 0.01}).json()
    for before, after, calibrated in zip(usual["images"], rare["images"], found, strict=True):
        assert after["probability"] < before["probability"]
        assert calibrated == {name: pytest.approx(after[name], abs=1e-6) for name in ("probability", "interval")}


HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
BROKEN = {
    "huge": (HUGE, 422, "image 1 has 60000x60000 pixels, expected"),
    "truncated": (FILES["turned.jpg"][:2000], 422, "image 1 is truncated"),
    "text": (b"patient, age\n", 422, "image 1"),
    "empty": (b"", 422, "image 1"),
    "large": (bytes(80 << 20), 413, "expected a request of at most 8 MB, got 80.0 MB"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_judged_is_a_line_of_json_and_the_server_goes_on(kind, client, caplog):
    data, status, text = BROKEN[kind]
    caplog.set_level(logging.DEBUG)
    answer = post(client, (SECRET, data))
    assert answer.status_code == status
    assert text in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert "Erika" not in answer.text + caplog.text
    assert post(client, ("a.bmp", FILES["lesion.bmp"])).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ({"files": [("images", ("a", b"x"))] * 5}, 400, "Too many files"),
        ({"files": [("other", ("a", b"x"))]}, 422, "expected at least one file as 'images'"),
        ({"data": {"images": "x"}, "files": {"images": b""}}, 400, "expected a form of files as 'images' alone"),
        ({"files": [("images", ("a", b"x")), ("other", ("a", b"x"))]}, 422, "and nothing else in the form"),
        ({"json": {}}, 415, "expected multipart/form-data"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "Missing boundary"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "a form of files"),
        ({"files": [("images", ("a", b"x"))], "params": {"prevalence": 1.5}}, 422, "query.prevalence"),
    ],
)
def test_a_malformed_request_is_told_what_was_expected(request_, status, text, client):
    answer = client.post("/judge", **request_)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert text in answer.json()["detail"]


def test_scores_that_cannot_be_calibrated_are_refused(client):
    def ask(**content):
        answer = client.post("/calibrate", json={"fold_scores": [[0.1, 0.2]], "prevalence": 0.1, **content})
        return answer.status_code, answer.json()["detail"]

    assert ask(fold_scores=[[0.1]])[1].startswith("body.fold_scores.0: List should have at least 2 items")
    assert ask(fold_scores=[[0.1, 0.2], [0.1, 0.2, 0.3]])[0] == 422
    assert ask(fold_scores=[[0.1, 1.2]])[1].startswith("body.fold_scores.0.1:")
    assert ask(prevalence=0)[1].startswith("body.prevalence:")


def test_large_uploads_are_not_written_to_disk(client, monkeypatch):
    def fail(*_):
        raise AssertionError("written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3)).astype(np.uint8)
    data = cv2.imencode(".bmp", noise)[1].tobytes()
    assert len(data) > 3 << 20
    assert post(client, ("a.bmp", data)).status_code == 200
    # The check itself: what is spooled as usual would be.
    with pytest.raises(AssertionError, match="written to disk"), tempfile.SpooledTemporaryFile(max_size=10) as file:
        file.write(bytes(20))


def test_requests_at_once_keep_their_own_results_and_share_passes(service, config):
    photos = [np.clip(PHOTO.astype(int) + shade, 0, 255).astype(np.uint8) for shade in range(-60, 60, 10)]
    files = [cv2.imencode(".bmp", photo)[1].tobytes() for photo in photos]

    with TestClient(app.make_app(service, config, ""), "http://127.0.0.1") as client:

        def ask(data):
            return post(client, ("a.bmp", data)).json()["images"][0]["score"]

        alone = [ask(data) for data in files]
        before = service.passes
        with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
            together = list(pool.map(ask, files))
        passes = service.passes - before
    assert together == pytest.approx(alone, abs=1e-6)
    assert len(set(np.round(alone, 5))) == len(alone)
    assert passes < len(files)


def test_the_images_of_a_request_are_of_one_patient(run, tmp_path):
    stage = second_stage.Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)
    second_stage.save_stage(stage, str(tmp_path), {})
    config = ServeConfig(workdir=str(run), context=str(tmp_path))
    service = judging.JudgingService(config)
    with TestClient(app.make_app(service, config, ""), "http://127.0.0.1") as client:
        images = post(client, *((name, FILES[name]) for name in ("turned.jpg", "lesion.bmp"))).json()["images"]
        assert client.get("/run").json()["has_patient_context"] is True
    service.close()
    assert sorted(one["context_probability"] for one in images) == [0.25, 0.75]
    assert np.argmax([one["score"] for one in images]) == np.argmax([one["context_probability"] for one in images])


def test_a_busy_server_and_one_that_takes_too_long_say_so(service, run, monkeypatch):
    started = threading.Event()

    async def judge(*_):
        started.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(app, "_MOST_REQUESTS", 1)
    monkeypatch.setattr(service, "judge", judge)
    application = app.make_app(service, ServeConfig(workdir=str(run), max_seconds=1), "")
    with TestClient(application, "http://127.0.0.1") as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(post, client, ("a", b"x"))
        assert started.wait(30)
        busy = post(client, ("a", b"x"))
    assert (slow.result().status_code, busy.status_code) == (503, 503)
    assert "waited too long for others" in slow.result().json()["detail"]
    assert "1 requests are being answered" in busy.json()["detail"]
    assert busy.headers["retry-after"] == "2"


def test_networks_that_hang_are_ended_and_every_request_is_told(run, monkeypatch, caplog):
    config = ServeConfig(workdir=str(run), max_seconds=2)
    service = judging.JudgingService(config)
    release, ended = threading.Event(), threading.Event()
    compute = service._batcher._compute

    def hang(*arguments):
        release.wait(60)
        return compute(*arguments)

    monkeypatch.setattr(service._batcher, "_compute", hang)
    monkeypatch.setattr(app, "_SECONDS_TO_ANSWER", 0.1)
    application = app.make_app(service, config, "", ended.set)
    with TestClient(application, "http://127.0.0.1") as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, ("a", FILES["lesion.bmp"]))
        wait_until(lambda: service._batcher.seconds)
        wait_until(lambda: service._batcher.seconds > 0.5)
        other = pool.submit(post, client, ("a", FILES["lesion.bmp"]))
        answers = [one.result() for one in (first, other)]
        assert ended.wait(30)
        wait_until(lambda: client.get("/health").status_code == 503)
        release.set()
    assert [answer.status_code for answer in answers] == [504, 504]
    assert {answer.json()["detail"] for answer in answers} == {
        "judging took longer than 2 s (--max_seconds), so the worker is restarted; send fewer images, or try again"
    }
    assert answers[0].headers["retry-after"] == "2"
    assert "the networks took more than 2 s (--max_seconds), so the worker is ended" in caplog.text
    service.close()


def test_images_that_waited_for_others_have_a_pass_of_their_own(run, monkeypatch):
    service = judging.JudgingService(ServeConfig(workdir=str(run), max_seconds=2))
    compute = service._batcher._compute

    def delay(*arguments):
        time.sleep(1.5)
        return compute(*arguments)

    monkeypatch.setattr(service._batcher, "_compute", delay)
    ended = threading.Event()
    application = app.make_app(service, service._config, "", ended.set)
    with TestClient(application, "http://127.0.0.1") as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, ("a", FILES["lesion.bmp"]))
        wait_until(lambda: service._batcher.seconds > 0.5)
        # It waits for a second, and is judged for more than another.
        other = pool.submit(post, client, ("a", FILES["lesion.bmp"]))
        assert [one.result().status_code for one in (first, other)] == [200, 200]
    assert not ended.is_set()
    service.close()


def test_metadata_are_described_and_refused_in_one_line(service, config, monkeypatch):
    monkeypatch.setattr(service, "fields", metadata.list_fields("age,sex", []))
    with TestClient(app.make_app(service, config, ""), "http://127.0.0.1") as client:
        schema = client.get("/openapi.json").json()["paths"]["/judge"]["post"]["requestBody"]["content"]
        properties = schema["multipart/form-data"]["schema"]["properties"]
        assert list(properties) == ["images", "age_approx", "sex"]
        unknown = {"type": "string", "enum": [""]}
        one, several = properties["age_approx"]["anyOf"]
        assert one == several["items"] == {"anyOf": [{"type": "number", "minimum": 0, "maximum": 120}, unknown]}
        assert properties["sex"]["anyOf"][0] == {"type": "string", "enum": ["", "male", "female"]}
        assert [field["name"] for field in client.get("/run").json()["metadata"]] == ["age_approx", "sex"]
        answer = post(client, ("a", FILES["lesion.bmp"]), data={"sex": ["<i>"]})
        page = client.get("/").text
    assert answer.status_code == 422
    assert answer.json()["detail"] == "expected one of male, female as sex, or nothing where it is unknown, got '<i>'"
    assert '<select id="metadata-2" name="sex" autocomplete="off">' in page
    assert (
        'name="age_approx" type="number" step="any" autocomplete="off" placeholder="unknown" min="0.0" max="120.0"'
        in page
    )


def test_a_run_without_calibration_has_no_probabilities(run, tmp_path):
    for path in run.rglob("*"):
        if path.is_file() and path.name not in ("calibration.json", "oof.csv", "oof.csv.json"):
            (tmp_path / path.relative_to(run)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(run)).write_bytes(path.read_bytes())
    config = ServeConfig(workdir=str(tmp_path))
    service = judging.JudgingService(config)
    with TestClient(app.make_app(service, config, ""), "http://127.0.0.1") as client:
        answer = post(client, ("a", FILES["lesion.bmp"])).json()
        assert answer["prevalence"] is answer["images"][0]["probability"] is answer["images"][0]["above_benign"] is None
        assert post(client, ("a", FILES["lesion.bmp"]), params={"prevalence": 0.1}).status_code == 409
        assert client.post("/calibrate", json={"fold_scores": [[0.1, 0.2]], "prevalence": 0.1}).status_code == 409
        page = client.get("/").text
        assert 'id="prevalence"' not in page
        assert "This run has no detector of unlike images, so that was not checked." in page
    service.close()


def test_metrics_count_requests_and_images(client):
    post(client, ("a", FILES["lesion.bmp"]), ("b", FILES["lesion.bmp"]))
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'isic_requests_total{path="/judge",status="200"} 1' in text
    assert 'isic_requests_total{path="other",status="404"} 1' in text
    assert "isic_images_total 2" in text
    assert "isic_judge_seconds_count 1" in text
    assert client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_the_description_lists_the_endpoints_and_health_tells_of_the_thread(client, service, monkeypatch):
    described = client.get("/openapi.json").json()
    assert sorted(described["paths"]) == ["/calibrate", "/health", "/judge", "/metrics", "/run"]
    assert client.get("/health").json() == {"status": "ok"}
    monkeypatch.setattr(judging.Batcher, "is_alive", False)
    assert (client.get("/health").status_code, client.get("/health").json()) == (503, {"status": "failing"})


def test_a_failure_of_the_server_is_json_too(service, config, monkeypatch):
    def fail(*_):
        raise KeyError("inner")

    monkeypatch.setattr(service._judge, "conclude", fail)
    client = TestClient(app.make_app(service, config, ""), "http://127.0.0.1", raise_server_exceptions=False)
    answer = post(client, ("a", FILES["lesion.bmp"]))
    assert (answer.status_code, answer.json()["detail"]) == (
        500,
        "the server failed (KeyError); its log has the reason",
    )


@pytest.mark.realdata
def test_real_photographs_are_judged_as_diagnose_does(client, run, real_data):
    paths = [
        sorted(real_data.glob("isic2020/dicom/*/*.dcm"))[0],
        sorted(real_data.glob("isic2020/jpeg512/**/*.jpg"))[0],
    ]
    for path in map(pathlib.Path, paths):
        (wanted,) = diagnose(DiagnoseConfig(workdir=str(run), images=(str(path),)))
        (found,) = post(client, (path.name, io.BytesIO(path.read_bytes()))).json()["images"]
        assert found["score"] == pytest.approx(wanted.score, abs=1e-6)
        assert found["warnings"] == list(wanted.warnings)
