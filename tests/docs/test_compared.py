"""README compares with what was measured, and with nothing else."""

import pytest

from tests.docs import compared

README = compared.PAGE.read_text(encoding="utf-8")


def test_the_table() -> None:
    assert compared.page() == README, "run `make docs`"


@pytest.mark.parametrize("row", compared.ROWS, ids=lambda row: row.says)
def test_a_row_is_one_of_the_measured(row: compared.Row) -> None:
    line = compared.found(row)
    assert line["ours"] and (line.get("mlx-lm") or line.get("mlx-vlm"))
