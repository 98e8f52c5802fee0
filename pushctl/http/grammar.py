"""What a request's head must look like, byte for byte (RFC 9112, sections 2 to 6), and what to say when it does not.

Owns: the strict grammar in front of httptools, which takes any number of empty lines before a request, several spaces
after the method, `Transfer-Encoding: gzip, chunked` and `identity` before `chunked`, chunked on HTTP/1.0, and more.
Promises: HEAD matches a whole well-formed head and nothing else, in linear time; `explain` always gives a Problem that
names the header to blame, if there is one.
Must not know: bodies, buffers, sockets.
"""

import re
from typing import Final

from pushctl.errors import BodyInvalid, Problem

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
FIELD_LINE: Final = TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n"
_REQUEST_LINE: Final = rb"(" + TOKEN + rb"{1,24}+) ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])\r\n"

HEAD: Final = re.compile(_REQUEST_LINE + rb"(?:" + FIELD_LINE + rb")*+\r\n")
"""A whole head: (1) method, (2) target, (3) minor version. Possessive throughout, so it never goes back."""

REQUEST_LINE: Final = re.compile(_REQUEST_LINE)
METHOD_SO_FAR: Final = re.compile(TOKEN + rb"{1,24}+(?: |\Z)")
_FIELD: Final = re.compile(FIELD_LINE)
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")

HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++(?::[0-9]{0,5})?+"
    rb"|\[[0-9A-Fa-f:.]++\](?::[0-9]{0,5})?+"
)
"""uri-host [":" port] of RFC 3986, not empty."""

ABSOLUTE_FORM: Final = re.compile(rb"https?://([^/?]*+)(/[^?]*+)?+(\?.*+)?+", re.IGNORECASE)
"""RFC 9112, section 3.2.2: (1) authority, (2) path, (3) query with its question mark."""


def check_beginning(start: bytes) -> None:
    """Refuse at once what cannot become a head, before its end has come. Raises BodyInvalid.

    `start` is what is there of a head that HEAD does not match and that does not end in it yet.
    """
    if start in (b"", b"\r"):
        return
    if METHOD_SO_FAR.match(start) is None:
        raise BodyInvalid("this is not HTTP/1.1: a request begins with a method and a space")
    if _BARE_LF.search(start):
        raise explain(start)
    if b"\r\n" in start and REQUEST_LINE.match(start) is None:
        raise BodyInvalid(_REQUEST_LINE_HELP)


_REQUEST_LINE_HELP = "a request line is METHOD SP target SP HTTP/1.1, of visible ASCII characters, ended by CR LF"


def explain(head: bytes) -> Problem:
    """What is wrong with a head that HEAD does not match."""
    line = REQUEST_LINE.match(head)
    if line is None:
        return BodyInvalid(_REQUEST_LINE_HELP)
    at = line.end()
    name: str | None = None
    while (field := _FIELD.match(head, at)) is not None:
        name = _shown(head[at : head.index(b":", at)])
        at = field.end()
    end = head.find(b"\n", at)
    bad = head[at:] if end < 0 else head[at : end + 1]
    if bad[:1] in (b" ", b"\t"):
        return BodyInvalid("a header's value stands on one line: folded lines are not taken", field=name)
    before, colon, value = bad.partition(b":")
    if not colon:
        return BodyInvalid("a header is Name: value, ended by CR LF")
    if re.fullmatch(TOKEN + rb"+", before) is None:
        stripped = before.strip(b" \t")
        if stripped != before and re.fullmatch(TOKEN + rb"+", stripped):
            return BodyInvalid("nothing stands between a header's name and its colon", field=_shown(stripped))
        return BodyInvalid("a header's name has characters that no name has")
    if re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*\n", value):
        return BodyInvalid("a line ends with CR LF, not with LF alone", field=_shown(before))
    return BodyInvalid("a header's value has control characters", field=_shown(before))


def _shown(name: bytes) -> str:
    return name[:64].decode("ascii")
