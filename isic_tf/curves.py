"""The picture of a fold's training: loss, ROC AUC and learning rate by epoch."""

from isic_tf import runs
from tfrecord_tools import command, storage

CURVES_FILE = "training.png"


def draw(folder, name):
    """Draws a fold's history into its folder.

    Args:
        folder: Folder of the fold, with its history.
        name: Title.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    history = runs.read_history(folder)
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["auc"])
    figure = Figure(figsize=(10, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, column in zip(axes, ("loss", "auc", "learning_rate"), strict=True):
        axis.plot(epochs, [row[column] for row in history], marker="." if len(history) < 40 else None)
        title = {"loss": "training loss", "auc": "ROC AUC, held out", "learning_rate": "learning rate"}[column]
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    axes[1].axvline(best["epoch"], color="gray", linestyle=":")
    axes[1].text(0.98, 0.03, f"best {best['auc']:.4f}, epoch {best['epoch']}", ha="right", transform=axes[1].transAxes)
    figure.suptitle(name, fontsize=10, parse_math=False)
    path = f"{folder}/{CURVES_FILE}"
    with command.replaced(path) as temporary, storage.open(temporary, "wb") as file:
        figure.savefig(file, format="png")
