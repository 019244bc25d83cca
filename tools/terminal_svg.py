#!/usr/bin/env python3
"""Draw what a terminal showed: terminal_svg.py < TEXT > OUT.svg; lines that begin with "$ " are what was typed.

docs/demo.svg was made so, from the commands that stand in it and their output."""
import sys
from html import escape

LINE, LEFT, CHARACTER = 19, 16, 8.4
lines = sys.stdin.read().rstrip("\n").split("\n")
width = int(2 * LEFT + CHARACTER * max(map(len, lines)))
height = LINE * len(lines) + 2 * LEFT
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
      f'aria-label="A terminal: a model is published, found and run">')
print(f'<rect width="{width}" height="{height}" rx="8" fill="#14181d"/>')
print('<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#c9d1d9" xml:space="preserve">')
for number, line in enumerate(lines):
    style = ' fill="#7ee787" font-weight="bold"' if line.startswith("$ ") else ""
    if line:
        print(f'<text x="{LEFT}" y="{LEFT + LINE * number + 14}" textLength="{CHARACTER * len(line):.1f}"{style}>{escape(line).replace(" ", chr(160))}</text>')
print("</g>\n</svg>")
