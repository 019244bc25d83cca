#!/usr/bin/env python3
"""Nothing is trained here: cuts real measurements into three batches and records what numpy says after each.

    python train.py OUT

The measurements are the alcohol contents of the 178 wines that scikit-learn carries. Writes OUT/running_mean.py
(the module to publish), OUT/example.json (the golden test's input) and OUT/expected.json, whose runs are made in order.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
from sklearn.datasets import load_wine

HERE = pathlib.Path(__file__).parent
CUTS = [60, 120]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "running_mean.py", out / "running_mean.py")
    wines = load_wine()
    alcohol = wines.data[:, wines.feature_names.index("alcohol")]
    runs, seen = [], 0
    for i, batch in enumerate(np.split(alcohol, CUTS)):
        seen += len(batch)
        runs.append({
            "row": f"wines {seen - len(batch) + 1} to {seen}", "input": batch.tolist(), "show": "mean",
            "output": {"count": seen, "mean": alcohol[:seen].mean(), "std": alcohol[:seen].std()},
            "parameters": {"reset": True} if i == 0 else {},
        })
        print(f"{runs[-1]['row']:18} mean so far {runs[-1]['output']['mean']:.6f} % alcohol")
    (out / "example.json").write_text("[1, 2, 4]\n")
    (out / "expected.json").write_text(json.dumps({
        "framework": f"numpy {np.__version__}", "rtol": 1e-12, "atol": 0, "runs": runs,
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
