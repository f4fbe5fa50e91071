# How many workers nginx has: one for each processor that it may use, as far as they fit into its memory. nginx's own
# `auto` counts the machine's processors: 64 workers take 540 MiB before the first request, where a container has 512.
# Sourced by settings.sh.
# shellcheck shell=bash

WORKER_MIB=64 # of a limit of memory, for each worker: 8.5 of them at rest, the others for its requests
CGROUPS=/sys/fs/cgroup
CGROUPS_OF_SELF=/proc/self/cgroup

# cgroup_folders CONTROLLER : those whose limits hold for this process, a line each: its own and all above it. In a
# container the path may be the host's, which is not there, and the last folder, the mount, is the container's own.
cgroup_folders() {
    local id controllers path mount
    while IFS=: read -r id controllers path; do
        case $id,$controllers, in
        0,,) mount=$CGROUPS ;; # version 2
        *",$1,"*) mount=$CGROUPS/$controllers ;;
        *) continue ;;
        esac
        while say "$mount$path" && [[ -n $path ]]; do path=${path%/*}; done
    done <"$CGROUPS_OF_SELF"
}

# workers_by_cpu FOLDER : how many its CPU quota allows, if it has one
workers_by_cpu() {
    local quota period
    read -r quota period <"$1/cpu.max" ||
        { read -r quota <"$1/cpu.cfs_quota_us" && read -r period <"$1/cpu.cfs_period_us"; } || return 0
    [[ ! $quota,$period =~ ^[1-9][0-9]*,[1-9][0-9]*$ ]] || say $(((quota + period - 1) / period)) # not "max", nor -1
}

# workers_by_memory FOLDER : how many its limit allows, if it has one
workers_by_memory() {
    local limit
    read -r limit <"$1/memory.max" || read -r limit <"$1/memory.limit_in_bytes" || return 0
    [[ ! $limit =~ ^[0-9]+$ ]] || say $((limit / 1024 / 1024 / WORKER_MIB))
}

# settings_workers : set NGINX_WORKERS
settings_workers() {
    local controller folder limit
    NGINX_WORKERS=$(unset OMP_NUM_THREADS OMP_THREAD_LIMIT && nproc) # affinity; these two change what it prints
    for controller in cpu memory; do
        while read -r folder; do
            limit=$("workers_by_$controller" "$folder" 2>/dev/null)
            ((${limit:-$NGINX_WORKERS} >= NGINX_WORKERS)) || NGINX_WORKERS=$limit
        done < <(cgroup_folders "$controller")
    done
    ((NGINX_WORKERS > 0)) || NGINX_WORKERS=1
}
