"""Options of contact sheets and of Grad-CAM maps."""

import dataclasses

from isic_tf.artifacts import run_directory
from isic_tf.augmentation import policies, presets
from isic_tf.visualization import image_sheet
from tfrecord_tools import cli
from tfrecord_tools.io import csv_tables, record_index


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig(cli.Config):
    """Options for drawing a contact sheet of records.

    Examples:
        >>> ShowConfig(records="records/384/train*.tfrec", output="sheet.png", augment=True).versions
        6
    """

    records: str = cli.option(path="read", help="Glob pattern of shards, in quotes; separate several with commas.")
    output: str = cli.option(path="write", help="Image file to write: .png, .jpg or .pdf.")
    images: int = cli.option(8, lower=1, upper=200, help="Number of records, sampled from all shards.")
    names: str = cli.option("", help="Image names to show instead, separated by commas.")
    image_size: int = cli.option(256, lower=32, upper=4096, help="Side of the square input images, in pixels.")
    augment: bool = cli.option(False, help="Show augmented versions beside each image.")
    versions: int = cli.option(6, lower=1, upper=30, help="Number of augmented versions: those of the first epochs.")
    augment_policy: str = cli.option(
        "light", path="read", help=f"Augmentation policy: {', '.join(presets.PRESETS)}, or the path of a JSON file."
    )
    augment_strength: float = cli.option(
        1.0, lower=0.0, upper=5.0, help="Factor on the strength of the augmentation policy; 0 disables augmentation."
    )
    seed: int = cli.option(
        0, lower=0, upper=2**31 - 1, help="Seed of the run whose augmentation is shown, and of the sample of records."
    )

    def check_inputs(self) -> None:
        """Checks that the policy and the shards exist; see `Config.check_inputs`."""
        super().check_inputs()
        image_sheet.check_output(self.output)
        policies.check_name(self.augment_policy)
        record_index.match_shards(self.records)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig(cli.Config):
    """Options for explaining images by Grad-CAM.

    Examples:
        >>> ExplainConfig(workdir="runs/b0", records="records/384/train*.tfrec", output="maps.png").images
        12
    """

    workdir: str = cli.option(
        path="read", files=run_directory.OWN_FILES, help="Run directory with at least one trained fold."
    )
    records: str = cli.option(path="read", help="Glob pattern of shards, in quotes; separate several with commas.")
    output: str = cli.option(path="write", help="Image file to write: .png, .jpg or .pdf.")
    images: int = cli.option(12, lower=1, upper=200, help="Number of records, sampled from all shards.")
    names: str = cli.option("", help="Image names to explain instead, separated by commas.")
    class_: str = cli.option(
        "",
        help="Class to explain, of a run with several classes; where not given, the positive classes together "
        "(malignant).",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and the numeric columns that the run was trained with (--metadata).",
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the sample of records.")

    def check_inputs(self) -> None:
        """Checks that the run, the shards and the table exist; see `Config.check_inputs`."""
        super().check_inputs()
        image_sheet.check_output(self.output)
        run_directory.check_trained(self.workdir)
        record_index.match_shards(self.records)
        csv_tables.check_paths(self.table)
