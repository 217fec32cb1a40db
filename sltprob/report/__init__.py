"""Reports of stored runs: a page for people, tables and figures for papers."""

from sltprob.report.page import write_report
from sltprob.report.paper import write_figures
from sltprob.report.sparkline import sparkline
from sltprob.report.tables import csv_text, latex_table, markdown_table

__all__ = [
    "csv_text",
    "latex_table",
    "markdown_table",
    "sparkline",
    "write_figures",
    "write_report",
]
