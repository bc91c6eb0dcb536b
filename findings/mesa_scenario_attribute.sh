#!/bin/sh
# Mesa 3.5: "scenario" is an attribute of every model that belongs to Mesa, and storing anything under that name writes to
# the stored object (its attribute "model"). A model that keeps its frozen settings as self.scenario, which worked up to
# Mesa 3.4, raises as it is built; a mutable object is changed without a word. The minor release says nothing of it.
# Needs Python 3.12 or newer (PYTHON names it). Exits non-zero once Mesa behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo "needs Python 3.12 (PYTHON=...)" >&2; exit 2; }
cat > "$folder/show.py" <<'PY'
import dataclasses
import sys

import mesa


@dataclasses.dataclass(frozen=True)
class Frozen:
    agents: int = 3


class Plain:
    agents = 3


class Model(mesa.Model):
    def __init__(self, settings):
        super().__init__(rng=1)
        self.scenario = settings


plain = Plain()
model = Model(plain)
print("mesa", mesa.__version__)
found = ["model" in vars(plain)]
print("  a plain object stored as model.scenario has been given an attribute 'model':", found[0])
try:
    Model(Frozen())
    found.append("stored")
except dataclasses.FrozenInstanceError as error:
    found.append(f"FrozenInstanceError: {error}")
print("  a frozen dataclass stored as model.scenario:", found[1])
sys.exit(0 if [str(part) for part in found] == sys.argv[1:] else "Mesa no longer does this")
PY
for pair in "3.4.2|False|stored" "3.5.1|True|FrozenInstanceError: cannot assign to field 'model'"; do
    version=${pair%%|*}
    rest=${pair#*|}
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "mesa==$version" "networkx==3.5"
    "$folder/$version/bin/python" -W ignore "$folder/show.py" "${rest%%|*}" "${rest#*|}"
done
