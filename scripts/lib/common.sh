# SPDX-License-Identifier: GPL-2.0-or-later
# Shell helpers shared by the scripts: messages, progress, the cache directory, root rights.
# Sourced by bash scripts that have set TREE to the top of the source tree.

LAB_CACHE=${VIREO_LAB_CACHE:-$TREE/.lab}
START_SECONDS=$SECONDS

# Messages go to standard error, so that a script's output stays usable in a pipe.
say() {
    printf '%s\n' "$*" >&2
}

step() {
    printf '[%3ds] %s\n' $((SECONDS - START_SECONDS)) "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# progress LOG TEXT COMMAND...: runs COMMAND with its output in LOG, shows that it is alive by the
# seconds passed (on a terminal) and shows the end of LOG when it fails.
progress() {
    local log=$1 text=$2 began=$SECONDS status=0 pid
    shift 2
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    # shellcheck disable=SC2064
    trap "kill $pid 2>/dev/null" EXIT
    if [ -t 2 ]; then
        while kill -0 $pid 2>/dev/null; do
            printf '\r[%3ds] %s ... %d s' $((SECONDS - START_SECONDS)) "$text" \
                $((SECONDS - began)) >&2
            sleep 0.5
        done
        printf '\r\033[K' >&2
    fi
    wait $pid || status=$?
    trap - EXIT
    if [ $status -ne 0 ]; then
        say "$text: failed (exit $status); the end of $log:"
        tail -n 25 "$log" >&2
        return $status
    fi
    step "$text: done in $((SECONDS - began)) s"
}

# as_root COMMAND...: runs it directly as root, through sudo otherwise.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$1' needs root: run this as root, or install sudo"
    fi
}

# have COMMAND...: true when every command is found.
have() {
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || [ -x "/usr/sbin/$name" ] || [ -x "/sbin/$name" ] ||
            return 1
    done
}
