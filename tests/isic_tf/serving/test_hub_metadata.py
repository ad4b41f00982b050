import pytest
import yaml

from isic_tf.serving import hub_metadata

RUN = {"backbone": "efficientnet-b0", "image_size": 384, "data_dir": "isic2020,ham"}
FOLD = {"auc": 0.81254, "auc_low": 0.75, "auc_high": 0.875}
AWKWARD = 'a|b: "c" #<script>\n---\n- x: &y *y !!python/object'


def parse(**changes):
    given = {"run": RUN, "format": "onnx", "target": "malignant or not", "metrics": {"fold0": FOLD}, **changes}
    return yaml.safe_load(hub_metadata.format_metadata(**given))


def test_the_roc_auc_and_its_interval_are_a_result():
    found = parse()
    assert found["license"] == "unknown"
    assert found["pipeline_tag"] == "image-classification"
    assert "onnx" in found["tags"]
    assert "library_name" not in found
    assert parse(format="saved_model")["library_name"] == "tf-keras"
    assert found["model-index"] == [
        {
            "name": "efficientnet-b0 at 384 px",
            "results": [
                {
                    "task": {"type": "image-classification", "name": "malignant or not"},
                    "dataset": {"type": "isic2020-ham", "name": "isic2020,ham", "split": "out of fold"},
                    "metrics": [
                        {
                            "type": "roc_auc",
                            "name": "ROC AUC on held-out patients, fold0, 95 % interval over patients 0.7500 to 0.8750",
                            "value": 0.8125,
                        }
                    ],
                }
            ],
        }
    ]


def test_all_folds_together_replace_single_folds():
    found = parse(metrics={"fold0": FOLD, "fold1": FOLD, "all together": {"auc": 0.5, "auc_low": None}})
    [metric] = found["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == 0.5
    assert metric["name"] == "ROC AUC on held-out patients, all together, no interval"


def test_without_held_out_images_there_is_no_result():
    assert "model-index" not in parse(metrics={})


def test_values_cannot_break_the_yaml():
    found = parse(run={**RUN, "data_dir": AWKWARD, "backbone": AWKWARD}, target=AWKWARD)
    [entry] = found["model-index"]
    assert entry["name"] == f"{AWKWARD} at 384 px"
    assert entry["results"][0]["task"]["name"] == entry["results"][0]["dataset"]["name"] == AWKWARD
    text = hub_metadata.format_metadata({**RUN, "data_dir": AWKWARD}, "onnx", AWKWARD, {"fold0": FOLD})
    assert "---" not in text.splitlines()


@pytest.mark.parametrize("data_dir", ["", "///"])
def test_a_dataset_without_a_name_is_unknown(data_dir):
    assert parse(run={**RUN, "data_dir": data_dir})["model-index"][0]["results"][0]["dataset"]["type"] == "unknown"
