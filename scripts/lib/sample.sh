# The call that shows that all of it works: what the file `sample` has. Sourced after words.sh and http.sh.
# shellcheck shell=bash

# load_sample : the request in SAMPLE_REQUEST; in SAMPLE_ANSWER jq's filter that is true of the right answer
load_sample() {
    local line lines=()
    while IFS= read -r line; do [[ -z $line || $line == '#'* ]] || lines+=("$line"); done <"$ROOT/sample"
    ((${#lines[@]} == 2)) || die "sample has ${#lines[@]} lines; it wants two, the request and the filter of its answer"
    SAMPLE_REQUEST=${lines[0]} SAMPLE_ANSWER=${lines[1]}
}

load_sample

# is_sample_answer TEXT : one JSON value, of which the filter is true. Of no value at all jq -e would say that it is.
is_sample_answer() {
    jq -es "length == 1 and (.[0] | $SAMPLE_ANSWER)" <<<"$1" >/dev/null 2>&1
}

# call_sample URL [CURL OPTION...] : send it; the answer is in $answer. Returns 1 if it is not the right one.
call_sample() {
    answer=$(call_http -sS --max-time 10 "${@:2}" -d "$SAMPLE_REQUEST" "$1/api" 2>&1) || return
    is_sample_answer "$answer"
}
