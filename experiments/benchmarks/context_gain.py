"""The gain from patient context on a competitor's out-of-fold predictions of all 2020 images, and its run time.

Aims: +0.010 mean ROC AUC of the folds over the image-level model, +0.006 over metadata only, no gain with shuffled
patients; three minutes for `boost` on two cores, ten for `set` (`python experiments/benchmarks/context_gain.py set`).
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import common

method = sys.argv[1] if len(sys.argv) > 1 else "boost"
with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name)
    command = [
        sys.executable,
        "-m",
        "isic_tf.context",
        f"--oof={common.REAL_DATA / 'predictions' / 'oof' / 'model_b.csv'}",
        f"--method={method}",
        f"--metadata={common.REAL_DATA / 'isic2020' / 'train.csv'}",
        f"--output={directory / 'context.csv'}",
        f"--model_dir={directory / 'stage'}",
    ]
    started = time.monotonic()
    subprocess.run(command, check=True, cwd=common.ROOT, stderr=subprocess.DEVNULL)  # noqa: S603
    seconds = time.monotonic() - started
    figures = json.loads((directory / "stage" / "context.json").read_text())["nested"]
over_image_level = figures["context less stage one"]["mean_of_folds"]
over_metadata = figures["context less metadata alone"]["mean_of_folds"]
aim = 180 if method == "boost" else 600
print(f"{method}: {seconds:.0f} s (aim {aim}); mean ROC AUC of the folds {over_image_level:+.4f} over the image-level")
print(f"model (aim +0.010), {over_metadata:+.4f} over metadata only (aim +0.006)")
