"""Draws the ten digit images of this folder (zero.png … nine.png), so that the example needs no picture from MNIST.

    python draw.py [FOLDER]

Each digit is a few pen strokes through points placed by hand. As MNIST does, the ink is scaled into a box of 20x20
pixels and its centre of mass put in the middle of 28x28, white on black. Needs Pillow and NumPy, which bnnc has anyway.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SCALE = 20  # pixels of the drawing for one of the result
PEN = 2.4  # width in pixels of the result

# Points `x y`, y downwards, about 10 wide and 14 high; a stroke is a smooth curve through its points.
# Two equal points in a row make a corner.
STROKES = {
    "zero": ["6 0, 2.5 2, 1 7, 2.5 12, 5 14, 8 12, 9 7, 7.5 2, 5.5 0, 3.6 1"],
    "one": ["6 0, 5.6 5, 5 10, 4.6 14"],
    "two": ["1 3.5, 2.5 1, 5 0, 7.7 1.2, 8 4, 6 7.5, 3 11, 1 13.6, 1 13.6, 5 13.4, 9.5 13.8"],
    "three": ["1.2 2, 3.5 0.2, 6.5 0.4, 8 2.8, 6.5 5.6, 3.8 6.6, 3.8 6.6, 7 7.2, 8.8 9.6, 7.8 12.6, 4.8 14, 1 12.8"],
    "four": ["2.4 0.6, 1.6 4, 1 7.6, 1 7.6, 5 7.4, 9.4 7", "7.8 0, 7.3 6, 6.8 14"],
    "five": ["8.6 0.2, 5.5 0.4, 2.6 0.4, 2.6 0.4, 2.3 3, 2 5.6, 2 5.6, 5 5.2, 8 6.8, 8.6 9.8, 7 12.8, 4 14, 1 12.8"],
    "six": ["7 0, 4 2.5, 1.8 6.5, 1.2 10.5, 3 13.6, 6 14, 8.2 11.8, 7.6 8.8, 5 7.8, 2.6 9.2, 1.4 11"],
    "seven": ["0.8 1, 4.5 0.6, 8.8 0.4, 8.8 0.4, 7 5, 5.2 9.5, 4 14"],
    "eight": [
        "7.6 1.6, 5 0, 2.6 1.4, 3 4, 5.2 6.4, 7.6 9, 7.8 12.2, 5 14, 2.2 12.4, 2.6 9.2, 5 6.6, 7.4 4.2, 7.8 2, 6.4 0.4"
    ],
    "nine": ["8 2.4, 5.8 0.2, 3 1, 1.6 3.8, 3 6.4, 5.8 6, 7.8 3.4, 8.2 1.6, 8.2 1.6, 7.8 6, 7 10, 6.4 14"],
}


def curve(stroke: str, parts: int = 24) -> np.ndarray:
    """Points [n, 2] of the Catmull-Rom spline through the points of `stroke`."""
    points = np.array([point.split() for point in stroke.split(",")], np.float64)
    p = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, parts)[:, None]
    pieces = [
        b + (c - a) / 2 * t + (a - 2.5 * b + 2 * c - d / 2) * t**2 + (1.5 * (b - c) + (d - a) / 2) * t**3
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate(pieces)


def draw(strokes: list[str]) -> Image.Image:
    """The grey 28x28 image of some strokes, white on black."""
    lines = [curve(stroke) for stroke in strokes]
    ink = np.concatenate(lines)
    low, high = ink.min(0), ink.max(0)
    zoom = (20 - PEN) / (high - low).max() * SCALE
    canvas = Image.new("L", (28 * SCALE, 28 * SCALE))
    pen = ImageDraw.Draw(canvas)
    radius = PEN * SCALE / 2
    for line in lines:
        for x, y in (line - (low + high) / 2) * zoom + 14 * SCALE:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    weight = np.asarray(canvas, np.float64)
    middle = [(weight.sum(axis) * np.arange(28 * SCALE)).sum() / weight.sum() for axis in (0, 1)]
    right, down = (round(14 * SCALE - at) for at in middle)
    canvas = ImageChops.offset(canvas, right, down).filter(ImageFilter.GaussianBlur(SCALE * 0.35))
    return canvas.resize((28, 28), Image.Resampling.BOX)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, strokes in STROKES.items():
        draw(strokes).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
