"""Where browserid-local-verify (npm) and PyBrowserID (py) judge a row of the check list otherwise, and why we do not.

A row that is not here has the same verdict by all three; a difference that is gone must leave this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`npm`, `py`: names of rows in tests/unit/identity/check_rows.py."""

    why: str
    npm: tuple[str, ...] = ()
    py: tuple[str, ...] = ()


_NOT_A_TIME = (
    "exp is a float",
    "exp overflows a float",
    "exp above 2**53",
    "exp is a float in the certificate",
    "iat is null",
    "iat is false",
    "iat is a string",
)

# What we let in and they do not.
STRICTER_THAN_WE = (
    Difference(
        "no skew between clocks: it is 60 s here",
        npm=(
            "an assertion that ended within the skew",
            "an assertion of the near future",
            "a certificate that ended within the skew",
        ),
        py=("an assertion that ended within the skew", "a certificate that ended within the skew"),
    ),
    Difference("asked for one audience; we have two", npm=("our second audience",), py=("our second audience",)),
    Difference(
        "compares audiences as texts: the default port and upper case are the same origin",
        py=(
            "a trailing slash in the audience",
            "the default port in the audience",
            "upper case in the audience",
        ),
    ),
    Difference("knows the form of 2011 alone", py=("a user key in JWK form", "a user key whose algorithm says RSA")),
    Difference("knows one key of an issuer", py=("an issuer with several keys",)),
    Difference("Python's own limit of digits", py=("an integer of 5000 digits in a claim nobody knows",)),
)

# What they let in and we do not.
LAXER_THAN_WE = (
    Difference(
        "no bound on the size",
        npm=("a byte too many", "few characters of many bytes"),
        py=("a byte too many",),
    ),
    Difference("takes the JSON form of 2011, which was given up in 2012", py=("the JSON form of 2011",)),
    Difference(
        "base64 with more than one spelling: one signed assertion could be shown twice",
        npm=(
            "padding",
            "a stray bit in the last character",
            "a newline at the end",
            "a space within",
            "a foreign character that lax decoders skip",
            "not ASCII",
            "half a surrogate pair",
            "an extra leading zero byte",
        ),
        py=("padding", "a stray bit in the last character", "an extra leading zero byte"),
    ),
    Difference("the last of two members wins", npm=("a nested member twice",), py=("a nested member twice",)),
    Difference("numbers that are none, which no time is ever later than", py=("NaN", "Infinity")),
    Difference(
        "no bound on nesting",
        npm=("nesting one too deep", "nesting far too deep"),
        py=("nesting one too deep",),
    ),
    Difference(
        "ignores that crit asks for what it does not understand (RFC 7515, 4.1.11)",
        npm=("crit in the assertion", "crit in the certificate"),
        py=("crit in the assertion", "crit in the certificate"),
    ),
    Difference("takes RSA-1024", npm=("RS128",)),
    Difference(
        "a missing or senseless time never ends",
        npm=(
            "exp missing in the assertion",
            "exp missing in the certificate",
            "exp is null",
            "exp is a string",
            "exp is a word",
            "exp has 5000 digits",
            "zero",
            *_NOT_A_TIME,
        ),
        py=_NOT_A_TIME,
    ),
    Difference(
        "never looks at path, query, fragment or user of an audience, nor at what a URL parser drops",
        npm=tuple(
            f"aud {aud!r}"
            for aud in (
                "https://push.example.net/other-app",
                "https://push.example.net//",
                "https://push.example.net?",
                "https://push.example.net#",
                "https://push.example.net\n",
                "\nhttps://push.example.net",
                "https://push.example.net\x00",
                "https://push.example.net ",
                "https://push.example.net:",
                "https://push.example.net:４４３",
                "https://evil.example@push.example.net",
                "https://push.example.net\\@evil.example",
                "https://push.example.net\\.evil.example",
            )
        ),
    ),
    Difference(
        "does not read iat",
        py=(
            "from the future",
            "an assertion over before it began",
            "a certificate over before it began",
            "from now",
        ),
    ),
    Difference(
        "no bound on how long an assertion or a certificate lives",
        npm=("without iat", "from iat", "iat of 1970", "the year 2099"),
        py=("without iat", "from iat", "iat of 1970", "the year 2099"),
    ),
    Difference("takes sub for the address", npm=("only sub",)),
    Difference(
        "`$` and `\\w` in its pattern: a newline at the end, letters of every script, any length",
        py=tuple(
            f"email {address!r}"
            for address in (
                "alice@idp.example\n",
                "älice@idp.example",
                "ａlice@idp.example",
                "a" * 243 + "@idp.example",
            )
        ),
    ),
)
