"""What a role says of itself, whichever it is: alive, ready, and what will soon be wrong.

Owns: the three questions of a supervisor, put together. Promises: alive looks at this process alone (liveness.py), for
a restart mends nothing else; everything that needs no I/O is answered without (`own`), so a heartbeat may carry it.
Must not know: what a role depends on beyond that (Role.not_ready).
"""

from datetime import UTC, datetime

from pushctl.config.model import Config
from pushctl.liveness import PATIENCE_SECONDS, Liveness
from pushctl.open_files import open_files_short
from pushctl.reasons import Code, Reason
from pushctl.tls import SOON, Tls


class Health:
    """Of one role. `liveness` is to be run, and told of by its loops."""

    def __init__(self, config: Config, tls: Tls | None = None) -> None:
        # A question to Redis may take its deadline, and some steps ask several.
        self.liveness = Liveness(max(PATIENCE_SECONDS, 10 * config.redis.timeout_seconds))
        self._tls = tls

    def own(self) -> list[Reason]:
        """Why nobody new should be sent to this process, as far as it knows without asking anybody."""
        return [*self.liveness.stuck(), *self.liveness.late(), *open_files_short(), *self._certificate()]

    def warnings(self) -> list[Reason]:
        """What it works in spite of, and will not for ever."""
        return [reason for reason in self._ends() if reason.code is Code.CERTIFICATE_ENDS]

    def _certificate(self) -> list[Reason]:
        return [reason for reason in self._ends() if reason.code is Code.CERTIFICATE_ENDED]

    def _ends(self) -> list[Reason]:
        if self._tls is None:
            return []
        now, ends = datetime.now(UTC), self._tls.ends
        renew = "put a new one in its place and send SIGHUP"
        if ends <= now:
            detail = f"the certificate {self._tls.certificate} ended at {ends.isoformat()}: clients refuse it; {renew}"
            return [Reason(Code.CERTIFICATE_ENDED, detail)]
        if ends <= now + SOON:
            detail = f"the certificate {self._tls.certificate} ends at {ends.isoformat()}; {renew}"
            return [Reason(Code.CERTIFICATE_ENDS, detail)]
        return []
