# shellcheck shell=bash
# The services of the file `services`, for tests that do the same with each. A file says `load ../lib/services`, after helpers.
# shellcheck disable=SC2034 # what the tests use

mapfile -t SERVICES < <(awk '/^[a-z]/ { print $1 }' "$ROOT/services")
CALLED=$(awk '$6 == "nginx" { print $1; exit }' "$ROOT/services") # one that nginx calls, for app's answer
IMAGES=("${SERVICES[@]}" nginx)
