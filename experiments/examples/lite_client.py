"""Predicts image files with a model of isic_tf.export --format=tflite, using LiteRT, OpenCV and simplejpeg alone.

    python lite_client.py MODEL RECORD_SIZE QUALITY a.jpg b.png

RECORD_SIZE and QUALITY are the image_size and the quality of the records that the run was trained on, as the model card
states them. The records were resized with `stretch`, without trimming and color correction.
"""

import pathlib
import sys

import cv2
import numpy as np
import simplejpeg
from ai_edge_litert.interpreter import Interpreter


def decode(data: bytes, at_least: int) -> np.ndarray:
    """Decodes an image file as BGR, upright; a JPEG at a half, a quarter or an eighth, if enough pixels are left."""
    flag = cv2.IMREAD_COLOR
    if data[:2] == b"\xff\xd8":
        shorter = min(simplejpeg.decode_jpeg_header(data)[:2])
        scale = next((scale for scale in (8, 4, 2) if -(-shorter // scale) >= at_least), 1)
        flag = flag if scale == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """Resizes an image to a square as tfrecord_tools.build does."""
    factors = image.shape[0] / side, image.shape[1] / side
    if min(factors) < 1:
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    if max(factors) > 3.5:
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    rows, columns = (3 if factor >= 2.4 else 1 for factor in factors)
    return cv2.resize(cv2.blur(image, (columns, rows)), (side, side), interpolation=cv2.INTER_LINEAR_EXACT)


def prepare(data: bytes, record_size: int, quality: int, size: int) -> np.ndarray:
    """Prepares an image file as the network saw the record of it, RGB."""
    image = resize(decode(data, record_size), record_size)
    record = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    scale = next((scale for scale in (8, 4, 2) if -(-record_size // scale) >= size), 1)
    side = -(-record_size // scale)
    # By the fast inverse DCT, as TensorFlow decodes it.
    seen = simplejpeg.decode_jpeg(record, "RGB", fastdct=True, min_height=side, min_width=side, min_factor=scale)
    return seen if side == size else cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    _, model, record_size, quality, *paths = sys.argv
    predict = Interpreter(model_path=model).get_signature_runner("serving_default")
    inputs = predict.get_input_details()
    # Clinical metadata, for a model that uses it, as the model card lists it. Here all of it is unknown.
    unknown = {name: 1 if name.endswith("_unknown") else -1 for name in inputs if name != "image"}
    known = {name: np.array([value], inputs[name]["dtype"]) for name, value in unknown.items()}
    for path in paths:
        image = prepare(pathlib.Path(path).read_bytes(), int(record_size), int(quality), inputs["image"]["shape"][1])
        print(path, f"{predict(image=image[np.newaxis], **known)['prediction'][0]:.4f}")
