#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2016,SC2034,SC2154 # nginx has variables, too; set here for stack.bash, or there for here
# Our site beside others in one nginx: names that both use, directives in http {} that ours would inherit. A copy of the checkout
# includes what a test writes before our site, and behind it.

load lib/helpers
load lib/copy
load lib/stack

# What makes nginx's files hold all that they can hold.
ALL_SETTINGS=(TRUSTED_PROXIES=10.0.0.0/8 HSTS_SECONDS=600 CORS_ORIGIN=https://a.example CLIENT_RATE=1000)

setup_file() {
    [[ -z ${SANITIZE:-} ]] || return 0
    export SITES=$BATS_FILE_TMPDIR/sites
    mkdir -p "$SITES"
    make_copy "$BATS_FILE_TMPDIR/c"
    sed -i "s#^    include site.conf;#    include $SITES/before.conf;\n&\n    include $SITES/behind.conf;#" "$ROOT/nginx/nginx.conf"
}

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "nginx's files are those of the usual build"
    use_copy "$BATS_FILE_TMPDIR/c"
    rm -f "$SITES/foreign.log"
    : >"$SITES/before.conf"
    : >"$SITES/behind.conf"
}

teardown() {
    [[ -z ${RUN_DIR:-} ]] || end_stack
}

# ---- names ----

# names_of KIND : what our files, and our modules' variables, have but once in an nginx, without its prefix, one a line
names_of() {
    local files=("$ROOT"/nginx/*.conf "$ROOT"/nginx/{snippets,each}/*.conf "$ROOT/scripts/lib/nginx.sh") pattern
    case $1 in
    variables) pattern='s/.*(map|geo) .*\$([a-z_]+) \{.*/\2/p; s/.*\(\?<([a-z_]+)>.*/\1/p; s/.*ngx_string\("(cgi_[a-z_]+[a-z])".*/\1/p' ;;
    upstreams) pattern='s/^upstream ([^ ]+) .*/\1/p' ;;
    zones) pattern='s/.*zone=([^:]+):.*/\1/p; s/.*shared:([^:]+):.*/\1/p' ;;
    formats) pattern='s/^log_format ([^ ]+) .*/\1/p' ;;
    esac
    sed -nE "$pattern" "${files[@]}" "$ROOT"/nginx/metrics/*.c | sed -E 's/\$\{SERVICE\}/app/; s/^\\?\$//' | sort -u
}

@test "each name of ours in http {} begins with cgi_ or cgi-" {
    local kind names
    for kind in variables upstreams zones formats; do
        names=$(names_of "$kind")
        expect_match '[a-z]' "$names" "$kind"
        expect_equal '' "$(grep -v '^cgi[_-]' <<<"$names")" "$kind without our prefix"
    done
}

# plain KIND : our names as another site would have chosen them
plain() {
    names_of "$1" | sed 's/^cgi[_-]//'
}

# foreign_site HOW : a site that has all plain names: its variables are those of maps, or captured. Its /variables shows them.
foreign_site() {
    local names
    mapfile -t names < <(plain variables)
    [[ $1 != maps ]] || printf 'map $uri $%s { default x; }\n' "${names[@]}"
    plain upstreams | sed "s#.*#upstream & { server unix:$SITES/foreign.sock; }#"
    plain formats | sed "s#.*#log_format & foreign;#"
    plain zones | sed 's#.*#limit_req_zone $uri zone=&:1m rate=99r/s;#'
    echo "server { listen unix:$SITES/foreign.sock; access_log $SITES/foreign.log access;"
    if [[ $1 == maps ]]; then echo 'location = /variables/ {'; else echo "location ~ \"^/variables/$(printf '(?<%s>x)' "${names[@]}")\" {"; fi
    echo "return 200 '$(printf '$%s' "${names[@]}")'; } location / { proxy_pass http://app/variables/; } }"
}

# foreign_answer : of the foreign site, whichever way it has its variables
foreign_answer() {
    curl -sS --unix-socket "$SITES/foreign.sock" "http://x/variables/$1"
}

# expect_ours : what our site shows of its variables is its own
expect_ours() {
    post_sample -H 'X-Request-ID: mine' -H "traceparent: 00-$(printf 'a%.0s' {1..32})-$(printf 'b%.0s' {1..16})-01"
    expect_sample || return
    expect_equal mine "$(header x-request-id)" X-Request-ID || return
    expect_equal no-store "$(header cache-control)" Cache-Control || return
    wait_until 5 is_in_log '"request_id":"mine".*"uri":"/api".*"traceparent":"00-a' access.log || return
    request TRACE /api -H 'Origin: https://a.example'
    expect_problem 405 'Allow lists' || return
    expect_equal 'POST https://a.example' "$(header allow) $(header access-control-allow-origin)" headers
}

@test "a site before or behind ours that uses every plain name of ours: both answer as they do alone" {
    local how where many
    many=$(plain variables | sed 's/.*/x/' | tr -d '\n')
    for how in maps captures; do
        for where in before behind; do
            rm -f "$SITES"/*.{conf,sock}
            touch "$SITES"/{before,behind}.conf
            foreign_site "$how" >"$SITES/$where.conf"
            start_stack "$BATS_TEST_TMPDIR/$how-$where" "${ALL_SETTINGS[@]}"
            expect_ours || { echo "with $how $where" >&2; return 1; }
            expect_equal "$many" "$(foreign_answer "$([[ $how == maps ]] || echo "$many")")" "foreign answer with $how $where"
            end_stack
            RUN_DIR=
        done
    done
}

# ---- what is inherited ----

# cases : of tests/cases/inherited.tsv, without its comments
cases() {
    grep -v '^#' "$ROOT/tests/cases/inherited.tsv"
}

# known_directives : of the nginx that is installed, those that a server or a location inherits
known_directives() {
    python3 "$ROOT/tests/lib/directives.py" "$(command -v nginx)"
}

# decision_of DIRECTIVE : what its line, the first that matches, says; of PATTERNS and DECISIONS
decision_of() {
    local i
    for i in "${!PATTERNS[@]}"; do
        # shellcheck disable=SC2053 # a pattern
        [[ $1 != ${PATTERNS[i]} ]] || { echo "${DECISIONS[i]}" && return; }
    done
}

@test "each directive that our site could inherit has its line in inherited.tsv; what is set there is set in nginx/" {
    local directive directives ours PATTERNS DECISIONS
    mapfile -t PATTERNS < <(cases | cut -f 1)
    mapfile -t DECISIONS < <(cases | cut -f 2)
    directives=$(known_directives)
    expect_match $'\n''fastcgi_intercept_errors'$'\n' "$directives"
    ours=$'\n'$(grep -rhoE '^ *[a-z0-9_]+ ' "$ROOT/nginx" --include='*.conf' | tr -d ' ' | sort -u)$'\n'
    while read -r directive; do
        case $(decision_of "$directive") in
        harmless | host) ;;
        set) [[ $ours == *$'\n'"$directive"$'\n'* ]] || { echo "not set: $directive" >&2; return 1; } ;;
        *) { echo "not decided: $directive" >&2; return 1; } ;;
        esac
    done <<<"$directives"
}

# hostile DIRECTIVE : the directives of inherited.tsv with their hostile values, as far as this nginx knows them, without this one
hostile() {
    local directive value known
    known=$(known_directives)
    echo "fastcgi_cache_path $SITES/cache keys_zone=foreign:1m;"
    while IFS=$'\t' read -r directive _ value _; do
        [[ $value == - || $directive == "$1" || $'\n'$known$'\n' != *$'\n'"$directive"$'\n'* ]] || echo "$directive ${value//DIR/$SITES};"
    done < <(cases)
}

# expect_contract FILE... : the tests of these files pass, in the copy
expect_contract() {
    run env -i PATH="${PATH#*/bats-core:}" HOME="$HOME" BUILD_DIR="$BUILD_DIR" bats --formatter tap --print-output-on-failure "${@/#/$ROOT/tests/}" 3>&-
    expect_status 0
    expect_match $'\n''ok ' "$output"
}

# nginx has fastcgi_cache or fastcgi_store, not both.
@test "in an http {} that sets all of them to something hostile, before our site, the contract holds" {
    hostile fastcgi_cache >"$SITES/before.conf"
    expect_contract api.bats edge.bats front.bats
    expect_equal '' "$(cat "$SITES/foreign.log" 2>/dev/null)" "the other site's log"
}

@test "so it does with all that, and another site, behind ours" {
    { hostile fastcgi_store && foreign_site maps; } >"$SITES/behind.conf"
    expect_contract api.bats
}

@test "who may call is the host's to say: the refusal is problem+json, and /_health asks the services all the same" {
    echo "satisfy any; allow 127.0.0.1; deny all; auth_basic x; auth_basic_user_file $SITES/users;" >"$SITES/before.conf"
    : >"$SITES/users"
    start_stack "$BATS_TEST_TMPDIR/r"
    request GET / --interface 127.0.0.9
    expect_problem 401
    expect_equal 'Basic realm="x"' "$(header www-authenticate)"
    request GET /%00 --interface 127.0.0.9
    expect_problem 400
    STACK_NOISE="$NOISE_OF_KILLED|no user/password|auth request unexpected status: 502"
    end_instance transform-blue-1 transform-blue-2
    request GET /_health
    expect_problem 503
}
