#!/bin/sh
# distributed: a future knows its client and result() asks it, but wait and as_completed do not. With a client that was made
# with set_as_default=False, the way for a library that must not take over the client of its user's notebook, every future can be
# read, and wait(futures) and as_completed(futures) raise "No clients found"; inside client.as_current() both work.
# Exits non-zero once distributed behaves otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "distributed==2026.8.0" "dask==2026.8.0"
cat > "$folder/show.py" <<'PY'
import sys

import distributed
from distributed import Client, LocalCluster, as_completed, wait


def twice(value):
    return 2 * value


if __name__ == "__main__":
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        futures = client.map(twice, [1, 2, 3])
        found = [f"result: {[each.result() for each in futures]}"]
        for function in (wait, as_completed):
            try:
                function(futures)
                found.append(f"{function.__name__}: works")
            except ValueError as error:
                found.append(f"{function.__name__}: {str(error).splitlines()[0]}")
        with client.as_current():
            found.append(f"as current: {len(wait(futures).done)} done, {len(list(as_completed(futures)))} completed")
    print("distributed", distributed.__version__)
    print("  " + "; ".join(found))
    expected = ["result: [2, 4, 6]", "wait: No clients found", "as_completed: No clients found"]
    expected.append("as current: 3 done, 3 completed")
    sys.exit(0 if found == expected else "distributed no longer does this")
PY
"$folder/venv/bin/python" "$folder/show.py"
