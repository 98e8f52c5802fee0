"""Asking the Box Office for servers, and what its answer means for the next step.

Owns: which of its answers is a list, a refusal, or none at all.
Must not know: what a peer does with it (protocol/peer.py), who it is for.
"""

import trio

from pushctl.client.api import Api
from pushctl.client.http import NoRoom, Refused
from pushctl.errors import PushctlError, Unreachable
from pushctl.protocol.peer import AskBoxOffice, Peer, Step


async def ask_box_office(api: Api, token: str, peer: Peer) -> tuple[Step, PushctlError | None]:
    """What to do next, and what went wrong if it was not the list of somewhere to go."""
    try:
        answer = await api.servers(token)
    except NoRoom as refused:
        return peer.box_office_refused(refused.status, refused.retry_after_seconds), refused
    except Refused as refused:
        return peer.box_office_refused(refused.status, None), refused
    except PushctlError as error:
        return peer.box_office_unreachable(), error
    step = peer.offered(answer.servers, answer.expires_in_seconds, trio.current_time())
    if isinstance(step, AskBoxOffice):
        return step, Unreachable("the Box Office knows no server that has room")
    return step, None
