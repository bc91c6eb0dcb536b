"""What an account is worth is computed in one place, and the same by records, by columns and in exact arithmetic."""

import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cascade_sim
from cascade_sim.core.clearing import worth

PACKAGE = Path(cascade_sim.__file__).parent
OWN = PACKAGE / "core" / "clearing" / "worth.py"
VALUED = re.compile(
    # cash and position at a price, the value of a position, and the price at which both are worth nothing
    r"cash\w*(\"\])?\s*\+.*(position|lots|scaled).*\*.*(mark|price|tick)"
    r"|(abs\(.*(position|lots).*\)|\bposition|\blots)\s*\*\s*\w*\.?\w*\.?mark\s*\*.*atoms"
    r"|-\s*\w*\.?\w*\[?\"?cash\w*\"?\]?\s*/\s*\(?\w*\.?(position|lots|scaled|quantity)"
)


def _found(text: str) -> list[str]:
    code = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    return [line.strip() for line in code.splitlines() if VALUED.search(line.split("#")[0])]


def test_nobody_else_values_an_account() -> None:
    # The closed forms of distress divide by what a requirement leaves of a price; they are the margin models.
    models = PACKAGE / "core" / "clearing" / "margin"
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != OWN and models not in path.parents and (lines := _found(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "worth = row.cash + row.position * w.market.mark * w.config.atoms",
        'equity = rows["cash"] + lots * mark * atoms',
        "return self.cash + self.position * self._desk.mark",
        "value = abs(row.position) * w.market.mark * w.config.atoms",
        "price = -row.cash / (row.position * w.config.atoms)",
        'bankruptcy = -rows["cash"] / (lots * atoms)',
        "equity_start = cash_start + scaled * books.start_mark",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert _found(line) == [line]


@pytest.mark.kernel
@pytest.mark.parametrize(("cash", "position"), [(10**15, -31), (-3 * 10**14, 17), (5, 1), (-7, -2)])
def test_records_and_columns_agree_with_exact_arithmetic(cash: int, position: int) -> None:
    mark, atoms = 20_001.5, 100_000
    row = SimpleNamespace(cash=cash, position=position)
    world = SimpleNamespace(market=SimpleNamespace(mark=mark), config=SimpleNamespace(atoms=atoms))
    exact = cash + position * Fraction(mark) * atoms
    plain = {name: getattr(getattr(worth, name), "py_func", getattr(worth, name)) for name in vars(worth)}
    assert plain["equity"](world, row) == pytest.approx(float(exact), rel=1e-15)
    assert plain["equity_at"](world, row, 20_001) == cash + position * 20_001 * atoms
    assert plain["notional"](world, row) == abs(position) * mark * atoms
    assert plain["notional_of"](world, position) == position * mark * atoms
    assert plain["bankruptcy_price"](world, row) == pytest.approx(
        float(Fraction(-cash, position * atoms)), rel=1e-15
    )
    columns = np.array([cash]), np.array([position])
    assert worth.equities(*columns, mark, atoms)[0] == plain["equity"](world, row)
    assert worth.bankruptcy_prices(*columns, atoms)[0] == plain["bankruptcy_price"](world, row)
