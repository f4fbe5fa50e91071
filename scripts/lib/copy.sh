# What the scripts share that deal with a running copy: ./scripts/run starts it, in RUN_DIR. Sources the rest of it.
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
# shellcheck source=scripts/lib/nginx.sh
source "$lib/nginx.sh"
# shellcheck source=scripts/lib/sets.sh
source "$lib/sets.sh"
# shellcheck source=scripts/lib/checkout.sh
source "$lib/checkout.sh"
# shellcheck source=scripts/lib/platform.sh
source "$lib/platform.sh"
# shellcheck source=scripts/lib/routing.sh
source "$lib/routing.sh"
# shellcheck source=scripts/lib/http.sh
source "$lib/http.sh"
# shellcheck source=scripts/lib/status.sh
source "$lib/status.sh"
# shellcheck source=scripts/lib/sample.sh
source "$lib/sample.sh"
