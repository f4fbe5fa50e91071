# shellcheck shell=bash
# A fuzzer, each input once: those of tests/fuzz/seeds and those that tests/fuzz/cases.py makes. A bats file says
# `load lib/helpers` and `load lib/fuzz`, and in setup_file() make_cases.

# make_cases : in CASES, a folder for each fuzzer
make_cases() {
    export CASES="$BATS_FILE_TMPDIR/cases"
    python3 "$ROOT/tests/fuzz/cases.py" "$CASES"
}

# once FUZZER LEAST : run all its inputs, at least so many; each holds
once() {
    local folders=("$ROOT/tests/fuzz/seeds/$1") inputs
    [[ ! -d $CASES/$1 ]] || folders+=("$CASES/$1")
    inputs="$(find "${folders[@]}" -type f ! -name '.*' | wc -l)"
    run "$BUILD_DIR/tests/fuzz/$1" "${folders[@]}"
    output="$(tail -n 20 <<<"$output")" # the input that failed is the last one named
    expect_status 0
    expect_match "(^|"$'\n'")$inputs inputs$" "$output"
    ((inputs >= $2)) || { echo "only $inputs inputs, expected at least $2" >&2; return 1; }
}
