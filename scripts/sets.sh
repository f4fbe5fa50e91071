# The sets of a service: two, blue and green, of instances with sockets of their own, so that a new build can run beside the
# old one. The file `sets` in RUN_DIR says how many instances of each are to run, and what part of the requests it has.
# Sourced after scripts/lib.sh, by the scripts and by cgi-message on a host.
# shellcheck shell=bash

# other_colour COLOUR
other_colour() {
    if [[ $1 == blue ]]; then say green; else say blue; fi
}

# require_set SERVICE COLOUR : die unless there can be one of this name
require_set() {
    [[ $1 == app || $1 == transform ]] || die "\"$1\" is no service; app and transform are"
    [[ $2 == blue || $2 == green ]] || die "\"$2\" is no colour of $1; blue and green are"
}

declare -A INSTANCES=() WEIGHT=() # of each set, by its name: app-blue

# load_sets : as they are
load_sets() {
    local name instances weight
    while read -r name instances weight; do
        INSTANCES[$name]=$instances WEIGHT[$name]=$weight
    done <"$RUN_DIR/sets"
}

# draft_sets : written beside, for what comes next to be one rename, which no full disk can stop
draft_sets() {
    local name lines=
    for name in {app,transform}-{blue,green}; do
        lines+="$name ${INSTANCES[$name]:-0} ${WEIGHT[$name]:-0}"$'\n'
    done
    { printf %s "$lines" >"$RUN_DIR/sets.new"; } 2>/dev/null
}

# keep_draft : from now on that is what is to run
keep_draft() {
    mv -- "$RUN_DIR/sets.new" "$RUN_DIR/sets"
}

# save_sets : whole or not at all
save_sets() {
    draft_sets && keep_draft
}

# share_of SET : its part of its service's requests, in %
share_of() {
    local all=$((${WEIGHT[${1%-*}-blue]:-0} + ${WEIGHT[${1%-*}-green]:-0}))
    say "$((all ? 100 * ${WEIGHT[$1]:-0} / all : 0))"
}
