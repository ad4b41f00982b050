import numpy as np
import pytest
import tensorflow as tf

from isic_tf.patient_context import second_stage
from isic_tf.serving import run_parts, saved_model
from isic_tf.serving.patients import patient_signature

SIZE = 8
RANK = second_stage.Stage("rank", 1, False, True, [], None, None)
LONE = {"method": "platt", "slope": 1.0, "intercept": 0.5, "images": 9, "prevalence": 0.5}


def mean_network(inputs=0):
    """A network whose logit is the mean of the image's values, less 0.5."""
    images = tf.keras.Input((SIZE, SIZE, 3))
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pooled")(images)
    dense = tf.keras.layers.Dense(1)
    if inputs:
        metadata = tf.keras.Input((inputs,))
        joined = tf.keras.layers.Concatenate()([pooled, metadata])
        network = tf.keras.Model([images, metadata], dense(joined))
    else:
        network = tf.keras.Model(images, dense(pooled))
    dense.set_weights([np.array([[1 / 3]] * 3 + [[0.0]] * inputs), np.array([-0.5])])
    return network


def test_metadata_are_those_of_the_networks_and_of_the_context_model():
    boost = RANK._replace(method="boost", numbers={"width (mm)": [2.0, 1.0], "area": [1.0, 1.0]})
    assert patient_signature.join_fields("", RANK) == patient_signature.join_fields("", None) == ""
    assert patient_signature.list_columns("sex, area", None) == ["sex", "area"]
    specs = patient_signature.list_signature("sex, area,depth", boost)
    assert [(spec.name, spec.dtype.name) for spec in specs] == [
        ("age_approx", "int64"),
        ("sex", "string"),
        ("anatom_site_general_challenge", "string"),
        ("area", "float64"),
        ("depth", "float32"),
        ("width__mm_", "float64"),
    ]
    columns = patient_signature.list_columns("sex, area,depth", boost)
    assert columns[3:] == ["area", "depth", "width (mm)"]


def test_a_patients_images_are_ranked_beside_their_own_outputs(tmp_path):
    calibration = {"method": "temperature", "temperature": 0.5, "prevalence": 0.5, "used_at": None}
    parts = run_parts.RunParts(calibration=calibration, stage=RANK)
    saved_model.save([mean_network()], SIZE, "", str(tmp_path), parts=parts)
    signatures = tf.saved_model.load(str(tmp_path)).signatures
    pixels = np.stack([np.full((SIZE, SIZE, 3), value, np.uint8) for value in (255, 0, 255, 51)])
    found = signatures["patient_pixels"](pixels=tf.constant(pixels))
    single = signatures["pixels"](pixels=tf.constant(pixels))
    assert set(found) == {*single, "context_probability"} == {"prediction", "calibrated", "context_probability"}
    # The first and the third share the ranks 3 and 4.
    assert found["context_probability"].numpy() == pytest.approx([0.75, 0.125, 0.75, 0.375])
    for name, values in single.items():
        assert found[name].numpy() == pytest.approx(values.numpy(), abs=1e-7)
    files = tf.stack([tf.io.encode_png(image) for image in pixels])
    assert signatures["patient"](image=files)["context_probability"].numpy() == pytest.approx(
        [0.75, 0.125, 0.75, 0.375]
    )
    for count in (0, 1):
        alone = signatures["patient"](image=files[:count])["context_probability"].numpy()
        assert alone.tolist() == [0.5] * count


def test_numbers_reach_the_context_model_unrounded_and_the_network_as_it_was_trained():
    # A tree of one question: is the number above 0.1?
    columns = ["logit", "area_value"]
    model = second_stage.gradient_boosting.Boost(
        column=np.array([1, 0, 0]),
        threshold=np.array([0.1, 0, 0]),
        left=np.array([1, 1, 2]),
        right=np.array([2, 1, 2]),
        value=np.array([0, -2.0, 2.0]),
        roots=np.array([0]),
        coefficients=np.array([0.0, 0.0]),
        intercept=np.array(0.0),
    )
    stage = RANK._replace(
        method="boost", columns=columns, model=model, lone_calibration=LONE, numbers={"area": [0.0, 1.0]}
    )
    module = saved_model.make_module([mean_network(2)], SIZE, "area", parts=run_parts.RunParts(stage=stage))
    pixels = tf.zeros([2, SIZE, SIZE, 3], tf.uint8)
    unknown = [tf.constant([-1, -1], tf.int64), tf.constant(["", ""]), tf.constant(["", ""])]
    # As float32, 0.1 is above 0.1.
    assert float(np.float32(0.1)) > 0.1
    numbers = tf.constant([0.1, np.nextafter(0.1, 1)], tf.float64)
    found = module.predict_patient_pixels(pixels, *unknown, numbers)
    assert found["context_probability"].numpy() == pytest.approx([1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])
    assert found["prediction"].numpy() == pytest.approx([1 / (1 + np.exp(0.5))] * 2)
    lone = module.predict_patient_pixels(pixels[:1], *(values[:1] for values in (*unknown, numbers)))
    # A logit of -0.5, calibrated to 0.
    assert lone["context_probability"].numpy() == pytest.approx([0.5])
    for wrong, message in ((np.inf, "area to be a number"), (1e39, "area to be a number")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            module.predict_patient_pixels(pixels, *unknown, tf.constant([wrong, 0.0], tf.float64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="sex one of male, female, or empty where unknown"):
        module.predict_patient_pixels(pixels, unknown[0], tf.constant(["x", ""]), unknown[2], numbers)
