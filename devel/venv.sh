#!/usr/bin/env bash
# Make .venv from the locked requirements, with the project installed in it as a link to this checkout.
# A stamp inside remembers what it was made from: when nothing has changed, this returns at once.
# VENV_PYTHON names the Python to make it with, by an absolute path or as on PATH; else the first is taken that
# is found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/made-from
lock=requirements/dev.txt

# Two lines: a change of pyproject.toml alone needs no new environment, only a new link.
want_lock="$PWD $(cksum <"$lock")"
want_project="$(cksum <pyproject.toml)"

# `make run` and `make demo` in two terminals must not make it at the same time.
exec 9<"$lock"
if command -v flock >/dev/null; then flock 9; fi

fail() {
    echo "$1" >&2
    exit 1
}

have_lock= have_project=
if [[ -f $stamp ]] && $venv/bin/python -c '' 2>/dev/null; then
    { read -r have_lock && read -r have_project; } <"$stamp" || true
fi
if [[ -n ${VENV_PYTHON:-} ]]; then
    origin='import sys; print(sys.base_prefix, sys.version)'
    wanted=$("$VENV_PYTHON" -c "$origin" 2>/dev/null) || fail "VENV_PYTHON is $VENV_PYTHON, which does not run."
    if [[ $wanted != "$($venv/bin/python -c "$origin" 2>/dev/null)" ]]; then have_lock=; fi
fi
if [[ $have_lock == "$want_lock" && $have_project == "$want_project" ]]; then exit 0; fi

names=(python3.13 python3.12 python3.11 python3 /usr/bin/python3)
if [[ -n ${VENV_PYTHON:-} ]]; then names=("$VENV_PYTHON"); fi

# Print the first Python that is new enough and can make virtual environments. With any other argument than
# "complete", the first that is new enough. Each is run: a name on PATH may be a shim with nothing behind it.
find_python() {
    local name test='import sys; sys.exit(sys.version_info < (3, 11))'
    if [[ $1 == complete ]]; then test="import ensurepip, venv; $test"; fi
    for name in "${names[@]}"; do
        if "$name" -c "$test" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

if ! python=$(find_python complete); then
    python=$(find_python any) ||
        fail "Python 3.11 or newer is needed and not found${VENV_PYTHON:+ ($VENV_PYTHON is older)}: please install it (Debian 12: apt-get install python3)."
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    echo "$python cannot make virtual environments: installing the distribution's package $package (python3-venv)."
    sh devel/install.sh "$package" || sh devel/install.sh python3-venv ||
        fail "Please install the package python3-venv, then run this again."
    python=$(find_python complete) ||
        fail "Python still cannot make virtual environments: please install the package python3-venv."
fi

pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-input)
if [[ $have_lock != "$want_lock" ]]; then
    echo "Making $venv with $python from $lock; this takes a minute, once."
    rm -f "$stamp"
    "$python" -m venv --clear "$venv" # Also what is left of a run that was interrupted.
    "${pip[@]}" --require-hashes --only-binary :all: --requirement "$lock" ||
        fail "The packages of $lock could not be installed: see above; is this machine connected?"
fi
"${pip[@]}" --no-build-isolation --no-deps --editable . ||
    fail "The project could not be installed into $venv: see above."

printf '%s\n%s\n' "$want_lock" "$want_project" >"$stamp.new"
mv "$stamp.new" "$stamp" # In one step: a stamp is whole or not there.
