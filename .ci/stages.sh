# shellcheck shell=bash
# What .ci/run and .ci/full share; sourced by both, after `set -euo pipefail`. Defines and prints, runs no stage.

root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
summary=()
fast="not slow and not browser"

# The Pythons that README and classifiers name, and what newer ones are looked for.
named=(3.11 3.12 3.13)
newer=(3.14 3.15 3.16)

# What a new Python, Mesa, numba, pandas, typer or matplotlib breaks, it breaks here first.
core_tests=(
    tests/test_examples.py tests/differential
    tests/unit/test_agents.py tests/unit/test_cli.py tests/unit/test_compile.py tests/unit/test_ensemble.py
    tests/unit/test_model.py tests/unit/test_plots.py tests/unit/test_report.py tests/unit/test_result.py
    tests/unit/test_scenario.py tests/unit/test_stops.py
)

# What a person's shell may hold must not decide: the commands have to make what they need.
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONWARNINGS PYTEST_ADDOPTS NUMBA_DISABLE_JIT NUMBA_BOUNDSCHECK UV_PYTHON
unset UV_RESOLUTION UV_CONSTRAINT UV_OVERRIDE PIP_CONSTRAINT
export PYTHONHASHSEED=0 MPLBACKEND=Agg UV_NO_CONFIG=1
if [ -z "${CASCADE_SIM_DATA:-}" ] && [ -d "$root/../shared/data" ]; then
    CASCADE_SIM_DATA=$(cd "$root/../shared/data" && pwd)
    export CASCADE_SIM_DATA
fi
if [ -z "${CASCADE_SIM_CASES:-}" ] && [ -n "${CASCADE_SIM_DATA:-}" ] && [ -d "$CASCADE_SIM_DATA/../cases" ]; then
    CASCADE_SIM_CASES=$(cd "$CASCADE_SIM_DATA/../cases" && pwd)
    export CASCADE_SIM_CASES
fi
echo "reference data: ${CASCADE_SIM_DATA:-none, tests that need it are skipped}"
echo "cases from the field: ${CASCADE_SIM_CASES:-none, tests that need them are skipped}"
if [ -n "$(git -C "$root" status --porcelain)" ]; then
    echo "note: uncommitted changes are not part of what runs here"
fi

failed=()
stage() { # stage NAME COMMAND...: run it, print how long it took, stop at the first failure unless keep_going is set
    local name=$1 start=$SECONDS status=0
    shift
    printf '\n=== %s\n' "$name"
    # A child shell, because bash forgets `set -e` in whatever stands left of `||`.
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    summary+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
    echo "--- $name: $((SECONDS - start)) s, exit status $status"
    if [ "$status" -ne 0 ]; then
        printf '\nfailed: %s\n' "$name"
        failed+=("$name")
        if [ -z "${keep_going:-}" ]; then
            printf '%s\n' "${summary[@]}"
            exit "$status"
        fi
    fi
}

note() { # note TEXT: say it now and in the summary
    echo "$1"
    summary+=("          $1")
}

finish() { # finish: what passed, and status 1 if something did not
    if [ "${#failed[@]}" -eq 0 ]; then
        printf '\nall passed in %d s\n' "$SECONDS"
    else
        printf '\nfailed:\n'
        printf '    %s\n' "${failed[@]}"
    fi
    printf '%s\n' "${summary[@]}"
    [ "${#failed[@]}" -eq 0 ]
}

fresh_clone() { # fresh_clone NAME: the last commit in a folder of its own
    git clone --quiet --no-hardlinks "$root" "$scratch/$1"
}

readme_command() { # readme_command NAME FOLDER: the line as a person would paste it, in a new shell
    local line
    line=$(python3 "$2/.ci/readme_command.py" "$1")
    printf '$ %s\n' "$line"
    (cd "$2" && bash -c "$line")
}

optional_tests() { # optional_tests EXPRESSION [OPTION...]: tests by marker; that none carries it is said, and no failure
    local status=0 expression=$1
    shift
    .venv/bin/python -m pytest -q -m "$expression" "$@" || status=$?
    if [ "$status" -eq 5 ]; then
        echo "no test is marked: $expression"
        return 0
    fi
    return "$status"
}

starts() { # starts PROGRAM VERSION: whether it is that Python and can make environments; a shim may be neither
    # The checks are Python's, so that what a shim prints counts for nothing.
    "$1" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" > /dev/null 2>&1
}

interpreter() { # interpreter VERSION: print the path of a Python that starts; fails where there is none
    local candidate
    while IFS= read -r candidate; do
        if [ -x "$candidate" ] && starts "$candidate" "$1"; then
            echo "$candidate"
            return 0
        fi
    done < <(
        type -ap "python$1"
        compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1.*/bin/python$1"
        compgen -G "/opt/*/bin/python$1"
        compgen -G "$scratch/pythons/*/bin/python$1"
    )
    return 1
}

with_python() { # with_python PROGRAM COMMAND...: run it where python3 is that program
    local folder
    folder=$(mktemp -d "$scratch/python3.XXXXXX")
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$1" > "$folder/python3"
    chmod +x "$folder/python3"
    shift
    PATH="$folder:$PATH" "$@"
}

install_uv() { # install_uv: the resolver that can pick the lowest versions, in an environment of its own
    python3 -m venv "$scratch/uv"
    "$scratch/uv/bin/pip" install -q uv
}

uv() {
    "$scratch/uv/bin/uv" --quiet "$@"
}

has_wheels() { # has_wheels PROGRAM: whether every dependency can be had for it without a compiler
    uv pip compile --only-binary :all: --python "$1" "$root/pyproject.toml" > /dev/null 2>&1
}

main_job() { # main_job FOLDER: an ensemble, an agent in Python, and what the command left, in the clone's environment
    # Run elsewhere, so that what is tested is the package that was installed.
    cd "$scratch"
    "$1/.venv/bin/python" "$1/.ci/main_job.py" "$1/docs/examples" "$1/results"
}

newest() { # newest PROGRAM FOLDER: README's main command with the newest dependencies, then the rest of the main job
    with_python "$1" readme_command run "$2"
    main_job "$2"
}

newest_tests() { # newest_tests FOLDER TESTS...: fast tests in the environment that `newest` made
    cd "$1"
    uv pip install --python .venv/bin/python -e '.[test]'
    shift
    .venv/bin/python -m pytest -q -n 2 -m "$fast" "$@"
}

lowest() { # lowest PROGRAM FOLDER: the main job with the lowest versions that pyproject.toml allows
    cd "$2"
    uv venv --python "$1" .venv
    uv pip install --python .venv/bin/python --resolution lowest-direct --only-binary :all: \
        --no-binary cascade-sim -e '.[test]'
    .venv/bin/cascade-sim run
    .venv/bin/cascade-sim run --help > /dev/null
    main_job "$2"
}

lowest_tests() { # lowest_tests FOLDER TESTS...: fast tests in the environment that `lowest` made
    cd "$1"
    shift
    .venv/bin/python -m pytest -q -n 2 -m "$fast" "$@"
}
