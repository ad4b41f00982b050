"""How often `isic_tf.image_quality` flags real photographs, and how often it finds damage of a known size.

Thresholds were chosen on every second image of ISIC 2020 (`set`). The other half and the other sets did not move them,
except those of `ruler or ink` and `compressed`, and the darkest skin of `no lesion`, chosen with all sets in sight.
Intervals are Wilson's of 95 %. Damage is made on every third image of the other half, and of the dermoscopic images of
MILK10k.
"""

from collections.abc import Callable, Iterable, Iterator

import common
import cv2
import numpy as np
import pandas as pd
import pydicom
from scipy import stats

from isic_tf.image_quality import checks, working_image
from tfrecord_tools.imaging import codec

Damage = Callable[[np.ndarray], np.ndarray]
RNG = np.random.default_rng(0)
SIDE = working_image.LARGE
# Side of a crop of skin, and of what is cut out of the inside of a lesion.
CROP = 160


def read(data: bytes) -> np.ndarray:
    """Decodes a JPEG as RGB."""
    return np.ascontiguousarray(codec.decode(data, "benchmark")[0][..., ::-1])


def list_sets() -> dict[str, Iterator[np.ndarray]]:
    """Returns the images of each set, read when they are needed."""
    isic2020 = common.find_real("isic2020/jpeg512/train/*.jpg")
    table = pd.read_csv(common.REAL_DATA / "tables" / "MILK10k_Training_Metadata.csv").set_index("isic_id")
    milk = {kind: [] for kind in ("dermoscopic", "clinical: close-up")}
    for path in common.find_real("milk10k/*.jpg"):
        milk[table.loc[path.stem, "image_type"]].append(path)
    dicom = (pydicom.dcmread(path) for path in common.find_real("isic2020/dicom/*/*.dcm"))
    frames = (pydicom.encaps.get_frame(one.PixelData, 0, number_of_frames=1) for one in dicom)
    files = {
        "ISIC 2020, set": isic2020[::2],
        "ISIC 2020, other half": isic2020[1::2],
        "ISIC 2017": common.find_real("isic2017/train/*.jpg"),
        "MILK10k dermoscopic": milk["dermoscopic"],
        "MILK10k clinical": milk["clinical: close-up"],
    }
    sets = {name: (read(path.read_bytes()) for path in paths) for name, paths in files.items()}
    return {**sets, "ISIC 2020 full size": (read(frame) for frame in frames)}


def flag(images: Iterable[np.ndarray]) -> pd.DataFrame:
    """Returns which checks flag each image: bool, a column for each check."""
    names = [[finding.name for finding in checks.check_image(image)] for image in images]
    return pd.DataFrame([[check in found for check in checks.CHECKS] for found in names], columns=list(checks.CHECKS))


def state(flagged: pd.Series) -> str:
    """Returns a rate with its interval in percent."""
    test = stats.binomtest(int(flagged.sum()), len(flagged)).proportion_ci(method="wilson")
    return f"{100 * flagged.mean():.1f} ({100 * test.low:.1f}-{100 * test.high:.1f})"


def print_table(title: str, table: pd.DataFrame) -> None:
    """Prints a table as Markdown."""
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    print(f"\n{title}\n", *(f"| {' | '.join(map(str, row))} |" for row in rows), sep="\n", flush=True)


def blur(sigma: float) -> Damage:
    """Blurs, and encodes again as a camera would."""

    def apply(image: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(image, (0, 0), sigma * max(image.shape) / SIDE)
        noisy = np.clip(blurred + RNG.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
        return read(codec.encode(noisy[..., ::-1], 90))

    return apply


def scale(*factors: float) -> Damage:
    """Multiplies the channels."""
    return lambda image: np.clip(np.rint(image * np.array(factors)), 0, 255).astype(np.uint8)


def compress(quality: int) -> Damage:
    """Encodes as JPEG."""
    return lambda image: read(codec.encode(image[..., ::-1], quality))


def draw_ruler(share: float) -> Damage:
    """Lays a white ruler over a share of the image, with ticks half as long as it is wide."""

    def apply(image: np.ndarray) -> np.ndarray:
        image = image.copy()
        width = round(share * image.shape[1])
        image[:, :width] = 235
        step = max(8, image.shape[0] // 20)
        for row in range(step, image.shape[0], step):
            image[row : row + max(2, step // 8), : width // 2] = 20
        return image

    return apply


def draw_ink(share: float) -> Damage:
    """Hatches a share of the image with a purple pen; skin shows through."""

    def apply(image: np.ndarray) -> np.ndarray:
        ink = image.copy()
        width = round(share * image.shape[1])
        for row in range(0, image.shape[0], 12):
            cv2.line(ink, (0, row), (width, row + 6), (70, 40, 160), 7)
        return cv2.addWeighted(image, 0.2, ink, 0.8, 0)

    return apply


def cut_crops(images: Iterable[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns corners without a lesion, and centers that only show a lesion, by Otsu's threshold of L* at full size."""
    skin, inside = [], []
    for image in images:
        lightness = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 4), cv2.COLOR_RGB2LAB)[..., 0]
        _, lesion = cv2.threshold(lightness, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
        near = cv2.dilate(lesion, np.ones((25, 25), np.uint8))
        far, middle = image.shape[0] - 40 - CROP, (image.shape[0] - CROP) // 2
        corners = [np.s_[y : y + CROP, x : x + CROP] for y in (40, far) for x in (40, far)]
        skin += [image[corner] for corner in corners if not near[corner].any()]
        center = np.s_[middle : middle + CROP, middle : middle + CROP]
        core = cv2.erode(lesion, np.ones((17, 17), np.uint8))
        inside += [image[center]] if core[center].mean() > 0.99 else []
    return skin, inside


CASTS = {
    "red": (0, 1, 1),
    "green": (1, 0, 1),
    "blue": (1, 1, 0),
}
DAMAGES: list[tuple[str, str, Damage]] = [
    *(("blurred", f"sigma {sigma} px at 512 px", blur(sigma)) for sigma in (2, 4, 8, 16)),
    *(("dark", f"brightness x {factor}", scale(*[factor] * 3)) for factor in (0.6, 0.4, 0.2, 0.1)),
    *(("overexposed", f"brightness x {factor}", scale(*[factor] * 3)) for factor in (1.3, 1.6, 2.0)),
    *(
        ("color cast", f"{100 * cast:.0f} % less {name}", scale(*(1 - cast * (1 - np.array(kept)))))
        for cast in (0.2, 0.4, 0.6)
        for name, kept in CASTS.items()
    ),
    *(("ruler or ink", f"ruler over {100 * share:.0f} %", draw_ruler(share)) for share in (0.5, 0.25, 0.1)),
    *(("ruler or ink", f"ink over {100 * share:.0f} %", draw_ink(share)) for share in (0.5, 0.25, 0.1)),
    *(("compressed", f"JPEG quality {quality}", compress(quality)) for quality in (20, 10, 5)),
    ("low resolution", "shrunk to 200 px", lambda image: working_image.shrink(image, 200)),
]


def main() -> None:
    """Prints the two tables."""
    kept = {}
    rates = {"check": [*checks.CHECKS, "any"]}
    for name, images in list_sets().items():
        # Only these are damaged later.
        kept[name] = list(images) if name in ("ISIC 2020, other half", "MILK10k dermoscopic") else images
        flags = flag(kept[name])
        rates[f"{name}, n = {len(flags)}"] = [*(state(flags[check]) for check in flags), state(flags.any(axis=1))]
    print_table("Flagged of real images, % (95 % interval)", pd.DataFrame(rates))
    samples = {name: images[::3] for name, images in kept.items() if isinstance(images, list)}
    found = [
        {"check": check, "damage": damage}
        | {f"{name}, n = {len(images)}": state(flag(map(apply, images))[check]) for name, images in samples.items()}
        for check, damage, apply in DAMAGES
    ]
    print_table("Flagged of damaged images, % (95 % interval)", pd.DataFrame(found))
    skin, inside = cut_crops(read(path.read_bytes()) for path in common.find_real("isic2020/jpeg512/train/*.jpg"))
    plain = [np.full((300, 400, 3), color, np.uint8) for color in RNG.integers(140, 256, (100, 3))]
    pictures = {"corners of skin": skin, "inside of lesions": inside, "one light color": plain}
    rows = [(name, len(images), state(flag(images)["no lesion"])) for name, images in pictures.items()]
    print_table("No lesion, % (95 % interval)", pd.DataFrame(rows, columns=["pictures", "n", "flagged"]))


if __name__ == "__main__":
    main()
