# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Lets a PyTorch for CUDA be imported where CUDA's libraries are missing and only the CPU computes.

    python stand_ins.py ENVIRONMENT

Beside PyTorch's own libraries, each that they name and that cannot be found gets a stand-in with the functions asked
of it, none of which does anything but end the program. The real ones are 4 GB.
"""

import pathlib
import re
import subprocess
import sys


def output(*command) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True).stdout


def undefined_symbols(folder: pathlib.Path) -> tuple[set, dict]:
    """({(symbol, its version or "")}, the library of each version)."""
    symbols, library_of = set(), {}
    for library in folder.glob("lib*.so"):
        for part in output("readelf", "-V", library).partition(".gnu.version_r")[2].split("File: ")[1:]:
            library_of.update(dict.fromkeys(re.findall(r"Name: (\S+)", part), part.split()[0]))
        symbols.update(re.findall(r" U (\w+)@*(\S*)", output("nm", "-D", library)))
    return symbols, library_of


def make(folder: pathlib.Path, name: str, symbols: list) -> None:
    command = ["cc", "-shared", "-x", "c", "-", "-o", str(folder / name), f"-Wl,-soname,{name}"]
    versions = sorted({version for _, version in symbols if version})
    if versions:
        script = folder / "versions"
        script.write_text("".join(f"{version} {{ *; }};\n" for version in versions))
        command.append(f"-Wl,--version-script={script}")
    source = "".join(f"void {symbol}(void) {{ __builtin_trap(); }}\n" for symbol, _ in symbols)
    subprocess.run(command, input=source, text=True, check=True)


def main() -> None:
    for folder in pathlib.Path(sys.argv[1]).glob("lib/python3*/site-packages/torch/lib"):
        missing = set(re.findall(r"(\S+) => not found", output("ldd", folder / "libtorch_python.so")))
        symbols, library_of = undefined_symbols(folder)
        for name in sorted(missing):
            prefix = name[len("lib") :].split(".")[0].lower()  # of functions without a version: cusparseLtInit
            own = [s for s in symbols if (library_of.get(s[1]) == name if s[1] else s[0].lower().startswith(prefix))]
            make(folder, name, sorted(own))


if __name__ == "__main__":
    main()
