#!/usr/bin/env python3
"""Trains a small convolutional network on handwritten digits and saves it as TorchScript.

    /usr/bin/python3 train.py OUT --digits DIGITS.csv.gz

The digits are the 1797 of 8x8 pixels that scikit-learn carries (sklearn/datasets/data/digits.csv.gz); the script
itself needs only torch and numpy, as Debian's python3-torch brings them. Writes OUT/digits.pt, OUT/input.npy
(held-out digits), OUT/output.npy (torch's own probabilities for them) and OUT/expected.json.
"""
import argparse
import gzip
import json
import pathlib

import numpy as np
import torch
from torch import nn

HELD_OUT, BATCH = 297, 50


class Digits(nn.Module):
    """float32[n, 1, 8, 8] in 0..1 to the probabilities float32[n, 10]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layers(image), dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--digits", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    with gzip.open(args.digits, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    images = torch.from_numpy((table[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    digits = torch.from_numpy(table[:, -1].astype(np.int64))
    train, test = slice(HELD_OUT, None), slice(0, HELD_OUT)

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the network is smaller than what starting threads costs
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    order = torch.arange(len(images))[train]
    for _ in range(args.epochs):
        for batch in order[torch.randperm(len(order))].split(BATCH):
            optimizer.zero_grad()
            nn.functional.nll_loss(torch.log(model(images[batch]) + 1e-9), digits[batch]).backward()
            optimizer.step()

    model.eval()
    with torch.no_grad():
        answers = model(images[test])
        right = (answers.argmax(1) == digits[test]).float().mean().item()
        print(f"{len(order)} digits learnt, {HELD_OUT} held out: {right:.1%} of them right")
        torch.jit.script(model).save(str(args.out / "digits.pt"))
        shown = images[test][:8]
        np.save(args.out / "input.npy", shown.numpy())
        np.save(args.out / "output.npy", model(shown).numpy())
    (args.out / "labels.json").write_text(json.dumps([str(digit) for digit in range(10)]) + "\n")
    (args.out / "expected.json").write_text(json.dumps({
        "framework": f"PyTorch {torch.__version__}",
        "rtol": 1e-5, "atol": 1e-6,
        "runs": [{"input": "input.npy", "output": "output.npy", "labels": "labels.json",
                  "rows": [f"digit {i + 1}" for i in range(3)]}],
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
