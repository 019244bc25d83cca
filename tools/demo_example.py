"""One example of examples/: train, publish, run, compare. Everything goes through the program `dlhub`."""
import json
import os
import pathlib
import subprocess
import time

import demo_show as show
import numpy as np

SHOWN = 60


class Failed(Exception):
    """What went wrong with an example; its message is printed, and the demo goes on with the next."""


class Demo:
    """What all examples share. Paths that people see are relative to the project's root, where commands are run."""

    def __init__(self, root, programs, folder, endpoint, token):
        self.root, self.programs, self.folder = root, programs, folder
        self.python = folder / "venv" / "bin" / "python"
        self.nobody = {**os.environ, "DLHUB_ENDPOINT": endpoint, "XDG_CONFIG_HOME": str(folder / "config")}
        self.nobody.pop("DLHUB_TOKEN", None)
        self.alice = {**self.nobody, "DLHUB_TOKEN": token}

    def shown(self, path):
        try:
            return pathlib.Path(path).relative_to(self.root)
        except ValueError:
            return path

    def dlhub(self, *words, who=None, quiet=False, json_too=False):
        """(standard output, seconds)"""
        words = [self.shown(self.programs / "dlhub"), *words]
        if not quiet:
            show.command(words)
        words += ["--json"] if json_too else []
        started = time.monotonic()
        done = subprocess.run([str(word) for word in words], cwd=self.root, env=who or self.nobody, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise Failed(f"it ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return done.stdout, time.monotonic() - started


class Example:
    def __init__(self, demo, name):
        self.demo, self.name = demo, name
        self.source, self.out = demo.root / "examples" / name, demo.folder / "out" / name
        self.about = json.loads((self.source / "example.json").read_text())

    def train(self):
        """Runs the example's script; the framework's own numbers then lie in expected.json."""
        python = self.demo.python if self.about["python"] == "venv" else "/usr/bin/python3"
        places = {"{digits}": lambda: _digits(self.demo.python)}
        words = [places[w]() if w in places else w for w in self.about.get("arguments", [])]
        words = [self.demo.shown(python), self.demo.shown(self.source / self.about["script"]), self.demo.shown(self.out), *words]
        show.command(words)
        started = time.monotonic()
        done = subprocess.run([str(word) for word in words], cwd=self.demo.root, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        if done.returncode:
            raise Failed(f"it ended with {done.returncode}:\n{done.stdout}{done.stderr[-4000:]}")
        for line in done.stdout.splitlines():
            print(f"     {line}")
        show.text(show.dim(f"{time.monotonic() - started:.1f} s"))
        self.expected = json.loads((self.out / "expected.json").read_text())

    def run(self):
        """Trains, and publishes and runs each servable; says how many numbers were compared and what they differ by."""
        show.text(self.about["about"])
        self.train()
        for servable in self.about["servables"]:
            self.publish(servable)
            self.compare(servable)

    def publish(self, servable):
        shown = self.demo.shown
        words = ["publish", shown(self.out / servable["path"]), "--name", servable["name"], "--title", servable["title"],
                 "--domain", servable["domain"], "--visible-to", "public",
                 *[w.replace("{out}", str(shown(self.out))) for w in servable.get("options", [])],
                 "--example-input", shown(self.out / servable["example_input"])]
        if "example_output" in servable:
            words += ["--example-output", shown(self.out / servable["example_output"])]
        else:  # the program asks the framework itself, where it is installed
            words += ["--python", shown(self.demo.python)]
        said, seconds = self.demo.dlhub(*words, who=self.demo.alice, json_too=True)
        version = json.loads(said)["servable"]
        show.text(f"published: {version['name']} version {version['version']}, served by {version['serving']['engine']}, "
                  f"in {seconds:.1f} s")

    def compare(self, servable):
        name = f"alice/{servable['name']}"
        runs, rows, worst, count, times = self.expected["runs"], [], 0.0, 0, []
        if isinstance(runs, dict):  # each servable of the example has its own
            runs = runs[servable["name"]]
        for i, run in enumerate(runs):
            if isinstance(run["output"], str) and run["output"].endswith(".npy"):
                got, seconds = self._run_array(name, run, quiet=i > 0)
                wanted = np.load(self.out / run["output"])
                rows += self._array_rows(run, wanted, got)
            else:
                got, seconds = self._run_value(name, run, quiet=i > 0)
                wanted = run["output"]
                if "show" in run:
                    # Of several outputs the last is the one to show a number of.
                    shown = [answer[-1] if isinstance(answer, list) else answer for answer in (wanted, got)]
                    rows.append(_row(run["row"], shown[0][run["show"]], shown[1][run["show"]]))
            times.append(seconds)
            error, numbers = self._difference(wanted, got)
            worst, count = max(worst, error), count + numbers
        show.table([("", self.expected["framework"], "this hub", "difference"), *rows])
        show.text(show.good(f"agrees: {count} numbers, the largest difference is {worst:.1e}") +
                  f" (tolerated: {self._tolerance()}); first answer after {times[0] * 1e3:.0f} ms, "
                  f"then {min(self._again(name, runs[-1], times)) * 1e3:.0f} ms")
        if "call" in self.expected:
            show.text(f"one image alone: {self.expected['call']['by']} {self.expected['call']['ms']:.2f} ms in its own process, "
                      f"the hub's worker {self._run_ms(name, self.expected['call']['input']):.2f} ms")

    # ---- running ----

    def _run_array(self, name, run, quiet):
        to = self.out / f"answer-{name.split('/')[1]}.npy"
        to.unlink(missing_ok=True)
        _, seconds = self.demo.dlhub("run", name, "--input", self.demo.shown(self.out / run["input"]), "--output",
                                     self.demo.shown(to), quiet=quiet)
        return np.load(to), seconds

    def _run_value(self, name, run, quiet):
        options = [w for key, value in run.get("parameters", {}).items() for w in ("--param", f"{key}={json.dumps(value)}")]
        text = json.dumps(run["input"])
        if len(text) > SHOWN:  # what nobody wants to paste
            path = self.out / f"input-{run['row'].replace(' ', '-')}.json"
            path.write_text(text)
            text = self.demo.shown(path)
        said, seconds = self.demo.dlhub("run", name, "--input", text, *options, quiet=quiet)
        return json.loads(said), seconds

    def _again(self, name, run, times):
        """The time of one more call, where there was one alone: the first one had to start a worker."""
        if len(times) == 1:
            times = [*times, self._run_array(name, run, True)[1] if isinstance(run["output"], str)
                     else self._run_value(name, run, True)[1]]
        return times[1:]

    def _run_ms(self, name, input_file, calls=10):
        """The shortest of some runs, as the hub measures it: what the servable took, without the way to it."""
        said = [self.demo.dlhub("run", name, "--input", self.demo.shown(self.out / input_file), "--debug", quiet=True,
                                json_too=True)[0] for _ in range(calls)]
        return min(json.loads(one)["metadata"]["run_ms"] for one in said)

    # ---- comparing ----

    def _tolerance(self):
        relative, absolute = self.expected["rtol"], self.expected["atol"]
        return " + ".join(filter(None, [f"{absolute:g}" if absolute else "", f"{relative:g} of the number" if relative else ""]))

    def _difference(self, wanted, got, place="the answer"):
        """(largest difference, how many numbers); Failed where one is not tolerated."""
        if isinstance(wanted, dict):
            if set(wanted) != set(got):
                raise Failed(f"{place} has {sorted(got)}, but {sorted(wanted)} is expected")
            parts = [self._difference(wanted[key], got[key], f"{place}, {key}") for key in wanted]
            return max((part[0] for part in parts), default=0.0), sum(part[1] for part in parts)
        if isinstance(wanted, list) and any(isinstance(part, dict) for part in wanted):  # several outputs
            parts = [self._difference(one, other, f"{place}, output {i + 1}") for i, (one, other) in enumerate(zip(wanted, got, strict=True))]
            return max(part[0] for part in parts), sum(part[1] for part in parts)
        if isinstance(wanted, str):
            if wanted != got:
                raise Failed(f"{place} is {got!r}, but {self.expected['framework']} says {wanted!r}")
            return 0.0, 0
        wanted, got = np.asarray(wanted, np.float64), np.asarray(got, np.float64)
        if wanted.shape != got.shape:
            raise Failed(f"{place} has the shape {got.shape}, but {wanted.shape} is expected")
        error = np.abs(wanted - got)
        beyond = ~(error <= self.expected["atol"] + self.expected["rtol"] * np.abs(wanted))
        if beyond.any():
            at = int(np.argmax(np.where(beyond, error, -1)))
            raise Failed(f"{place}: {int(beyond.sum())} of {wanted.size} numbers differ from {self.expected['framework']}, "
                         f"most of all {got.flat[at]:.9g} instead of {wanted.flat[at]:.9g} (tolerated: {self._tolerance()})")
        return float(error.max(initial=0)), wanted.size

    def _array_rows(self, run, wanted, got):
        labels = json.loads((self.out / run["labels"]).read_text()) if run.get("labels") else None
        rows = []
        wanted, got = (array.reshape(len(array), -1) for array in (wanted, got))
        for i, row in enumerate(run["rows"]):
            at = int(np.argmax(np.abs(wanted[i])))
            rows.append(_row(row, wanted[i][at], got[i][at], labels[at] if labels else f"[{at}]",
                             labels[int(np.argmax(got[i]))] if labels else f"[{at}]"))
        return rows


def _row(name, wanted, got, label="", got_label=""):
    return (name, f"{label} {wanted:.7g}".strip(), f"{got_label} {got:.7g}".strip(), f"{abs(float(wanted) - float(got)):.1e}")


def _digits(python):
    """Where scikit-learn keeps its digits; only its folder is looked for, nothing is imported."""
    done = subprocess.run([python, "-c", "import importlib.util as u; print(u.find_spec('sklearn').submodule_search_locations[0])"],
                          text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise Failed("scikit-learn is not installed, whose digits this example learns")
    return os.path.relpath(pathlib.Path(done.stdout.strip()) / "datasets" / "data" / "digits.csv.gz")
