import pytest

from isic_tf.artifacts import run_directory
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write

FLAGS = {"image_size": 64, "backbone": "efficientnet-b0", "data_dir": "/a", "deterministic": False}


def with_epoch(workdir):
    run_directory.write_history(run_directory.fold_dir(str(workdir), 0), [{"epoch": 1, "loss": 0.1, "auc": 0.7}])


def test_flags_come_back_and_are_usable_as_a_flagfile(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    found = run_directory.read_flags(str(tmp_path))
    assert {name: found[name] for name in FLAGS} == {name: str(value) for name, value in FLAGS.items()}
    lines = (tmp_path / "flags.txt").read_text().splitlines()
    assert all(line.startswith(("--", "#")) for line in lines)


def test_the_same_configuration_resumes_and_free_flags_may_differ(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, ("data_dir",), index)
    with_epoch(tmp_path)
    run_directory.claim(str(tmp_path), {**FLAGS, "data_dir": "/b"}, ("data_dir",), index.sample(frac=1, random_state=0))


def test_another_configuration_is_refused_with_what_differs(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    with_epoch(tmp_path)
    with pytest.raises(ValueError, match=r"another configuration \(image_size was 64, is 128\); choose another"):
        run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)
    with pytest.raises(ValueError, match=r"another configuration \(data_sha256 was"):
        run_directory.claim(str(tmp_path), FLAGS, (), index.assign(fold=1 - index["fold"]))


def test_a_configuration_without_a_trained_epoch_is_replaced(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)
    assert run_directory.read_flags(str(tmp_path))["image_size"] == "128"


def test_a_run_goes_on_as_it_was_begun_whatever_is_known_of_its_records_by_now(tmp_path, index):
    made = {"resize": "crop", "record_size": 64, "quality": 90}

    def claim(folder, preparation, epochs):
        flags = {**FLAGS, "epochs": epochs, "schedule": "constant"}
        run_directory.claim(str(tmp_path / folder), flags, (), index, preparation=preparation, can_grow=True)
        return run_directory.read_flags(str(tmp_path / folder))

    claim("old", {"resize": "crop"}, 3)
    with_epoch(tmp_path / "old")
    for epochs in (3, 4):
        assert not {"record_size", "quality"} & claim("old", made, epochs).keys()
    claim("new", made, 3)
    with_epoch(tmp_path / "new")
    for epochs in (3, 4):
        found = claim("new", {"resize": "crop", "record_size": 128, "quality": 80}, epochs)
        assert (found["record_size"], found["quality"], found["epochs"]) == ("64", "90", str(epochs))
    with pytest.raises(errors.ConfigError, match="resize was crop, is pad"):
        claim("new", {**made, "resize": "pad"}, 4)


def test_a_configuration_with_a_checkpoint_is_not_replaced(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    atomic_write.write_text(str(tmp_path / "full" / "checkpoints" / "ckpt-1.index"), "")
    with pytest.raises(ValueError, match="holds a run of another configuration .image_size was"):
        run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a run in .*, found no flags.txt; check --workdir"):
        run_directory.read_flags(str(tmp_path))


def test_fold_files_are_in_order_of_number(tmp_path):
    for fold in (10, 2, 0, "_old"):
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "oof.csv"), "")
    found = [path.split("/")[-2] for path in run_directory.fold_files(str(tmp_path), "oof.csv")]
    assert found == ["fold0", "fold2", "fold10"]


def test_history_comes_back_to_the_last_digit(tmp_path):
    assert run_directory.read_history(str(tmp_path)) == []
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "auc": 2 / 3}, {"epoch": 2, "loss": 1e-17, "auc": 1.0}]
    run_directory.write_history(str(tmp_path), history)
    assert run_directory.read_history(str(tmp_path)) == history


def write_flags(workdir, text):
    atomic_write.write_text(str(workdir / "flags.txt"), text)


def test_flags_of_version_0_1_are_read_under_their_new_names(tmp_path):
    write_flags(tmp_path, "--accumulate=2\n--backbone_rate=0.1\n--keep=last\n--malignant_repeats=3\n--seed=0\n")
    assert run_directory.read_flags(str(tmp_path)) == {
        "gradient_accumulation_steps": "2",
        "backbone_lr_multiplier": "0.1",
        "keep_weights": "last",
        "malignant_oversampling": "3",
        "seed": "0",
    }


def test_a_run_of_version_0_1_resumes_with_the_new_flag_names(tmp_path, index):
    run_directory.claim(str(tmp_path), {**FLAGS, "accumulate": 2, "keep": "best"}, (), index)
    assert "--accumulate=2" in (tmp_path / "flags.txt").read_text()
    with_epoch(tmp_path)
    new = {**FLAGS, "gradient_accumulation_steps": 2, "keep_weights": "best"}
    run_directory.claim(str(tmp_path), new, (), index)
    message = r"another configuration \(gradient_accumulation_steps was 2, is 4\)"
    with pytest.raises(errors.ConfigError, match=message):
        run_directory.claim(str(tmp_path), {**new, "gradient_accumulation_steps": 4}, (), index)


def test_the_contents_of_named_files_are_part_of_the_configuration(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index, files=[b"a,b"], preparation={"resize": "crop"})
    assert run_directory.read_flags(str(tmp_path))["resize"] == "crop"
    with_epoch(tmp_path)
    with pytest.raises(errors.ConfigError, match=r"another configuration \(data_sha256 was"):
        run_directory.claim(str(tmp_path), FLAGS, (), index, files=[b"a,c"], preparation={"resize": "crop"})


def test_the_networks_options_name_the_runs_own_policy(tmp_path):
    write_flags(tmp_path, "--backbone=efficientnet-b0\n--image_size=64\n--augment_policy=/elsewhere/policy.json\n")
    assert run_directory.read_network(str(tmp_path))["augment_policy"] == "/elsewhere/policy.json"
    (tmp_path / "policy.json").write_text("{}")
    run_directory.keep_policy(str(tmp_path), str(tmp_path / "policy.json"))
    found = run_directory.read_network(str(tmp_path))
    assert found["augment_policy"] == str(tmp_path / "augment_policy.json")
    assert found["image_size"] == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--image_size=64\n", "flags.txt is damaged: it lacks the line --backbone=NAME; restore it from a copy"),
        ("--backbone=b0\n--image_size=x\n", "expected a line --image_size=PIXELS, got x; restore it from a copy"),
        ("--backbone=b0\n", "expected a line --image_size=PIXELS, got no such line; restore it from a copy"),
    ],
)
def test_damaged_flags_are_refused(tmp_path, text, message):
    write_flags(tmp_path, text)
    with pytest.raises(errors.CorruptRecordError, match=message):
        run_directory.read_network(str(tmp_path))


def test_trained_folds_are_listed_and_those_in_training_noted(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        run_directory.trained_folds(str(tmp_path))
    for name in ("full", "fold2", "fold10"):
        atomic_write.write_text(str(tmp_path / name / "best.weights.h5"), "")
    for name in ("full", "fold10"):
        atomic_write.write_text(str(tmp_path / name / "metrics.json"), "{}")
    found = run_directory.trained_folds(str(tmp_path))
    assert [path.split("/")[-2] for path in found] == ["fold2", "fold10", "full"]
    assert capsys.readouterr().out == f"note: {found[0]} is of a fold that is still in training\n"
    assert run_directory.trained_folds(str(tmp_path), "10") == [found[1]]
    assert run_directory.trained_folds(str(tmp_path), "full") == [found[2]]
    with pytest.raises(errors.ConfigError, match="expected --fold to be all or a trained one of 2, 10, full, got '0'"):
        run_directory.trained_folds(str(tmp_path), "0")


def test_checkpoints_are_listed_from_the_newest(tmp_path):
    assert run_directory.find_checkpoints(str(tmp_path / "none")) == []
    for name in ("ckpt-9.index", "ckpt-10.index", "ckpt-9.data-00000-of-00001", "checkpoint", "ckpt-x.index"):
        (tmp_path / name).touch()
    assert run_directory.find_checkpoints(str(tmp_path)) == [str(tmp_path / "ckpt-10"), str(tmp_path / "ckpt-9")]


def test_epochs_are_added_where_the_schedule_allows_it(tmp_path, index, capsys):
    flags = {**FLAGS, "schedule": "constant"}
    run_directory.claim(str(tmp_path), {**flags, "epochs": 3}, (), index)
    with_epoch(tmp_path)
    run_directory.claim(str(tmp_path), {**flags, "epochs": 5}, (), index, can_grow=True)
    assert run_directory.read_flags(str(tmp_path))["epochs"] == "5"
    assert f"{tmp_path} grows from 3 to 5 epochs" in capsys.readouterr().out
    for changes, can_grow in (({"epochs": 4}, True), ({"epochs": 6}, False), ({"epochs": 6, "image_size": 32}, True)):
        with pytest.raises(errors.ConfigError, match=rf"epochs was 5, is .*--init_from={tmp_path} to go on from the"):
            run_directory.claim(str(tmp_path), {**flags, **changes}, (), index, can_grow=can_grow)
    assert run_directory.read_flags(str(tmp_path))["epochs"] == "5"


def test_a_flag_that_a_run_of_an_earlier_release_lacks_is_its_default(tmp_path, index, capsys):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    with_epoch(tmp_path)
    run_directory.claim(str(tmp_path), {**FLAGS, "new": 1}, (), index, defaults={"new": 1})
    assert "flags.txt lacks new; taken as the default, as of an earlier release" in capsys.readouterr().out
    with pytest.raises(errors.CorruptRecordError, match="flags.txt is damaged: it lacks the line of 'new'"):
        run_directory.claim(str(tmp_path), {**FLAGS, "new": 2}, (), index, defaults={"new": 1})


def test_a_lost_line_is_named_at_the_next_start_and_in_predictions(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    with_epoch(tmp_path)
    path = tmp_path / "flags.txt"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "--deterministic" not in line))
    for read in (run_directory.read_flags, run_directory.read_network):
        with pytest.raises(errors.CorruptRecordError, match=r"flags.txt is damaged: it lacks the line of 'determinis"):
            read(str(tmp_path))
    with pytest.raises(errors.CorruptRecordError, match=r"flags.txt is damaged: it lacks the line of 'determinis"):
        run_directory.claim(str(tmp_path), FLAGS, (), index)


def test_a_run_of_which_only_results_are_left_is_not_replaced(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    atomic_write.write_text(str(tmp_path / "fold0" / "metrics.json"), "{}")
    with pytest.raises(errors.ConfigError, match="image_size was 64, is 128"):
        run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,loss\n1,0.5\n3,0.2\n", "history.csv is damaged: expected epoch 2 in row 2, got 3; restore it"),
        ("epoch,loss\n2,0.5\n", "history.csv is damaged: expected epoch 1 in row 1, got 2"),
        ("epoch,loss\n1,x\n", "history.csv is damaged: could not convert string to float: 'x'; restore it"),
        ("epoch,loss\n1,\n", "history.csv is damaged: could not convert string to float"),
        ("epoch\n1\n", "history.csv needs the columns epoch, loss"),
    ],
)
def test_a_damaged_history_is_named(tmp_path, text, message):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(errors.IsicError, match=message):
        run_directory.read_history(str(tmp_path))
