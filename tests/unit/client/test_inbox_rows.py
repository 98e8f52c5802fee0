"""What a device reads of encrypted messages: with its keys what they say, without them that they are there."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from pushctl.client.events import MessageEvent
from pushctl.client.store import Store
from pushctl.ids import b64url
from pushctl.protocol import frames
from pushctl.webpush.encryption import DeviceKeys, seal_message
from tests.unit.client.builders import message


def sealed(keys: DeviceKeys, plaintext: bytes) -> frames.Message:
    return msgspec.structs.replace(
        message("m1"),
        push_url="p1",
        notification=None,
        data=b64url(seal_message(plaintext, keys.public())),
        encoding="aes128gcm",
    )


def told(store: Store, arrived: frames.Message) -> MessageEvent:
    cursor = "0" * 16 + "-1-" + "0" * 16
    [event] = store.apply_event(frames.MessageEvent(cursor, arrived), "very-low")
    assert isinstance(event, MessageEvent)
    return event


@pytest.mark.parametrize(
    ("plaintext", "title", "body"),
    [
        (b"hello", None, "hello"),
        ("grüße\n☃".encode(), None, "grüße\n☃"),
        (b'{"title":"T","body":"B"}', "T", "B"),
        (b'{"some":"json"}', None, '{"some":"json"}'),
        (b'["title"]', None, '["title"]'),
        (b"", None, ""),
    ],
)
def test_a_message_to_its_keys_says_what_it_says(store: Store, plaintext: bytes, title: str, body: str) -> None:
    event = told(store, sealed(store.keys_of("p1"), plaintext))
    assert (event.title, event.body, event.data, event.encoding) == (title, body, None, "aes128gcm")
    [stored] = store.messages()
    assert stored.message.notification is not None
    assert (stored.message.notification.title, stored.message.notification.body) == (title, body)


def test_what_it_cannot_read_is_shown_as_it_came(store: Store) -> None:
    store.keys_of("p1")
    for arrived in (sealed(DeviceKeys.generate(), b"x"), sealed(store.keys_of("p1"), b"\xff")):
        event = told(store, msgspec.structs.replace(arrived, id=arrived.id))
        assert (event.title, event.body, event.encoding) == (None, None, "aes128gcm")
        assert event.data == arrived.data


def test_the_keys_of_a_push_url_stay_the_same_and_outlive_it(store: Store) -> None:
    keys = store.keys_of("p1").public()
    store.remove_push_url("p1")
    assert store.keys_of("p1").public() == keys
    assert store.keys_of("p2").public() != keys


def test_who_logs_out_forgets_the_keys(store: Store) -> None:
    keys = store.keys_of("p1").public()
    store.end_session()
    assert store.keys_of("p1").public() != keys


def test_a_profile_of_an_older_pushctl_gets_room_for_keys(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with Store(path) as store:
        store.set_setting("api", "https://push.example")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE push_keys")
        database.execute("PRAGMA user_version = 1")
    database.close()
    with Store(path) as store:
        assert store.setting("api") == "https://push.example"
        assert store.keys_of("p1").public() == store.keys_of("p1").public()
