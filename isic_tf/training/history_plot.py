"""Plots the training history of a fold: loss, ROC AUC and learning rate per epoch."""

from isic_tf.artifacts import run_directory
from tfrecord_tools.io import atomic_write, filesystem

PLOT_FILE = "training.png"


def draw_history(directory: str, title: str) -> str:
    """Draws the training history of a fold into its directory.

    Args:
        directory: Directory of the fold, with its history of at least one epoch.
        title: Title of the figure.

    Returns:
        Path of the PNG file.
    """
    # Imported here, because it takes half a second.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    history = run_directory.read_history(directory)
    epochs = [row["epoch"] for row in history]
    titles = {"loss": "training loss", "learning_rate": "learning rate"}
    if "auc" in history[0]:
        best = max(history, key=lambda row: row["auc"])
        titles["auc"] = f"ROC AUC, held out: best {best['auc']:.4f} in epoch {best['epoch']}"
    figure = Figure(figsize=(10, 3.2), dpi=100, layout="constrained")
    for axis, (column, axis_title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        axis.plot(epochs, [row[column] for row in history], marker="." if len(history) < 40 else None)
        axis.set(xlabel="epoch", title=axis_title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10, parse_math=False)
    path = f"{directory}/{PLOT_FILE}"
    with atomic_write.replaced(path) as temporary, filesystem.open(temporary, "wb") as file:
        figure.savefig(file, format="png")
    return path
