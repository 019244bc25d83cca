#!/usr/bin/env python3
"""Trains the two steps of a pipeline: the encoder of examples/encoder, and a random forest on its codes that tells which of
two photographs a patch was cut from.

    python train.py OUT [--epochs N]

Writes OUT/saved_model/ (the encoder), OUT/forest.joblib, OUT/pipeline.json (copied), and patches that neither has seen, with
what each step and both together give for them in their own frameworks: OUT/input.npy, OUT/codes.npy, OUT/output.npy,
OUT/expected.json.
"""
import argparse
import importlib.util
import json
import pathlib
import shutil

HERE = pathlib.Path(__file__).resolve().parent
SPEC = importlib.util.spec_from_file_location("encoder_example", HERE.parent / "encoder" / "train.py")
encoder_example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(encoder_example)  # sets what TensorFlow reads when it is imported

import joblib  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import sklearn  # noqa: E402
from sklearn.datasets import load_sample_images  # noqa: E402
from sklearn.ensemble import RandomForestClassifier  # noqa: E402

SIDE, LABELS = encoder_example.SIDE, ["temple", "flower"]
LEARNT = 0.75  # of each photograph's width; patches of the rest are held out


def labelled_patches(count, left, right, generator):
    """float32[count, 64, 64, 1] and which photograph each is from, cut between two parts of the width."""
    pictures = [(picture @ (0.299, 0.587, 0.114) / 255).astype(np.float32) for picture in load_sample_images().images]
    rows, labels = [], generator.integers(len(pictures), size=count)
    for label in labels:
        picture = pictures[label]
        y = generator.integers(picture.shape[0] - SIDE + 1)
        x = generator.integers(int(left * picture.shape[1]), int(right * picture.shape[1]) - SIDE + 1)
        rows.append(picture[y:y + SIDE, x:x + SIDE])
    return np.stack(rows)[..., None], labels


def train_encoder(images, epochs):
    encoder, decoder = encoder_example.make_encoder(), encoder_example.make_decoder()
    both = keras.Sequential([encoder, decoder])
    both.compile("adam", "mse")
    both.fit(images, images, batch_size=encoder_example.BATCH, epochs=epochs, verbose=0)
    return encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    images, labels = labelled_patches(2048, 0, LEARNT, generator)
    held_out, truth = labelled_patches(256, LEARNT, 1, generator)
    encoder = train_encoder(images, args.epochs)
    forest = RandomForestClassifier(n_estimators=200, min_samples_leaf=4, random_state=0)
    forest.fit(encoder.predict(images, verbose=0), labels)
    codes = encoder.predict(held_out, verbose=0)
    right = forest.score(codes, truth)
    print(f"{len(images)} patches learnt; {right:.1%} of {len(held_out)} patches of the parts held out are told right")

    encoder.export(args.out / "saved_model", verbose=False)
    joblib.dump(forest, args.out / "forest.joblib")
    shutil.copy(HERE / "pipeline.json", args.out)
    shown = slice(0, 8)
    np.save(args.out / "input.npy", held_out[shown])
    np.save(args.out / "codes.npy", codes[shown])
    np.save(args.out / "output.npy", forest.predict_proba(codes[shown]))
    (args.out / "labels.json").write_text(json.dumps(LABELS) + "\n")
    runs = {
        "photo-encoder": [{"input": "input.npy", "output": "codes.npy", "rows": ["patch 1"]}],
        "photo-forest": [{"input": "codes.npy", "output": "output.npy", "labels": "labels.json", "rows": ["patch 1"]}],
        "photo-classifier": [{"input": "input.npy", "output": "output.npy", "labels": "labels.json",
                              "rows": [f"patch {i + 1} ({LABELS[truth[i]]})" for i in range(4)]}],
    }
    # A code that differs in its last bits can lie on the other side of a tree's threshold: each tree counts for 1/200.
    (args.out / "expected.json").write_text(json.dumps({
        "framework": f"Keras {keras.__version__} and scikit-learn {sklearn.__version__}",
        "rtol": 0, "atol": 0.02, "runs": runs,
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
