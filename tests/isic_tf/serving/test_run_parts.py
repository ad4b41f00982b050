import numpy as np

from isic_tf.data import targets
from isic_tf.novelty import detector, detector_file
from isic_tf.patient_context import second_stage
from isic_tf.postprocessing import calibration, calibration_file
from isic_tf.serving import run_parts


def test_what_a_run_has_is_read(tmp_path):
    paths = [str(tmp_path / f"fold{fold}" / "best.weights.h5") for fold in range(2)]
    for fold in range(2):
        (tmp_path / f"fold{fold}").mkdir()
        (tmp_path / f"fold{fold}" / "best.weights.h5").write_bytes(b"weights")
    rng = np.random.default_rng(0)
    detector_file.save_detector(paths[1], detector.fit_detector(rng.normal(size=(60, 4)), rng.normal(size=(60, 4))))
    run = {"resize": "pad", "trim_border": "True", "color_constancy": "none"}
    assert run_parts.read_parts(str(tmp_path), paths, run, targets.BINARY, 1).calibration is None
    calibration_file.write_calibration(
        str(tmp_path), calibration.fit_calibration("platt", [0.2, 0.3, 0.6], [0, 0, 1]), nested={}
    )
    stage = second_stage.Stage("rank", 1, False, True, [], None, None)
    parts = run_parts.read_parts(str(tmp_path), paths, run, targets.BINARY, 4, stage)
    assert parts.stage is stage
    assert parts.preprocessing == {"resize": "pad", "trim_border": True, "color_constancy": "none"}
    assert parts.versions == 4
    assert parts.calibration["method"] == "platt"
    assert parts.detectors[0] is None
    assert parts.detectors[1].references.shape == (60, 4)
    # A calibration of single scores is none of classes.
    assert run_parts.read_parts(str(tmp_path), paths, run, targets.make_class_set("diagnosis"), 1).calibration is None
