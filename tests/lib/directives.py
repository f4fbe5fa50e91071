"""What directives an nginx knows that stand in http {} and are inherited from there: read from the tables of the program itself
(ngx_command_t), since nginx does not list them.

usage: directives.py FILE...    of nginx, or of a module; prints a name a line, sorted
"""
import re
import struct
import sys

HTTP_MAIN, HTTP_INNER = 0x02000000, 0x04000000 | 0x08000000  # ngx_http_config.h: main; server, location
RELATIVE = {62: 8, 183: 1027, 22: 12, 243: 3}                # a relocation's type, by the machine of the ELF file


def sections(elf):
    """Yield the type, address, offset and size of each section."""
    offset, = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    for i in range(count):
        yield struct.unpack_from("<4xI8xQQQ", elf, offset + i * size)


def relocated(elf, found):
    """Return {address: the pointer that the loader puts there}."""
    machine, = struct.unpack_from("<H", elf, 18)
    pointers = {}
    for kind, _, offset, size in found:
        if kind == 4:  # SHT_RELA
            for address, info, addend in struct.iter_unpack("<QQq", elf[offset:offset + size]):
                if info & 0xffffffff == RELATIVE[machine]:
                    pointers[address] = addend
    return pointers


def commands(elf):
    """Yield name and type of each entry that looks like an ngx_command_t: a length, a string of that length, a type."""
    found = list(sections(elf))

    def at(address, size):
        for kind, begin, offset, length in found:
            if kind == 1 and begin <= address and address + size <= begin + length:
                return elf[offset + address - begin:][:size]
        return b""

    for address, target in relocated(elf, found).items():
        words = at(address - 8, 24)
        length, _, kind = struct.unpack("<QQQ", words) if len(words) == 24 else (0, 0, 0)
        name = at(target, length + 1) if 0 < length < 64 else b""
        if re.fullmatch(rb"[a-z][a-z0-9_]*\0", name):
            yield name[:-1].decode(), kind


names = set()
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        names |= {name for name, kind in commands(file.read()) if kind & HTTP_MAIN and kind & HTTP_INNER and kind < 1 << 32}
print("\n".join(sorted(names)))
