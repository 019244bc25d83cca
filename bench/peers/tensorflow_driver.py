"""Runs in the environment that has TensorFlow:  tensorflow_driver.py SAVED_MODEL INPUT.npy

Prints one line that describes the model and its answer to the first row of the input; then, for each line on its
input, a number of calls, the p50 of that many.
"""

import json
import os
import sys
import time


def p50_us(call, count: int) -> float:
    took = []
    for _ in range(count):
        start = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - start)
    return sorted(took)[count // 2] / 1e3


def main(folder: str, example: str) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy
    import tensorflow

    image = tensorflow.constant(numpy.load(example)[:1])
    loaded = tensorflow.saved_model.load(folder)
    signature = loaded.signatures["serving_default"]
    name = next(iter(signature.structured_input_signature[1]))

    def by_signature():
        return next(iter(signature(**{name: image}).values())).numpy()

    calls = [by_signature]
    if hasattr(loaded, "serve"):
        calls.append(lambda: loaded.serve(image).numpy())
    best = min(calls, key=lambda call: p50_us(call, 100))
    model = {
        "shape": list(image.shape),
        "input": image.numpy().astype("<f4").tobytes().hex(),
        "output": by_signature().ravel().tolist(),
        "version": tensorflow.__version__,
    }
    print(json.dumps(model), flush=True)
    for line in sys.stdin:
        print(json.dumps({"p50_us": p50_us(best, int(line))}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
