"""What can be configured: frozen tables, each key with its default, its meaning and its bounds.

Owns: the model. The loader (load.py), the commented default files (render.py) and conf.d/ follow it; a test holds
conf.d/ to it in both directions. Names and defaults that others rely on: docs/protocol.md, section 7.
Must not know: where a value came from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

RoleName = Literal["api", "boxoffice", "socket", "router", "gc"]
ROLE_NAMES: tuple[RoleName, ...] = ("api", "boxoffice", "socket", "router", "gc")


def key(
    default: Any = None,
    doc: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    factory: Callable[[], Any] | None = None,
    secret: bool = False,
    examples: tuple[dict[str, Any], ...] = (),
) -> Any:
    """A configuration key: its default, one line for the operator, bounds, and whether it must never be shown.

    `examples`: of a list of tables, entries as they may stand in a file.
    """
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum, "secret": secret, "examples": examples}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Redis:
    """The registry: where all roles meet."""

    url: str = key(
        "redis://127.0.0.1:6379/0",
        "redis://, rediss:// (TLS), unix:// or redis+sentinel://host,host/service; of a Cluster any nodes, with commas",
        secret=True,
    )
    prefix: str = key("pushctl", "in front of every key, so that installations can share one Redis")
    connect_seconds: float = key(10, "how long a role waits for Redis at start before it gives up", minimum=0)
    timeout_seconds: float = key(2, "how long one question may take before the answer is 503", minimum=0.01)
    wait_replicas: int = key(0, "replicas that must confirm a write before it is promised (WAIT)", minimum=0)
    adopt_empty: bool = key(
        True, "a registry that nobody has used yet becomes ours at start; else: pushctl doctor --adopt"
    )
    queue_commands: int = key(10_000, "commands that may wait for a connection; more are refused", minimum=1)
    queue_bytes: int = key(16 * 1024 * 1024, "bytes of commands that may wait; more are refused", minimum=1024)


@dataclass(frozen=True, kw_only=True)
class Http:
    """Limits of the public HTTP listeners."""

    max_header_bytes: int = key(16_384, "of all request headers together; 431 above", minimum=1024)
    max_headers: int = key(100, "number of header fields; 431 above", minimum=8)
    max_target_bytes: int = key(4096, "of the request target; 414 above", minimum=256)
    max_body_bytes: int = key(65_536, "of a request to the client API; 413 above", minimum=1024)
    header_seconds: float = key(10, "for a request's headers to arrive; 408 after", minimum=0.05)
    body_seconds: float = key(20, "for a request's body to arrive; 408 after", minimum=0.05)
    idle_seconds: float = key(75, "a connection may wait for its next request", minimum=0.05)
    write_seconds: float = key(20, "for a peer to take an answer before it is cut off", minimum=0.05)
    max_connections: int = key(10_000, "open connections per listener; more are answered 503", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Api:
    """The client API and the third-party API."""

    listen: str = key("127.0.0.1:8080", "host:port of the public listener; port 0 picks one")
    reuse_port: bool = key(False, "other processes of this host may listen on that port, too: one for each core")
    public_url: str = key("", "the origin clients and sites use; push URLs begin with it (required)")
    tls_certificate: str = key(
        "",
        "PEM file, the role's certificate and those between it and its authority; empty: no TLS here, a proxy has it",
    )
    tls_key: str = key("", "PEM file, the certificate's key without a password; required with tls_certificate")
    tls_client_ca: str = key("", "PEM file: only clients whose certificate one of these signed get in; empty: anybody")
    admin_listen: str = key("127.0.0.1:9080", "host:port of /healthz /readyz /metrics /version; empty: none")
    drain_seconds: float = key(30, "how long a stop may take", minimum=0)
    origins: tuple[str, ...] = key((), "origins of browser pages that may use the client API, besides public_url")
    inbox: bool = key(False, "serve the inbox in a browser at /inbox/; needs boxoffice.public_url, too")
    trusted_proxies: tuple[str, ...] = key((), "networks whose Forwarded / X-Forwarded-For is believed")


@dataclass(frozen=True, kw_only=True)
class Boxoffice:
    """Tells clients which socket servers to try."""

    listen: str = key("127.0.0.1:8081", "host:port of the public listener; port 0 picks one")
    reuse_port: bool = key(False, "other processes of this host may listen on that port, too: one for each core")
    public_url: str = key("", "the URL clients use (required)")
    tls_certificate: str = key(
        "",
        "PEM file, the role's certificate and those between it and its authority; empty: no TLS here, a proxy has it",
    )
    tls_key: str = key("", "PEM file, the certificate's key without a password; required with tls_certificate")
    tls_client_ca: str = key("", "PEM file: only clients whose certificate one of these signed get in; empty: anybody")
    admin_listen: str = key("127.0.0.1:9081", "host:port of /healthz /readyz /metrics /version; empty: none")
    drain_seconds: float = key(30, "how long a stop may take", minimum=0)
    stale_seconds: float = key(30, "how long the last picture of the servers serves while Redis is away", minimum=0)
    max_servers: int = key(5, "servers named in one answer", minimum=1, maximum=100)
    zone: str = key("", "servers whose socket.zone is this come first while they have room; empty: all are alike")
    capacity_floor_percent: float = key(
        5,
        "of the fleet's capacity: while less is free, only as many as fit are sent on; 0: never",
        minimum=0,
        maximum=100,
    )
    arrivals_per_second: float = key(
        1000, "clients sent on by this Box Office, in the long run; others get 503; 0: any", minimum=0
    )
    arrivals_burst: int = key(5000, "clients sent on at once, after a quiet time", minimum=1)
    trusted_proxies: tuple[str, ...] = key((), "networks whose Forwarded / X-Forwarded-For is believed")


@dataclass(frozen=True, kw_only=True)
class Socket:
    """Holds the devices' connections."""

    id: str = key("", "this server's id, stable over restarts (required)")
    listen: str = key("127.0.0.1:8082", "host:port of the public listener; port 0 picks one")
    public_url: str = key("", "the ws:// or wss:// URL that the Box Office hands out (required)")
    tls_certificate: str = key(
        "",
        "PEM file, the role's certificate and those between it and its authority; empty: no TLS here, a proxy has it",
    )
    tls_key: str = key("", "PEM file, the certificate's key without a password; required with tls_certificate")
    tls_client_ca: str = key("", "PEM file: only clients whose certificate one of these signed get in; empty: anybody")
    admin_listen: str = key("127.0.0.1:9082", "host:port of /healthz /readyz /metrics /version; empty: none")
    drain_seconds: float = key(30, "how long a stop may take", minimum=0)
    zone: str = key("", "where this server stands, in your words; Box Offices of the same zone prefer it")
    max_connections: int = key(10_000, "connections this server takes; more are refused with 503", minimum=1)
    accept_rate: float = key(
        1000, "connections taken in a second, in the long run; more are refused with 503; 0: any", minimum=0
    )
    accept_burst: int = key(2000, "connections taken at once, after a quiet time", minimum=1)
    trusted_proxies: tuple[str, ...] = key((), "networks whose Forwarded / X-Forwarded-For is believed")
    origins: tuple[str, ...] = key((), "Origin headers to accept; empty: any")
    rpc_listen: str = key(
        "", "host:port of the internal listener on which routers bring hints by rpc; empty: none, they use Redis"
    )
    rpc_url: str = key("", "the http:// URL under which routers reach rpc_listen; empty: what it listens on")
    reconcile_seconds: float = key(
        60,
        "every user's log, lease and session is looked at this often (a missed sign-out is found after two at most)",
        minimum=1,
        maximum=150,
    )
    handshake_seconds: float = key(10, "for the WebSocket upgrade", minimum=0.05)
    hello_seconds: float = key(5, "for the first frame", minimum=0.05)
    ping_seconds: float = key(30, "of silence until a peer is pinged; also told to clients as ping_ms", minimum=0.1)
    pong_seconds: float = key(20, "for a pong to come before the connection is closed with 4004", minimum=0.1)
    browser_ping_seconds: float = key(
        45, "least time between two pings of a browser (push-notification); closed with 1011 if sooner", minimum=0
    )
    stall_seconds: float = key(30, "without progress in sending before a connection is closed with 4002", minimum=0.1)
    max_frame_bytes: int = key(65_536, "of a client's message; larger: closed with 4502 or 1009", minimum=1024)
    outbox_bytes: int = key(
        65_536, "prepared frames a connection may hold; past it the log is read later", minimum=1024
    )
    page_bytes: int = key(131_072, "of events or objects in one sync frame, about", minimum=1024)


@dataclass(frozen=True, kw_only=True)
class Router:
    """Brings jobs to the socket servers."""

    admin_listen: str = key("127.0.0.1:9083", "host:port of /healthz /readyz /metrics /version; empty: none")
    drain_seconds: float = key(30, "how long a stop may take", minimum=0)
    batch: int = key(256, "jobs taken at once", minimum=1, maximum=1000)


@dataclass(frozen=True, kw_only=True)
class Gc:
    """Throws away what has expired."""

    admin_listen: str = key("127.0.0.1:9084", "host:port of /healthz /readyz /metrics /version; empty: none")
    drain_seconds: float = key(30, "how long a stop may take", minimum=0)
    tick_seconds: float = key(5, "between two rounds", minimum=0.1)
    batch: int = key(200, "users looked at in one round, at most", minimum=1, maximum=10_000)
    census_seconds: float = key(60, "between two counts of users, devices, push URLs and unread messages", minimum=0.1)
    repair_seconds: float = key(
        86_400, "one slow round over all keys, which finds what the indexes lost; 0: none", minimum=0
    )
    idle_browser_days: float = key(
        60,
        "browsers (push-notification) not seen for so long go, with their push URLs; 0: none",
        minimum=0,
        maximum=36_500,
    )
    idle_device_days: float = key(
        0, "devices not seen for so long are removed, never a user's last; 0: none", minimum=0, maximum=36_500
    )


@dataclass(frozen=True, kw_only=True)
class Routing:
    """From a job to the socket servers."""

    strategy: Literal["rpc", "channel", "broadcast"] = key(
        "channel", "how routers reach socket servers; may be changed role by role while all run"
    )
    partitions: int = key(0, "job streams; 0: one per Redis master", minimum=0, maximum=1024)
    max_jobs: int = key(100_000, "jobs a stream holds; the oldest go, reconcile covers them", minimum=100)
    max_job_bytes: int = key(64 * 1024 * 1024, "bytes of jobs a stream holds; the oldest go", minimum=1024 * 1024)


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What third parties may send."""

    max_lifetime_seconds: int = key(259_200, "a message lives min(this, its TTL)", minimum=1, maximum=2_592_000)
    max_body_bytes: int = key(4096, "of a message; 413 above", minimum=1, maximum=1_048_576)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Per user and per address."""

    push_urls_per_user: int = key(500, "more: 409", minimum=1)
    devices_per_user: int = key(50, "more: 409; as many sessions, and one more for each that is renewed", minimum=1)
    identities_per_user: int = key(10, "that may log in to one account; more: 409", minimum=1)
    connections_per_user: int = key(
        50, "devices of a user connected to one socket server; more: closed with 4505", minimum=1
    )
    connections_per_address: int = key(
        50, "connections to one socket server from one address (IPv6: one /64); more: 503", minimum=1
    )
    unread_per_user: int = key(1000, "unread messages; the push URL with most bytes loses its oldest", minimum=1)
    unread_per_push_url: int = key(200, "unread messages; its own oldest goes", minimum=1)
    unread_bytes_per_user: int = key(4 * 1024 * 1024, "bytes of unread messages", minimum=4096)
    unread_bytes_per_push_url: int = key(1024 * 1024, "bytes of unread messages", minimum=4096)
    receipt_waits_per_push_url: int = key(
        20, "requests that wait for receipts of one push URL's messages, in one api process; more: 429", minimum=1
    )
    receipt_waits: int = key(2000, "the same of all push URLs; more: 503", minimum=1)
    log_events_per_user: int = key(10_000, "events kept for devices that are away; then a snapshot", minimum=100)
    push_url_per_second: float = key(
        100, "messages that a push URL takes in the long run; 429 above; 0: any", minimum=0
    )
    push_url_burst: int = key(1000, "the same, at once", minimum=1, maximum=1_000_000)
    user_per_second: float = key(
        1000, "messages to one user, whatever the push URL, in the long run; 429 above; 0: any", minimum=0
    )
    user_burst: int = key(10_000, "the same, at once", minimum=1, maximum=1_000_000)
    vapid_key_per_second: float = key(
        1000, "messages signed by one VAPID key, whatever the push URL, in the long run; 429 above; 0: any", minimum=0
    )
    vapid_key_burst: int = key(10_000, "the same, at once", minimum=1, maximum=1_000_000)
    push_per_second_per_address: float = key(
        0, "messages from one address (IPv6: one /64) in the long run; 429 above; 0: any", minimum=0
    )
    push_burst_per_address: int = key(1000, "the same, at once", minimum=1, maximum=1_000_000)
    state_per_second_per_address: float = key(
        100,
        "questions from one address (IPv6: one /64) after messages of one user, or to take them back, in the long run; "
        "429 above; 0: any",
        minimum=0,
    )
    state_burst_per_address: int = key(1000, "the same, at once", minimum=1, maximum=1_000_000)
    total_per_second: float = key(0, "messages of all senders in the long run; 429 above; 0: any", minimum=0)
    total_burst: int = key(100_000, "the same, at once", minimum=1, maximum=1_000_000)
    login_per_second_per_address: float = key(
        10,
        "log-ins and linked identities from one address (IPv6: one /64), good or not, in the long run; 429 above; 0: "
        "any",
        minimum=0,
    )
    login_burst_per_address: int = key(100, "the same, at once", minimum=1, maximum=1_000_000)
    client_per_second_per_user: float = key(
        50, "requests of one user to the client API in the long run; 429 above; 0: any", minimum=0
    )
    client_burst_per_user: int = key(500, "the same, at once", minimum=1, maximum=1_000_000)
    arrivals_per_second_per_address: float = key(
        10,
        "requests to a Box Office, and connections to a socket server, from one address (IPv6: one /64), in the long "
        "run; 429 (a socket server: 503) above; 0: any",
        minimum=0,
    )
    arrivals_burst_per_address: int = key(100, "the same, at once", minimum=1)
    exempt_networks: tuple[str, ...] = key((), "networks that limits by address leave alone")


@dataclass(frozen=True, kw_only=True)
class DevIdp:
    """The embedded development identity provider."""

    enabled: bool = key(False, "also needs identity.environment = development; loopback only")
    allow_bind_any: bool = key(False, "let listeners bind other than loopback (containers); whoever reaches it logs in")


@dataclass(frozen=True, kw_only=True)
class BrowseridIssuer:
    """Who signs for some domains."""

    issuer: str = key(None, "the name that its certificates give as iss, such as idp.example")
    domains: tuple[str, ...] = key(None, "of the e-mail addresses it may speak for")
    keys_file: str = key(None, 'JSON file: its support document, {"keys": [...]} or one public key')


@dataclass(frozen=True, kw_only=True)
class BrowseridDiscover:
    """How domains without an issuer of their own are asked who speaks for them."""

    allow_domains: tuple[str, ...] = key((), "e-mail domains that may be asked; empty: any domain of the Internet")
    fallback: str = key("", "the issuer that speaks for domains without BrowserID; empty: none")
    max_delegations: int = key(5, "from one domain to the next until one has keys", minimum=0, maximum=20)
    timeout_seconds: float = key(5, "for all that one login has to ask", minimum=0.05, maximum=60)
    max_document_bytes: int = key(65_536, "of a support document", minimum=1024, maximum=1_048_576)
    max_concurrent: int = key(16, "fetches at a time; logins that need one more wait for their turn", minimum=1)
    cache_positive_seconds: int = key(
        3600, "a support document is kept at most; less if its max-age says so, but never less than 300", minimum=300
    )
    cache_negative_seconds: int = key(60, "it is remembered that a domain has none", minimum=1)
    ca_file: str = key("", "PEM file with the authorities that are believed; empty: the system's")


@dataclass(frozen=True, kw_only=True)
class Browserid:
    """BrowserID: which issuers are believed, and for how long."""

    enabled: bool = key(False, "let users log in with BrowserID; the development provider needs it not")
    audiences: tuple[str, ...] = key((), "origins that assertions may be for; empty: api.public_url")
    algorithms: tuple[str, ...] = key(("RS256",), "of signatures; may add DS256, which old clients used")
    mode: Literal["static", "discover"] = key(
        "static", "static: only the issuers below, nothing is fetched; discover: other domains are asked"
    )
    clock_skew_seconds: int = key(60, "clocks may differ by this much", minimum=0, maximum=300)
    max_assertion_lifetime_seconds: int = key(600, "an assertion may live", minimum=1)
    max_certificate_lifetime_seconds: int = key(86_400, "a certificate may live", minimum=1)
    max_bundle_bytes: int = key(16_384, "of a certificate and its assertion; 413 above", minimum=2048, maximum=65_536)
    issuers: tuple[BrowseridIssuer, ...] = key((), "who signs for which domains, each a [[identity.browserid.issuers]]")
    discover: BrowseridDiscover = key(factory=BrowseridDiscover)


@dataclass(frozen=True, kw_only=True)
class OidcProvider:
    """An OpenID provider, and one kind of its tokens."""

    name: str = key(None, "what a login calls it; also in logs and session records")
    kind: Literal["id_token", "access_token"] = key(
        None, "id_token: of a log-in at one of our clients; access_token: a JWT for our API"
    )
    issuer: str = key(None, "its tokens' iss, byte for byte")
    jwks_uri: str = key("", "https URL of its keys; empty: discovery says it")
    discovery: bool = key(False, "ask <issuer>/.well-known/openid-configuration for jwks_uri")
    audiences: tuple[str, ...] = key((), "one must be in aud: our client ids (id_token), our resource (access_token)")
    algorithms: tuple[str, ...] = key(("RS256",), "of signatures: RS256, ES256, EdDSA, PS256")
    check_audience: bool = key(True, "false: aud is not looked at, required_scope alone says that a token is for us")
    required_scope: str = key("", "access_token: a word that scope must hold")
    client_ids: tuple[str, ...] = key((), "access_token: whose tokens are taken; empty: any client's")
    generation_claim: str = key("", "of a number that rises with each sign-out at the provider; fxa-generation")
    max_age_seconds: int = key(0, "a token may be traded so long after its iat; 0: until its end", minimum=0)
    inbox_client_id: str = key("", "the client id by which the page at /inbox/ logs in here; empty: it does not")
    inbox_token_origin: str = key("", "origin of its token endpoint, for that page, where it is not the issuer's")
    disabled: bool = key(False, "takes no log-ins; the sessions it vouched for end")


_ACCOUNTS = {
    "name": "accounts",
    "kind": "id_token",
    "issuer": "https://accounts.example/",
    "discovery": True,
    "audiences": ["push-app", "push-cli"],
}
_MOZILLA = {
    "name": "mozilla",
    "kind": "access_token",
    "issuer": "https://accounts.firefox.com",
    "jwks_uri": "https://oauth.accounts.firefox.com/v1/jwks",
    "check_audience": False,
    "required_scope": "https://identity.mozilla.com/apps/push-example",
    "client_ids": ["0123456789abcdef"],
    "generation_claim": "fxa-generation",
}


@dataclass(frozen=True, kw_only=True)
class Oidc:
    """OpenID Connect: ID tokens and JWT access tokens."""

    enabled: bool = key(False, "let users log in by the providers below")
    leeway_seconds: int = key(60, "clocks may differ by this much", minimum=0, maximum=300)
    providers: tuple[OidcProvider, ...] = key(
        (), "which providers are believed, each a [[identity.oidc.providers]]", examples=(_ACCOUNTS, _MOZILLA)
    )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who users are."""

    environment: Literal["production", "development"] = key("production", "development allows the embedded provider")
    keys_file: str = key("", "file made by `pushctl keys new` (api and socket need this or keys_toml)")
    keys_toml: str = key(
        "",
        "the text of such a file instead, from the environment or a mounted secret; never shown",
        secret=True,
    )
    session_ttl_seconds: int = key(90 * 86_400, "a session lasts since it was last used", minimum=60)
    session_max_age_seconds: int = key(365 * 86_400, "a session lasts at most, since its log-in", minimum=60)
    dev_idp: DevIdp = key(factory=DevIdp)
    browserid: Browserid = key(factory=Browserid)
    oidc: Oidc = key(factory=Oidc)


@dataclass(frozen=True, kw_only=True)
class Log:
    """What is written to stderr, and how."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "least level that is written")
    format: Literal["auto", "text", "json"] = key("auto", "auto: text on a terminal, JSON otherwise")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """OpenTelemetry spans of some messages, from the POST to the acknowledgement: pip install "pushctl[otel]"."""

    enabled: bool = key(False, "api, router and socket send spans to a collector")
    endpoint: str = key("http://127.0.0.1:4318/v1/traces", "the URL where a collector takes OTLP over HTTP")
    headers: str = key(
        "",
        "for the collector, name=value,name=value with values percent-encoded; from the environment or a file, never "
        "shown",
        secret=True,
    )
    sample_ratio: float = key(0.01, "of the messages that are followed; 0: none, 1: all", minimum=0, maximum=1)
    trusted_networks: tuple[str, ...] = key(
        (), "senders whose traceparent decides what is followed, and is its parent; another's is only linked to"
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    redis: Redis = key(factory=Redis)
    http: Http = key(factory=Http)
    api: Api = key(factory=Api)
    boxoffice: Boxoffice = key(factory=Boxoffice)
    socket: Socket = key(factory=Socket)
    router: Router = key(factory=Router)
    gc: Gc = key(factory=Gc)
    routing: Routing = key(factory=Routing)
    messages: Messages = key(factory=Messages)
    limits: Limits = key(factory=Limits)
    identity: Identity = key(factory=Identity)
    log: Log = key(factory=Log)
    traces: Traces = key(factory=Traces)
