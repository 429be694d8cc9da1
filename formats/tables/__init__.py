"""Tables: segments of rows × columns, in and out of pandas, Arrow and polars.

Importing this imports pyarrow: whoever only looks must not. The format is docs/format.md, section 8.
"""

from aq.formats.tables.parts import table_parts
from aq.formats.tables.table import (
    EncodedTable,
    decode_table,
    encode_table,
    summarise_table,
    to_arrow,
    to_native,
    to_pandas,
    to_polars,
)

__all__ = [
    "EncodedTable",
    "decode_table",
    "encode_table",
    "summarise_table",
    "table_parts",
    "to_arrow",
    "to_native",
    "to_pandas",
    "to_polars",
]
