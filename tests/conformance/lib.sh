# shellcheck shell=bash
# Shared by the suite scripts in this folder. Source it; do not run it.
# Starts nothing by itself: a suite calls suite_begin, does its work and ends with suite_end.
set -u
conf_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export conf_dir
# shellcheck source=../support/broker.sh
. "$conf_dir/../support/broker.sh"

export CONF_SCRATCH="${CONF_SCRATCH:-${TMPDIR:-/tmp}/sluice-conformance}"
mkdir -p "$CONF_SCRATCH/dl" "$CONF_SCRATCH/log"

log() { echo "# $*" >&2; }
die() {
    echo "# $*" >&2
    exit 2
}

# suite_begin [key=value...]: start the broker under test with these settings.
suite_begin() { start_broker "$@" || die "no broker to test"; }

# Settings with which Sluice answers as the RabbitMQ that these suites were written for, where later ones answer otherwise: an
# unknown exchange type ends the connection, frames before tuning have at most 4096 octets.
# shellcheck disable=SC2034 # for the suites
as_rabbitmq=()
if [ "${BROKER:-sluice}" = sluice ]; then
    # shellcheck disable=SC2034
    as_rabbitmq=(amqp.emulate_product=RabbitMQ amqp.emulate_version=3.10.8 initial_frame_max=4096)
fi

# suite_end NAME PASSED TOTAL BAR: stop the broker, print the closing line, exit by the bar.
suite_end() {
    local name=$1 passed=$2 total=$3 bar=${CONF_BAR:-$4} status=0
    stop_broker || {
        log "the broker did not stop as it should"
        status=1
    }
    [ "$total" -ge "$bar" ] || total=$bar # a suite that died half-way did not pass the rest
    echo "$name $passed/$total"
    if [ "$passed" -lt "$bar" ]; then
        log "$name: below the bar of $bar"
        status=1
    fi
    exit "$status"
}

# log_file NAME: where the output of a suite goes.
log_file() { echo "$CONF_SCRATCH/log/$1.txt"; }

urlencode() { /usr/bin/python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"; }
amqp_url() {
    echo "amqp://$(urlencode "$AMQP_USER"):$(urlencode "$AMQP_PASS")@$AMQP_HOST:$AMQP_PORT/$(urlencode "$AMQP_VHOST")"
}

# need_apt PACKAGE...: install Debian packages that are missing. Services are not started.
need_apt() {
    local missing=() p sudo=()
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    [ "${CONF_INSTALL:-1}" = 0 ] && die "missing packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    log "apt-get install ${missing[*]}"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y \
        --no-install-recommends "${missing[@]}" >"$CONF_SCRATCH/log/apt.log" 2>&1 || {
        tail -5 "$CONF_SCRATCH/log/apt.log" >&2
        die "apt-get install failed"
    }
}

# source_index SUITE: set APT to the options that read the index of source packages of a Debian
# suite. It lives in the scratch folder and is derived from the machine's own binary sources.
source_index() {
    local suite=$1 dir="$CONF_SCRATCH/apt-$1" f
    APT=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o "Dir::Etc::sourceparts=$dir/parts"
        -o "Dir::State::lists=$dir/lists" -o APT::Sandbox::User=root)
    [ -e "$dir/ok" ] && return 0
    mkdir -p "$dir/lists/partial" "$dir/parts"
    : >"$dir/sources.list"
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -f "$f" ] && grep -qE '^URIs:.*debian' "$f" || continue
        awk -v suite="$suite" 'BEGIN { RS = ""; ORS = "\n\n" }
            suite == "bookworm" || !/debian-security/ {
                gsub(/(^|\n)Types:[^\n]*/, "\nTypes: deb-src")
                if (suite != "bookworm") gsub(/\nSuites:[^\n]*/, "\nSuites: " suite)
                sub(/^\n/, ""); print
            }' "$f" >"$dir/parts/$(basename "$f")"
    done
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$f" ] || continue
        grep -E '^deb .*debian' "$f" | if [ "$suite" = bookworm ]; then
            sed 's/^deb /deb-src /'
        else
            grep -vE -- 'security|-updates|-backports' | sed -E "s/^deb /deb-src /; s/ bookworm / $suite /"
        fi >>"$dir/sources.list"
    done
    apt-get "${APT[@]}" update >"$CONF_SCRATCH/log/apt-$suite.log" 2>&1 || die "no source index for $suite"
    touch "$dir/ok"
}

# debian_source SUITE PACKAGE DIR: unpack the upstream tarball of a source package into DIR, checked
# against the signed index. No Debian patch: the tests as their authors wrote them.
debian_source() {
    local suite=$1 package=$2 dir=$3 line uri file hash
    [ -e "$dir/.ok" ] && return 0
    source_index "$suite"
    line=$(apt-get "${APT[@]}" --print-uris --only-source source "$package/$suite" 2>/dev/null |
        grep -E '\.orig\.tar\.[a-z0-9]+ ' | head -1)
    [ -n "$line" ] || line=$(apt-get "${APT[@]}" --print-uris --only-source source "$package" 2>/dev/null |
        grep -E '\.orig\.tar\.[a-z0-9]+ ' | head -1)
    [ -n "$line" ] || die "no source of $package in $suite"
    read -r uri file _ hash <<<"$line"
    uri=${uri//\'/}
    [ -s "$CONF_SCRATCH/dl/$file" ] ||
        /usr/lib/apt/apt-helper "${APT[@]}" download-file "$uri" "$CONF_SCRATCH/dl/$file" "$hash" \
            >"$CONF_SCRATCH/log/$package-download.log" 2>&1 || die "cannot fetch $file"
    rm -rf "$dir" && mkdir -p "$dir"
    tar xf "$CONF_SCRATCH/dl/$file" -C "$dir" --strip-components=1 || die "cannot unpack $file"
    touch "$dir/.ok"
}

# npm_package NAME@VERSION DIR EXTRA...: unpack a published package with the tests it ships into DIR
# and install its dependencies and EXTRA beside it. No install script runs.
npm_package() {
    local spec=$1 dir=$2 file
    shift 2
    [ -e "$dir/.ok" ] && return 0
    command -v npm >/dev/null || need_apt npm
    rm -rf "$dir" && mkdir -p "$dir"
    file=$(cd "$CONF_SCRATCH/dl" && npm pack --silent "$spec" 2>/dev/null | tail -1)
    [ -n "$file" ] || die "npm pack $spec failed"
    tar xf "$CONF_SCRATCH/dl/$file" -C "$dir" --strip-components=1 2>/dev/null || die "cannot unpack $file"
    (
        cd "$dir" && rm -f npm-shrinkwrap.json package-lock.json
        npm pkg delete devDependencies peerDependencies scripts.prepare scripts.postinstall \
            scripts.prepublish >/dev/null 2>&1
        npm install --loglevel=error --no-audit --no-fund --ignore-scripts "$@"
    ) >"$CONF_SCRATCH/log/npm.log" 2>&1 || die "npm install for $spec failed"
    touch "$dir/.ok"
}

# with_default_port CMD...: run CMD with its connections to port 5672 on the loopback sent to the
# broker under test, for suites that have the default port written into them.
with_default_port() {
    local so="$CONF_SCRATCH/portmap.so"
    if [ ! "$so" -nt "$conf_dir/portmap.c" ]; then
        cc -O1 -Wall -shared -fPIC -o "$so" "$conf_dir/portmap.c" -ldl || die "cc failed"
    fi
    env LD_PRELOAD="$so" PORTMAP="5672=$AMQP_PORT" "$@"
}
