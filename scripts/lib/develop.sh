# What the scripts share that build and test: their words, the services, the settings, building, packages. Sources them.
# shellcheck shell=bash

lib=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/lib/words.sh
source "$lib/words.sh"
# shellcheck source=scripts/lib/services.sh
source "$lib/services.sh"
# shellcheck source=scripts/lib/settings.sh
source "$lib/settings.sh"
# shellcheck source=scripts/lib/build.sh
source "$lib/build.sh"
# shellcheck source=scripts/lib/packages.sh
source "$lib/packages.sh"
