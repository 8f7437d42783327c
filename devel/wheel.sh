#!/usr/bin/env bash
# Put a wheel into a folder, compiled by mypyc for this machine and the Python that is named, else .venv's.
# What was there of other builds goes: a folder has one wheel, or none if this one fails. It is built from a
# source distribution, in a folder of its own, because the compiler writes beside the sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:?which folder?}
python=${2:-.venv/bin/python}

mkdir -p "$folder"
rm -f "$folder"/cloudphone_bridge-*
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "Compiling; this takes half a minute."
if ! HATCH_BUILD_HOOK_ENABLE_MYPYC=1 "$python" -m uv build --offline --no-build-isolation --python "$python" \
    --out-dir "$scratch" . >"$scratch/log" 2>&1; then
    cat "$scratch/log" >&2
    echo "The wheel could not be built: see above. Without a C compiler and the headers of Python it cannot be" >&2
    echo "(Debian: apt-get install gcc python3-dev)." >&2
    exit 1
fi
mv "$scratch"/*.whl "$folder"
ls "$folder"/*.whl
