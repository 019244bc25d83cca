#!/usr/bin/env python3
"""Puts an image before and after, and what it was, side by side.

    python picture.py OUT ANSWER.npy TO.png

OUT is what train.py wrote; ANSWER.npy is what the hub gave for OUT/noisy.npy.
"""
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

PANEL, GAP, HEAD = 360, 8, 24


def write(to, panels):
    """`panels` is {title: float[1024, 1024] in 0..1}; a part of each is shown, pixel for pixel."""
    sheet = Image.new("L", (len(panels) * (PANEL + GAP) - GAP, PANEL + HEAD), 255)
    draw = ImageDraw.Draw(sheet)
    for i, (title, image) in enumerate(panels.items()):
        part = image[332:332 + PANEL, 332:332 + PANEL]
        sheet.paste(Image.fromarray(np.uint8(np.clip(part, 0, 1) * 255 + 0.5)), (i * (PANEL + GAP), HEAD))
        draw.text((i * (PANEL + GAP) + 4, 6), title, fill=0)
    sheet.save(to, optimize=True)


def decibels(image, truth):
    """Peak signal-to-noise ratio."""
    return float(-10 * np.log10(np.mean((np.clip(image, 0, 1) - truth) ** 2)))


def main():
    out, answer, to = map(pathlib.Path, sys.argv[1:4])
    clean, noisy = (np.load(out / f"{name}.npy")[0, ..., 0] for name in ("clean", "noisy"))
    got = np.load(answer)[0, ..., 0]
    write(to, {f"before: {decibels(noisy, clean):.1f} dB": noisy, f"after: {decibels(got, clean):.1f} dB": got, "without noise": clean})


if __name__ == "__main__":
    main()
