# Which set of a service gets how many of its requests, in nginx's configuration. Sourced after nginx.sh, sets.sh, which has
# INSTANCES and WEIGHT: who changes these has nginx take it over, and a platform (platform.sh). What fails leaves all as it was,
# returns 1 and puts the reason into WHY: it is for the caller to say.
# shellcheck shell=bash
# shellcheck disable=SC2004 # INSTANCES and WEIGHT are by name: without the $ it would be another one

WHY=
START_SECONDS=10 # a start takes well under one

# serving_sets SERVICE : the sets that get requests
serving_sets() {
    local set
    for set in "$1-blue" "$1-green"; do
        ((${INSTANCES[$set]:-0} == 0 || ${WEIGHT[$set]:-0} == 0)) || say "$set"
    done
}

# call_sets SERVICE : what one_set sets, by INSTANCES and WEIGHT
# shellcheck disable=SC2034 # for nginx.sh
call_sets() {
    local sets set lines='' status=()
    mapfile -t sets < <(serving_sets "$1")
    for set in "${sets[@]}"; do
        # shellcheck disable=SC2046 # a word each
        lines+=$(server_lines "${WEIGHT[$set]}" $(sockets_of "$set" sock))$'\n'
        mapfile -t -O "${#status[@]}" status < <(sockets_of "$set" status)
    done
    # One that `services` has had since the start, and that nobody has started yet, makes nothing else ill.
    ASKED[$1]=${sets[*]}
    CALL[$1]=cgi-$1
    ((${INSTANCES[$1-blue]:-0} == 0 || ${INSTANCES[$1-green]:-0} == 0)) || CALL[$1]=\$cgi_set_$1
    lines=${lines%$'\n'}
    SERVERS[$1]=${lines:-$(server_lines 1)}
    STATUS_SERVERS[$1]=$(status_lines "${status[@]}")
    set_tries "$1" "${#status[@]}"
    # shellcheck disable=SC2046 # a word each
    BLUE_SERVERS[$1]=$(server_lines 1 $(sockets_of "$1-blue" sock))
    # shellcheck disable=SC2046
    GREEN_SERVERS[$1]=$(server_lines 1 $(sockets_of "$1-green" sock))
    set_timeout "$1" "$(instances_setting "$1")"
}

# render_services MODULE_DIR : nginx's files by INSTANCES and WEIGHT
render_services() {
    local service
    for service in "${SERVICES[@]}"; do call_sets "$service"; done
    render_nginx "$1"
}

# ---- having nginx take it over ----

put_back() {
    rm -rf -- "$RUN_DIR/nginx"
    mv -- "$RUN_DIR/nginx.before" "$RUN_DIR/nginx"
}

# render_tested : nginx's files by INSTANCES and WEIGHT, if nginx takes them. Those before are in nginx.before.
render_tested() {
    local said
    [[ ! -e $RUN_DIR/nginx.before ]] || put_back # somebody was killed here
    if ! mv -- "$RUN_DIR/nginx" "$RUN_DIR/nginx.before" 2>/dev/null; then
        rm -rf -- "$RUN_DIR/nginx.before" # where mv has to copy, a part of it; what it could not move is whole
        WHY="$RUN_DIR/nginx cannot be moved aside"
        return 1
    fi
    if ! said=$(render_sets 2>&1); then
        WHY=${said#"${0##*/}: "}
    elif ! said=$(test_nginx 2>&1); then
        WHY=$(refusal "$said")
    else
        return 0
    fi
    put_back
    return 1
}

# take_over : have the running nginx serve by INSTANCES and WEIGHT
take_over() {
    local nginx
    if ! nginx=$(nginx_pid); then
        WHY="nginx does not run"
    elif ! render_tested; then
        : # WHY is its
    elif ! draft_sets; then
        WHY="$RUN_DIR/sets.new cannot be written; is the disk full?"
        put_back
    elif ! reload_nginx "$nginx"; then
        WHY="nginx does not take over its configuration: $(nginx_error)"
        put_back
    else
        rm -rf -- "$RUN_DIR/nginx.before"
        keep_draft
        return
    fi
    load_sets
    return 1
}

# ---- one set ----

# fail_set SET WORDS... : what begin_set has begun ends
fail_set() {
    end_set "$1"
    load_sets
    WHY=${*:2}
    return 1
}

# begin_set SET PROGRAM : start its instances, as many as its service has, and let nginx know of them. They have no part of
# the requests yet. Takes START_SECONDS at most until they serve.
begin_set() {
    local count said names
    count=$(instances_setting "${1%-*}")
    end_set "$1" # what somebody who was killed has left
    said=$("$2" -t 2>&1) || fail_set "$1" "$1 does not start: ${said%%$'\n'*}" || return
    start_set "$1" "$count" "$2" || fail_set "$1" "$1 does not start: its program cannot be put into $RUN_DIR/bin" || return
    INSTANCES[$1]=$count WEIGHT[$1]=0
    mapfile -t names < <(instances_of "$1")
    wait_until "$START_SECONDS" answer "${names[@]}" ||
        fail_set "$1" "$1 does not serve; $(log_of "${names[0]}") says: $(last_words "${names[0]}")" || return
    take_over || fail_set "$1" "$WHY"
}

# finish_set SET : it has no part of the requests; nginx forgets it, and once no request can come any more, it ends
finish_set() {
    INSTANCES[$1]=0
    take_over || return 1
    wait_until "$STOP_SECONDS" has_drained "$(nginx_pid)" ||
        complain "nginx still finishes requests after $STOP_SECONDS s; ending $1 all the same"
    end_set "$1"
}

# ---- what is asked for ----

# show : what runs, which build, and its part of the requests
show() {
    local set total width
    width=$(longest_name)
    for set in $(all_sets); do
        ((${INSTANCES[$set]})) || continue
        total=$((WEIGHT[${set%-*}-blue] + WEIGHT[${set%-*}-green]))
        printf '%-*s %3d instances %3d of %d   %s\n' "$width" "$set" "${INSTANCES[$set]}" "${WEIGHT[$set]}" "$total" "$(build_of "$set")"
    done
}

# take_weight SERVICE COLOUR=WEIGHT
take_weight() {
    local colour=${2%%=*} weight=${2#*=}
    require_set "$1" "$colour"
    [[ $weight =~ ^[0-9]{1,4}$ ]] || misuse "the weight of $colour is \"$weight\"; set it to a whole number from 0 to 9999"
    WEIGHT[$1-$colour]=$((10#$weight))
    ((WEIGHT[$1-$colour] == 0 || ${INSTANCES[$1-$colour]})) ||
        die "$colour of $1 does not run; ${TOOL}start $1 $colour starts it"
}

# require_weights SERVICE COLOUR | SERVICE COLOUR=WEIGHT... : nothing else, and none twice
require_weights() {
    local part seen=
    require_service "$1"
    (($# > 1)) || misuse "a colour of $1 is missing; blue and green are"
    (($# > 2)) || [[ $2 == *=* ]] || { require_set "$1" "$2" && return; }
    for part in "${@:2}"; do
        require_set "$1" "${part%%=*}"
        [[ $part == *=* ]] || misuse "\"$part\" has no weight; say $part=90, or one colour alone"
        [[ " $seen " != *" ${part%%=*} "* ]] || misuse "\"$part\" is one word too many; ${part%%=*} has a weight already"
        seen+=" ${part%%=*}"
    done
}

# route SERVICE COLOUR | SERVICE COLOUR=WEIGHT...
route() {
    local part
    require_weights "$@"
    WEIGHT[$1-blue]=0 WEIGHT[$1-green]=0
    if (($# == 2)) && [[ $2 != *=* ]]; then set -- "$1" "$2=100"; fi
    for part in "${@:2}"; do take_weight "$1" "$part"; done
    ((WEIGHT[$1-blue] + WEIGHT[$1-green])) || misuse "all weights are 0; nobody would answer for $1"
    take_over || die "$WHY; nothing has changed"
}

# retire_set SERVICE COLOUR : end a set that has no part of the requests
retire_set() {
    local set=$1-$2
    ((INSTANCES[$set])) || return 0
    ((WEIGHT[$set] == 0)) ||
        die "$2 of $1 still gets requests; ${TOOL}route $1 $(other_colour "$2") gives them to the other"
    finish_set "$set" || die "$WHY; nothing has changed"
}
