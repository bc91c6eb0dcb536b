#!/usr/bin/env bash
# pandas 2.3.3: `pandas.to_numeric` on text, like `read_csv` without `float_precision`, returns for more than a third of
# decimals written with 16 or 17 digits (what `repr` writes) another double than `float` and `Series.astype(float)` do, by up to
# 4e-13 of the value, that is thousands of units in the last place. `to_numeric` has no option for it. pandas 3.1.1: both exact.
# Whoever saves an option chain as CSV and reads it back gets other implied volatilities under one pandas than under the other.
set -euo pipefail
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/check.py" <<'PY'
import io
import random
import sys

import numpy as np
import pandas as pd

random.seed(1)
text = [repr(random.uniform(0.0, 1.0)) for _ in range(20_000)]
exact = np.array([float(item) for item in text])
column = pd.Series(text, dtype=object)
answers = {
    "to_numeric": pd.to_numeric(column).to_numpy(),
    "read_csv": pd.read_csv(io.StringIO("price\n" + "\n".join(text)))["price"].to_numpy(),
    "astype": column.astype(float).to_numpy(),
}
wrong = {name: float((found != exact).mean()) for name, found in answers.items()}
worst = float(np.abs(answers["to_numeric"] / exact - 1.0).max())
print(f"pandas {pd.__version__}: share that differs {wrong}, worst of to_numeric {worst:.1e} of the value")
assert wrong["astype"] == 0.0
if sys.argv[1] == "inexact":
    assert wrong["to_numeric"] > 0.3 and wrong["read_csv"] > 0.3 and worst > 1e-14
else:
    assert wrong["to_numeric"] == wrong["read_csv"] == 0.0
PY
for case in "2.3.3 inexact" "3.1.1 exact"; do
    read -r version kind <<< "$case"
    "$python" -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "pandas==$version" "numpy==2.2.6"
    "$work/$version/bin/python" "$work/check.py" "$kind"
done
