#!/usr/bin/env python3
"""Trains a convolutional network that takes shot noise out of images, as of a microscope that counts few electrons a pixel.

    python train.py OUT [--steps N]

It learns on one of the photographs that scikit-learn carries (a temple), at several sizes, and is shown on the other (a
flower), enlarged to 1024x1024. Writes OUT/saved_model/ (TensorFlow SavedModel: any height and width that 4 divides), OUT/clean.npy,
OUT/noisy.npy and OUT/denoised.npy of the flower, a small OUT/patch.npy with OUT/patch_denoised.npy for the golden test,
OUT/before_after.png, and OUT/expected.json.
"""
import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image
from sklearn.datasets import load_sample_image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import picture  # noqa: E402

SIDE, PATCH, COUNTS, BATCH = 1024, 64, 30, 16  # COUNTS: electrons of a white pixel


def grey(name, size=None, crop=False):
    """float32[h, w] in 0..1; `crop` cuts the largest square out of the middle."""
    image = Image.fromarray(load_sample_image(name)).convert("L")
    if crop:
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS) if size else image, np.float32) / 255


def noise(images, generator):
    return np.float32(generator.poisson(images * COUNTS) / COUNTS)


def batches(generator):
    """(noisy, clean) patches without end."""
    whole = [grey("china.jpg", size) for size in ((640, 427), (960, 640), (1440, 960))]
    while True:
        rows = []
        for _ in range(BATCH):
            image = whole[generator.integers(len(whole))]
            y, x = (generator.integers(edge - PATCH + 1) for edge in image.shape)
            patch = image[y:y + PATCH, x:x + PATCH]
            patch = patch[:, ::-1] if generator.integers(2) else patch
            rows.append(1 - patch if generator.integers(2) else patch)  # or it learns that what is bright is smooth: the sky
        clean = np.stack(rows)[..., None]
        yield noise(clean, generator), clean


def make_model():
    """Two steps down, where a wide sight is cheap, and up again, with what was seen on the way down beside it."""
    def conv(x, filters, strides=1):
        return layers.Conv2D(filters, 3, strides=strides, padding="same", activation="relu")(x)

    def up(x, beside, filters):
        x = layers.Conv2DTranspose(filters, 2, strides=2, padding="same", activation="relu")(x)
        return conv(layers.Concatenate()([x, beside]), filters)

    noisy = keras.Input((None, None, 1), name="image")
    whole = conv(noisy, 8)
    half = conv(conv(whole, 16, 2), 16)
    quarter = conv(conv(half, 32, 2), 32)
    x = up(up(quarter, half, 16), whole, 8)
    return keras.Model(noisy, layers.Add(name="denoised")([noisy, layers.Conv2D(1, 3, padding="same")(x)]), name="denoiser")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    model = make_model()
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, args.steps)), "mse")
    feed = batches(generator)
    for _ in range(args.steps):
        model.train_on_batch(*next(feed))

    clean = grey("flower.jpg", (SIDE, SIDE), crop=True)[None, ..., None]
    noisy = noise(clean, generator)
    denoised = model.predict(noisy, verbose=0)
    before, after = (picture.decibels(image, clean) for image in (noisy, denoised))
    print(f"signal to noise of an image never seen, {SIDE}x{SIDE}: {before:.1f} dB before, {after:.1f} dB after")

    model.export(args.out / "saved_model", verbose=False)
    patch = noisy[:, 480:544, 480:544]
    arrays = {"clean": clean, "noisy": noisy, "denoised": denoised, "patch": patch, "patch_denoised": model.predict(patch, verbose=0)}
    for name, array in arrays.items():
        np.save(args.out / f"{name}.npy", array)
    picture.write(args.out / "before_after.png", {f"before: {before:.1f} dB": noisy[0, ..., 0], f"after: {after:.1f} dB": denoised[0, ..., 0],
                                                  "without noise": clean[0, ..., 0]})
    (args.out / "expected.json").write_text(json.dumps({
        "framework": f"Keras {keras.__version__} on TensorFlow {tf.__version__}",
        "rtol": 1e-5, "atol": 2e-5,
        "runs": [{"input": "noisy.npy", "output": "denoised.npy", "rows": []}],
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
