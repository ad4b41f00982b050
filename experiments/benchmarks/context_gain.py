"""What patient context gives on a competitor's out-of-fold predictions of all 2020 images, and how long it takes.

Aims: +0.010 in the mean ROC AUC of the folds over stage one, +0.006 over metadata alone, none with shuffled patients;
three minutes for `boost` on two cores; ten for `set` (`python experiments/benchmarks/context_gain.py set`).
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
    folder = pathlib.Path(name)
    flags = [f"--oof={common.REAL_DATA / 'predictions' / 'oof' / 'model_b.csv'}", f"--method={method}"]
    flags += [f"--metadata={common.REAL_DATA / 'isic2020' / 'train.csv'}", f"--output={folder / 'context.csv'}"]
    command = [sys.executable, "-m", "isic_tf.context", *flags, f"--model_dir={folder / 'stage'}"]
    start = time.monotonic()
    subprocess.run(command, check=True, cwd=common.ROOT, stderr=subprocess.DEVNULL)  # noqa: S603
    seconds = time.monotonic() - start
    figures = json.loads((folder / "stage" / "context.json").read_text())["nested"]
gains = [figures[f"context less {name}"]["mean_of_folds"] for name in ("stage one", "metadata alone")]
print(
    f"{method}: {seconds:.0f} s (aim {180 if method == 'boost' else 600}); mean of folds {gains[0]:+.4f} over stage one"
)
print(f"(aim +0.010), {gains[1]:+.4f} over metadata alone (aim +0.006)")
