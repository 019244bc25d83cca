#!/usr/bin/env python3
"""Nothing is trained here: takes the model out of the `magika` package and records what the package itself says.

    python train.py OUT [FILE ...]

Writes OUT/file_type.onnx, OUT/labels.json (what the 214 numbers mean), OUT/input.npy and OUT/output.npy
(some files of this project, and the answer of ONNX Runtime, which magika uses), OUT/expected.json.
"""
import json
import pathlib
import shutil
import sys

import magika
import numpy as np
import onnxruntime
from encode import encode_files

PROJECT = pathlib.Path(__file__).resolve().parents[2]
FILES = ["api/errors.json", "src/base/cache.c", "src/wire/number.cc", "tools/gen_errors.py",
         "examples/pretrained_onnx/README.md"]


def main():
    out = pathlib.Path(sys.argv[1])
    files = [pathlib.Path(name) for name in sys.argv[2:]] or [PROJECT / name for name in FILES]
    out.mkdir(parents=True, exist_ok=True)

    folder = pathlib.Path(magika.__file__).parent / "models" / "standard_v3_3"
    shutil.copyfile(folder / "model.onnx", out / "file_type.onnx")
    labels = json.loads((folder / "config.min.json").read_text())["target_labels_space"]
    (out / "labels.json").write_text(json.dumps(labels) + "\n")

    rows = encode_files(files)
    session = onnxruntime.InferenceSession(out / "file_type.onnx", providers=["CPUExecutionProvider"])
    # One file at a time, as magika does: in a batch, this model's answers change in the fourth decimal in ONNX Runtime.
    scores = np.concatenate([session.run(None, {session.get_inputs()[0].name: row[None]})[0] for row in rows])
    np.save(out / "input.npy", rows)
    np.save(out / "output.npy", scores)

    # The package's own verdict, by its own reading of the files, must be what our encoding gives.
    verdicts = [(result.prediction.dl.label, result.prediction.score)
                for result in (magika.Magika().identify_path(path) for path in files)]
    for path, row, (label, score) in zip(files, scores, verdicts):
        best = int(row.argmax())
        if labels[best] != label or abs(float(row[best]) - score) > 1e-5:
            sys.exit(f"{path}: magika says {label} ({score}), this encoding {labels[best]} ({row[best]})")

    (out / "expected.json").write_text(json.dumps({
        "framework": f"ONNX Runtime {onnxruntime.__version__}",
        "rtol": 1e-3, "atol": 1e-4,
        "runs": [{"input": "input.npy", "output": "output.npy", "labels": "labels.json",
                  "rows": [path.name for path in files]}],
    }, indent=1) + "\n")
    for path, (label, score) in zip(files, verdicts):
        print(f"{path.name:24} {label:12} {score:.6f}")


if __name__ == "__main__":
    main()
