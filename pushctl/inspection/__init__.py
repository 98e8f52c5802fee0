"""One thing of a running service in full, with why it is where it is: what `pushctl inspect` shows.

Everything comes from the registry by a question or two; nothing here writes. No body, push URL or sealed id is shown.
"""

from pushctl.inspection.message import MessageReport, inspect_message
from pushctl.inspection.push_url import PushUrlReport, inspect_push_url
from pushctl.inspection.server import ServerReport, inspect_server
from pushctl.inspection.user import UserReport, inspect_user

__all__ = [
    "MessageReport",
    "PushUrlReport",
    "ServerReport",
    "UserReport",
    "inspect_message",
    "inspect_push_url",
    "inspect_server",
    "inspect_user",
]
