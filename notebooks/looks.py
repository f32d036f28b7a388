"""How the notebooks' pictures look: one palette, one size, nothing that says nothing.

import looks
figure, axes = looks.figure("KV cache against context", columns=2)
"""

from io import BytesIO
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from PIL import Image

# Okabe and Ito's colours, which everyone can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F"
# The colour of each model, and of each kind of decoder layer.
MODELS = {"e2b": BLUE, "e4b": SKY, "26b": ORANGE, "31b": RED}
NAMES = {"e2b": "E2B", "e4b": "E4B", "26b": "26B A4B", "31b": "31B"}
LOCAL, GLOBAL, SHARED = SKY, BLUE, GREY
# Amounts from little to much, readable in print too.
AMOUNTS = "magma"

mpl.rcParams.update(
    {
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10,
        "legend.frameon": False,
        "image.interpolation": "nearest",
        "font.size": 10,
    }
)


def figure(
    title: str = "", *, rows: int = 1, columns: int = 1, height: float = 3.2, **settings: Any
) -> tuple[Any, Any]:
    """A figure as wide as a page, and its axes; ``height`` is that of a row, in inches."""
    made, axes = plt.subplots(rows, columns, figsize=(9, height * rows), **settings)
    if title:
        made.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return made, axes


def bare(axes: Any) -> Any:
    """Axes for a picture: no grid, no ticks."""
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def few_colours(made: Any, colours: int = 64) -> Image.Image:
    """The figure as a picture of few colours, for photos and spectrograms: a third of the room."""
    file = BytesIO()
    made.savefig(file)
    plt.close(made)
    return Image.open(file).convert("RGB").quantize(colours)
