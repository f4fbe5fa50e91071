# shellcheck shell=bash
# What a program or a shared object was built with, read from its ELF. A file says `load lib/hardening`, after helpers.

# landings FILE : the places marked as ones that may be jumped to, or that sign where they return to (x86, arm64)
landings() {
    objdump -d "$1" | grep -cE '\s(endbr64|paciasp|bti)\b'
}

# soft_spots FILE : what FILE lacks of what the Makefile builds with, a line each. Also for a stripped one.
soft_spots() {
    local dynamic segments imported
    dynamic=$(readelf -dW "$1") && segments=$(readelf -lW "$1") && imported=$(readelf --dyn-syms -W "$1") || return
    [[ $1 == *.so || $dynamic =~ FLAGS_1.*PIE ]] || echo "not position independent"
    [[ $segments =~ GNU_RELRO ]] || echo "relocations stay writable: no GNU_RELRO"
    [[ $dynamic =~ FLAGS_1.*NOW ]] || echo "relocations stay writable: no BIND_NOW"
    [[ $segments =~ GNU_STACK[^$'\n']*' RW ' ]] || echo "the stack is executable"
    ! grep -qE '^ +LOAD .* (RWE|WE) ' <<<"$segments" || echo "a segment is writable and executable"
    ! grep -qE '^ +LOAD +0x0+ .* R E ' <<<"$segments" || echo "what is no code lies in the executable segment"
    ! grep -oE 'RPATH|RUNPATH|TEXTREL' <<<"$dynamic" || true
    # Where no function has an array, or gives away the address of a local variable, there is nothing to protect: in accept.
    [[ $imported =~ __stack_chk_fail || $1 == */ngx_http_accept_module.so ]] || echo "no stack protector"
    ! grep -oE ' UND v?f?s?n?printf(@.*)?$' <<<"$imported" || echo "not fortified: a function of printf's family is not its _chk"
    (($(landings "$1") > 2)) || echo "no control flow protection" # the C library's own start has 2
}

# expect_hard FILE...
expect_hard() {
    local file
    for file; do
        expect_equal '' "$(soft_spots "$file")" "${file##*/}" || return
    done
}
