"""Pictures of one to three coloured shapes, and the sentence that names them left to right.

Every shape has a column of its own, so that the order is never in doubt; within it the size, the
height and the exact place vary, as do the picture's size, its proportions and its background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

MOST = 3
SHAPES = ("circle", "square", "triangle")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 34, 34),
    "green": (30, 150, 50),
    "blue": (35, 75, 215),
    "yellow": (245, 205, 30),
    "purple": (135, 45, 165),
    "black": (20, 20, 20),
}


@dataclass(frozen=True)
class Shape:
    """One shape: what it is, its colour, its centre and half its width in pixels."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float

    def __str__(self) -> str:
        return f"a {self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture and its shapes, from left to right."""

    image: Image.Image
    shapes: tuple[Shape, ...]

    @property
    def text(self) -> str:
        return describe(self.shapes)

    def cells(self, columns: int, rows: int) -> np.ndarray:
        """(rows · columns, 3): colour, kind and place from the left of what every cell of a grid
        shows, each counted from 1; 0 for the background."""
        width, height = self.image.size
        y, x = np.mgrid[:rows, :columns]
        x, y = (x + 0.5) * width / columns, (y + 0.5) * height / rows
        found = np.zeros((rows, columns, 3), np.int64)
        for place, shape in enumerate(self.shapes):
            inside = np.maximum(abs(x - shape.x), abs(y - shape.y)) < 0.75 * shape.radius
            distance = np.hypot(x - shape.x, y - shape.y)
            inside |= distance == distance.min()  # a small shape has a cell too
            colour, kind = list(COLOURS).index(shape.colour), SHAPES.index(shape.kind)
            found[inside] = 1 + colour, 1 + kind, 1 + place
        return found.reshape(-1, 3)


def describe(shapes: Sequence[Shape]) -> str:
    """'a red circle', 'a red circle and a blue square', 'a …, a … and a …'."""
    names = [str(shape) for shape in shapes]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def draw_scene(rng: np.random.Generator, count: int | None = None) -> Scene:
    """A random scene of `count` shapes (one to three where it is not given)."""
    count = count or int(rng.integers(1, MOST + 1))
    height = int(rng.integers(160, 520))
    # Wide enough that every column holds a shape one can make out, and never a long strip.
    width = int(height * rng.uniform(max(0.7, 0.45 * count), 1.9))
    column = width / count
    shapes = []
    for i in range(count):
        room = min(column, height) / 2
        radius = rng.uniform(0.45, 0.88) * room
        shapes.append(
            Shape(
                kind=str(rng.choice(SHAPES)),
                colour=str(rng.choice(list(COLOURS))),
                x=column * i + rng.uniform(radius, column - radius),
                y=rng.uniform(radius, height - radius),
                radius=radius,
            )
        )
    image = Image.new("RGB", (width, height), _background(rng))
    for shape in shapes:
        _draw(image, shape, rng)
    return Scene(image, tuple(shapes))


def _background(rng: np.random.Generator) -> tuple[int, int, int]:
    """White, or a light tint."""
    if rng.random() < 0.5:
        return (255, 255, 255)
    red, green, blue = (int(x) for x in rng.integers(225, 256, 3))
    return (red, green, blue)


def _draw(image: Image.Image, shape: Shape, rng: np.random.Generator) -> None:
    """Draw with a slightly varied colour; a square is 0.9 of its circle's width."""
    jitter = rng.integers(-14, 15, 3)
    colour = tuple(int(np.clip(c + d, 0, 255)) for c, d in zip(COLOURS[shape.colour], jitter))
    pen = ImageDraw.Draw(image)
    x, y, r = shape.x, shape.y, shape.radius
    if shape.kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape.kind == "square":
        pen.rectangle((x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r), fill=colour)
    else:
        pen.polygon(((x, y - r), (x - r, y + 0.85 * r), (x + r, y + 0.85 * r)), fill=colour)
