#!/bin/sh
# numba 0.68.1: a function that asks for no fastmath is compiled with it when a function that does ask is the first to call it,
# and stays so for everybody. A compensated sum (Kahan) of 1 and a million times 1e-16, decorated with a plain njit, is
# 1.0000000001; called first from a function with fastmath=True it is 1.0 ever after in that process, from Python and from
# strict callers alike. The value of a strict function depends on the order of calls. forceinline and error_model are handed
# down in the same way; a function that states fastmath=False keeps its own. Exits non-zero once numba behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$folder/probe.py" << 'PROBE'
import sys

import numba
import numpy as np

options = {"fastmath": False} if sys.argv[1] == "stated" else {}


@numba.njit(**options)
def compensated_sum(values):
    total = 0.0
    lost = 0.0
    for value in values:
        corrected = value - lost
        following = total + corrected
        lost = (following - total) - corrected
        total = following
    return total


@numba.njit(fastmath=True)
def quick_mean(values):
    return compensated_sum(values) / len(values)


@numba.njit
def strict_sum(values):
    return compensated_sum(values)


values = np.array([1.0] + [1e-16] * 1_000_000)
first, second = (quick_mean, strict_sum) if sys.argv[2] == "fast" else (strict_sum, quick_mean)
first(values)
second(values)
print(f"{compensated_sum(values):.10f} {strict_sum(values):.10f}")
PROBE
changed=0
for case in "unstated strict|1.0000000001 1.0000000001" "unstated fast|1.0000000000 1.0000000000" \
    "stated fast|1.0000000001 1.0000000001"; do
    arguments=${case%%|*}
    # The two words are two arguments.
    # shellcheck disable=SC2086
    found=$("$folder/env/bin/python" "$folder/probe.py" $arguments)
    echo "fastmath of the callee, first caller: $arguments: from Python, from a strict caller: $found"
    [ "$found" = "${case#*|}" ] || changed=1
done
[ "$changed" -eq 0 ] || { echo "numba no longer does this" >&2; exit 1; }
