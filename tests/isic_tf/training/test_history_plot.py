import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from isic_tf.artifacts import run_directory
from isic_tf.training import history_plot


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    found = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *arguments, **options: (found.append(self), original(self, *arguments, **options)),
    )
    return found


def write_history(directory, aucs):
    rows = [{"epoch": epoch, "loss": 1 / epoch, "learning_rate": 1e-3 * epoch} for epoch in range(1, 4)]
    run_directory.write_history(
        directory, [row | ({"auc": auc} if auc else {}) for row, auc in zip(rows, aucs, strict=True)]
    )


def test_curves_are_those_of_the_history(tmp_path, figures):
    write_history(str(tmp_path), [0.7, 0.91234, 0.8])
    path = history_plot.draw_history(str(tmp_path), "fold0 with $ in its name")
    assert path == f"{tmp_path}/{history_plot.PLOT_FILE}"
    assert cv2.imread(path).shape == (320, 1000, 3)
    (figure,) = figures
    assert figure.get_suptitle() == "fold0 with $ in its name"
    titles = ["training loss", "learning rate", "ROC AUC, held out: best 0.9123 in epoch 2"]
    assert [axis.get_title() for axis in figure.axes] == titles
    curves = [axis.lines[0].get_xydata() for axis in figure.axes]
    assert np.array_equal(curves[0], [[1, 1], [2, 1 / 2], [3, 1 / 3]])
    assert np.array_equal(curves[1], [[1, 1e-3], [2, 2e-3], [3, 3e-3]])
    assert np.array_equal(curves[2], [[1, 0.7], [2, 0.91234], [3, 0.8]])


def test_without_held_out_images_there_is_no_auc(tmp_path, figures):
    write_history(str(tmp_path), [None] * 3)
    history_plot.draw_history(str(tmp_path), "full")
    assert [axis.get_title() for axis in figures[0].axes] == ["training loss", "learning rate"]
