"""Reports of stored runs: a page for people, tables for papers."""

from sltprob.report.page import write_report
from sltprob.report.tables import csv_text, latex_table, markdown_table

__all__ = ["csv_text", "latex_table", "markdown_table", "write_report"]
