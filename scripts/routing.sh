# Which set of a service gets how many of its requests, in nginx's configuration. Sourced after scripts/lib.sh, render.sh and
# sets.sh, which has INSTANCES and WEIGHT: who changes these has nginx take it over. What fails leaves all as it was, returns 1
# and puts the reason into WHY: it is for the caller to say.
# shellcheck shell=bash

WHY=
START_SECONDS=10 # a start takes well under one

# addresses_of SET KIND : the sockets of its instances; KIND is sock or status
addresses_of() {
    local name
    for name in $(instances_of "$1"); do say "unix:$RUN_DIR/$name.$2"; done
}

# serving_sets SERVICE : the sets that get requests
serving_sets() {
    local set
    for set in "$1-blue" "$1-green"; do
        ((${INSTANCES[$set]:-0} == 0 || ${WEIGHT[$set]:-0} == 0)) || say "$set"
    done
}

# call_sets SERVICE : what one_set sets, by INSTANCES and WEIGHT
call_sets() {
    local name=${1^^} sets set lines='' status=()
    mapfile -t sets < <(serving_sets "$1")
    for set in "${sets[@]}"; do
        # shellcheck disable=SC2046 # a word each
        lines+=$(server_lines "${WEIGHT[$set]}" $(addresses_of "$set" sock))$'\n'
        mapfile -t -O "${#status[@]}" status < <(addresses_of "$set" status)
    done
    printf -v "${name}_CALL" %s "cgi-$1"
    ((${INSTANCES[$1-blue]:-0} == 0 || ${INSTANCES[$1-green]:-0} == 0)) || printf -v "${name}_CALL" %s "\$cgi_$1"
    printf -v "${name}_SERVERS" %s "${lines%$'\n'}"
    printf -v "${name}_STATUS_SERVERS" %s "$(server_lines 1 "${status[@]}")"
    for set in blue green; do
        # shellcheck disable=SC2046 # a word each
        printf -v "${name}_${set^^}_SERVERS" %s "$(server_lines 1 $(addresses_of "$1-$set" sock))"
    done
}

# render_sets : nginx's files by INSTANCES and WEIGHT
render_sets() {
    call_sets app
    call_sets transform
    render_nginx "$RUN_DIR/bin/nginx" "$APP_INSTANCES" "$TRANSFORM_INSTANCES"
}

put_back() {
    rm -rf -- "$RUN_DIR/nginx"
    mv -- "$RUN_DIR/nginx.before" "$RUN_DIR/nginx"
}

# take_over : have the running nginx serve by INSTANCES and WEIGHT
take_over() {
    local nginx said
    nginx=$(pid_of nginx nginx) || die "nginx does not run in $RUN_DIR; ./scripts/stop and ./scripts/run start it anew"
    [[ ! -e $RUN_DIR/nginx.before ]] || put_back # somebody was killed here
    mv -- "$RUN_DIR/nginx" "$RUN_DIR/nginx.before"
    if ! said=$(render_sets 2>&1); then
        WHY=${said#"${0##*/}: "}
    elif ! said=$(nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf" 2>&1); then
        WHY="nginx refuses its configuration: ${said%%$'\n'*}"
    elif ! reload_nginx "$nginx"; then
        WHY="nginx does not take over its configuration: $(tail -n 1 "$RUN_DIR/log/error.log")"
    else
        rm -rf -- "$RUN_DIR/nginx.before"
        save_sets
        return
    fi
    put_back
    load_sets
    return 1
}

# fail_set SET WORDS... : what begin_set has begun ends
fail_set() {
    end_set "$1"
    load_sets
    WHY=${*:2}
    return 1
}

# begin_set SET : start its instances, as many as its service has, and let nginx know of them. They have no part of the
# requests yet. Takes START_SECONDS at most until they serve.
begin_set() {
    local count=${1%-*}_INSTANCES said names
    count=${count^^}
    end_set "$1" # what somebody who was killed has left
    said=$("$BUILD_DIR/cgi-${1%-*}" -t 2>&1) || fail_set "$1" "$1 does not start: ${said%%$'\n'*}" || return
    start_set "$1" "${!count}" || fail_set "$1" "$1 does not start: its program cannot be put into $RUN_DIR/bin" || return
    INSTANCES[$1]=${!count} WEIGHT[$1]=0
    mapfile -t names < <(instances_of "$1")
    wait_until "$START_SECONDS" answer "${names[@]}" ||
        fail_set "$1" "$1 does not serve; log/$1-1.log in $RUN_DIR says: $(last_words "$1-1")" || return
    take_over || fail_set "$1" "$WHY"
}

# finish_set SET : it has no part of the requests; nginx forgets it, and once no request can come any more, it ends
finish_set() {
    INSTANCES[$1]=0
    take_over || return 1
    wait_until "$DRAIN_SECONDS" has_drained "$(pid_of nginx nginx)" ||
        say "${0##*/}: nginx still finishes requests after $DRAIN_SECONDS s; ending $1 all the same" >&2
    end_set "$1"
}

# lock_changes : one change at a time
lock_changes() {
    exec {lock}>"$RUN_DIR/changes.lock"
    flock -n "$lock" || die "another change of what runs in $RUN_DIR is under way; wait for it"
}
