import asyncio
import base64
import dataclasses
import gc
import threading

import cv2
import image_bytes
import numpy as np
import pandas as pd
import pytest
from starlette.exceptions import HTTPException
from tiny_runs import train_calibrated

from isic_tf.data import clinical_metadata
from isic_tf.diagnosis import DiagnoseConfig, diagnose
from isic_tf.distribution import cpu
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.server import judging, uploads
from isic_tf.server.config import ServeConfig
from tfrecord_tools import errors

PICTURES = [uploads.Upload(f"image {number}", image_bytes.png(image_bytes.SMOOTH // number)) for number in (1, 2, 3)]


def judge(service, pictures, prevalence=None, with_maps=False, **values):
    return asyncio.run(service.judge(uploads.Form(pictures, values), prevalence, with_maps))


def test_each_image_has_the_result_of_its_own(service):
    together = judge(service, PICTURES)
    alone = [judge(service, [picture])[0] for picture in PICTURES]
    assert [one.image for one in together] == ["image 1", "image 2", "image 3"]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-6)
    assert len({one.score for one in together}) == 3


def test_the_first_image_that_cannot_be_decoded_is_named(service):
    damaged = [PICTURES[0], uploads.Upload("image 2", b"text"), uploads.Upload("image 3", PICTURES[0].data[:40])]
    with pytest.raises(
        errors.CorruptRecordError,
        match=r"image 2 is not an intact JPEG or PNG file \(4 bytes\); replace the file, or leave it out$",
    ):
        judge(service, damaged)


def test_of_several_that_cannot_be_decoded_none_is_left_for_the_log(service, caplog):
    with pytest.raises(errors.CorruptRecordError, match="image 1"):
        judge(service, [uploads.Upload(f"image {number}", b"text") for number in (1, 2)])
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_images_of_a_request_that_ended_are_not_decoded(service, monkeypatch):
    # As many as there are threads wait; of the others none begins.
    release, begun = threading.Event(), []

    def read(upload):
        begun.append(upload.name)
        release.wait(30)
        return PICTURES, []

    monkeypatch.setattr(service, "_read", read)

    async def end_early():
        task = asyncio.create_task(service.judge(uploads.Form([PICTURES[0]] * 40, {}), None, False))
        while not begun:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        release.set()

    asyncio.run(end_early())
    service._pool.submit(int).result(30)
    assert 1 <= len(begun) <= cpu.count_cores()


def test_the_limits_of_an_image_are_those_of_the_options(run):
    service = judging.JudgingService(ServeConfig(workdir=str(run), max_image_side=63))
    with pytest.raises(errors.CorruptRecordError, match="64x48 pixels, expected sides of at most 63"):
        judge(service, PICTURES)
    service.close()


def test_facts_hold_no_directory(service, run, config):
    facts = service.collect_facts()
    assert facts.name == run.name
    assert (facts.folds, facts.max_images, facts.max_upload_megabytes) == (2, 4, 8)
    assert str(run.parent) not in facts.model_dump_json()
    assert facts.is_calibrated
    assert not facts.has_patient_context


def test_the_metadata_of_a_run_come_with_the_images(record_set, tmp_path):
    run = tmp_path / "run"
    train_calibrated(record_set, run, backbone="tiny_runs:build_trunk", metadata="age,sex", epochs=1)
    service = judging.JudgingService(ServeConfig(workdir=str(run)))
    assert [field.name for field in service.collect_facts().metadata] == ["age_approx", "sex"]
    (tmp_path / "images").mkdir()
    for picture in PICTURES:
        (tmp_path / "images" / f"{picture.name[-1]}.png").write_bytes(picture.data)
    known = pd.DataFrame({"image_name": ["1", "2", "3"], "age_approx": [40, 40, 40], "sex": ["female", "", "male"]})
    known.to_csv(tmp_path / "known.csv", index=False)
    images = (str(tmp_path / "images"),)
    wanted = diagnose(DiagnoseConfig(workdir=str(run), images=images, csv=str(tmp_path / "known.csv")))
    found = judge(service, PICTURES, age_approx=["40"], sex=["female", "", "male"])
    assert [one.score for one in found] == pytest.approx([one.score for one in wanted], abs=1e-6)
    unknown = judge(service, PICTURES)
    assert all(one.score != other.score for one, other in zip(found, unknown, strict=True))
    with pytest.raises(HTTPException, match="expected one of male, female as sex, or nothing"):
        judge(service, PICTURES, sex=["woman"])
    service.close()


def test_the_numbers_of_a_context_model_come_with_the_images(run, tmp_path):
    options = {"patient_context": True, "columns": [], "lone_calibration": None, "model": None}
    stage = second_stage.Stage("rank", 1, False, **options, numbers={"width": (0.0, 1.0)})
    second_stage.save_stage(stage, str(tmp_path), {})
    service = judging.JudgingService(ServeConfig(workdir=str(run), context=str(tmp_path)))
    assert [field.name for field in service.fields] == ["width"]
    found = judge(service, PICTURES, width=["1", "2.5", ""])
    assert sorted(one.context_probability for one in found) == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    service.close()


def test_a_fitted_context_model_asks_for_metadata(run, tmp_path, few_trees):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age_approx": rng.choice([30, 60, -1], 60), "sex": rng.choice([0, 1, -1], 60)})
    given = lesion_features.gather(rng.normal(size=(60, 1)), np.arange(60) // 5, rows)
    stage = second_stage.fit_stage(given, np.arange(60) % 3 == 0, second_stage.StageOptions("boost"))
    second_stage.save_stage(stage, str(tmp_path), {})
    service = judging.JudgingService(ServeConfig(workdir=str(run), context=str(tmp_path)))
    assert [field.name for field in service.fields] == list(clinical_metadata.FIELDS.values())
    service.close()


def test_pictures_are_as_the_networks_see_them(service):
    (found,) = judge(service, PICTURES[:1], with_maps=True)
    content = base64.b64decode(found.picture.removeprefix("data:image/jpeg;base64,"))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    wanted = cv2.resize(image_bytes.SMOOTH, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.astype(int) - wanted).mean() < 10


def test_the_first_image_waits_for_nothing(config):
    service = judging.JudgingService(dataclasses.replace(config, max_images=1))
    assert service.passes == 0
    assert service.is_alive
    service.close()
    assert not service.is_alive
