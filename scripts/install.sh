#!/usr/bin/env bash
# Builds the project's environment in .venv; `make install` calls it.
#
# Each finished step leaves a stamp in .venv/.install: a checksum of what the step depends on. So a step runs
# again only when that changes or when it was interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Settings of the user's that would send packages elsewhere, or change what is compiled. With CUDA_HOME set, fairseq
# compiles CUDA extensions, which nothing here uses. PIP_USER=0 also overrides pip's configuration file.
unset PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONPATH PYTHONHOME CUDA_HOME CUDA_PATH _PYTHON_SYSCONFIGDATA_NAME
export PIP_USER=0

VERSIONS="3.11 3.12 3.13"
NEEDED="Python 3.11, 3.12 or 3.13 is needed"
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3.11  # what an error names if there is none
    for version in $VERSIONS; do
        if command -v "python$version" >/dev/null; then PYTHON=python$version; break; fi
    done
fi
STATE=.venv/.install
PY=.venv/bin/python
NEED_KB=$((3 * 1024 * 1024))

fail() {
    echo "install: $*" >&2
    exit 1
}

# ---- stamps --------------------------------------------------------------------------------------

key() {  # the checksum that step $1 should carry
    case $1 in
        # The path, because a moved .venv has console scripts that point to its old place.
        venv)    pwd ;;
        torch)   cat requirements/torch.txt ;;
        build)   cat requirements/{build,core}.txt ;;
        project) cat requirements/*.txt setup.py pyproject.toml ;;
        fairseq) cat requirements/{torch,build,core,fairseq}.txt ;;
    esac | cksum
}

is_done() { [ -x $PY ] && [ -f "$STATE/$1" ] && [ "$(cat "$STATE/$1")" = "$(key "$1")" ]; }

run() {  # run TITLE COMMAND...: its output goes to a log, whose end is shown when it fails
    local log="$STATE/$step.log"
    echo "[$number/${#steps[@]}] $1 (log: $log)"
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        fail "step '$step' failed: see the lines above and $log, then rerun make install to resume"
    fi
}

pip_install() { $PY -m pip install --no-input --disable-pip-version-check "$@"; }

# ---- what is checked before anything is written --------------------------------------------------

check_python() {  # check_python PROGRAM CURE
    local found
    command -v "$1" >/dev/null || fail "$1 not found, but $NEEDED: $2"
    found=$("$1" --version 2>&1 </dev/null | tail -n 1) || true
    for version in $VERSIONS; do
        case $found in "Python $version."*) return ;; esac
    done
    fail "$1 is '$found', but $NEEDED: $2"
}

check_venv() {  # refuse a .venv that this script did not make; an incomplete or moved one is cleared later
    [ ! -L .venv ] || fail ".venv is a symbolic link to $(readlink .venv), an environment that would be overwritten:" \
        "remove the link (rm .venv)"
    [ -e .venv ] && [ ! -d $STATE ] || return 0
    ! $PY -m pip --version >/dev/null 2>&1 ||
        fail ".venv is a working environment that make install did not make: move it away"
}

check_compiler() {
    command -v c++ >/dev/null && return
    export CXX=${CXX:-g++}  # torch's extension builder would look for c++ only
    command -v "$CXX" >/dev/null ||
        fail "no C++ compiler (c++ or g++) on PATH, and fairseq must be compiled:" \
             "install one (Debian, Ubuntu: apt-get install g++; macOS: xcode-select --install)"
}

check_disk() {
    local free
    free=$(df -Pk . | awk 'NR == 2 {print $4}') || return 0
    [ "$free" -ge $NEED_KB ] ||
        fail "only $((free / 1024)) MB free in $PWD, $((NEED_KB / 1024)) MB needed: free some space first"
}

# ---- the steps -----------------------------------------------------------------------------------

make_venv() {
    # An existing .venv is incomplete, or was made by this script and moved.
    local output
    echo "[$number/${#steps[@]}] .venv from $PYTHON"
    output=$("$PYTHON" -m venv --clear .venv 2>&1 </dev/null) || {
        [ -z "$output" ] || echo "$output" >&2
        fail "'$PYTHON -m venv' failed: install the venv module" \
             "(Debian, Ubuntu: apt-get install python3-venv) or name another PYTHON="
    }
    mkdir -p $STATE  # marks .venv as made by this script
    [ -f "$($PY -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        fail "Python.h not found, and fairseq must be compiled:" \
             "install the headers (Debian, Ubuntu: apt-get install python3-dev) or name another PYTHON="
}

build_fairseq() {
    local how=(--no-build-isolation --no-deps -r requirements/fairseq.txt)
    local compiled='import fairseq.libbleu, fairseq.libnat, fairseq.data.data_utils_fast'
    pip_install "${how[@]}" || return 1
    # pip keeps the wheels it builds, and one built against another torch does not load.
    $PY -c "$compiled" || { pip_install --force-reinstall --no-cache-dir "${how[@]}" && $PY -c "$compiled"; }
}

install_step() {
    case $step in
        venv)    make_venv ;;
        torch)   run "torch, the largest download" pip_install -r requirements/torch.txt ;;
        build)   run "what fairseq's build needs" pip_install -r requirements/build.txt ;;
        project) run "this project with its dependencies" pip_install --no-build-isolation -e '.[dev]' ;;
        fairseq) run "fairseq, compiled here, about 3 minutes" build_fairseq ;;
    esac
    key "$step" >"$STATE/$step"
}

steps=(venv torch build project fairseq)
todo=()
for step in "${steps[@]}"; do
    is_done "$step" || todo+=("$step")
done
[ ${#todo[@]} -gt 0 ] || exit 0

pending() { [[ " ${todo[*]} " == *" $1 "* ]]; }
if pending venv; then
    todo=("${steps[@]}")
    check_venv
    check_python "$PYTHON" "install it, or name one: make install PYTHON=/path/to/python3.11"
fi
if pending fairseq; then check_compiler; fi
if pending torch; then check_disk; fi

number=0
for step in "${steps[@]}"; do
    number=$((number + 1))
    if pending "$step"; then install_step; fi
done
echo "installed in .venv; to list the installation: $PY scripts/doctor.py"
