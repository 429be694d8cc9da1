"""What an op sets for its process does not reach the next step, which may run without it another time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.workshop import Workshop

pytest.importorskip("matplotlib")

FLOW = """
    import os

    @aq.op
    def sets() -> int:
        import decimal, locale
        import matplotlib, numpy, sklearn
        matplotlib.rcParams["figure.dpi"] = 17
        pd.set_option("display.precision", 2)
        pd.set_option("compute.use_bottleneck", False)
        numpy.seterr(divide="raise")
        numpy.set_printoptions(precision=1)
        sklearn.set_config(transform_output="pandas")
        decimal.getcontext().prec = 3
        os.chdir("/")
        return 1

    @aq.op
    def finds(one: int, turn: int) -> dict:
        import decimal
        import matplotlib, numpy, sklearn
        return {
            "dpi": matplotlib.rcParams["figure.dpi"],
            "precision": pd.get_option("display.precision"),
            "bottleneck": pd.get_option("compute.use_bottleneck"),
            "divide": numpy.geterr()["divide"],
            "printed": numpy.get_printoptions()["precision"],
            "output": sklearn.get_config()["transform_output"],
            "third": str(decimal.Decimal(1) / 3),
            "folder": os.getcwd(),
        }

    @aq.flow
    def f(turn: int = 1):
        finds(sets(), turn)
"""


@pytest.mark.parametrize("first", ["", "import matplotlib, numpy, sklearn, decimal"])
def test_settings_of_an_op_end_with_it(shop: Workshop, first: str) -> None:
    shop.write(f"    {first}\n{FLOW}")
    after = shop.value(shop.run(), "f/finds")
    again = shop.run({"turn": 2})
    assert [one.status for one in again.steps] == ["reused", "run"]
    alone: dict[str, Any] = shop.value(again, "f/finds")
    assert after == alone
    assert (alone["dpi"], alone["divide"], alone["output"]) == (100.0, "warn", "default")
    assert alone["bottleneck"] is True
    assert (alone["precision"], len(alone["third"])) == (6, 30)


def test_what_a_module_sets_as_it_is_imported_stays(shop: Workshop) -> None:
    (shop.root / "style.py").write_text('import pandas as pd\npd.set_option("display.precision", 3)\n')
    shop.write("""
    @aq.op
    def first() -> int:
        import style
        pd.set_option("display.width", 17)
        return pd.get_option("display.precision")

    @aq.op
    def second(one: int) -> list:
        import style
        return [pd.get_option("display.precision"), pd.get_option("display.width")]

    @aq.flow
    def f():
        second(first())
    """)
    import pandas as pd

    try:
        done = shop.run()
        assert (shop.value(done, "f/first"), shop.value(done, "f/second")) == (3, [3, 80])
    finally:
        pd.reset_option("display.precision")


def test_a_folder_that_is_gone_is_no_obstacle(shop: Workshop) -> None:
    shop.write("""
    import os, tempfile

    @aq.op
    def goes() -> int:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        return 1

    @aq.op
    def next(one: int) -> bool:
        return os.path.isdir(".")

    @aq.flow
    def f():
        next(goes())
    """)
    assert shop.value(shop.run(), "f/next") is True
