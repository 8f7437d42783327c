#!/usr/bin/env bash
# Install what the peers of the benchmark need: Node packages and a Python environment of their own, both
# locked with hashes, and the distribution's packages. What cannot be installed is named; the rest goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=benchmarks/peers
venv=.venv-peers
missed=0

miss() {
    echo "Not installed: $1" >&2
    missed=1
}

if command -v npm >/dev/null; then
    # No package runs a script of its own here: none of these needs one.
    npm --prefix "$folder" ci --ignore-scripts --no-progress --silent || miss "the Node packages: see above."
else
    miss "the Node packages: there is no npm; install Node 18 or newer."
fi

stamp=$venv/made-from
want="$PWD $(cksum <"$folder/requirements.txt")"
if [[ ! -f $stamp || $(<"$stamp") != "$want" ]]; then
    .venv/bin/python -m venv --clear "$venv"
    if "$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-input \
        --require-hashes --only-binary :all: --requirement "$folder/requirements.txt"; then
        echo "$want" >"$stamp"
    else
        miss "the Python packages: see above."
    fi
fi

sh devel/install.sh rabbitmq-server nginx libnginx-mod-nchan nats-server ||
    miss "rabbitmq-server, nginx, libnginx-mod-nchan or nats-server: see above."

command -v "${CENTRIFUGO:-}" >/dev/null ||
    echo "Centrifugo is measured too if the variable CENTRIFUGO names its program."

exit $missed
