"""Measures how unlike the training images an image is, from a network's features of it.

Two distances see different things. That to a Gaussian with a few free directions (probabilistic principal components,
Tipping and Bishop 1999; as a Mahalanobis distance, Lee et al., NeurIPS 2018) finds blur, exposure and pictures that are
not skin. It leaves out the last features, of the lowest resolution, which outnumber all others. That to the fifth
nearest training image, of features of low resolution at length 1 (Sun et al., ICML 2022), finds other kinds of skin
images, such as clinical photographs. An image is as unlike as the larger of both says, each in units of its 95 %
quantile over held-out images (experiments/LOG.md, 2026-11-29 and 2026-11-30).
"""

import typing

import numpy as np

from tfrecord_tools import errors

# Share of held-out images that are called unlike the training images.
FALSE_ALARM_RATE = 0.05
# Principal components of the Gaussian: with 20, 300 images suffice.
_COMPONENTS = 20
NEIGHBOR = 5
# Training images whose features are kept; more of them take longer, and found no more.
MOST_REFERENCES = 1000
# Fewer cannot tell a quantile of 95 %.
FEWEST_IMAGES = 50
LEAST = 1e-12
# In units of the variance of a feature.
_LEAST_RESIDUAL = 0.01
_BLOCK = 256


class Detector(typing.NamedTuple):
    """What a network's features of its training images are like, and how far held-out images are from them.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> detector = fit_detector(rng.normal(size=(200, 8)), rng.normal(size=(100, 8)))
        >>> bool(measure(detector, np.full((1, 8), 30.0))[0] > 1)
        True
    """

    mean: np.ndarray  # float32 [e], of the first features, 0 < e <= f
    scale: np.ndarray  # float32 [e], standard deviations, above 0
    components: np.ndarray  # float32 [k, e], orthonormal
    variances: np.ndarray  # float32 [k], above 0
    residual: np.ndarray  # float32 [1], variance in every other direction, above 0
    references: np.ndarray  # float16 [m, r], the last features of training images, 0 < r <= f, divided by their length
    limits: np.ndarray  # float32 [3], quantiles over held-out images: of both distances, and of the larger ratio


def fit_detector(
    training: np.ndarray,
    held_out: np.ndarray,
    early: int | None = None,
    late: int | None = None,
    rate: float = FALSE_ALARM_RATE,
) -> Detector:
    """Fits a detector.

    Args:
        training: Float `[n, f]`, a network's features of images that it was trained on, 50 or more.
        held_out: Float `[m, f]`, its features of images of other patients, 50 or more: they say which distance is
            usual.
        early: Number e of the first features, of the finer resolutions, that the Gaussian sees; None for all f.
        late: Number r of the last features, of the lower resolutions, that neighbors are found by; None for all f.
        rate: Share of images like the held-out ones that are called unlike, between 0 and 1.

    Returns:
        `Detector`.

    Raises:
        IsicError: There are fewer images, or features that are not finite.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> fit_detector(rng.normal(size=(200, 8)), rng.normal(size=(100, 8))).references.shape
        (200, 8)
    """
    for name, features in (("training", training), ("held-out", held_out)):
        if len(features) < FEWEST_IMAGES:
            raise errors.IsicError(f"expected {FEWEST_IMAGES} {name} images or more, got {len(features)}")
        if not np.isfinite(features).all():
            raise errors.IsicError(f"features of {name} images are not finite")
    inputs = np.asarray(training, np.float64)
    seen = inputs[:, :early]
    mean = seen.mean(axis=0)
    # A feature that no training image shows must not make every other image unlike.
    scale = np.maximum(seen.std(axis=0), 1e-3 * seen.std() + LEAST)
    standardized = (seen - mean) / scale
    count = min(_COMPONENTS, len(seen) // 3, seen.shape[1] - 1)
    components, variances, residual = _find_components(standardized, count)
    chosen = np.unique(np.linspace(0, len(inputs) - 1, MOST_REFERENCES).astype(int))
    references = _normalize(inputs[chosen, -(late or inputs.shape[1]) :]).astype(np.float16)
    arrays = (mean, scale, components, variances, np.array([residual]))
    single = [array.astype(np.float32) for array in arrays]
    detector = Detector(single[0], single[1], single[2], single[3], single[4], references, np.ones(3, np.float32))
    distances = np.stack([_gaussian_distance(detector, held_out), _neighbor_distance(detector, held_out)])
    # Of m values the one in place (m + 1) (1 - rate), which the next value exceeds as often as the rate says, even if m
    # is small (conformal prediction: Laxhammar and Falkman 2010). With m = 50 the usual quantile flags 8 %, not 5 %.
    own_limits = np.maximum(np.quantile(distances, 1 - rate, axis=1, method="weibull"), LEAST)
    larger = np.quantile((distances / own_limits[:, None]).max(axis=0), 1 - rate, method="weibull")
    return detector._replace(limits=np.array([*own_limits, max(larger, LEAST)], np.float32))


def _find_components(standardized: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the first principal components, their variances, and the mean variance in the other directions."""
    # A fold whose detector is only applied does not wait for scikit-learn.
    from sklearn.utils import extmath

    _, values, directions = extmath.randomized_svd(standardized, count, n_iter=7, random_state=0)
    spectrum = values**2 / len(standardized)
    total = float((standardized**2).sum()) / len(standardized)
    residual = (total - float(spectrum.sum())) / (standardized.shape[1] - count)
    return directions, np.maximum(spectrum, LEAST), max(residual, _LEAST_RESIDUAL)


def _normalize(features: np.ndarray) -> np.ndarray:
    """Returns features divided by their length."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), LEAST)


def _gaussian_distance(detector: Detector, features: np.ndarray) -> np.ndarray:
    """Returns the squared Mahalanobis distance to the training images, float64 `[n]`."""
    early = np.asarray(features[:, : len(detector.mean)], np.float64)
    standardized = (early - detector.mean) / detector.scale
    projected = standardized @ detector.components.T.astype(np.float64)
    rest = np.maximum((standardized**2).sum(axis=1) - (projected**2).sum(axis=1), 0)
    return (projected**2 / detector.variances).sum(axis=1) + rest / float(detector.residual[0])


def _neighbor_distance(detector: Detector, features: np.ndarray) -> np.ndarray:
    """Returns the distance to the fifth nearest training image, float64 `[n]`, from 0 to 2."""
    references = detector.references.astype(np.float32)
    place = min(NEIGHBOR, len(references)) - 1
    found = []
    for start in range(0, len(features), _BLOCK):
        own = _normalize(np.asarray(features[start : start + _BLOCK, -references.shape[1] :], np.float32))
        squared = np.maximum(2 - 2 * own @ references.T, 0)
        found.append(np.sqrt(np.partition(squared, place, axis=1)[:, place].astype(np.float64)))
    return np.concatenate(found) if found else np.zeros(0)


def measure(detector: Detector, features: np.ndarray) -> np.ndarray:
    """Measures how unlike the training images some images are.

    Args:
        detector: `Detector`.
        features: Float `[n, f]`, features of the images by the network of the detector.

    Returns:
        float64 `[n]`, 0 or more: above 1 for 5 % of images like the held-out ones. NaN where a feature is NaN, as
        where the network did not predict an image.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> detector = fit_detector(rng.normal(size=(200, 8)), rng.normal(size=(100, 8)))
        >>> measure(detector, np.array([[np.nan] * 8]))
        array([nan])
    """
    is_known = np.isfinite(features).all(axis=1)
    found = np.full(len(features), np.nan)
    known = np.asarray(features)[is_known]
    distances = np.stack([_gaussian_distance(detector, known), _neighbor_distance(detector, known)])
    found[is_known] = (distances / detector.limits[:2, None]).max(axis=0) / detector.limits[2]
    return found


def join(values: np.ndarray) -> np.ndarray:
    """Joins what the detectors of several networks say of each image.

    Args:
        values: Float `[n, networks]`, see `measure`; NaN where a network has none.

    Returns:
        float64 `[n]`, the geometric mean, so that a network counts as much as another; NaN where all are NaN.

    Examples:
        >>> join(np.array([[4.0, 1.0], [2.0, np.nan]])).tolist()
        [2.0, 2.0]
    """
    logs = np.log(np.maximum(values, LEAST))
    count = np.isfinite(logs).sum(axis=1)
    total = np.where(np.isfinite(logs), logs, 0).sum(axis=1)
    return np.where(count > 0, np.exp(total / np.maximum(count, 1)), np.nan)
