# shellcheck shell=bash
# A broker under test for shell scripts. Source it; do not run it.
#
#   start_broker [key=value...]   start one of the kind that $BROKER asks for (see broker.py) and
#                                 export AMQP_HOST AMQP_PORT AMQP_USER AMQP_PASS AMQP_VHOST,
#                                 BROKER_PID, BROKER_PRODUCT and the hooks BROKER_STOP_CMD,
#                                 BROKER_START_CMD, BROKER_KILL_CMD (the port and the data stay),
#                                 BROKER_SET_CMD (KEY VALUE: a setting) and BROKER_CTL (its admin tool),
#                                 MGMT_URL (its HTTP API, when it has one)
#   stop_broker                   stop it; fails if it did not stop with status 0
#
# `ipv6=1` adds a listener on [::1] with the same port. With BROKER=external nothing is started and
# the hooks stay as the caller set them. The broker ends with the script that started it.

_broker_py="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/broker.py"
_broker_dir=""
_broker_server=""

start_broker() {
    export AMQP_USER="${AMQP_USER:-guest}" AMQP_PASS="${AMQP_PASS:-guest}" AMQP_VHOST="${AMQP_VHOST:-/}"
    if [ "${BROKER:-sluice}" = external ]; then
        export AMQP_HOST="${AMQP_HOST:-127.0.0.1}" AMQP_PORT="${AMQP_PORT:-5672}"
        export BROKER_STOP_CMD="${BROKER_STOP_CMD-}" BROKER_START_CMD="${BROKER_START_CMD-}"
        return 0
    fi
    _broker_dir="$(mktemp -d)" || return 1
    /usr/bin/python3 "$_broker_py" serve "$_broker_dir" "$@" &
    _broker_server=$!
    trap stop_broker EXIT
    local tries=0
    until [ -e "$_broker_dir/env" ]; do
        if ! kill -0 "$_broker_server" 2>/dev/null || [ "$tries" -ge 1200 ]; then
            echo "# the broker did not start" >&2
            return 1
        fi
        tries=$((tries + 1))
        sleep 0.05
    done
    # shellcheck disable=SC1091
    . "$_broker_dir/env"
}

stop_broker() {
    trap - EXIT
    [ -n "$_broker_server" ] || return 0
    local status=0
    kill -0 "$_broker_server" 2>/dev/null && /usr/bin/python3 "$_broker_py" ctl "$_broker_dir" quit
    wait "$_broker_server" || status=$?
    rm -rf "$_broker_dir"
    _broker_server="" _broker_dir=""
    return "$status"
}
