# The services that there are: what stands in the file `services`. Sourced after words.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # for who sources this

SERVICES=() # in the order of the file
declare -A SERVICE_PORT=() SERVICE_INSTANCES=() SERVICE_CPU=() SERVICE_MEMORY=() SERVICE_CALLERS=() SERVICE_PATH=()
# cgi-common/ is a folder of this project, cgi-message a command of the host's, TaskCpu of the stack; the rest is no name in YAML.
RESERVED_NAMES=(nginx common message task true false yes no on off y n null)

# why_bad_name NAME : why no service can have it; nothing when one can
why_bad_name() {
    if ! [[ $1 =~ ^[a-z]{1,20}$ ]]; then
        say "\"$1\" is no name of a service; one has 1 to 20 small letters"
    elif [[ " ${RESERVED_NAMES[*]} " == *" $1 "* ]]; then
        say "\"$1\" has a meaning of its own here, or in YAML; choose another name"
    fi
}

is_within() {
    [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && (($1 >= $2 && $1 <= $3))
}

# is_taken VALUE OTHER... : one of the others is the same
is_taken() {
    [[ " ${*:2} " == *" $1 "* ]]
}

# why_bad_service NAME PORT INSTANCES CPU MEMORY CALLERS PATH REST : why a line of `services` cannot stand; nothing when it can
why_bad_service() {
    local why
    why=$(why_bad_name "$1")
    if [[ -n $why ]]; then say "$why"
    elif [[ -z $7 || -n $8 ]]; then say "$1 wants seven words: name, port, instances, CPU, memory, callers, path"
    elif is_taken "$1" "${SERVICES[@]}"; then say "$1 is there twice"
    elif ! is_within "$2" 1024 65535; then say "the port of $1 is \"$2\"; set it to one from 1024 to 65535"
    elif is_taken "$2" 8080 8443 9113 "${SERVICE_PORT[@]}"; then say "the port of $1 is $2, which another has; set it to a free one"
    elif ! is_within "$3" 1 64; then say "the instances of $1 are \"$3\"; set them to 1 to 64"
    elif ! is_within "$4" 1 16384; then say "the CPU units of $1 are \"$4\"; set them to 1 to 16384"
    elif ! is_within "$5" 32 65536; then say "the memory of $1 is \"$5\"; set it to 32 to 65536 MiB"
    elif [[ $6 != clients && $6 != nginx ]]; then say "the callers of $1 are \"$6\"; clients and nginx can be"
    elif ! [[ $7 =~ ^/[A-Za-z0-9/._~-]*$ ]]; then say "the path of $1 is \"$7\"; it begins with / and has letters, digits and /._~-"
    elif is_taken "$7" "${SERVICE_PATH[@]}"; then say "the path of $1 is $7, which another has"
    elif [[ $7 == /api* || $7 == /form || $7 == /_* ]]; then say "the path of $1 is $7; /api, /form and what begins with /_ are of nginx/ itself"
    elif [[ $7 == / && $6 != clients ]]; then say "the path of $1 is /, which is for clients"
    fi
}

# load_services FILE
load_services() {
    local name port instances cpu memory callers path rest why
    [[ -r $1 ]] || die "there is no $1; it lists the services"
    while read -r name port instances cpu memory callers path rest || [[ -n $name ]]; do
        [[ -n $name && $name != '#'* ]] || continue
        why=$(why_bad_service "$name" "$port" "$instances" "$cpu" "$memory" "$callers" "$path" "$rest")
        [[ -z $why ]] || die "services: $why"
        SERVICES+=("$name")
        SERVICE_PORT[$name]=$port SERVICE_INSTANCES[$name]=$instances SERVICE_CPU[$name]=$cpu SERVICE_MEMORY[$name]=$memory
        SERVICE_CALLERS[$name]=$callers SERVICE_PATH[$name]=$path
    done <"$1"
    ((${#SERVICES[@]})) || die "services: no service is in it"
}

# require_service WORD
require_service() {
    require_choice service "$1" "${SERVICES[@]}"
}

load_services "$ROOT/services"
