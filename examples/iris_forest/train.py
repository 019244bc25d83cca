#!/usr/bin/env python3
"""Trains a random forest on the iris data that scikit-learn carries.

    python train.py OUT

Writes OUT/iris_forest.joblib, OUT/input.npy (the 38 held-out flowers), OUT/output.npy (what scikit-learn's
own predict_proba says of them) and OUT/expected.json.
"""
import json
import pathlib
import sys

import joblib
import numpy as np
import sklearn
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    iris = load_iris()
    train_x, test_x, train_y, test_y = train_test_split(
        iris.data, iris.target, test_size=0.25, stratify=iris.target, random_state=0)
    forest = RandomForestClassifier(n_estimators=100, random_state=0).fit(train_x, train_y)
    print(f"{len(train_x)} flowers learnt, {len(test_x)} held out: {forest.score(test_x, test_y):.1%} of them right")

    joblib.dump(forest, out / "iris_forest.joblib")
    np.save(out / "input.npy", test_x)
    np.save(out / "output.npy", forest.predict_proba(test_x))
    (out / "labels.json").write_text(json.dumps(iris.target_names.tolist()) + "\n")
    (out / "expected.json").write_text(json.dumps({
        "framework": f"scikit-learn {sklearn.__version__}",
        "rtol": 0, "atol": 1e-12,
        "runs": [{"input": "input.npy", "output": "output.npy", "labels": "labels.json",
                  "rows": [f"flower {i + 1}" for i in range(3)]}],
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
