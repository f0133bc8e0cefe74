"""The look that all plots share. Figures are made without pyplot: no global state, no display, safe in threads."""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#7F7F7F", "#8C6D31", "#5B3FA0", "#1B4332", "#A4161A", "#2F3E46"),
)
"""Okabe and Ito's palette, told apart with every kind of colour vision, and six darker ones for large tables."""

GREY = "#8A8A8A"
INK = "#222222"


def new_figure(title: str, *, width: float = 9.0, height: float = 4.8, subtitle: str = "") -> Figure:
    """Return an empty figure (inches) with a left-aligned title and a quiet subtitle."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    if subtitle:
        figure.supxlabel(subtitle, x=0.01, ha="left", fontsize=8.5, color=GREY)
    return figure


def plain_axes(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> Axes:
    """Take away what carries no data, and lay a faint grid below what does."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#E6E6E6", linewidth=0.8)
    return axes


def colour(index: int) -> str:
    """Return the palette's colour for the item at ``index``; it repeats after twelve."""
    return COLOURS[index % len(COLOURS)]
