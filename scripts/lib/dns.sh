# What scripts/ecs knows of the name that clients use: its hosted zone, its records, and this stack's part among them.
# Sourced, never run, after aws.sh; the stack is loaded.
# shellcheck shell=bash
# shellcheck disable=SC2153,SC2154 # set by aws.sh

# coming_parameter NAME WORD... : its value after `up WORD...`
coming_parameter() {
    local word
    for word in "${@:2}"; do [[ $word != "$1="* ]] || { say "${word#*=}" && return; }; done
    parameter "$1"
}

# load_records NAME ZONE : those that a client of NAME may be sent by, in $records
load_records() {
    must route53 list-resource-record-sets --hosted-zone-id "$2" --start-record-name "$1" --max-items 100
    records=$(jq --arg name "$1." '[.ResourceRecordSets[]
        | select(.Name == $name and (.Type == "A" or .Type == "AAAA" or .Type == "CNAME"))]' <<<"$answer")
}

# require_zone NAME ZONE : it is there, for all to see, and NAME is in it
require_zone() {
    local domain
    if ! ask route53 get-hosted-zone --id "$2"; then
        grep -q NoSuchHostedZone "$said" || die "$(explain)"
        die "there is no hosted zone $2; aws route53 list-hosted-zones says what to set DnsZoneId to"
    fi
    domain=$(jq -r '.HostedZone.Name | rtrimstr(".")' <<<"$answer")
    [[ $(jq .HostedZone.Config.PrivateZone <<<"$answer") != true ]] ||
        die "hosted zone $2 of $domain is private, and clients would not find $1; set DnsZoneId to a public one"
    [[ .$1 == *".$domain" ]] || die "DnsName $1 is not in hosted zone $2, which has $domain; set one to fit the other"
}

# require_dns WORD... : the name that `up WORD...` sets can be had. AWS would say it after minutes, and have no whole stack then.
require_dns() {
    local name zone plain
    name=$(coming_parameter DnsName "$@") zone=$(coming_parameter DnsZoneId "$@")
    [[ -n $name$zone ]] || return 0
    [[ -n $name && -n $zone ]] || die "DnsName and DnsZoneId belong together; set both, or none"
    require_zone "$name" "$zone"
    load_records "$name" "$zone"
    plain=$(jq -r '[.[] | select(.SetIdentifier == null).Type][0] // ""' <<<"$records")
    [[ -z $plain ]] || die "$name has a record of type $plain without a weight; delete that, or choose another DnsName"
}

# others_weight : of the records of the name that other stacks have
others_weight() {
    jq --arg own "$STACK-$AWS_REGION" '[.[] | select(.Type == "A" and .SetIdentifier != $own).Weight // 0] | add // 0' \
        <<<"$records"
}

# show_dns : the part of the stack's name that the stack has, where it shares it
show_dns() {
    local weight others
    weight=$(parameter DnsWeight)
    [[ -n $(parameter DnsName) && $weight != -1 ]] || return 0
    load_records "$(parameter DnsName)" "$(parameter DnsZoneId)"
    others=$(others_weight)
    say "dns      weight $weight of $((weight + others)) for $(parameter DnsName)"
}

# set_dns WEIGHT : by the stack, which then stays as it is for what deploy and scale have set
set_dns() {
    local known_parameters
    # shellcheck disable=SC2034 # for parameters (scripts/ecs)
    known_parameters=$(jq -r '.Parameters[].ParameterKey' <<<"$stack")
    parameters "DnsWeight=$1" >"$tmp/parameters"
    update_stack_by --use-previous-template
}

command_dns() {
    local name
    require_stack
    name=$(parameter DnsName)
    [[ -n $name ]] || die "stack $STACK has no name; ./scripts/ecs up DnsName=… DnsZoneId=… gives it one"
    load_records "$name" "$(parameter DnsZoneId)"
    (($1 > 0 || $(others_weight) > 0)) ||
        die "no other stack has a part of $name, so 0 would take nobody elsewhere; give another one its part first"
    set_dns "$1"
    say "stack $STACK has weight $1 of $(($1 + $(others_weight))) for $name"
}
