"""OpenAPI of the routes that are no framework's: the push URL, the message and the receipt.

Owns: their path items, by hand; a test holds them to push_routes.py. Must not know: how they are answered.
"""

from typing import Any, Final

from pushctl.http.rest import TITLES

_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457, with the errno of Mozilla's push service where that has one",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "field": {"type": ["string", "null"]},
        "errno": {"type": ["integer", "null"]},
    },
    "required": ["type", "title", "status", "detail", "code", "field", "errno"],
}

_NOTIFICATION: Final = {
    "type": "object",
    "description": "At least title or body",
    "properties": {name: {"type": ["string", "null"]} for name in ("title", "body", "icon", "url", "tag")},
    "additionalProperties": False,
}

_STATES: Final = ("stored", "delivered", "read", "expired", "replaced", "cancelled", "evicted")


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": TITLES[status],
            "content": {"application/problem+json": {"schema": _PROBLEM}},
        }
        for status in sorted({*statuses, 503})
    }


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _part(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


_POST: Final = {
    "summary": "Send a message",
    "description": "For TTL > 0 the answer is 201 only once the message is stored.",
    "operationId": "Push",
    "tags": ["third parties"],
    "parameters": [
        _header("TTL", "seconds it may wait; 0: now or never; default: the longest", {"type": "integer", "minimum": 0}),
        _header("Topic", "replaces the unread message of this topic", {"type": "string", "pattern": "^[\\w-]{1,32}$"}),
        _header("Urgency", "RFC 8030, section 5.3", {"enum": ["very-low", "low", "normal", "high"]}),
        _header("Idempotency-Key", "within 5 minutes a repeat stores once", {"type": "string", "maxLength": 255}),
        _header("Content-Encoding", "of an encrypted body; then TTL is required", {"enum": ["aes128gcm", "aesgcm"]}),
        _header("Encryption", "with aesgcm: salt=", {"type": "string"}),
        _header("Crypto-Key", "with aesgcm: dh=; with the schemes WebPush and Bearer: p256ecdsa=", {"type": "string"}),
        _header("Authorization", "who sends (RFC 8292): vapid t=, k=", {"type": "string"}),
        _header("Prefer", "respond-async: 202 and a receipt", {"type": "string"}),
    ],
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {"schema": _NOTIFICATION},
            "text/plain": {"schema": {"type": "string"}},
            "application/x-www-form-urlencoded": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "description": "with Content-Encoding"}},
        },
    },
    "responses": {
        "201": {
            "description": "stored, or with TTL 0 handed on",
            "headers": {
                "Location": {"description": "the message, relative to this origin", "schema": {"type": "string"}},
                "TTL": {"description": "the lifetime that was used, in seconds", "schema": {"type": "integer"}},
            },
        },
        "202": {
            "description": "stored, and Link names the receipt",
            "headers": {
                "Link": {
                    "description": '</receipt/{id}>; rel="urn:ietf:params:push:receipt"',
                    "schema": {"type": "string"},
                },
            },
        },
        **_problems(400, 401, 403, 404, 410, 413, 415, 422, 429),
    },
}

_STATE: Final = {
    "200": {
        "description": "its state",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "state": {"enum": list(_STATES)},
                        "at": {"type": "string", "format": "date-time"},
                    },
                    "required": ["id", "state", "at"],
                }
            }
        },
    }
}

_GET: Final = {
    "summary": "What became of a message",
    "operationId": "MessageState",
    "tags": ["third parties"],
    "responses": {**_STATE, **_problems(404, 429)},
}

_RECEIPT: Final = {
    "summary": "What became of a message, once something has",
    "operationId": "Receipt",
    "tags": ["third parties"],
    "parameters": [_header("Prefer", "wait=30: how many seconds to wait for it", {"type": "string"})],
    "responses": {**_STATE, **_problems(404, 429)},
}

_DELETE: Final = {
    "summary": "Take back an unread message",
    "operationId": "CancelMessage",
    "tags": ["third parties"],
    "responses": {"204": {"description": "taken back; the devices are told"}, **_problems(404, 429)},
}

PUSH_PATHS: Final[dict[str, Any]] = {
    "/push/{token}": {"parameters": [_part("token", "the last part of a push URL")], "post": _POST},
    "/message/{id}": {"parameters": [_part("id", "the last part of Location")], "get": _GET, "delete": _DELETE},
    "/receipt/{id}": {"parameters": [_part("id", "the last part of Link")], "get": _RECEIPT},
}
