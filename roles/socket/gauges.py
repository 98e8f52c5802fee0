"""What a socket server holds at the moment, for Prometheus: looked up when somebody asks, and never otherwise.

Owns: where each of these numbers comes from. Must not know: their names (pushctl/metrics).
"""

from typing import TYPE_CHECKING

from pushctl.metrics import SocketMetrics
from pushctl.routing.receive import Receiver

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


def watch(metrics: SocketMetrics, role: "SocketRole", receiver: Receiver) -> None:
    """From the start of a role on."""
    hub = role.hub
    metrics.capacity.set(role.config.socket.max_connections)
    metrics.users.look = lambda: [((), hub.user_count)]
    metrics.arriving.look = lambda: [((), role.reception.inside - hub.connections)]
    metrics.slow.look = lambda: [
        (("behind",), sum(connection.is_behind for connection in hub)),
        (("held_back",), sum(connection.is_held_back for connection in hub)),
    ]
    metrics.outbox_bytes.look = lambda: [((), sum(connection.outbox_bytes for connection in hub))]
    metrics.draining.look = lambda: [((), role.draining)]
    metrics.frames.look = lambda: [((), role.frames_written)]
    metrics.unwritten.look = lambda: [((), role.unwritten_acknowledgements)]
    metrics.channel_silent_seconds.look = lambda: [((), receiver.silent_seconds)]
    metrics.deaf_channels.look = lambda: [((), receiver.deaf)]
    metrics.channel_losses.look = lambda: [((), receiver.losses)]
