"""What a Redis says of itself (INFO), read.

Owns: the format. Must not know: what is made of it.
"""


def parse_info(raw: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in raw.decode().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def major_version(info: dict[str, str]) -> int:
    """Of the Redis it works like: Valkey says 7.2.4 here, whatever its own version is. 0 when it does not say."""
    return int(info.get("redis_version", "0").partition(".")[0])
