# What bash completes behind the scripts of this checkout: `source scripts/lib/completion.sh`, in ~/.bashrc by its full path. Each
# script's options are those that its --help lists; its words are services, colours or test files.
# shellcheck shell=bash

CGI_CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# cgi_words SCRIPT BEFORE : what can stand there; BEFORE is the word before
cgi_words() {
    local services
    services=$(sed -n 's/^\([a-z]*\) .*/\1/p' "$CGI_CHECKOUT/services")
    sed -n '2,/^[^#]/ s/^# *\(-[a-zA-Z], \)*\(--[a-z-]*\).*/\2/p' "$CGI_CHECKOUT/scripts/$1"
    case $1 in
    start | stop | route)
        if [[ " $services " == *[[:space:]]"$2"[[:space:]]* ]]; then printf '%s\n' blue green; else printf '%s\n' "$services"; fi
        ;;
    upgrade | rollout | images) printf '%s\n' "$services" ;;
    logs) printf '%s\n' "$services" nginx ;;
    esac
}

cgi_complete() {
    local script=${1##*/} word=$2 before=$3
    if [[ $script == test && $word != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -G "$word*.bats"; compgen -d -S / -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(cgi_words "$script" "$before")" -- "$word")
    fi
}

# By path: no other command named test or run is completed like these.
for cgi_script in "$CGI_CHECKOUT"/scripts/*; do
    [[ ! -f $cgi_script ]] || complete -o default -F cgi_complete "scripts/${cgi_script##*/}" "./scripts/${cgi_script##*/}" "$cgi_script"
done
unset cgi_script
