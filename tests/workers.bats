#!/usr/bin/env bats
# shellcheck shell=bats
# scripts/lib/workers.sh: how many workers nginx has, by what this process may use of a machine. The processors and the
# cgroups are the test's own; tests/containers/containers.bats has real ones.
# sanitizers: none

load lib/helpers

# make_cgroups FILES : in $cgroups, from words like cpu/docker/cpu.max="50000 100000"
make_cgroups() {
    local path value
    cgroups=$BATS_TEST_TMPDIR/cgroups
    rm -rf "$cgroups" && mkdir "$cgroups"
    while IFS='=' read -r path value; do
        [[ -n $path ]] || continue
        path=$cgroups/$path
        mkdir -p "${path%/*}"
        echo "$value" >"$path"
    done < <(tr ';' '\n' <<<"$1")
}

# workers PROCESSORS OF-SELF : what nginx gets where nproc prints this, and /proc/self/cgroup these lines, ; between
workers() {
    tr ';' '\n' <<<"$2" >"$BATS_TEST_TMPDIR/self"
    # shellcheck disable=SC2016 # for the other shell
    bash -c 'set -euo pipefail; ROOT=$1 processors=$2; source "$1/scripts/lib/words.sh"; source "$1/scripts/lib/workers.sh"
        nproc() { echo "$processors"; }
        CGROUPS=$3 CGROUPS_OF_SELF=$4; settings_workers; echo "$NGINX_WORKERS"' \
        x "$ROOT" "$1" "$cgroups" "$BATS_TEST_TMPDIR/self"
}

# A line a case: what it is; the processors; /proc/self/cgroup; the files; the workers.
@test "a worker for each processor, by the quota and memory of its cgroup and of those above; one at least" {
    local what processors of_self files expected
    while IFS='|' read -r what processors of_self files expected; do
        make_cgroups "$files"
        expect_equal "$expected" "$(workers "$processors" "$of_self")" "$what"
    done <<'CASES'
no cgroups at all|64|||64
v2, no limit|64|0::/|cpu.max=max 100000;memory.max=max|64
v2, a quota of two processors|64|0::/|cpu.max=200000 100000;memory.max=max|2
v2, a quota of one and a half|64|0::/|cpu.max=150000 100000|2
v2, a quota of a quarter|64|0::/|cpu.max=25000 100000|1
v2, a quota of more than there are|2|0::/|cpu.max=1600000 100000|2
v2, a period of its own|64|0::/|cpu.max=30000 10000|3
v2, 512 MiB and no quota|64|0::/|cpu.max=max 100000;memory.max=536870912|8
v2, 512 MiB and a quota of four|64|0::/|cpu.max=400000 100000;memory.max=536870912|4
v2, 512 MiB of a machine with two|2|0::/|memory.max=536870912|2
v2, less than one worker's memory|64|0::/|memory.max=33554432|1
v2, a limit of a folder above|64|0::/user.slice/a.service|user.slice/a.service/cpu.max=max 100000;user.slice/cpu.max=300000 100000|3
v2, the lowest of several|64|0::/a/b|a/b/cpu.max=500000 100000;a/cpu.max=400000 100000;cpu.max=600000 100000|4
v2, the host's path, which a container has not|64|0::/docker/1f|cpu.max=200000 100000|2
v2, a file that is empty, or no numbers|64|0::/a|a/cpu.max=;cpu.max=none at all;memory.max=much|64
v1, no limit|64|4:memory:/;1:cpu:/|cpu/cpu.cfs_quota_us=-1;cpu/cpu.cfs_period_us=100000;memory/memory.limit_in_bytes=9223372036854771712|64
v1, a quota of two|64|4:memory:/;1:cpu:/docker/1f|cpu/cpu.cfs_quota_us=200000;cpu/cpu.cfs_period_us=100000|2
v1, cpu and cpuacct in one|64|3:cpu,cpuacct:/|cpu,cpuacct/cpu.cfs_quota_us=200000;cpu,cpuacct/cpu.cfs_period_us=100000|2
v1, cpuacct and cpuset are others|64|3:cpuacct:/;2:cpuset:/|cpuacct/cpu.cfs_quota_us=200000;cpuacct/cpu.cfs_period_us=100000|64
v1, 512 MiB in a folder above|64|4:memory:/a/b|memory/a/memory.limit_in_bytes=536870912|8
v1 beside v2|64|2:cpu:/;0::/|cpu/cpu.cfs_quota_us=300000;cpu/cpu.cfs_period_us=100000;unified/cgroup.procs=|3
CASES
}

@test "variables of OpenMP, which nproc would obey, change nothing" {
    make_cgroups ''
    # shellcheck disable=SC2016 # for the other shell
    run env OMP_NUM_THREADS=77 OMP_THREAD_LIMIT=77 bash -c 'ROOT=$1; source "$1/scripts/lib/words.sh"
        source "$1/scripts/lib/workers.sh"; CGROUPS=/nowhere; settings_workers; echo "$NGINX_WORKERS"' x "$ROOT"
    expect_equal "$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)" "$output"
}
