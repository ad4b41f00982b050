"""Near-duplicates: recall of edited real images by kind of edit, against a textbook 64-bit hash; and time at scale."""

import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import common
import cv2
import numpy as np
import pandas as pd
from scipy.fft import dctn

from tfrecord_tools.deduplication import image_similarity, near_duplicates, view_reading
from tfrecord_tools.imaging import codec

WORKERS = os.cpu_count() or 1
LIMIT = 0.4
# Photographs that are in two of the sets, found by this benchmark and confirmed by eye.
SAME = {("ISIC_7101732", "ISIC_0014289"), ("ISIC_0833889", "ISIC_0030366"), ("ISIC_6931277", "ISIC_0032245")}


class Images(NamedTuple):
    """Names of images, and for each image its views, see `image_similarity.make_views`."""

    names: list[str]
    views: list[np.ndarray]


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height))


def crop(image: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """Cuts off a share of the height or width at each side."""
    height, width = image.shape[:2]
    rows = slice(round(top * height), round((1 - bottom) * height))
    return image[rows, round(left * width) : round((1 - right) * width)]


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Encodes an image as JPEG and decodes it."""
    jpeg = codec.encode(np.ascontiguousarray(image), quality)
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def resize(image: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    interpolation = cv2.INTER_AREA if scale_y < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=scale_x, fy=scale_y, interpolation=interpolation)


Edit = Callable[[np.ndarray], np.ndarray]
EDITS: dict[str, Edit] = {
    "JPEG quality 50": lambda image: compress(image, 50),
    "JPEG quality 30": lambda image: compress(image, 30),
    "resized to 50 %": lambda image: resize(image, 0.5, 0.5),
    "resized to 25 %": lambda image: resize(image, 0.25, 0.25),
    "stretched to 3:2": lambda image: resize(image, 1.5, 1),
    "rotated by 90": lambda image: np.rot90(image),
    "rotated by 180": lambda image: np.rot90(image, 2),
    "rotated by 270": lambda image: np.rot90(image, 3),
    "rotated by 10": lambda image: rotate(image, 10),
    "rotated by 45": lambda image: rotate(image, 45),
    "flipped left to right": lambda image: image[:, ::-1],
    "flipped top to bottom": lambda image: image[::-1],
    "cropped 2.5 % on each side": lambda image: crop(image, 0.025, 0.025, 0.025, 0.025),
    "cropped 5 % at the top": lambda image: crop(image, 0.05, 0, 0, 0),
    "cropped 5 % at a corner": lambda image: crop(image, 0.05, 0, 0.05, 0),
    "20 % brighter": lambda image: cv2.convertScaleAbs(image, alpha=1.2),
    "25 % darker": lambda image: cv2.convertScaleAbs(image, alpha=0.75),
    "cropped, rotated by 90, JPEG": lambda image: compress(np.rot90(crop(image, 0.025, 0.025, 0.025, 0.025)), 50),
    "cropped, flipped, rotated by 10, JPEG": lambda image: compress(
        rotate(crop(image, 0.05, 0, 0.05, 0)[:, ::-1], 10), 50
    ),
}
# Stronger edits than the command claims to find.
STRONGER_EDITS: dict[str, Edit] = {
    "3:2 and rotated by 10": lambda image: rotate(resize(image, 1.5, 1), 10),
    "3:2, letterboxed to a square": lambda image: cv2.copyMakeBorder(resize(image, 1.5, 1), 128, 128, 0, 0, 0),
    "cropped 10 % on each side": lambda image: crop(image, 0.1, 0.1, 0.1, 0.1),
    "cropped 20 % at a corner": lambda image: crop(image, 0.2, 0, 0.2, 0),
    "3:2, center square": lambda image: crop(resize(image, 1.5, 1), 0, 0, 1 / 6, 1 / 6),
}


def hash_orientations(image: np.ndarray) -> np.ndarray:
    """Computes the textbook perceptual hash in eight orientations (pHash: signs of low frequencies of a 32 px DCT).

    Args:
        image: uint8 `[h, w, 3]`, BGR.

    Returns:
        bool `[8, 64]`, the first row for the image as it is.
    """
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    oriented = [np.rot90(flipped, turns) for flipped in (small, small[::-1]) for turns in range(4)]
    low = [dctn(np.float64(one), norm="ortho")[:8, :8].ravel() for one in oriented]
    return np.stack([one > np.median(one[1:]) for one in low])


def find_by_hash(edited: Sequence[np.ndarray], originals: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """Finds edited images by their hashes, among the originals only.

    Args:
        edited: Hashes of the edited images, see `hash_orientations`.
        originals: Hashes of the originals.
        truth: Original of each edited image.

    Returns:
        bool, whether each edited image is found, at the largest distance with a precision of 0.95.
    """
    plain = np.float32([one[0] for one in originals]) * 2 - 1
    by_orientation = []
    for orientation in range(8):
        signs = np.float32([one[orientation] for one in edited]) * 2 - 1
        by_orientation.append(32 - signs @ plain.T / 2)
    distance = np.min(by_orientation, 0)
    right = distance[np.arange(len(truth)), truth]
    found = {limit: (right <= limit) for limit in range(33)}
    precise = [limit for limit in found if found[limit].sum() >= 0.95 * max((distance <= limit).sum(), 1)]
    return found[max(precise, default=0)]


def report(edits: Mapping[str, Edit], pictures: Sequence[np.ndarray], everyone: Images) -> None:
    """Edits all pictures, searches for them among the pictures and other images, and prints the recall of each edit.

    Args:
        edits: Dict from name to edit.
        pictures: The originals, uint8 `[h, w, 3]`, BGR.
        everyone: Images to search, the originals first.
    """
    views = []
    hashes = []
    for edit in edits.values():
        for picture in pictures:
            edited = np.ascontiguousarray(edit(picture))
            views.append(image_similarity.make_views(edited))
            hashes.append(hash_orientations(edited))
    truth = np.tile(np.arange(len(pictures)), len(edits))
    pairs, _ = near_duplicates.match_views([*views, *everyone.views], len(views), LIMIT, WORKERS)
    source = truth[pairs[:, 0]]
    found = pairs[:, 1] - len(views)
    right = source == found
    ours = np.isin(np.arange(len(truth)), pairs[right, 0]).reshape(len(edits), -1)
    textbook = find_by_hash(hashes, [hash_orientations(picture) for picture in pictures], truth).reshape(ours.shape)
    for kind, own, theirs in zip(edits, ours, textbook, strict=True):
        print(f"  {kind:38s} recall {own.mean():.4f}   pHash, 8 orientations {theirs.mean():.4f}")
    print(f"  together: recall {ours.mean():.4f} of {ours.size}, pHash at precision 0.95 {textbook.mean():.4f}")
    names = everyone.names
    mismatched = [(names[one], names[other]) for one, other in zip(source[~right], found[~right], strict=True)]
    wrong = [couple for couple in mismatched if couple not in SAME]
    precision = right.sum() / (right.sum() + len(wrong))
    print(f"  wrong pairs: {len(wrong)} {sorted(set(wrong))[:5]}, precision {precision:.4f}", flush=True)


def time_matching(views: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> None:
    """Times the matching of `count` images: views of real ones, randomly rotated and cropped to about a third."""
    rows = []
    for number in range(count):
        center = tuple(rng.uniform(32, 64, 2))
        matrix = cv2.getRotationMatrix2D(center, rng.uniform(0, 360), rng.uniform(1.5, 2))
        view = views[number % len(views)][0]
        rows.append(cv2.warpAffine(view, matrix, view.shape, borderMode=cv2.BORDER_REFLECT_101)[None])
    started = time.perf_counter()
    cpu_started = time.process_time()
    pairs, _ = near_duplicates.match_views(rows, None, LIMIT, WORKERS)
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    print(f"  {count} images: {seconds:.0f} s, {cpu_seconds:.0f} s of CPU time, {len(pairs)} pairs", flush=True)


def read_images(directory: pathlib.Path) -> Images:
    """Reads the views of all images in a directory, ordered by name, and prints the time."""
    started = time.perf_counter()
    names, views = view_reading.read_views(str(directory), WORKERS)
    seconds = time.perf_counter() - started
    print(f"{directory.relative_to(common.REAL_DATA)}: {len(names)} images read in {seconds:.1f} s")
    order = np.argsort(names)
    return Images([names[position] for position in order], [views[position] for position in order])


def main() -> None:
    paths = common.find_real("isic2020/jpeg512/train/*.jpg")
    names = [path.stem for path in paths]
    pictures = [cv2.imread(str(path)) for path in paths]
    everyone = Images([], [])
    for directory in ("isic2020/jpeg512", "isic2017/train", "isic2017/val", "ham10000"):
        images = read_images(common.REAL_DATA / directory)
        everyone.names.extend(images.names)
        everyone.views.extend(images.views)
    # Only for the time of reading DICOM files at their original size.
    for directory in ("isic2020/dicom/train", "isic2020/dicom/test"):
        read_images(common.REAL_DATA / directory)
    _, distances = near_duplicates.match_views(everyone.views[: len(names)], None, 0.99, WORKERS)
    listed = pd.read_csv(common.find_real("isic2020/ISIC_2020_Training_Duplicates.csv")[0])
    both = listed["image_name_1"].isin(names) & listed["image_name_2"].isin(names)
    print(f"{len(names)} images: {np.sum(distances <= LIMIT)} pairs; the smallest distance is {distances.min():.2f}")
    print(f"  of the {len(listed)} pairs listed by ISIC, {both.sum()} have both images among them")
    print(f"edits of {len(names)} images, searched for among these and {len(everyone.names) - len(names)} others")
    report(EDITS, pictures, everyone)
    print("stronger edits, which the command does not claim to find")
    report(STRONGER_EDITS, pictures, everyone)
    print(f"matching of synthetic views of {len(everyone.names)} real images, {WORKERS} threads")
    for count in (8282, 33126):
        time_matching(everyone.views, count, np.random.default_rng(0))


if __name__ == "__main__":
    main()
