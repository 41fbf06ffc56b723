"""A report: markdown, numbers as JSON, and figures, in one folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schmidt import plotting
from schmidt.experiments.reproduce.order import Order
from schmidt.experiments.reproduce.recipe import Recipe, differences
from schmidt.storage import write_bytes, write_json

CLOSE = 1.5
"""Numbers within this factor of one read off a figure to ±20 % agree."""

WHY = {
    "steps": "{0:,} steps instead of {1:,}",
    "modes": "{0} functions are trained instead of {1}",
    "judged": "{0} functions are judged instead of {1}",
    "shift": "the shift is {0:g} instead of {1:g}",
    "network": "bounded inputs at several lengths and envelopes instead of random Fourier features",
    "frequencies": "{0} random frequencies instead of {1}",
    "kappa": "frequencies of the scale {0:g} instead of {1:g}",
    "hidden": "hidden layers {0} instead of {1}",
    "activation": "the activation {0} instead of {1}",
    "sampling": "randomly shifted grids in polar coordinates instead of independent points",
    "width": "points of N(0, {0:g}²) instead of N(0, {1:g}²)",
    "form": "the {0} form instead of the {1} one",
    "batch": "{0} points per step instead of {1}",
    "optimizer": "the optimizer {0} instead of RMSprop",
    "lr": "the learning rate {0:g} instead of {1:g}",
    "scale": "the operator times {0:g} instead of {1:g}",
    "extra_shift": "an extra shift of {0:g} that falls to 0 during training, for all methods alike",
}


@dataclass
class Report:
    """What an experiment found.

    Attributes:
        title: heading.
        numbers: for results.json.
        headlines: what the command line prints.
    """

    title: str
    numbers: dict[str, Any] = field(default_factory=dict)
    headlines: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    figures: dict[str, plotting.Figure] = field(default_factory=dict)

    def heading(self, text: str) -> None:
        self.parts.append(f"## {text}")

    def text(self, *paragraphs: str) -> None:
        self.parts += paragraphs

    def items(self, lines: list[str]) -> None:
        self.parts.append("\n".join(f"- {line}" for line in lines))

    def figure(self, name: str, figure: plotting.Figure, caption: str) -> None:
        self.figures[name] = figure
        self.parts += [f"![{name.removesuffix('.png')}]({name})", f"*{caption}*"]

    def order(self, found: Order) -> None:
        """The verdict and its links, in the report, the numbers and the headlines."""
        verdict, *links = found.sentences()
        self.parts.append("\n".join([f"**{verdict}**", "", *(f"- {line}" for line in links)]))
        self.headlines += [verdict, *(f"  {line}" for line in links)]
        self.numbers.setdefault("order", {})[found.what] = {
            "reproduced": found.reproduced,
            "links": links,
        }

    def write(self, out: Path) -> list[Path]:
        """report.md, results.json and the figures."""
        text = "\n\n".join([f"# {self.title}", *self.parts]) + "\n"
        write_bytes(out / "report.md", text.encode())
        write_json(out / "results.json", self.numbers)
        for name, figure in self.figures.items():
            plotting.finish(figure, out / name)
        return [out / "report.md", out / "results.json", *(out / n for n in self.figures)]


def reasons(ours: Recipe, theirs: Recipe) -> list[str]:
    """Why our numbers may differ from the paper's: the settings that do."""
    found = differences(ours, theirs)
    if "network" in found:  # what only one of the two networks has
        for name in ("frequencies", "kappa", "hidden", "activation", "decay"):
            found.pop(name, None)
    if "sampling" in found:
        found.pop("width", None)
        found.pop("form", None)
    return [WHY[k].format(*pair) for k, pair in found.items() if k in WHY]


def beside(label: str, ours: float, theirs: float) -> str:
    """One number beside the paper's."""
    ratio = ours / theirs
    if 1 / CLOSE <= ratio <= CLOSE:
        return f"{label}: {ours:.1e} here, about {theirs:.0e} in the paper: they agree"
    times = max(ratio, 1 / ratio)
    many = f"{times:.1f}" if times < 10 else f"{times:,.0f}"
    word = "larger" if ratio > 1 else "smaller"
    return f"{label}: {ours:.1e} here, about {theirs:.0e} in the paper: {many} times {word}"
