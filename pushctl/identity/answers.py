"""What domains answered when they were asked who speaks for them, for a while.

Owns: an answer, and a bounded memory of them. Must not know: how domains are asked, or what their answers mean.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pushctl.identity.refusal import LoginCode, LoginRefused
from pushctl.identity.support import SupportDocument

MAX_REMEMBERED: Final = 1000
"""Documents; and as many domains that have none. The one not asked for longest is forgotten."""

Key = tuple[str, str]
"""Whose document, and for which e-mail domain: an authority may answer differently for each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking: a document, or why there is none. Times are trio's clock, in seconds."""

    outcome: SupportDocument | LoginRefused
    asked_at: float
    until: float

    @property
    def is_document(self) -> bool:
        return isinstance(self.outcome, SupportDocument)

    @property
    def code(self) -> LoginCode | None:
        return self.outcome.code if isinstance(self.outcome, LoginRefused) else None


class Memory:
    """Answers by key, at most MAX_REMEMBERED."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    def get(self, key: Key, now: float) -> Answer | None:
        answer = self._answers.get(key)
        if answer is None or answer.until <= now:
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)

    def drop(self, key: Key) -> None:
        self._answers.pop(key, None)
