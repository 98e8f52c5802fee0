"""The one exception tree. Every error knows its answer: HTTP status, code word, WebSocket close code.

  PushctlError
  ├── ConfigError            the operator's files or flags are wrong; carries every mistake      exit 2
  ├── Unreachable            a server we need does not answer, or refused us                     exit 5
  ├── Failed                 a command ran and failed                                            exit 1
  ├── NotGood                a command ran, the result is not good (lost messages, ...)          exit 3
  ├── TimedOut               a command waited for something that did not come                    exit 4
  └── Problem                a peer asked for something we answer with an error (docs/protocol.md, section 0)
      ├── BodyInvalid QueryInvalid TtlMissing TtlInvalid TopicInvalid UrgencyInvalid
      │   EncodingInvalid NotificationInvalid                                                    400
      ├── Unauthenticated                                                                        401
      ├── VapidRefused
      │   ├── VapidMissing VapidInvalid                                                          401
      │   └── VapidForbidden                                                                     403
      ├── LoginRefused (identity/refusal.py): a login code and its status per instance           400 401 413 503
      ├── Forbidden                                                                              403
      ├── NotFound PushUrlUnknown                                                                404
      ├── MethodNotAllowed TooSlow LengthRequired                                                405 408 411
      ├── LimitReached IdentityTaken LastIdentity                                                409
      ├── PushUrlGone                                                                            410
      ├── BodyTooLarge UriTooLong ContentTypeUnsupported IdempotencyMismatch                     413 414 415 422
      ├── RateLimited HeadersTooLarge                                                            429 431
      ├── Internal                                                                               500
      └── Unavailable                                                                            503
          ├── StoreUnavailable
          │   └── Overloaded
          └── NoCapacity

Owns: the tree and the mapping to codes. Must not know: how an answer is written (http/problem.py) or a frame sent.
"""

from math import ceil
from typing import ClassVar


class PushctlError(Exception):
    """Base of all errors of this program. `str(error)` is one line that says what to do."""

    exit_code: ClassVar[int] = 1


class ConfigError(PushctlError):
    """One or more mistakes in configuration, all found in one run: one line each."""

    exit_code = 2

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Unreachable(PushctlError):
    exit_code = 5


class Failed(PushctlError):
    exit_code = 1


class NotGood(PushctlError):
    exit_code = 3


class TimedOut(PushctlError):
    exit_code = 4


class Problem(PushctlError):
    """An error a peer is told about: problem+json over HTTP (RFC 9457), an `error` frame and close code on a socket."""

    status: int = 400
    code: str = "body_invalid"
    """Set on the class; LoginRefused, which has a code per check, sets both on the instance."""
    title: ClassVar[str] = "The request is not valid"
    close_code: ClassVar[int] = 4502
    errno: ClassVar[int | None] = None
    """Mozilla's number for it, where autopush has one."""
    challenge: str | None = None
    """WWW-Authenticate of a 401, where it says more than what the route takes."""

    def __init__(self, detail: str, *, field: str | None = None, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class BodyInvalid(Problem):
    code, title = "body_invalid", "The body is not valid"


class QueryInvalid(Problem):
    code, title = "query_invalid", "The query is not valid"


class TtlMissing(Problem):
    code, title, errno = "ttl_missing", "The TTL header is missing", 111


class TtlInvalid(Problem):
    code, title, errno = "ttl_invalid", "The TTL header is not valid", 114


class TopicInvalid(Problem):
    code, title, errno = "topic_invalid", "The Topic header is not valid", 113


class UrgencyInvalid(Problem):
    code, title = "urgency_invalid", "The Urgency header is not valid"


class EncodingInvalid(Problem):
    code, title, errno = "encoding_invalid", "The content encoding or its headers are not valid", 110


class NotificationInvalid(Problem):
    code, title = "notification_invalid", "The notification is not valid"


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "No valid session"
    close_code, errno = 4501, 109


class VapidRefused(Problem):
    """A sender's signature (RFC 8292) is not what it must be. `claim`: what of it failed, with what was expected of it
    and what was there; all None when it is nothing that has a name."""

    status, errno = 401, 109

    def __init__(
        self,
        detail: str,
        *,
        field: str = "Authorization",
        claim: str | None = None,
        expected: str | None = None,
        got: str | None = None,
    ) -> None:
        super().__init__(detail, field=field)
        self.claim = claim
        self.expected = expected
        self.got = got


class VapidMissing(VapidRefused):
    code, title = "vapid_missing", "The sender's signature is missing"


class VapidInvalid(VapidRefused):
    code, title = "vapid_invalid", "The sender's signature is not valid"


class VapidForbidden(VapidRefused):
    """A good signature, by a key that this push URL does not take."""

    status, code, title = 403, "vapid_forbidden", "The sender's key is not the one of this push URL"


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "Not allowed"
    close_code = 4501


class NotFound(Problem):
    status, code, title = 404, "not_found", "Not found"


class PushUrlUnknown(Problem):
    status, code, title, errno = 404, "push_url_unknown", "No such push URL", 102


class MethodNotAllowed(Problem):
    status, code, title = 405, "method_not_allowed", "Method not allowed"

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allow = allow


class TooSlow(Problem):
    status, code, title = 408, "too_slow", "The request came too slowly"


class LimitReached(Problem):
    status, code, title = 409, "limit_reached", "A limit is reached"
    close_code = 4505


class IdentityTaken(Problem):
    status, code, title = 409, "identity_taken", "The identity has an account of its own"


class LastIdentity(Problem):
    status, code, title = 409, "last_identity", "An account needs an identity"


class PushUrlGone(Problem):
    status, code, title, errno = 410, "push_url_gone", "This push URL is gone", 106


class LengthRequired(Problem):
    status, code, title = 411, "length_required", "Content-Length or chunked encoding is required"


class BodyTooLarge(Problem):
    status, code, title, errno = 413, "body_too_large", "The body is too large", 104


class UriTooLong(Problem):
    status, code, title = 414, "uri_too_long", "The request target is too long"


class ContentTypeUnsupported(Problem):
    status, code, title = 415, "content_type_unsupported", "The content type is not supported"


class IdempotencyMismatch(Problem):
    status, code, title = 422, "idempotency_mismatch", "The idempotency key was used with another body"


class RateLimited(Problem):
    """`limit`: which, in the word that metrics use. Carries a Retry-After always, in whole seconds, rounded up."""

    status, code, title = 429, "rate_limited", "Too many requests"
    close_code = 4005

    def __init__(self, detail: str, *, limit: str = "", retry_after_seconds: float = 1) -> None:
        super().__init__(detail, retry_after_seconds=max(1, ceil(retry_after_seconds)))
        self.limit = limit


class HeadersTooLarge(Problem):
    status, code, title = 431, "headers_too_large", "The request headers are too large"


class Internal(Problem):
    """A fault of ours. The peer learns nothing else; the log has the rest."""

    status, code, title = 500, "internal", "Internal error"
    close_code = 4003


class Unavailable(Problem):
    """Try again later. Carries a Retry-After always: 1 s unless said otherwise."""

    status, code, title = 503, "overloaded", "Temporarily unavailable"
    close_code = 4005

    def __init__(self, detail: str, *, field: str | None = None, retry_after_seconds: int = 1) -> None:
        super().__init__(detail, field=field, retry_after_seconds=retry_after_seconds)


class StoreUnavailable(Unavailable):
    """The registry did not answer in time, refused, or cannot prove what was asked. Nothing was promised."""

    code, title, errno = "store_unavailable", "The store is not available", 201


class Overloaded(StoreUnavailable):
    """More waits than there is room for. Whoever can live without the store for a while can live with this."""

    code, title = "overloaded", "Overloaded"


class NoCapacity(Unavailable):
    code, title = "no_capacity", "No socket server has room"
