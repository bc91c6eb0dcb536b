"""A small deterministic result with every table filled: a calm market, a fall, a partial recovery."""

from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.columns import DEPTH_BANDS_BP, MARK_MOVE_SOURCES
from cascade_sim.domain.enums import AccountClass, Cause, EventType, Outcome, Stage, TransferKind
from cascade_sim.result import RunResult, cast_table

BURN_IN = 300
STEPS = 7200
SHOCK_STEP = 1800
MARKET = {"venue": "main", "instrument": "ETH-PERP"}

SCENARIO_YAML = """\
name: synthetic
title: A fall & a <partial> recovery
description: A drawn path, not a simulated one.
run: {dt: 1.0, steps: 7200, burn_in_steps: 300}
market: {venue: main, instrument: ETH-PERP, base: ETH, quote: USD}
"""

SUMMARY: dict[str, Any] = {
    "steps": STEPS,
    "messages": 412_345,
    "trades": 51_234,
    "max_adverse_excursion": -702.4,
    "max_drawdown": 0.0698,
    "realised_volatility": 1.95,
    "retrace": 0.66,
    "recovery_seconds": None,
    "worst_depth": 0.004,
    "liquidated_accounts": 812,
    "liquidated_notional": 20_312_000.0,
    "densest_liquidation_share": 0.86,
    "liquidation_volume_share": 0.11,
    "hedge_volume_share": 0.07,
    "insurance_fund_start": 300_000.0,
    "insurance_fund_end": 241_500.0,
    "bad_debt": 61_250.0,
    "backstop_notional": 3_344_000.0,
    "adl_notional": 0.0,
    "adl_accounts": 0,
    "socialised_loss": 0.0,
    "external_capital": 0.0,
    "loss_by_class": {
        "leveraged_trader": 4_210_000.0,
        "options_dealer": 655_000.0,
        "insurance_fund": 58_500.0,
        "liquidity_provider": -1_120_000.0,
        "unlevered_holder": -3_310_000.0,
        "value_trader": -493_500.0,
    },
    "permanent_impact": 0.0035,
    "leverage_n": 0.28,
    "gamma_x": -0.24,
    "peak_gamma_exposure": -3_250_000.0,
    "gamma_drag": 182_000.0,
    "branching_ratio": 0.41,
    "cascade_sizes": [3, 1, 57, 2],
    "amplification": 1.97,
    "added_move_bp": 345.8,
    "interaction_bp": -55.1,
    "attribution": {"liquidation": -181.2, "delta_hedging": -164.6},
    "conservation_error": 0,
}


def _path(steps: np.ndarray, depth: float) -> np.ndarray:
    """Log price: slow waves, then a fall of ``depth`` within six minutes that is undone by two thirds."""
    after = np.clip(steps - SHOCK_STEP, 0, None) / 60.0
    fall = (
        depth
        * (1.0 - np.exp(-((after / 3.0) ** 2)))
        * (1.0 - 0.66 * (1.0 - np.exp(-np.clip(after - 5, 0, None) / 25)))
    )
    return np.log(2200.0) + 0.0012 * np.sin(steps / 170.0) + 0.0006 * np.sin(steps / 23.0) - fall


def synthetic_series(depth: float = 0.0678, *, forced: bool = True) -> pd.DataFrame:
    """Series table of one market; ``forced`` switches liquidations and hedges."""
    steps = np.arange(-BURN_IN, STEPS + 1)
    count = len(steps)
    mark = np.exp(_path(steps, depth))
    after = steps - SHOCK_STEP
    pulse = np.where(after > 0, np.exp(-(((after - 200.0) / 110.0) ** 2)), 0.0)
    calm = np.clip(1.0 - 1.05 * pulse, 0.0, None)
    data: dict[str, Any] = {"step": steps, "time_seconds": steps * 1.0}
    data |= {name: np.full(count, value, dtype=object) for name, value in MARKET.items()}
    one_sided = calm == 0.0
    data |= {
        "mid": np.where(one_sided, np.nan, mark),
        "last": mark,
        "mark": mark,
        "index": mark,
        "fundamental": mark,
    }
    data |= {
        "best_bid": np.where(one_sided, np.nan, mark - 0.1),
        "best_ask": mark + 0.1,
        "one_sided": one_sided,
    }
    data |= {"halted": np.zeros(count, bool), "throughput_binding": pulse > 0.9}
    data["spread"] = np.where(one_sided, np.nan, 1.4 + 60 * pulse)
    for side in ("bid", "ask"):
        for band, size in zip(DEPTH_BANDS_BP, (340.0, 1270.0, 2070.0, 3100.0), strict=True):
            noise = 1.0 + 0.1 * np.sin(steps / 7.0 + band)
            data[f"{side}_depth_{band}bp"] = size * noise * np.maximum(calm ** (40.0 / band + 0.6), 0.0)
    zero = np.zeros(count)
    wave = 2.5 + np.sin(steps / 31.0)
    amounts = {
        "background": (wave, 5.0 - wave),
        "value": (np.clip(after, 0, 1) * 0.4, zero),
        "arbitrage": (0.2 * wave, 0.2 * wave),
        "speculation": (0.1 * wave, 0.12 * wave),
        "stop_loss": (zero, 3.0 * pulse),
        "backstop": (zero, 2.0 * pulse),
        "execution": (zero + 0.05, zero + 0.04),
        "shock": (zero, np.where((after > 0) & (after <= 180), 33.0, 0.0)),
        "liquidation": (2.0 * pulse * forced, 42.0 * pulse * forced),
        "delta_hedge": (np.clip(after - 500, 0, 1) * 0.9 * forced, 25.0 * pulse * forced),
    }
    for cause in Cause:
        bought, sold = amounts.get(cause.name.lower(), (zero, zero))
        data[f"buy_volume_{cause.name.lower()}"], data[f"sell_volume_{cause.name.lower()}"] = bought, sold
    move = np.diff(np.log(mark), prepend=np.log(mark[0])) * 1e4
    data |= {f"mark_move_{source}": move if source == "background" else zero for source in MARK_MOVE_SOURCES}
    data |= {"open_interest": 75_000.0 - 9_700.0 * np.cumsum(pulse) / pulse.sum(), "funding_rate": zero}
    data |= {"distressed_accounts": (40 * pulse).astype(int), "queue_accounts": (12 * pulse).astype(int)}
    data |= dict.fromkeys(("queue_notional", "liquidated_notional_book"), 100000.0 * pulse)
    data |= {"liquidated_notional_backstop": 1e4 * pulse, "liquidated_notional_adl": zero}
    fund = 300_000.0 - 58_500.0 * np.cumsum(pulse) / pulse.sum()
    data |= {"insurance_fund_cash": fund, "insurance_fund_equity": fund, "backstop_equity": zero + 5e6}
    data |= {"bad_debt_cumulative": 300_000.0 - fund, "socialised_cumulative": zero}
    data |= {"gamma_exposure": -3.25e6 * (1 - 0.2 * pulse), "dealer_unhedged_delta": 40 * pulse}
    data |= {"forced_sale_next_1pct": 1800.0 - 900 * pulse, "forced_buy_next_1pct": 150.0 + zero}
    data |= {"impact_local": 0.016 * (1 + 2 * pulse), "branching_local": 0.28 + 0.3 * pulse}
    frame = cast_table("series", data)
    frame.attrs["impact_estimator"] = "depth within 50 bp"
    return frame


def _events() -> pd.DataFrame:
    count = 5
    kinds = [EventType.SHOCK, EventType.BREACH, EventType.LIQUIDATION, EventType.TAKEOVER, EventType.HEDGE]
    data: dict[str, Any] = {
        "event_id": np.arange(1, count + 1),
        "step": SHOCK_STEP + np.array([0, 60, 60, 75, 90]),
        "sequence": np.array([0, 0, 1, 0, 0]),
        "time_seconds": SHOCK_STEP + np.array([0.0, 60, 60, 75, 90]),
        "type": np.array(kinds, dtype=np.int64),
        "stage": np.array(
            [Stage.NONE, Stage.TRIGGER, Stage.BOOK, Stage.BACKSTOP, Stage.NONE], dtype=np.int64
        ),
        "cause": np.array(
            [Cause.SHOCK, Cause.SHOCK, Cause.LIQUIDATION, Cause.BACKSTOP, Cause.DELTA_HEDGE], dtype=np.int64
        ),
        "parent_event_id": np.array([-1, 1, 2, 3, 1]),
        "breach_id": np.array([np.nan, 2, 2, 2, np.nan]),
        "root_event_id": [1, 1, 1, 1, None],
        "generation": np.array([0, 1, 2, 3, 1]),
        "account_id": np.array([-1, 40, 40, 40, 7]),
        "account_class": np.array(
            [-1, *[AccountClass.LEVERAGED_TRADER] * 3, AccountClass.OPTIONS_DEALER], dtype=np.int64
        ),
        "rule": np.array([None, None, "worst_margin_ratio_first", "insurance_fund", "clock"], dtype=object),
        "side": np.array([-1, 0, -1, -1, -1]),
        "payer_account_id": np.array([-1, -1, 40, 1, -1]),
    }
    data |= {name: np.full(count, value, dtype=object) for name, value in MARKET.items()}
    floats = """quantity filled notional mark index bankruptcy_price limit_price fill_price equity_before
        equity_after maintenance_margin margin_ratio leverage loss waited_seconds"""
    for k, name in enumerate(floats.split()):
        data[name] = np.linspace(k + 1.0, k + 2.0, count)
    data["fill_price"][0] = np.nan
    return cast_table("events", data)


def _trades() -> pd.DataFrame:
    count = 4
    data: dict[str, Any] = {
        name: np.arange(count) for name in ("trade_id", "sequence", "taker_order_id", "maker_order_id")
    }
    data |= {"step": np.full(count, SHOCK_STEP + 60), "time_seconds": np.full(count, SHOCK_STEP + 60.0)}
    data |= {name: np.full(count, value, dtype=object) for name, value in MARKET.items()}
    data |= {"price_tick": 21_000 - np.arange(count), "quantity_lot": np.full(count, 2**40)}
    data |= {"price": 2100.0 - 0.1 * np.arange(count), "quantity": np.full(count, 0.25)}
    data |= {"aggressor_side": np.array([-1, -1, 1, -1]), "taker_account_id": np.arange(count) + 40}
    data |= {"maker_account_id": np.full(count, 20), "taker_event_id": np.array([3, 3, -1, 5])}
    data["taker_class"] = np.full(count, int(AccountClass.LEVERAGED_TRADER))
    data["maker_class"] = np.full(count, int(AccountClass.LIQUIDITY_PROVIDER))
    data["taker_cause"] = np.array(["liquidation", "liquidation", "background", "delta_hedge"], dtype=object)
    data["maker_cause"] = np.full(count, "quote", dtype=object)
    data |= {
        name: np.full(count, 0.5) for name in ("taker_fee", "maker_fee", "mid_before", "mid_after", "mark")
    }
    return cast_table("trades", data)


def _liquidation_map() -> pd.DataFrame:
    steps = np.arange(0, STEPS + 1, 600)
    edges = np.arange(1400.0, 2600.0, 20.0)
    below = edges < 2180.0
    fuel = np.where(
        below,
        2600.0 * np.exp(-(((edges - 1950.0) / 190.0) ** 2)),
        340.0 * np.exp(-(((edges - 2330.0) / 90.0) ** 2)),
    )
    fuel = np.where((edges >= 2180) & (edges < 2220), 0.0, fuel)
    rows = len(edges)
    return cast_table(
        "liquidation_map",
        {
            "step": np.repeat(steps, rows),
            "instrument": np.full(rows * len(steps), "ETH-PERP", dtype=object),
            "price_low": np.tile(edges, len(steps)),
            "price_high": np.tile(edges + 20.0, len(steps)),
            "side": np.tile(np.where(below, -1, 1), len(steps)),
            "quantity": np.tile(fuel, len(steps)),
            "accounts": np.tile((fuel / 9).astype(int), len(steps)),
        },
    )


def _accounts() -> pd.DataFrame:
    count = 3
    data: dict[str, Any] = {"account_id": np.arange(count), "venue": np.full(count, "main", dtype=object)}
    data["account_class"] = np.array(
        [AccountClass.INSURANCE_FUND, AccountClass.LEVERAGED_TRADER, 8], dtype=np.int64
    )
    data["margin_mode"] = np.array(["none", "isolated", "cross"], dtype=object)
    data["outcome"] = np.array([Outcome.UNTOUCHED, Outcome.LIQUIDATED, Outcome.UNTOUCHED], dtype=np.int64)
    data["first_breach_step"] = np.array([-1, SHOCK_STEP + 60, -1])
    floats = """position_start position_end entry_price liquidation_price_start bankruptcy_price_start
        collateral_start equity_start equity_end leverage_start trading_pnl fees funding
        liquidation_loss adl_loss socialised_loss external_capital"""
    data |= {name: np.linspace(1.0, 2.0, count) for name in floats.split()}
    return cast_table("accounts", data)


def synthetic_result() -> RunResult:
    """Build a result with every table filled."""
    transfers = {
        "transfer_id": np.arange(2),
        "step": np.array([1860, 1875]),
        "event_id": np.array([3, -1]),
        "trade_id": np.array([0, -1]),
        "from_account_id": np.array([40, 1]),
        "to_account_id": np.array([20, 40]),
        "asset": np.array(["USD", "USD"], dtype=object),
        "amount_atom": np.array([2**60, 7]),
        "kind": np.array([TransferKind.VARIATION, TransferKind.TAKEOVER], dtype=np.int64),
    }
    depth = {
        "step": np.repeat([0, 60], 2),
        "side": np.tile([1, -1], 2),
        "distance_bp": np.full(4, 10.0),
        "quantity": np.array([340.0, 331.0, 0.0, 250.0]),
    } | {name: np.full(4, value, dtype=object) for name, value in MARKET.items()}
    causes = {
        "child_event_id": np.array([2, 3, 3]),
        "parent_event_id": np.array([1, 2, -1]),
        "source": np.array(["shock", "shock", "news"], dtype=object),
        "weight": np.array([1.0, 0.7, 0.3]),
        "mark_move": np.array([-12.5, -3.0, -1.0]),
    }
    return RunResult(
        series=synthetic_series(),
        events=_events(),
        trades=_trades(),
        transfers=cast_table("transfers", transfers),
        accounts=_accounts(),
        depth=cast_table("depth", depth),
        liquidation_map=_liquidation_map(),
        causes=cast_table("causes", causes),
        summary=SUMMARY,
        manifest={"seed": 7, "scenario_hash": "0123456789abcdef", "versions": {"cascade-sim": "0.1.0"}},
        scenario_yaml=SCENARIO_YAML,
    )
