"""A report: a page of markdown, numbers as JSON, and figures, in one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schmidt.report.tables import markdown_table
from schmidt.storage import write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Report:
    """What a command or an experiment found, put together part by part.

    Attributes:
        title: heading.
        numbers: for the JSON file.
        headlines: what the command line prints.
        parts: of the page, in order.
        figures: by file name.

    Example:
        >>> page = Report("Two modes")
        >>> page.table(["mode", "value"], [["1", "2.0"], ["2", "1.0"]])
        >>> print(page.markdown().splitlines()[0])
        # Two modes
    """

    title: str
    _: KW_ONLY
    numbers: dict[str, Any] = field(default_factory=dict)
    headlines: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)

    def heading(self, text: str, level: int = 2) -> None:
        self.parts.append(f"{'#' * level} {text}")

    def text(self, *paragraphs: str) -> None:
        self.parts += paragraphs

    def items(self, lines: Iterable[str]) -> None:
        listed = "\n".join(f"- {line}" for line in lines)
        self.parts += [listed] if listed else []

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.parts.append(markdown_table(headings, rows))

    def figure(self, name: str, figure: Figure, caption: str = "") -> None:
        self.figures[name] = figure
        self.picture(name)
        self.parts += [f"*{caption}*"] if caption else []

    def picture(self, name: str) -> None:
        """Show a picture that is in the folder already."""
        self.parts.append(f"![{Path(name).stem}]({name})")

    def markdown(self) -> str:
        """The page."""
        return "\n\n".join([f"# {self.title}", *self.parts]) + "\n"

    def write(self, out: Path, numbers: str = "results.json") -> list[Path]:
        """Write the page, the numbers and the figures; returns what was written."""
        from schmidt import plotting

        write_bytes(out / "report.md", self.markdown().encode())
        write_json(out / numbers, self.numbers)
        for name, figure in self.figures.items():
            plotting.finish(figure, out / name)
        return [out / "report.md", out / numbers, *(out / n for n in self.figures)]
