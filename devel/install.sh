#!/bin/sh
# Install packages of the distribution (Debian, Ubuntu), as root or through sudo, starting none of their
# services: neither now nor, for a package that was not there before, at the next boot.
#
#     devel/install.sh PACKAGE ...
#
# Ends with status 1 and one sentence on standard error when it cannot be done.
set -eu

fail() {
    echo "$1" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "There is no apt-get here: please install the equivalent of '$*' yourself."

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        fail "Neither root nor sudo: please have an administrator run 'apt-get install $*'."
    if [ -t 0 ]; then ask=; else ask=-n; fi # Nobody could type a password.
    # shellcheck disable=SC2086 # An empty option must vanish.
    exec sudo $ask sh "$0" "$@"
fi

# While this file says 101, the packages' scripts start no service (see invoke-rc.d(8)). One that is there
# already is the administrator's, unless a run of ours that was killed has left it.
policy=/usr/sbin/policy-rc.d
mark="# Temporary, by devel/install.sh of cloudphone-bridge. Remove this file if you find it."
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 143' HUP TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi

# A Ctrl-C does not reach what runs below: it would leave packages half installed and dpkg refusing to work.
trap '' INT
export DEBIAN_FRONTEND=noninteractive # Ask nothing.
apt() {
    # In a session of its own for that. It waits for another package manager that is at work, rather than fail.
    setsid --wait apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
missing=
for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done

install() {
    apt install -y --no-install-recommends "$@"
}
if apt-cache show "$@" >/dev/null 2>&1 && install "$@"; then
    :
else # The lists of packages are missing, or older than the server's.
    apt update || fail "'apt-get update' failed: see above; is this machine connected?"
    install "$@" || fail "'apt-get install $*' failed: see above."
fi

for package in $missing; do
    if [ -e "/etc/init.d/$package" ]; then
        update-rc.d "$package" disable >/dev/null
    fi
done
