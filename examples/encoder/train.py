#!/usr/bin/env python3
"""Trains a convolutional autoencoder on photographs and keeps its encoder: 64x64 grey pixels to 100 numbers in -1..1.

    python train.py OUT [--epochs N]

The photographs are the two that scikit-learn carries (a temple, a flower), cut into patches. Writes the same
encoder three times, as OUT/saved_model/ (TensorFlow SavedModel), OUT/encoder.keras and OUT/encoder.onnx, and
OUT/input.npy, OUT/output.npy (patches never trained on, Keras' own codes of them), OUT/expected.json.
"""
import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its rounding depends on the machine

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_sample_images

SIDE, CODE, BATCH = 64, 100, 64


def patches(count, generator):
    """float32[count, 64, 64, 1] in 0..1, cut out of the photographs at random places."""
    pictures = [(picture @ (0.299, 0.587, 0.114) / 255).astype(np.float32) for picture in load_sample_images().images]
    rows = []
    for _ in range(count):
        picture = pictures[generator.integers(len(pictures))]
        y, x = (generator.integers(size - SIDE + 1) for size in picture.shape)
        rows.append(picture[y:y + SIDE, x:x + SIDE])
    return np.stack(rows)[..., None]


def make_encoder():
    return keras.Sequential([
        keras.Input((SIDE, SIDE, 1), name="image"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(CODE, activation="tanh", name="code"),
    ], name="encoder")


def make_decoder():
    return keras.Sequential([
        keras.Input((CODE,)),
        layers.Dense(8 * 8 * 32, activation="relu"),
        layers.Reshape((8, 8, 32)),
        layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid"),
    ], name="decoder")


def call_ms(encoder, image, calls=50):
    """How long the framework's own call takes at best, made the fastest way: a compiled function."""
    call = tf.function(encoder, input_signature=[tf.TensorSpec(image.shape, tf.float32)])
    call(image)
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        call(image).numpy()
        times.append(time.perf_counter() - started)
    return min(times) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    encoder, decoder = make_encoder(), make_decoder()
    both = keras.Sequential([encoder, decoder])
    both.compile("adam", "mse")
    images = patches(2048, generator)
    losses = both.fit(images, images, batch_size=BATCH, epochs=args.epochs, verbose=0).history["loss"]
    held_out = patches(8, generator)
    print(f"mean squared error of the pictures made again: {losses[0]:.4f} after the first epoch, "
          f"{losses[-1]:.4f} after {len(losses)}; {both.evaluate(held_out, held_out, verbose=0):.4f} on new ones")

    encoder.export(args.out / "saved_model", verbose=False)
    encoder.save(args.out / "encoder.keras")
    encoder.export(args.out / "encoder.onnx", format="onnx", verbose=False)
    np.save(args.out / "input.npy", held_out)
    np.save(args.out / "output.npy", encoder.predict(held_out, verbose=0))
    np.save(args.out / "one.npy", held_out[:1])
    (args.out / "expected.json").write_text(json.dumps({
        "framework": f"Keras {keras.__version__} on TensorFlow {tf.__version__}",
        "rtol": 1e-5, "atol": 1e-5,
        "call": {"by": "TensorFlow's compiled function", "input": "one.npy", "ms": round(call_ms(encoder, held_out[:1]), 3)},
        "runs": [{"input": "input.npy", "output": "output.npy", "rows": ["patch 1", "patch 2", "patch 3"]}],
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
