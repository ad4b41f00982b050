"""The picture of a fold's training: loss, ROC AUC and learning rate by epoch."""

from isic_tf.artifacts import run_directory
from tfrecord_tools.io import atomic_write, filesystem

CURVES_FILE = "training.png"


def draw_history(folder, name):
    """Draws a fold's history into its folder.

    Args:
        folder: Folder of the fold, with its history.
        name: Title.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    history = run_directory.read_history(folder)
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 3.2), dpi=100, layout="constrained")
    titles = {"loss": "training loss", "learning_rate": "learning rate"}
    if "auc" in history[0]:
        best = max(history, key=lambda row: row["auc"])
        titles["auc"] = f"ROC AUC, held out: best {best['auc']:.4f} in epoch {best['epoch']}"
    for axis, (column, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        axis.plot(epochs, [row[column] for row in history], marker="." if len(history) < 40 else None)
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    figure.suptitle(name, fontsize=10, parse_math=False)
    path = f"{folder}/{CURVES_FILE}"
    with atomic_write.replaced(path) as temporary, filesystem.open(temporary, "wb") as file:
        figure.savefig(file, format="png")
