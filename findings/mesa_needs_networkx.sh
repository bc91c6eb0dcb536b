#!/bin/sh
# Plain Mesa 3.5.1, without extras, cannot be imported: "import mesa" imports mesa.discrete_space, which imports networkx, and
# networkx is declared for an extra alone. Mesa 3.4.2, installed alike, imports. Whoever depends on plain "mesa" has to ask
# for networkx as well. Needs Python 3.12 or newer (PYTHON names it). Exits non-zero once Mesa behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo "needs Python 3.12 (PYTHON=...)" >&2; exit 2; }
changed=0
for pair in "3.4.2|imports" "3.5.1|No module named 'networkx'"; do
    version=${pair%%|*}
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "mesa==$version"
    found=$("$folder/$version/bin/python" -W ignore -c '
try:
    import mesa
    print("imports")
except ModuleNotFoundError as error:
    print(error)')
    echo "plain mesa $version: $found"
    [ "$found" = "${pair#*|}" ] || changed=1
done
[ "$changed" -eq 0 ] || { echo "Mesa no longer does this" >&2; exit 1; }
