"""What can be done with one user's inbox and account, shared by the roles that face clients."""

from pushctl.inbox.accounts import Accounts, DeviceView, IdentityView, Session, SignedIn
from pushctl.inbox.browsers import Browser, Browsers
from pushctl.inbox.inbox import Inbox, MessageState, Published

__all__ = [
    "Accounts",
    "Browser",
    "Browsers",
    "DeviceView",
    "IdentityView",
    "Inbox",
    "MessageState",
    "Published",
    "Session",
    "SignedIn",
]
