#!/usr/bin/env python3
"""Asks a hub what kind of files these are: ask.py FILE...   (DLHUB_ENDPOINT says which hub; needs numpy and requests)"""
import json
import os
import pathlib
import sys

from dlhub import Hub
from encode import encode_files

SERVABLE = os.environ.get("SERVABLE", "alice/file-type")
LABELS = pathlib.Path(__file__).resolve().parents[2] / "build/demo/out/pretrained_onnx/labels.json"


def main():
    files = [pathlib.Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit(__doc__)
    labels = json.loads(pathlib.Path(os.environ.get("LABELS", LABELS)).read_text())
    for path, scores in zip(files, Hub().run(SERVABLE, encode_files(files))):
        print(f"{path}: {labels[scores.argmax()]} ({scores.max():.1%})")


if __name__ == "__main__":
    main()
