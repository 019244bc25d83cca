#!/usr/bin/env python3
"""Trains five regressors on the diabetes data that scikit-learn carries, and finds the best three by cross-validation.

    python train.py OUT

Writes OUT/ridge.joblib, lasso, forest, boosting, neighbours (and score.py, copied), OUT/pipeline.json (the mean of the best
three, and all scored), the 111 held-out patients as OUT/features.npy and OUT/truth.npy, what each regressor says of them
(OUT/NAME.npy), and OUT/expected.json.
"""
import json
import pathlib
import shutil
import sys

import joblib
import numpy as np
import sklearn
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Lasso, RidgeCV
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsRegressor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from score import score  # noqa: E402

REGRESSORS = {
    "ridge": RidgeCV(alphas=np.logspace(-3, 1, 13)),
    "lasso": Lasso(alpha=0.1),
    "forest": RandomForestRegressor(n_estimators=200, min_samples_leaf=5, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=60, max_depth=2, learning_rate=0.1, random_state=0),
    "neighbours": KNeighborsRegressor(n_neighbors=15),
}


def pipeline(best):
    steps = [{"name": name, "servable": f"diabetes-{name}", "inputs": "input.features"} for name in REGRESSORS]
    steps.append({"name": "best", "combine": "mean", "inputs": best})
    steps.append({"name": "score", "servable": "diabetes-score",
                  "inputs": {"truth": "input.truth", **{name: name for name in REGRESSORS}, "best": "best"}})
    return {
        "datacite": {"titles": [{"title": "Progress of diabetes: the mean of the best three of five regressors"}]},
        "dlhub": {"name": "diabetes-ensemble", "domains": ["medicine"]},
        "servable": {"type": "Pipeline", "shim": "hub.Pipeline",
                     "pipeline": {"steps": steps, "outputs": {"progress": "best", "scores": "score"}}},
    }


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    data = load_diabetes()
    train_x, test_x, train_y, test_y = train_test_split(data.data, data.target, test_size=0.25, random_state=0)
    found = {name: cross_val_score(model, train_x, train_y, cv=5).mean() for name, model in REGRESSORS.items()}
    best = sorted(found, key=found.get, reverse=True)[:3]
    said = {name: model.fit(train_x, train_y).predict(test_x) for name, model in REGRESSORS.items()}
    mean = np.mean([said[name] for name in best], axis=0)
    scores = score(test_y, **said, best=mean)
    print(f"R2 on the {len(train_y)} patients learnt, cross-validated: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()))
    print(f"R2 on the {len(test_y)} held out: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()) +
          f" (the mean of {', '.join(best)})")

    for name, model in REGRESSORS.items():
        joblib.dump(model, out / f"{name}.joblib")
        np.save(out / f"{name}.npy", said[name])
    shutil.copy(HERE / "score.py", out)
    np.save(out / "features.npy", test_x)
    np.save(out / "truth.npy", test_y)
    arguments = {"truth": test_y, **said, "best": mean}
    (out / "score.json").write_text(json.dumps({k: v.tolist() for k, v in arguments.items()}) + "\n")
    (out / "patients.json").write_text(json.dumps({"features": test_x.tolist(), "truth": test_y.tolist()}) + "\n")
    (out / "pipeline.json").write_text(json.dumps(pipeline(best), indent=1) + "\n")
    runs = {f"diabetes-{name}": [{"input": "features.npy", "output": f"{name}.npy", "rows": ["patient 1"]}] for name in REGRESSORS}
    runs["diabetes-score"] = [{"row": "R2 of ridge", "show": "ridge", "input": {k: v.tolist() for k, v in arguments.items()},
                               "output": scores}]
    runs["diabetes-ensemble"] = [{"row": "R2 of the best three", "show": "best", "input": {"features": test_x.tolist(), "truth": test_y.tolist()},
                                  "output": [mean.tolist(), scores]}]
    (out / "expected.json").write_text(json.dumps({
        "framework": f"scikit-learn {sklearn.__version__}", "rtol": 1e-9, "atol": 1e-9, "runs": runs,
    }) + "\n")


if __name__ == "__main__":
    main()
