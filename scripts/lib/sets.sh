# The sets of a service: two, blue and green, of instances with sockets of their own, so that a new build can run beside the
# old one. The file `sets` in RUN_DIR says how many instances of each are to run, and what part of the requests it has.
# Sourced after services.sh, by the scripts and by cgi-message on a host.
# shellcheck shell=bash

# other_colour COLOUR
other_colour() {
    if [[ $1 == blue ]]; then say green; else say blue; fi
}

# require_set SERVICE COLOUR : there can be one of this name
require_set() {
    require_service "$1"
    require_choice "colour of $1" "$2" blue green
}

declare -A INSTANCES=() WEIGHT=() # of each set, by its name: app-blue

# all_sets : the names of all that there can be
all_sets() {
    local service
    for service in "${SERVICES[@]}"; do say "$service-blue"$'\n'"$service-green"; done
}

# longest_name : of all sets, how long the longest name is
longest_name() {
    all_sets | awk '{ if (length > most) most = length } END { print most }'
}

# plan_blue : all services are blue, with as many instances as the settings say
plan_blue() {
    local service
    for service in "${SERVICES[@]}"; do
        INSTANCES[$service-blue]=$(instances_setting "$service") WEIGHT[$service-blue]=100
        INSTANCES[$service-green]=0 WEIGHT[$service-green]=0
    done
}

# build_name PROGRAM WORDS : what tells this build from others: the words, and a hash of the program
build_name() {
    local hash
    hash=$(sha256sum <"$1")
    say "$2 ${hash:0:12}"
}

# load_sets : as they are
load_sets() {
    local name instances weight
    for name in $(all_sets); do INSTANCES[$name]=0 WEIGHT[$name]=0; done
    while read -r name instances weight; do
        INSTANCES[$name]=$instances WEIGHT[$name]=$weight
    done <"$RUN_DIR/sets"
}

# draft_sets : written beside, for what comes next to be one rename, which no full disk can stop
draft_sets() {
    local name lines=
    for name in $(all_sets); do
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
