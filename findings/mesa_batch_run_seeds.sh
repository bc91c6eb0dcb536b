#!/bin/sh
# Mesa: the seeds of a batch are lost by an upgrade, without a word. With Mesa 3.3 the only way to seed the runs of mesa.batch_run
# is to name the argument among the parameters, {"rng": [1, 2]}. From 3.4 on batch_run has an argument rng of its own, and
# writes its default over the parameter: the same call still makes two runs a point, each with rng=None, that is with fresh
# entropy. No error, no warning; the column rng of the rows, which named the seed, is empty.
# Needs Python 3.12 or newer (PYTHON names it). Exits non-zero once Mesa behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo "needs Python 3.12 (PYTHON=...)" >&2; exit 2; }
cat > "$folder/show.py" <<'PY'
import sys
import warnings

import mesa


class Draw(mesa.Model):
    def __init__(self, rng=None):
        super().__init__(rng=rng)
        self.value = None
        self.datacollector = mesa.DataCollector(model_reporters={"value": "value"})

    def step(self):
        self.value = float(self.rng.random())
        self.datacollector.collect(self)
        self.running = False


def batch(**arguments):
    return mesa.batch_run(Draw, display_progress=False, **arguments)


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = batch(parameters={"rng": [1, 2]})
        second = batch(parameters={"rng": [1, 2]})
    seeds = [row["rng"] for row in first]
    same = [row["value"] for row in first] == [row["value"] for row in second]
    found = f"{seeds}, repeated: {same}, warnings: {len(said)}"
    print("mesa", mesa.__version__)
    print("  batch_run(parameters={'rng': [1, 2]}) twice; seeds of the rows:", found)
    sys.exit(0 if found == sys.argv[1] else "Mesa no longer does this")
PY
for pair in "3.3.1|[1, 2], repeated: True, warnings: 0" "3.4.2|[None, None], repeated: False, warnings: 0" \
    "3.5.1|[None, None], repeated: False, warnings: 0"; do
    version=${pair%%|*}
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "mesa==$version" "networkx==3.5"
    "$folder/$version/bin/python" "$folder/show.py" "${pair#*|}"
done
