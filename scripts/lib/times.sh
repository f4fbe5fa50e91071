# How long each waits for another's end, in seconds: a few numbers, and the sums that come of them. scripts/generate writes the
# sums into the files of containers, and --check finds what says otherwise. Sourced by settings.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # for who sources this

ROUTED_SECONDS=5         # clients may still be sent to a pod that was told to end
NGINX_DRAIN_SECONDS=20   # nginx: its worker_shutdown_timeout; a longer request is cut
SERVICE_DRAIN_SECONDS=20 # a service: DISPATCHER_DRAIN_MS in cgi-common/responder/dispatcher.c
SPARE_SECONDS=5          # by which a limit is longer than what it limits

# One process, unit or container, which is told to end and killed after that.
STOP_SECONDS=$((SPARE_SECONDS +
    (NGINX_DRAIN_SECONDS > SERVICE_DRAIN_SECONDS ? NGINX_DRAIN_SECONDS : SERVICE_DRAIN_SECONDS)))

# A pod: nginx goes on taking clients, drains and ends; the services wait for that, drain and end; then the pod is killed.
NGINX_GONE_SECONDS=$((ROUTED_SECONDS + NGINX_DRAIN_SECONDS + SPARE_SECONDS))
POD_SECONDS=$((NGINX_GONE_SECONDS + SERVICE_DRAIN_SECONDS + SPARE_SECONDS))
