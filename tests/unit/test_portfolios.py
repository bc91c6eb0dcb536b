"""Portfolios over several markets in whole runs: who is liquidated, who pays, and what sharing collateral changes."""

from typing import Any

import numpy as np
import pytest
from test_markets import QUIET, fingerprint, small

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.lab.counterfactual import counterfactual
from cascade_sim.lab.single import run
from cascade_sim.model import CascadeModel
from cascade_sim.scenario import Scenario

PORTFOLIOS = {
    "portfolios.count": 60,
    "portfolios.open_interest": 15_000,
    "portfolios.long_share": 0.9,
    "portfolios.inverse_leverage": [0.02, 0.10],
    "shock.news": -0.05,
}


def crossed(**changes: Any) -> Scenario:
    return small(spot=QUIET).with_overrides({**PORTFOLIOS, **changes})


def distressed_by_scan(model: CascadeModel) -> set[int]:
    """Portfolios whose equity over all legs is at most their requirement."""
    found = set()
    for portfolio in range(model.settings.portfolios.count):
        slack, size = 0.0, 0
        for market in model.markets.values():
            world = market.state.world
            row = market.state.accounts[int(world.config.portfolio_account) + portfolio]
            value = int(row.position) * float(world.market.mark) * int(world.config.atoms)
            slack += int(row.cash) + value - abs(value) * market.settings.clearing.maintenance_margin
            size += abs(int(row.position))
        if size and slack <= 0.0:
            found.add(portfolio)
    return found


def distressed_in_run(model: CascadeModel) -> set[int]:
    """Portfolios with a leg in the first market that this step's screen found."""
    first = int(model.state.world.config.portfolio_account)
    rows = model.state.accounts[first : first + model.settings.portfolios.count]
    return set(np.flatnonzero(rows["distressed_step"] == model.step_number).tolist())


def test_every_screen_finds_what_a_look_at_all_portfolios_finds() -> None:
    model = CascadeModel(crossed(), rng=6)
    model.run(0)
    most = 0
    while not model.finished:
        for phase in range(lay.PHASES):
            if phase == lay.PHASE_LIQUIDATE:
                expected = distressed_by_scan(model)
                first = int(model.state.world.config.portfolio_account)
                held = {p for p in expected if model.state.accounts[first + p].position != 0}
            model._phase(phase)
            if phase == lay.PHASE_LIQUIDATE:
                assert distressed_in_run(model) == held
                most = max(most, len(held))
        model._between_steps()
    assert most >= 5
    assert int(model.state.world.totals.liquidated_accounts) > 0


@pytest.mark.parametrize("cross_margin", [True, False])
def test_portfolios_conserve_cash_and_positions(cross_margin: bool) -> None:
    result = run(crossed(**{"switches.cross_margin": cross_margin}), seed=6, probe=False)
    assert result.summary["conservation_error"] == 0
    modes = result.accounts["margin_mode"].value_counts()
    assert modes.get("cross", 0) == (120 if cross_margin else 0)
    legs = result.accounts[result.accounts["margin_mode"] == "cross"]
    assert legs["liquidation_price_start"].isna().all()
    assert (result.accounts["equity_end"][result.accounts["outcome"] == "liquidated"] >= -1.0).all()


def test_hedged_portfolios_survive_only_while_their_legs_share_collateral() -> None:
    def closed(shared: bool) -> int:
        changes = {"portfolios.hedged_share": 1.0, "switches.cross_margin": shared}
        model = CascadeModel(crossed(**changes), rng=6)
        model.run()
        found = 0
        for market in model.markets.values():
            first = int(market.state.world.config.portfolio_account)
            rows = market.state.accounts[first : first + 60]
            found += int((rows["first_breach_step"] >= 0).sum())
        return found

    assert closed(True) < 0.5 * closed(False)


def test_the_legs_of_a_hedged_portfolio_face_each_other() -> None:
    model = CascadeModel(crossed(**{"portfolios.hedged_share": 1.0}), rng=6)
    signs = []
    for market in model.markets.values():
        first = int(market.state.world.config.portfolio_account)
        signs.append(np.sign(market.state.accounts["position"][first : first + 60]))
        lots = np.abs(market.state.accounts["position"][first : first + 60]).sum()
        assert lots == round(15_000 / market.instrument.lot_size)
    both = (signs[0] != 0) & (signs[1] != 0)
    assert both.sum() > 50
    assert np.array_equal(signs[0][both], -signs[1][both])


def test_in_pieces_and_in_one_call_are_the_same_run() -> None:
    whole, pieces = CascadeModel(crossed(), rng=6), CascadeModel(crossed(), rng=6)
    whole.run()
    while not pieces.finished:
        pieces.run(pieces.step_number + 11)
    for name, market in whole.markets.items():
        assert fingerprint(pieces.markets[name]) == fingerprint(market)


def test_sharing_collateral_is_an_arm() -> None:
    arms = counterfactual(crossed(), seed=6, mechanisms=["cross_margin"])
    assert list(arms.table["cross_margin"]) == [False, True]
    counts = arms.table["liquidated_accounts"].to_list()
    assert counts[0] != counts[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"markets.spot.market.quote": "EUR"}, r"markets\.spot\.market\.quote: expected USD"),
        (
            {"markets.spot.portfolios.count": 3},
            r"markets\.spot\.portfolios\.count: expected portfolios\.count, 60",
        ),
        ({"portfolios.inverse_leverage": [0.2, 0.1]}, r"portfolios\.inverse_leverage"),
    ],
)
def test_portfolios_that_cannot_share_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        crossed(**changes)
