"""Faults on real processes, while messages flow: `make faults`, or

    python -m tests.faults [--seconds 600] [--strategy all] [--seed N] [--short] [--keep FOLDER]

`--seconds` of faults in all, shared by the strategies; at least one round of every fault with each. The seed is printed
and repeats the decisions of a run; PUSHCTL_FAULTS_LOG is the level at which roles log (warning). Ends with 3 if
anything was lost, doubled or otherwise wrong.
"""

import argparse
import random
import sys
from functools import partial
from pathlib import Path

import trio
from rich.console import Console

from tests.faults.households import Size
from tests.faults.plan import SHORT, Lengths
from tests.faults.report import summary, table
from tests.faults.run import run
from tests.faults.troubles import STRATEGIES, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--strategy", choices=(*STRATEGIES, "all"), default="all")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1_000_000)))
    parser.add_argument("--short", action="store_true", help="short faults, as in the test")
    parser.add_argument("--keep", type=Path, help="leave logs and Redis' data in this folder, by strategy")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    lengths = SHORT if options.short else Lengths()
    chosen = STRATEGIES if options.strategy == "all" else (options.strategy,)
    outcomes = []
    for strategy in chosen:
        chance = random.Random(f"{options.seed} {strategy} faults")
        trouble = faults(options.seconds / len(chosen), lengths, chance)
        size = Size(freeze_seconds=lengths.freeze)
        keep = options.keep / strategy if options.keep else None
        if keep:
            keep.mkdir(parents=True)
        outcomes.append(trio.run(partial(run, strategy, options.seed, trouble, size=size, keep=keep)))
        print(summary(outcomes[-1]), flush=True)
    Console(width=140).print(table(outcomes))
    return 3 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
