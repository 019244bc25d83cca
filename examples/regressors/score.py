"""How well several predictions of one thing do."""
import numpy as np


def score(truth: np.ndarray, ridge: np.ndarray, lasso: np.ndarray, forest: np.ndarray, boosting: np.ndarray,
          neighbours: np.ndarray, best: np.ndarray) -> dict:
    """R2 of each: 1 is perfect, 0 is as good as always saying the mean."""
    predictions = {"ridge": ridge, "lasso": lasso, "forest": forest, "boosting": boosting, "neighbours": neighbours, "best": best}
    truth = np.asarray(truth, float)
    spread = np.sum((truth - truth.mean()) ** 2)
    return {name: float(1 - np.sum((truth - np.asarray(said, float)) ** 2) / spread) for name, said in predictions.items()}
