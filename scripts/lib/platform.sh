# What routing.sh and status.sh need of the place where instances run: a platform gives these functions, and TOOL, what its
# operator calls. There are two: checkout.sh beside this file, for what ./scripts/run starts, and host/instances.sh, for an
# installed host. Sourced after it; what it lacks is said at once.
# shellcheck shell=bash

# of the instances of a SET, like app-blue
#   instances_of SET             their names, one a line
#   sockets_of SET KIND          where each listens, one a line: KIND is sock, for requests, or status
#   build_of SET                 which build they run
#   start_set SET COUNT PROGRAM  start so many; returns before they serve; 1 if the program cannot be taken
#   end_set SET                  drain and end what there is of them
# of an instance, by its NAME
#   answer NAME...               each says that it is healthy, by way of its queue
#   log_of NAME                  where it says what, for the operator
#   last_words NAME              the last line of it that is the service's own
#   is_supervised NAME           a worker of it that dies is replaced
# of nginx
#   render_sets                  write its files, by INSTANCES and WEIGHT
#   test_nginx                   it takes them
#   nginx_pid                    of its master; 1 if it does not run
#   nginx_error                  the last that it complained of
#   body_folder                  where large bodies wait
for function in instances_of sockets_of build_of start_set end_set answer log_of last_words is_supervised \
    render_sets test_nginx nginx_pid nginx_error body_folder; do
    declare -F "$function" >/dev/null || die "this platform has no $function; scripts/lib/platform.sh says what it is to do"
done
: "${TOOL:?}"

# workers_at SOCKET PROGRAM : the processes of a service's program that serve this status socket, with a supervisor or without
workers_at() {
    local pid
    for pid in $(pgrep -x -- "${2:0:15}"); do
        ! grep -qsxzF "STATUS_SOCKET=$1" "/proc/$pid/environ" || say "$pid"
    done
}
