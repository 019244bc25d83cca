"""What dlhub-worker-python starts: `serve` a servable, or `inspect` one."""

import argparse
import faulthandler
import os
import sys


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="dlhub_worker")
    parser.add_argument("--descriptor", type=int, default=3)
    parser.add_argument("--model", required=True)
    parser.add_argument("--zygote", action="store_true", help="load once and fork workers")
    parser.add_argument("--inspect", action="store_true")
    parser.add_argument("--metadata", type=int, help="descriptor to read it from")
    parser.add_argument("--out", type=int, help="descriptor to write to")
    parser.add_argument("--export", type=int, help="descriptor to write what the framework exports to, as a tar archive")
    given = parser.parse_args(arguments)
    faulthandler.enable(file=os.dup(2))
    if given.inspect:
        from .inspection import main as inspect

        return inspect(given.model, given.metadata, given.out, given.export)
    from .serve import serve

    return serve(given.descriptor, given.model, given.zygote)


if __name__ == "__main__":
    sys.exit(main())
