# shellcheck shell=bash
# The integration tests that ship in Debian's -dev packages of Go clients: go_suite NAME PACKAGE DEBIAN_PACKAGE BAR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

go_suite() {
    local name=$1 package=$2 debian=$3 bar=$4 work="$CONF_SCRATCH/$1" out files tests passed skipped
    need_apt golang-go "$debian"
    out=$(log_file "$name")
    # shellcheck disable=SC2119 # none of ours
    suite_begin
    rm -rf "$work" && mkdir -p "$work/src/$package"
    cp -r "/usr/share/gocode/src/$package/." "$work/src/$package/"
    cd "$work/src/$package" || die "cannot enter $work"
    export GO111MODULE=off GOPATH="$work:/usr/share/gocode" GOCACHE="$CONF_SCRATCH/gocache" GOFLAGS=
    AMQP_URL="$(amqp_url)"
    export AMQP_URL
    # A few of the tests do not read AMQP_URL.
    sed -i "s#amqp://guest:guest@127.0.0.1:5672/#$AMQP_URL#; s#amqp://guest:guest@localhost:5672/#$AMQP_URL#" ./*_test.go
    mapfile -t files < <(grep -lE '^// ?\+build integration|^//go:build integration' ./*_test.go)
    tests=$(grep -hoE '^func Test[A-Za-z0-9_]+' "${files[@]}" | awk '{print $2}' | grep -vx TestMain | sort -u)
    # shellcheck disable=SC2086 # one word a test
    timeout -k 10 "${CONF_TIMEOUT:-300}" go test -tags integration -v -count=1 -timeout "$((${CONF_TIMEOUT:-300} - 20))s" \
        -run "^($(echo $tests | tr ' ' '|'))\$" . >"$out" 2>&1
    grep -E '^--- (FAIL|SKIP)|^panic' "$out" >&2
    passed=$(grep -cE '^--- PASS' "$out")
    skipped=$(grep -cE '^--- SKIP' "$out")
    suite_end "$name" "$passed" $(($(echo "$tests" | wc -l) - skipped)) "$bar"
}
