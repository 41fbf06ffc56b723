"""What is said about results: tables on a screen and on a page, reports in a folder."""

from schmidt.report.page import Report
from schmidt.report.tables import Statistics, cell, console_table, markdown_table, statistics

__all__ = [
    "Report",
    "Statistics",
    "cell",
    "console_table",
    "markdown_table",
    "statistics",
]
