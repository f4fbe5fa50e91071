# The settings file of a host. cgi-message reads it, and so does systemd, for the units, by other rules than a shell's: of
# THREADS=2 # four cores a shell makes 2, systemd all of it. So the file may hold only what both read alike. Sourced after
# settings.sh.
# shellcheck shell=bash

# read_line LINE : set `name` and `value` to those of NAME=VALUE; 1 when a shell and systemd might differ about it
read_line() {
    local plain='[][A-Za-z0-9_./:,@%+*=-]*' quoted
    # shellcheck disable=SC2016 # what may not stand there
    quoted='"[^"\$`]*"|'"'[^'\\]*'"
    name='' value=''
    [[ $1 != *[$'\001'-$'\010'$'\013'-$'\037'$'\177']* ]] || return 1
    if [[ $1 =~ ^[[:blank:]]*(#.*)?$ ]]; then
        [[ $1 != *\\ ]] # to some versions of systemd the next line is part of this one
    elif [[ $1 != *[![:print:][:blank:]]* && $1 =~ ^[[:blank:]]*([A-Za-z_][A-Za-z0-9_]*)=($plain|$quoted)[[:blank:]]*$ ]]; then
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        [[ $value != [\"\']* ]] || value=${value:1:-1}
    else
        return 1
    fi
}

# read_settings FILE : set and export what it says; die of a line that a shell and systemd might read differently, or that sets
# what is no setting
read_settings() {
    local line name value number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        read_line "$line" || die "line $number of $1 is \"$line\", which systemd may read in another way; write NAME=VALUE or \
NAME=\"VALUE\", nothing behind it, and no \\ \$ or \`"
        [[ -n $name ]] || continue
        [[ " ${SETTING_NAMES[*]} " == *" $name "* ]] || die "line $number of $1 sets $name, which is no setting; those in its comments are"
        export "$name=$value"
    done <"$1"
}
