#!/bin/sh
# Mesa 3.3.1, the newest for Python 3.11: mesa.batch_run(max_steps=10) makes 11 steps. A model that collects once before its first
# step and once after each, as the examples of Mesa do, and ends by itself is reported as it was one step before its end: the row
# of the last step holds what was collected at that number, counted from 0. The state at the end is in no row. Both are otherwise
# in Mesa 3.5.1, so that the rows of one model differ between Python 3.11 and 3.12.
# Needs Python 3.12 or newer (PYTHON names it). Exits non-zero once Mesa behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo "needs Python 3.12 (PYTHON=...)" >&2; exit 2; }
cat > "$folder/show.py" <<'PY'
import sys

import mesa

made = []


class Count(mesa.Model):
    def __init__(self, until=1000, rng=None):
        super().__init__(rng=rng)
        self.until = until
        self.count = 0
        self.datacollector = mesa.DataCollector(model_reporters={"count": "count"})
        self.datacollector.collect(self)
        made.append(self)

    def step(self):
        self.count += 1
        self.running = self.count < self.until
        self.datacollector.collect(self)


if __name__ == "__main__":
    mesa.batch_run(Count, parameters={}, max_steps=10, display_progress=False)
    rows = mesa.batch_run(Count, parameters={"until": [5]}, data_collection_period=1, display_progress=False)
    found = f"{made[0].count} steps; {[row['count'] for row in rows]}"
    print("mesa", mesa.__version__)
    print("  steps made of max_steps=10; counts in the rows of a model that ends at 5:", found)
    sys.exit(0 if found == sys.argv[1] else "Mesa no longer does this")
PY
for pair in "3.3.1|11 steps; [0, 1, 2, 3, 4]" "3.5.1|10 steps; [0, 1, 2, 3, 4, 5]"; do
    version=${pair%%|*}
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "mesa==$version" "networkx==3.5"
    "$folder/$version/bin/python" "$folder/show.py" "${pair#*|}"
done
