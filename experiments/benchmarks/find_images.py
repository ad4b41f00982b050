"""Finding 400,000 images in nested folders, against asking for each file whether it is one, as version 0.2 did."""

import argparse
import os
import pathlib
import resource
import tempfile

import common

from tfrecord_tools.imaging import image_files

_PER_FOLDER = 100
_FOLDERS_PER_FOLDER = 100
_AIM_SECONDS = 10


def make_files(root: pathlib.Path, count: int) -> None:
    """Makes empty files, 100 in a folder and 100 folders in a folder."""
    for number in range(count):
        folder = (
            root / f"part{number // (_PER_FOLDER * _FOLDERS_PER_FOLDER):03d}" / f"patient{number // _PER_FOLDER:05d}"
        )
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"ISIC_{number:07d}.jpg").touch()


def find_one_by_one(root: pathlib.Path) -> dict[str, list[str]]:
    """Finds images as version 0.2 did in one folder: asks for each file whether it is a folder, and a regular one."""
    paths: dict[str, list[str]] = {}
    waiting = [str(root)]
    while waiting:
        place = waiting.pop()
        for file in sorted(os.listdir(place)):
            path = os.path.join(place, file)
            name, extension = os.path.splitext(file)
            if os.path.isdir(path):
                waiting.append(path)
            elif os.path.isfile(path) and extension.lower() in (".jpg", ".jpeg", ".png", ".dcm", ".dicom"):
                paths.setdefault(name, []).append(path)
    return paths


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--count", type=int, default=400_000, help="Number of files.")
count = parser.parse_args().count
with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    make_files(root, count)
    if image_files.find_images(directory, "train").keys() != find_one_by_one(root).keys():
        raise SystemExit("both ways must find the same images")
    _, ours = common.compare(
        f"finding {count} images",
        1,
        lambda: find_one_by_one(root),
        lambda: image_files.find_images(directory, "train"),
    )
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"{count} images in {ours:.1f} s (aim {_AIM_SECONDS} s), {megabytes} MB at most")
