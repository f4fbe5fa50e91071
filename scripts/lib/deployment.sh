# What scripts/ecs knows of ECS: revisions of the task definition, deployments and how they end, canaries.
# Sourced, never run, after aws.sh; the stack is loaded.
# shellcheck shell=bash
# shellcheck disable=SC2016 # what begins with $ in single quotes is jq's
# shellcheck disable=SC2034,SC2153,SC2154 # set by aws.sh, or for scripts/ecs

PRIMARY='(.deployments[] | select(.status == "PRIMARY"))' # the deployment that a service is on, or comes to

# ---- services and revisions ----

# look_at SERVICE : what ECS says of it, in $service
look_at() {
    must ecs describe-services --cluster "${OUT[Cluster]}" --services "$1"
    service=$(jq -e '.services[] | select(.status == "ACTIVE")' <<<"$answer") ||
        die "service $1 is not there; it was deleted by other means, so ./scripts/ecs down, then up"
}

# in_use, wanted_count, running_count : of the service looked at
in_use() {
    jq -r .taskDefinition <<<"$service"
}

wanted_count() {
    jq -r .desiredCount <<<"$service"
}

running_count() {
    jq -r .runningCount <<<"$service"
}

# short REVISION : its family and number, without the rest of the ARN
short() {
    say "${1##*/}"
}

# load_revision REVISION : what ECS has of it, in $definition
load_revision() {
    must ecs describe-task-definition --task-definition "$1" --include TAGS
    definition=$answer
}

# A container of ours has the image cgi-NAME, and the NAME.
IS_OURS='(.name as $name | .image | test("/cgi-\($name)[:@][^/]*$"))'

# tag : of the images of the revision loaded; one that names them by digest has a tag of its own that says it
tag() {
    jq -r "(.tags[]? | select(.key == \"images\").value)
        // (first(.taskDefinition.containerDefinitions[] | select($IS_OURS)).image | split(\":\") | last)" <<<"$definition"
}

# A revision that did not get stable, or that was left, is marked: none to go back to. It stays registered, since the stack
# may know it.
discard() {
    must ecs tag-resource --resource-arn "$1" --tags key=discarded,value=yes
}

is_discarded() {
    jq -e '.tags // [] | any(.key == "discarded")' <<<"$definition" >/dev/null
}

# list_revisions : the ARNs of all, the newest first, in revisions
list_revisions() {
    must ecs list-task-definitions --family-prefix "$STACK" --status ACTIVE
    mapfile -t revisions < <(jq -r '.taskDefinitionArns | sort_by(split(":") | last | tonumber) | reverse[]' <<<"$answer")
}

refuse_uncommitted() {
    [[ $IMAGE_TAG != *-dirty ]] ||
        die "the checkout has changes that are in no commit; commit them, or set IMAGE_TAG to a commit's"
}

# The fields that register-task-definition takes, of what describe-task-definition gives.
WRITABLE='.taskDefinition | del(.taskDefinitionArn, .revision, .status, .requiresAttributes, .compatibilities,
    .registeredAt, .registeredBy, .deregisteredAt)'

# containers FILTER : the names of those of the revision loaded that are so, one a line
containers() {
    jq -r ".taskDefinition.containerDefinitions[] | select($1).name" <<<"$definition"
}

# refuse_other_containers : the revision loaded has all of ours, and no more. What is somebody else's keeps its image.
refuse_other_containers() {
    local name ours
    mapfile -t ours < <(containers "$IS_OURS")
    for name in "${IMAGES[@]}"; do
        [[ " ${ours[*]} " == *" $name "* ]] || die "the stack has no container of $name; ./scripts/ecs up brings it in"
    done
    for name in "${ours[@]}"; do
        [[ " ${IMAGES[*]} " == *" $name "* ]] ||
            die "the stack has a container of $name, which is not in the file services; ./scripts/ecs up takes it out"
    done
    for name in $(containers "$IS_OURS | not"); do say "container $name keeps its image"; done
}

# make_revision : the one in use with the images of IMAGE_TAG, in $revision; the newest, where that is it already
make_revision() {
    load_revision "$(in_use)"
    refuse_other_containers
    local digests='{}'
    [[ $PULL_BY == tag ]] || load_digests
    jq -S --arg registry "$(parameter ImageRegistry)" --arg tag "$IMAGE_TAG" --argjson digests "$digests" \
        "$WRITABLE | .containerDefinitions |= map(if $IS_OURS"' then
            .image = "\($registry)/cgi-\(.name)" + ($digests[.name] | if . then "@\(.)" else ":\($tag)" end)
        else . end)' <<<"$definition" >"$tmp/wanted"
    list_revisions
    revision=${revisions[0]:-}
    if [[ -n $revision ]]; then
        load_revision "$revision"
        if ! is_discarded && jq -S "$WRITABLE" <<<"$definition" | cmp -s - "$tmp/wanted"; then return; fi
    fi
    must ecs register-task-definition --cli-input-json "file://$tmp/wanted" --tags "key=images,value=$IMAGE_TAG"
    revision=$(jq -r .taskDefinition.taskDefinitionArn <<<"$answer")
}

# ---- a deployment ----

# skip_events : from here on the events of the service looked at count
skip_events() {
    last_event=$(jq -r '.events[0].id // ""' <<<"$service")
    first_event=$last_event
}

# hindrance : what keeps ECS from starting tasks, of the events that count: no room, a quota; nothing, if it says nothing of that
hindrance() {
    jq -r --arg first "$first_event" '[.events | .[:(map(.id) | index($first)) // length][].message
        | select(test("unable to (place|start)|reached the limit|apacity is unavailable"))
        | sub("^\\(service [^)]*\\) "; "") | rtrimstr(".")][0] // empty' <<<"$service"
}

show_events() {
    jq -r --arg last "$last_event" '.events | .[:(map(.id) | index($last)) // length] | reverse[] | "  \(.message)"' \
        <<<"$service"
    last_event=$(jq -r '.events[0].id // ""' <<<"$service")
}

# ECS's waiter is content with any deployment that is stable, also one that goes back. Ours is the one of $revision:
# stable, failed, gone (ECS has taken it back), or none of these yet. Where no task is wanted, none is all there is to wait for.
VERDICT="$PRIMARY"' as $primary
    | if $count == "0" then if .desiredCount == 0 and .runningCount == 0 then "stable" else "waiting" end
      elif any(.deployments[]; .taskDefinition == $revision and .rolloutState == "FAILED") then "failed"
      elif $primary.taskDefinition != $revision
      then if $seen == "1" or any(.deployments[]; .taskDefinition == $revision) then "gone" else "unseen" end
      elif $primary.rolloutState == "COMPLETED" and .runningCount == .desiredCount then "stable"
      else "waiting" end'

# watch_deployment SERVICE REVISION [COUNT] : until it is stable, and show its events meanwhile. Else 1, and $reason.
watch_deployment() {
    local deadline=$((SECONDS + WAIT_SECONDS)) seen='' verdict
    while look_at "$1" && show_events; do
        verdict=$(jq -r --arg revision "$2" --arg count "${3:-}" --arg seen "$seen" "$VERDICT" <<<"$service")
        case $verdict in
        stable) return 0 ;;
        waiting) seen=1 ;;
        failed | gone)
            reason=$(jq -r --arg revision "$2" '[.deployments[] | select(.taskDefinition == $revision)
                | .rolloutStateReason // empty][0] // "ECS has taken it back" | rtrimstr(".")' <<<"$service")
            return 1
            ;;
        esac
        ((SECONDS < deadline)) || break
        sleep "$POLL_SECONDS"
    done
    reason=$(hindrance)
    reason="it is not stable after $WAIT_SECONDS s${reason:+: $reason}"
    return 1
}

# tell_why SERVICE REVISION : what its tasks that stopped say, each reason once, on standard error
tell_why() {
    local tasks
    ask ecs list-tasks --cluster "${OUT[Cluster]}" --service-name "$1" --desired-status STOPPED --max-items 50 || return 0
    mapfile -t tasks < <(jq -r '.taskArns[]' <<<"$answer")
    ((${#tasks[@]})) || return 0
    ask ecs describe-tasks --cluster "${OUT[Cluster]}" --tasks "${tasks[@]}" || return 0
    jq -r --arg revision "$2" '[.tasks[] | select(.taskDefinitionArn == $revision)
        | .stoppedReason, (.containers[]? | select(.reason) | "\(.name): \(.reason)") | select(. != null and . != "")]
        | unique[] | "  " + .' <<<"$answer" >&2
}

# update SERVICE REVISION [COUNT [OPTION]]
update() {
    must ecs update-service --cluster "${OUT[Cluster]}" --service "$1" --task-definition "$2" \
        ${3:+--desired-count "$3"} ${4:+"$4"}
}

# set_count SERVICE COUNT
set_count() {
    must ecs update-service --cluster "${OUT[Cluster]}" --service "$1" --desired-count "$2"
}

# What a service ran that has got stable, or comes back to what had: also in the middle of a deployment, since an earlier
# call may have broken off.
BEFORE='[(.deployments[] | select(.rolloutState == "COMPLETED")),
    (.deployments[] | select(.status == "ACTIVE" and .rolloutState != "FAILED")), .][0].taskDefinition'

# roll_out SERVICE REVISION [COUNT] : bring the service, which was looked at, there and wait. What does not get stable is taken back: returns 1 then, and
# $outcome says how all ended.
roll_out() {
    local count
    skip_events
    before=$(jq -r "$BEFORE" <<<"$service")
    count=$(wanted_count)
    # From 0 up would be no deployment for ECS if the revision is the same, and have no circuit breaker.
    if ((count == 0)); then set -- "$1" "$2" "${3:-}" --force-new-deployment; fi
    update "$@"
    ! watch_deployment "$1" "$2" || return 0
    outcome="$(short "$2") did not get stable ($reason)"
    tell_why "$1" "$2"
    say "$(short "$2") is taken back: $reason"
    # At 0, which revision it is at does not matter; it may be one that cannot be gone back to.
    if ((count == 0)); then set_count "$1" 0; else update "$1" "$before" "$count"; fi
    if watch_deployment "$1" "$before" "$count"; then
        outcome+="; it is taken back, to $count tasks of $(short "$before")"
    else
        outcome+=", nor did $(short "$before") after it ($reason)"
    fi
    return 1
}

# fail_deployment REVISION : it is discarded, unless it is what ran before
fail_deployment() {
    [[ $1 == "$before" ]] || discard "$1"
    die "$outcome"
}

command_deploy() {
    require_stack
    refuse_uncommitted
    if (($#)); then
        deploy_canary "$2"
        return
    fi
    refuse_canary
    push_missing_images
    look_at "${OUT[Service]}"
    make_revision
    say "deploying $(short "$revision") with the images of $IMAGE_TAG"
    local count=
    (($(wanted_count) > 0)) || count=$(parameter MinCount) # the first deployment; later ones keep what scaling has chosen
    [[ $count != 0 ]] || count=1
    roll_out "${OUT[Service]}" "$revision" "$count" || fail_deployment "$revision"
    say "$(short "$revision") runs, $(running_count) tasks, at ${OUT[Url]}"
}

# previous_revision REVISION : the newest before it that says something else and whose images are there, in $revision
previous_revision() {
    local candidate images
    load_revision "$1"
    jq -S "$WRITABLE" <<<"$definition" >"$tmp/left"
    list_revisions
    for candidate in "${revisions[@]}"; do
        ((${candidate##*:} < ${1##*:})) || continue
        load_revision "$candidate"
        if is_discarded || jq -S "$WRITABLE" <<<"$definition" | cmp -s - "$tmp/left"; then continue; fi
        mapfile -t images < <(containers "$IS_OURS")
        find_missing_images "$(tag)" "${images[@]}"
        ((${#missing[@]})) || { revision=$candidate && return; }
    done
    die "there is no revision before $(short "$1") whose images are in the registry; deploy an older commit with IMAGE_TAG"
}

command_rollback() {
    local left
    require_stack
    refuse_canary
    look_at "${OUT[Service]}"
    left=$(in_use)
    # A rollback that broke off is finished first: what comes is older than what goes.
    revision=$(jq -r "$PRIMARY"' as $primary | def number: split(":") | last | tonumber;
        [.deployments[] | select(.status == "ACTIVE" and (.taskDefinition | number) > ($primary.taskDefinition | number))
            | .taskDefinition][0] // ""' <<<"$service")
    if [[ -n $revision ]]; then
        read -r left revision <<<"$revision $left"
    else
        previous_revision "$left"
    fi
    say "going back from $(short "$left") to $(short "$revision")"
    roll_out "${OUT[Service]}" "$revision" || die "$outcome"
    discard "$left"
    say "$(short "$revision") runs, $(running_count) tasks, at ${OUT[Url]}"
}

# ---- a canary: the second service, behind the second target group ----

# load_part : the percentage of requests that the load balancer gives it, in $part
load_part() {
    must elbv2 describe-listeners --listener-arns "${OUT[Listener]}"
    part=$(jq -r --arg group "${OUT[CanaryTargetGroup]}" '[.Listeners[0].DefaultActions[].ForwardConfig.TargetGroups[]?]
        | (map(.Weight) | add) as $all | map(select(.TargetGroupArn == $group).Weight)[0] // 0
        | if . == 0 then 0 else . * 100 / $all | round end' <<<"$answer")
}

# forward_to_canary PERCENT : of requests; the actions of a listener or a rule
forward_to_canary() {
    jq -nc --argjson part "$1" --arg main "${OUT[TargetGroup]}" --arg canary "${OUT[CanaryTargetGroup]}" '[{Type: "forward",
        ForwardConfig: {TargetGroups:
            [{TargetGroupArn: $main, Weight: (100 - $part)}, {TargetGroupArn: $canary, Weight: $part}]}}]'
}

# give_canary PERCENT : of the requests, and all of those that ask for it, as long as there is one
give_canary() {
    [[ -n ${OUT[CanaryRule]:-} ]] || die "the stack is of an older cloudformation.yml; ./scripts/ecs up first"
    must elbv2 modify-rule --rule-arn "${OUT[CanaryRule]}" --actions "$(forward_to_canary "$(($1 ? 100 : 0))")"
    must elbv2 modify-listener --listener-arn "${OUT[Listener]}" --default-actions "$(forward_to_canary "$1")"
}

# load_canary : what the canary service runs, in $canary; fails when there is none. As long as it has requests it has tasks.
load_canary() {
    look_at "${OUT[CanaryService]}"
    canary=$(in_use)
    (($(wanted_count) > 0))
}

refuse_canary() {
    ! load_canary || die "$(short "$canary") is a canary; ./scripts/ecs promote or abort it first"
}

# end_canary : no request goes there any more; then it can go
end_canary() {
    give_canary 0
    set_count "${OUT[CanaryService]}" 0
}

# deploy_canary PERCENT : begin it, or give the one that there is another part
deploy_canary() {
    local count
    if load_canary; then
        load_revision "$canary"
        [[ $(tag) == "$IMAGE_TAG" ]] || refuse_canary
    fi
    push_missing_images
    look_at "${OUT[Service]}"
    count=$((($(wanted_count) * $1 + 99) / 100))
    ((count > 0)) || die "nothing runs yet that a canary could be beside; ./scripts/ecs deploy first"
    make_revision
    [[ $revision != "$(in_use)" ]] || die "$(short "$revision") runs already, for all requests"
    say "deploying $(short "$revision") with the images of $IMAGE_TAG as a canary"
    look_at "${OUT[CanaryService]}"
    roll_out "${OUT[CanaryService]}" "$revision" "$count" || fail_deployment "$revision"
    give_canary "$1"
    say "$(short "$revision") has $1% of the requests; ./scripts/ecs promote or abort"
}

require_canary() {
    require_stack
    load_canary || die "there is no canary; ./scripts/ecs deploy --canary 10 begins one"
}

command_promote() {
    require_canary
    look_at "${OUT[Service]}"
    roll_out "${OUT[Service]}" "$canary" || die "$outcome; the canary has its part of the requests still"
    end_canary
    say "$(short "$canary") runs, $(running_count) tasks, for all requests"
}

command_abort() {
    require_canary
    end_canary
    look_at "${OUT[Service]}"
    [[ $canary == "$(in_use)" ]] || discard "$canary"
    say "$(short "$canary") gets no requests any more, and is gone"
}
