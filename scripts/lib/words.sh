# What every script begins with: where things are, its words for the operator, the words that it takes. Sourced, never run;
# each script sets -euo pipefail itself.
# shellcheck shell=bash

# The environment is input: what it holds for other programs must not change what a script does. `bash -p`, the first line of each
# script, takes no function, no BASH_ENV, SHELLOPTS or CDPATH from it. The rest:
unset POSIXLY_CORRECT               # other rules for bash and the GNU tools
unset NGINX                         # nginx's own: the sockets that it inherits from a former binary
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
[[ -d ${TMPDIR:-/tmp} && -w ${TMPDIR:-/tmp} ]] || unset TMPDIR
export LC_ALL=C                     # the capital of i is I; programs speak one language
umask go-w                          # a stricter one stays

# shellcheck disable=SC2034 # for who sources this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin # nginx and openssl's friends; not in everybody's PATH on Debian

# ---- to the operator ----

say() {
    printf '%s\n' "$*"
}

# complain WORDS... : one line on standard error, whatever stands in a setting or a word that it quotes
complain() {
    local words=$*
    printf '%s: %s\n' "${0##*/}" "${words//[[:cntrl:]]/?}" >&2
}

# die WORDS... : it cannot be done
die() {
    complain "$@"
    exit 1
}

# misuse WORDS... : it was not asked for as --help says
misuse() {
    complain "$@"
    exit 2
}

# listed WORD... : "a", "a and b", "a, b and c"
listed() {
    local last=${*: -1} all
    (($# > 1)) || { say "$last" && return; }
    all=$(printf '%s, ' "${@:1:$#-1}")
    say "${all%, } and $last"
}

# ---- the words that a script was given ----

# answer_help WORD... : the comment at the top of a script is its --help; and what its function more_help prints
answer_help() {
    case ${1:-} in
    -h | --help)
        sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0"
        ! declare -F more_help >/dev/null || more_help
        exit 0
        ;;
    esac
}

# require_choice WHAT WORD CHOICE... : it is one of these
require_choice() {
    local choice choices
    for choice in "${@:3}"; do [[ $choice != "$2" ]] || return 0; done
    choices=$(listed "${@:3}")
    if (($# > 3)); then choices+=" are"; else choices+=" is"; fi
    misuse "\"$2\" is no $1; $choices"
}

# require_words WHAT... -- WORD... : one of each
require_words() {
    local names=()
    while [[ $1 != -- ]]; do names+=("$1") && shift; done
    shift
    (($# >= ${#names[@]})) || misuse "${names[$#]} is missing; --help says what is taken"
    (($# <= ${#names[@]})) || misuse "\"${*:${#names[@]}+1:1}\" is one word too many; --help says what is taken"
}

# require_count WHAT LEAST MOST WORD : it is a whole number between these
require_count() {
    [[ $4 =~ ^(0|[1-9][0-9]{0,5})$ && $4 -ge $2 && $4 -le $3 ]] ||
        misuse "\"$4\" is no $1; a whole number from $2 to $3 is"
}

# require_files WORD... : each is a file that there is, and none is named twice
require_files() {
    local file seen=
    for file; do
        [[ -f $file ]] || misuse "\"$file\" is no file; --help says what is taken"
        [[ $seen/ != *"/$file/"* ]] || misuse "\"$file\" is there twice; once is enough"
        seen+="/$file/"
    done
}

# ---- waiting ----

# wait_until SECONDS COMMAND... : run COMMAND until it succeeds. Returns 1 after SECONDS.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}
