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
# A descriptor that the caller has closed would be that of the next file which is opened, and what is said would go there.
[[ -e /proc/self/fd/0 ]] || exec </dev/null
[[ -e /proc/self/fd/1 ]] || exec >/dev/null
[[ -e /proc/self/fd/2 ]] || exec 2>/dev/null

# shellcheck disable=SC2034 # for who sources this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH=$PATH:/usr/sbin:/sbin # nginx and openssl's friends; not in everybody's PATH on Debian. Without one, bash's own

# ---- to the operator ----

say() {
    printf '%s\n' "$*"
}

# note WORDS... : what is being done, where it takes more than a moment: to who waits at a terminal, and to nobody else
note() {
    [[ ! -t 2 ]] || printf '%s: %s\n' "${0##*/}" "$*" >&2
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

# fill_80 : text in 80 columns. A paragraph is filled anew; what is indented keeps its lines, and one that is too long goes on
# below its last column, which two spaces begin.
fill_80() {
    awk '
        function put(text, indent,    at) {
            while (length(text) > 80) {
                for (at = 81; at > length(indent) + 1 && substr(text, at, 1) != " "; at--);
                if (at <= length(indent) + 1) break
                print substr(text, 1, at - 1)
                text = indent substr(text, at + 1)
            }
            print text
        }
        function flush() { if (paragraph != "") put(paragraph, ""); paragraph = "" }
        /^( |usage:|$)/ {
            flush()
            match($0, /^usage: |^ *[^ ].*  +[^ ]|^ */)
            put($0, sprintf("%*s", substr($0, RLENGTH, 1) == " " ? RLENGTH : RLENGTH - 1, ""))
            next
        }
        { paragraph = paragraph (paragraph == "" ? "" : " ") $0 }
        END { flush() }'
}

# help_text : the comment at the top of a script, which ends in -h, and what its function more_help prints
help_text() {
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" | sed '/^ *-h, --help/p; s/-h, --help   /-V, --version/; s/this text$/which version this is/'
    ! declare -F more_help >/dev/null || more_help
}

# answer_help WORD... : --help and --version
answer_help() {
    case ${1:-} in
    -h | --help) help_text | fill_80 ;;
    -V | --version) say "${0##*/} $(sed -n 's/^# version: //p' "$ROOT/services")" ;;
    *) return 0 ;;
    esac
    exit 0
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

# ---- folders ----

# can_execute FOLDER : programs in it can be executed; a file system that is mounted with noexec forbids it
can_execute() {
    local probe=$1/probe.$$ status=0
    { printf '#!/bin/sh\n' >"$probe" && chmod 0700 "$probe" && "$probe"; } 2>/dev/null || status=1
    rm -f -- "$probe"
    return "$status"
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
