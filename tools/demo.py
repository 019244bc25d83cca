#!/usr/bin/env python3
"""What `make demo` runs after the build: a hub on this machine, real models published to it, found and run, and every
answer compared with that of the model's own framework.

    tools/demo.py --build build [--stop] [--port 8000] [--only NAME]

Everything it makes lies in BUILD/demo. It ends with 1 where an example fails or disagrees. The hub goes on serving
afterwards, unless --stop is given. It can be run again at any time.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIRST = "pretrained_onnx"
OTHERS = ["iris_forest", "composition", "running_mean", "encoder", "torchscript", "photo_classifier", "regressors", "denoiser"]
FIRST_MB, OTHERS_MB, HUB_MB = 60, 330, 350  # of packages to download; the last: what servables' own environments need
STAGE = "DLHUB_DEMO_STAGE"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="the build folder")
    parser.add_argument("--stop", action="store_true", help="stop the hub at the end")
    parser.add_argument("--port", type=int, default=8000, help="port of the hub, where it is free (default 8000)")
    parser.add_argument("--only", action="append", choices=[FIRST, *OTHERS], help="this example alone; may be repeated")
    return parser.parse_args()


# ---- what the examples need ----

def shown(path):
    """As people see it: relative to the project, where it lies inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def requirements(names):
    lines = []
    for name in names:
        text = (ROOT / "examples" / name / "requirements.txt").read_text()
        lines += [line for line in text.splitlines() if line and not line.startswith("#")]
    return sorted(set(lines))


def install(folder, names, megabytes, what):
    """Into one virtual environment, BUILD/demo/venv; nothing where all is there."""
    venv, wanted = folder / "venv", [*requirements(names), "requests"]
    done = venv / "installed.json"
    have = json.loads(done.read_text()) if done.exists() and (venv / "bin" / "python").exists() else []
    missing = [one for one in wanted if one not in have]
    if not missing:
        return
    print(f"\n   installing into {shown(venv)} ({what}; about {megabytes} MB to download): {', '.join(missing)}",
          flush=True)
    started = time.monotonic()
    if not have:
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", *missing],
                   check=True)
    done.write_text(json.dumps([*have, *missing]))
    print(f"   installed in {time.monotonic() - started:.0f} s", flush=True)


def install_debian(packages):
    """Says what and how much first. As root, or by sudo."""
    missing = [one for one in packages if subprocess.run(["dpkg", "-s", one], stdout=subprocess.DEVNULL,
                                                         stderr=subprocess.DEVNULL).returncode]
    if not missing:
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    if root and not shutil.which("sudo"):
        raise SystemExit(f"the Debian packages {' '.join(missing)} are missing: install them as root, and start again")
    apt = [*root, "apt-get", "-qq", "-y", "--no-install-recommends", "install"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*root, "apt-get", "-s", "install", *missing], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        subprocess.run([*root, "apt-get", "-qq", "update"], check=True)
    print(f"\n   installing with apt-get (about 145 MB to download): {' '.join(missing)}", flush=True)
    subprocess.run([*apt, *missing], check=True, stdout=subprocess.DEVNULL, env=environment)


# ---- the show ----

def sign_up(hub, programs):
    """A user alice, who publishes, and her token in a file. Whoever runs the examples needs none: they are public."""
    environment = {**os.environ, "DLHUB_ENDPOINT": hub.url, "DLHUB_TOKEN": (hub.data / "admin.token").read_text().strip(),
                   "XDG_CONFIG_HOME": str(hub.folder / "config")}
    call = lambda *words: subprocess.run([programs / "dlhub", *words, "--json"], env=environment, text=True,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    path = hub.folder / "alice.token"
    if path.exists() and subprocess.run([programs / "dlhub", "token", "list"], env={
            **environment, "DLHUB_TOKEN": path.read_text().strip()}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0:
        return path.read_text().strip(), path
    call("users", "add", "alice", "--display-name", "Alice")  # there already: the token tells
    made = call("token", "add", "--user", "alice", "--label", "demo")
    if made.returncode:
        raise SystemExit(f"no token for alice: {made.stderr}")
    token = json.loads(made.stdout)["token"]
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token, path


def search(demo, show, name):
    show.heading("Finding them")
    for words in (["search", "images"], ["search", "--type", "ONNX Model"], ["describe", name]):
        said, seconds = demo.dlhub(*words)
        for line in said.splitlines()[:24]:
            print(f"     {line}")
        show.text(show.dim(f"{seconds * 1e3:.0f} ms"))


def from_python(demo, show, name):
    show.heading("From Python: numpy in, numpy out")
    code = ("import numpy; from dlhub import Hub\n"
            f"images = numpy.load('{demo.shown(demo.folder / 'out' / 'encoder' / 'input.npy')}')\n"
            f"codes = Hub().run('{name}', images)\n"
            "print(codes.dtype, codes.shape)")
    show.text(f"$ export PYTHONPATH=python; {demo.shown(demo.python)}")
    for line in code.splitlines():
        print(f"     >>> {line}")
    done = subprocess.run([demo.python, "-c", code], cwd=demo.root, env={**demo.nobody, "PYTHONPATH": "python"}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    print(f"     {done.stdout or done.stderr}".rstrip())
    return done.returncode == 0


def farewell(args, hub, demo, show, ok):
    show.heading("That was it" if ok else "Something went wrong: see above")
    if args.stop:
        hub.stop()
        show.text("The hub is stopped. Its data stay in " + str(demo.shown(hub.data)) + ".")
        return
    program = demo.shown(demo.programs / "dlhub")
    labels = "" if args.build.resolve() == ROOT / "build" else f"LABELS={demo.folder}/out/{FIRST}/labels.json "
    show.text(f"""The hub serves at {show.bold(hub.url)} and goes on doing so.
Stop it:        kill $(cat {demo.shown(hub.pid_file)})      its log: {demo.shown(hub.log)}
Try next:
  export DLHUB_ENDPOINT={hub.url}
  {program} run alice/composition --input '"C8H10N4O2"'
  {program} search 'domain:imaging'
  {labels}PYTHONPATH=python {demo.shown(demo.python)} examples/pretrained_onnx/ask.py README.md {program}
  curl -s $DLHUB_ENDPOINT/v2/models/alice/encoder
  export DLHUB_TOKEN=$(cat {demo.shown(hub.folder / 'alice.token')})     # to publish as alice: {program} publish --help
  examples/README.md tells of each example, README.md of the rest.""")


def main():
    args = arguments()
    programs, folder = args.build.resolve() / "bin", args.build.resolve() / "demo"
    missing = [name for name in ("dlhubd", "dlhub", "dlhub-build", "dlhub-worker-native", "dlhub-worker-python")
               if not (programs / name).exists()]
    if missing:
        raise SystemExit(f"{programs} has no {', '.join(missing)}: run `make build` first")
    if STAGE not in os.environ:
        print("DLHub demo. Packages to download in all: about "
              f"{FIRST_MB} MB at first, then {OTHERS_MB} MB of frameworks to train with, 145 MB of Debian's PyTorch, and "
              f"{HUB_MB} MB\nthat the hub fetches into its servables' own environments. What is there already is not fetched again; "
              f"everything lies in {shown(folder)}.")
        folder.mkdir(parents=True, exist_ok=True)
        install(folder, [FIRST], FIRST_MB, "for the first example")
        # From here on with numpy: the same program in that environment.
        python = folder / "venv" / "bin" / "python"
        os.execve(python, [python, __file__, *sys.argv[1:]], {**os.environ, STAGE: "2"})
    import demo_show as show
    from demo_example import Demo, Example, Failed
    from demo_hub import Hub

    os.chdir(ROOT)
    hub = Hub(programs, folder, args.port)
    show.heading("A hub on this machine")
    started = time.monotonic()
    hub.start()
    token, token_file = sign_up(hub, programs)
    demo = Demo(ROOT, programs, folder, hub.url, token)
    show.text(f"{demo.shown(programs / 'dlhubd')} --data {demo.shown(hub.data)} serves at {show.bold(hub.url)}; "
              f"ready and signed up after {(time.monotonic() - started) * 1e3:.0f} ms")
    show.text("The commands below can be pasted into a shell here, after")
    show.command(["export", f"DLHUB_ENDPOINT={hub.url}"])
    print(f"   {show.bold(f'$ export DLHUB_TOKEN=$(cat {demo.shown(token_file)})')}"
          "                 # to publish; to run what is public nobody needs one")

    wanted = args.only or [FIRST, *OTHERS]
    failed = []
    for i, name in enumerate(wanted):
        if name != FIRST:
            install(folder, OTHERS, OTHERS_MB, "to train the other examples")
        example = Example(demo, name)
        install_debian(example.about.get("debian", []))
        show.heading(f"{i + 1} of {len(wanted)}: {example.about['title']}")
        try:
            example.run()
        except (Failed, subprocess.SubprocessError, OSError, KeyError, ValueError) as error:
            failed.append(name)
            show.text(show.bad(f"FAILED: {error}" if isinstance(error, Failed) else f"FAILED: {error!r}"))
    try:
        search(demo, show, "alice/encoder" if "encoder" in wanted else "alice/file-type")
        if "encoder" in wanted and "encoder" not in failed and not from_python(demo, show, "alice/encoder"):
            failed.append("from Python")
    except Failed as error:
        failed.append("search")
        show.text(show.bad(f"FAILED: {error}"))
    farewell(args, hub, demo, show, not failed)
    if failed:
        print(show.bad(f"   failed: {', '.join(failed)}"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
