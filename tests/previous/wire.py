"""One of each that roles tell each other, as the release in PYTHONPATH writes it: JSON on stdout, a list of
[kind of decoder, what it says, the bytes in hex]. Run by record.py under the release that is recorded."""

import json

import msgspec

from pushctl.protocol import jobs

EVENT = jobs.HintedEvent(7, 11, 2, b'{"type":"message"}')
SAID = (
    ("job", jobs.Appended("ada", "e" * 16, 6, 5, [EVENT])),
    ("job", jobs.Ephemeral("ada", 1_800_000_000_000, 2, b"{}")),
    ("job", jobs.Displaced("ada", ["c1"], ["s1"], False)),
    ("job", jobs.SessionEnds("ada", ["s"], 5)),
    ("hint", jobs.Batch([jobs.Appended("ada", "e" * 16, 6, 5, [EVENT]), jobs.SessionEnds("ada", ["s"], 5)])),
    ("hint", jobs.Probe("nonce")),
    ("hint", jobs.News()),
    ("heard", jobs.Heard(["ada"])),
)


def main() -> None:
    for kind, value in SAID:
        print(json.dumps([kind, msgspec.to_builtins(value), jobs.encode(value).hex()]))


if __name__ == "__main__":
    main()
