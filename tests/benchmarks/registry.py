"""How fast the registry is, how much memory it takes, and what grows with the size of an inbox.

    python -m tests.benchmarks.registry [operations] [scripts] [replicas] [memory] [looks] [--quick]

All five parts, or those named; docs/benchmarks.md quotes what it prints. `--quick` takes seconds and measures nothing
worth quoting: it shows that the benchmarks still work. Asserts nothing about time.
"""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from tests.benchmarks import registry_looks, registry_memory, registry_operations, registry_replicas, registry_scripts
from tests.benchmarks.rig import machine

Part = Callable[[], Awaitable[None]]


def parts(options: argparse.Namespace) -> dict[str, Part]:
    quick = options.quick
    return {
        "operations": lambda: registry_operations.run(
            registry_operations.QUICK if quick else registry_operations.Size()
        ),
        "scripts": lambda: registry_scripts.run(registry_scripts.QUICK if quick else registry_scripts.Size()),
        "replicas": lambda: registry_replicas.run(registry_replicas.QUICK if quick else registry_replicas.Size()),
        "memory": lambda: registry_memory.run(
            registry_memory.QUICK if quick else replace(registry_memory.Size(), users=options.users)
        ),
        "looks": lambda: registry_looks.run(registry_looks.QUICK if quick else registry_looks.Size()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="which; default: all")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="of the memory part")
    options = parser.parse_args()
    known = parts(options)
    if unknown := set(options.parts) - known.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    print(machine())
    for name in options.parts or known:
        trio.run(known[name])


if __name__ == "__main__":
    main()
