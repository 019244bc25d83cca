"""How the demo prints: headings, commands to copy, the framework's numbers beside the hub's."""
import os
import shlex
import sys
import time

TTY = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
STARTED = time.monotonic()
WIDTH = 100


def _style(code, text):
    return f"\033[{code}m{text}\033[0m" if TTY else text


def bold(text):
    return _style("1", text)


def dim(text):
    return _style("2", text)


def good(text):
    return _style("32", text)


def bad(text):
    return _style("31;1", text)


def heading(text):
    at = f"{time.monotonic() - STARTED:4.0f} s "
    print(f"\n{bold('== ' + text + ' ')}{dim('=' * max(2, WIDTH - len(text) - len(at) - 4) + ' ' + at)}", flush=True)


def text(words):
    for line in words.splitlines():
        print(f"   {line}", flush=True)


def command(words):
    """As it can be pasted into a shell."""
    lines, line = [], "$"
    for word in words:
        quoted = shlex.quote(str(word))
        if len(line) + len(quoted) > WIDTH - 4:
            lines.append(line + " \\")
            line = "     "
        line += f" {quoted}"
    for one in [*lines, line]:
        print(f"   {bold(one)}", flush=True)


def table(rows):
    """Rows of cells under each other; the first one is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for i, row in enumerate(rows):
        line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        print(f"     {dim(line) if i == 0 else line}", flush=True)
