#!/usr/bin/env bash
# Build a wheel into a folder, compiled by mypyc for this machine and .venv's Python. It is built from a source
# distribution, in a folder of its own, because the compiler writes beside the sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:?which folder?}
python=.venv/bin/python
HATCH_BUILD_HOOK_ENABLE_MYPYC=1 "$python" -m uv build --quiet --no-build-isolation --python "$python" \
    --out-dir "$folder" . || {
    echo "The wheel could not be built: see above. Compiling takes a C compiler and the headers of Python" >&2
    echo "(Debian: apt-get install gcc python3-dev)." >&2
    exit 1
}
