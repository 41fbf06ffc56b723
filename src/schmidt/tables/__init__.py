"""One reader of tables for everything: delimited text, Parquet and JSON, and what was understood.

Nothing is guessed without a word: separator, decimal sign, header, index and encoding stand in
:attr:`Table.understood`, every one of them can be said instead, and what fits no reading is an
error with its line and column. Text is split by polars after every line has been checked to have
the same number of fields and to close its quotes, so that no line is swallowed.
"""

from schmidt.tables.files import SUFFIXES, contents, read_table, refuse_bomb
from schmidt.tables.table import Table, TableOptions

__all__ = ["SUFFIXES", "Table", "TableOptions", "contents", "read_table", "refuse_bomb"]
