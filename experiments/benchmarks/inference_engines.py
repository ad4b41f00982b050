"""Images per second of ONNX Runtime, LiteRT and TensorFlow, plain and as `predict` runs it, two threads, in turns.

    python experiments/benchmarks/inference_engines.py

Each runs the same network, with random weights, from uint8 images to probabilities; all are compared first.
"""

from collections.abc import Callable

import common
import numpy as np
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from isic_tf.data import decoding, targets
from isic_tf.inference import merged_batch_norms
from isic_tf.models import classifiers
from isic_tf.serving import graph_networks, onnx_model

NETWORKS = (("efficientnet-lite0", 224), ("efficientnet-b0", 384))
# Images at a time, and calls of a measurement.
BATCHES = ((1, 10), (32, 1))
THREADS = 2
TURNS = 5
Engine = Callable[[np.ndarray], np.ndarray]


def make_engines(network: tf.keras.Model, onnx: bytes, batch: int, image_size: int) -> dict[str, Engine]:
    """Returns a function from images to probabilities for each engine."""

    @tf.function(input_signature=[tf.TensorSpec([batch, image_size, image_size, 3], tf.uint8, "image")])
    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"prediction": targets.mean_scores(graph_networks.logits([network], image, None))}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([predict.get_concrete_function()], network)
    lite = litert.Interpreter(model_content=converter.convert(), num_threads=THREADS).get_signature_runner()
    run = onnx_model.make_predictor(onnx, "", THREADS)
    merged = merged_batch_norms.merge(network)

    @tf.function(input_signature=predict.input_signature)
    def predict_merged(image: tf.Tensor) -> tf.Tensor:
        return targets.mean_scores([merged(decoding.to_float(image))])

    return {
        "ONNX Runtime": lambda images: run(images, None),
        "LiteRT": lambda images: lite(image=images)["prediction"],
        "TensorFlow": lambda images: predict(images)["prediction"].numpy(),
        "TensorFlow, merged": lambda images: predict_merged(images).numpy(),
    }


def measure(engines: dict[str, Engine], images: np.ndarray, calls: int) -> dict[str, np.ndarray]:
    """Returns the seconds of each turn; the engines alternate, because other work on the machine comes and goes."""
    expected = engines["TensorFlow"](images)
    for name, engine in engines.items():
        difference = np.abs(engine(images) - expected).max()
        if difference > 1e-4:
            raise ValueError(f"expected the probabilities of TensorFlow, got others by {difference:.1e} of {name}")
    turns = [
        [
            common.measure_seconds(lambda engine=engine: [engine(images) for _ in range(calls)])
            for engine in engines.values()
        ]
        for _ in range(TURNS)
    ]
    return dict(zip(engines, np.array(turns).T, strict=True))


def main() -> None:
    """Prints a line for each network, batch and engine: the median and the best of the turns."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for backbone, image_size in NETWORKS:
        network = classifiers.build_classifier(backbone, image_size)
        onnx = onnx_model.convert([network], image_size, "")
        for batch, calls in BATCHES:
            images = np.random.default_rng(0).integers(0, 256, (batch, image_size, image_size, 3), np.uint8)
            seconds = measure(make_engines(network, onnx, batch, image_size), images, calls)
            for name, turns in seconds.items():
                rate = batch * calls / turns
                ratio = np.median(seconds["TensorFlow"] / turns)
                print(
                    f"{backbone} at {image_size} px, {batch} at a time, {name}: {np.median(rate):.1f} images/s "
                    f"(best {rate.max():.1f}), {ratio:.2f} times TensorFlow",
                    flush=True,
                )


if __name__ == "__main__":
    main()
