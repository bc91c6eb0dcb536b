#!/bin/sh
# ccxt's leverage tiers: what "minNotional", "maxNotional" and "currency" hold is contracts (OKX), coins (coin-margined
# Binance) or quote currency labelled as the coin (KuCoin). Rows are the exchanges' documented answers; no network but for the
# package. Exits non-zero once ccxt behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "ccxt==4.5.90"
"$folder/env/bin/python" - <<'PY'
import sys

import ccxt

print("ccxt", ccxt.__version__)


def market(symbol, name):
    base, rest = symbol.split("/")
    quote, settle = rest.split(":")
    return {"id": name, "symbol": symbol, "base": base, "quote": quote, "settle": settle, "contract": True, "type": "swap"}


cases = [
    (
        "okx: maxSz counts contracts (0.01 BTC each); called a notional in USDT",
        ccxt.okx(),
        [{"tier": "1", "minSz": "0", "maxSz": "1000", "mmr": "0.004", "maxLever": "100", "instFamily": "BTC-USDT"}],
        market("BTC/USDT:USDT", "BTC-USDT-SWAP"),
        (0.0, 1000.0, "USDT"),
    ),
    (
        "binance, coin-margined: qtyCap counts BTC; called a notional in USD",
        ccxt.binance(),
        {
            "symbol": "BTCUSD_PERP",
            "brackets": [{"bracket": 1, "initialLeverage": 125, "qtyCap": 5, "qtyFloor": 0, "maintMarginRatio": 0.004, "cum": 0}],
        },
        market("BTC/USD:BTC", "BTCUSD_PERP"),
        (0.0, 5.0, "USD"),
    ),
    (
        "kucoin: maxRiskLimit of a USDT contract is USDT; called a notional in BTC",
        ccxt.kucoin(),
        [{"level": 1, "symbol": "XBTUSDTM", "minRiskLimit": 0, "maxRiskLimit": 2000000, "maintainMargin": 0.005, "maxLeverage": 100}],
        market("BTC/USDT:USDT", "XBTUSDTM"),
        (0.0, 2000000.0, "BTC"),
    ),
]
changed = False
for title, exchange, answer, contract, expected in cases:
    exchange.markets = {contract["symbol"]: contract}
    exchange.markets_by_id = {contract["id"]: [contract]}
    (tier,) = exchange.parse_market_leverage_tiers(answer, contract)
    found = (float(tier["minNotional"]), float(tier["maxNotional"]), tier["currency"])
    print(title)
    print("  minNotional, maxNotional, currency:", found, "deduction:", tier.get("maintenanceAmount", "none"))
    changed |= found != expected
sys.exit("ccxt no longer does this" if changed else 0)
PY
