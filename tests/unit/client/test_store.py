"""What a device knows, on a real file: nothing lost, nothing twice, whatever is repeated and whenever it dies."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.client import events
from pushctl.client.store import Store
from pushctl.clock import rfc3339
from pushctl.protocol import frames
from pushctl.protocol.frames import FrameInvalid, Notification
from tests.unit.client.builders import HOUR_MS, NOW_MS, SetClock, cursor, message, push_url, session


def unread(store: Store) -> list[str]:
    return [stored.message.id for stored in store.messages()]


def delta(*found: frames.Event, seq: int, done: bool = True) -> frames.DeltaFrame:
    return frames.DeltaFrame(list(found), cursor(seq), done)


def snapshot(*messages: frames.Message, seq: int, push_urls: tuple[frames.PushUrl, ...] = (), **more: Any) -> Any:
    return frames.SnapshotFrame(list(push_urls), list(messages), cursor(seq), True, **more)


def arrive(store: Store, *names: str, **changed: Any) -> None:
    for seq, name in enumerate(names, start=1):
        store.apply_event(frames.MessageEvent(cursor(seq), message(name, **changed)), "very-low")


# --- session ---------------------------------------------------------------------------------------------------------


def test_a_session_lasts_over_restarts_and_its_token_is_in_no_text(tmp_path: Path) -> None:
    with Store(tmp_path / "laptop.sqlite3") as store:
        assert store.session() is None
        store.begin_session(session())
    with Store(tmp_path / "laptop.sqlite3") as store:
        found = store.session()
    assert found == session()
    assert "secret-1" not in repr(found)


def test_logging_in_anew_as_the_same_user_keeps_the_inbox(store: Store) -> None:
    store.begin_session(session(login=1))
    arrive(store, "m1")
    store.begin_session(session(login=2))
    assert unread(store) == ["m1"]
    assert store.resume_cursor("very-low") == cursor(1)


def test_another_user_finds_nothing_of_the_one_before(store: Store) -> None:
    store.begin_session(session("u1"))
    store.put_push_url(push_url())
    arrive(store, "m1")
    store.begin_session(session("u2"))
    assert (unread(store), store.push_urls(), store.resume_cursor("very-low")) == ([], [], None)


def test_a_logout_forgets_the_inbox_but_not_which_device_it_was(store: Store) -> None:
    store.begin_session(session())
    arrive(store, "m1")
    store.end_session()
    assert (store.session(), unread(store), store.resume_cursor("very-low")) == (None, [], None)
    assert store.known_device("alice@dev-idp.localhost") == "device-of-u1"
    assert store.known_device("bob@dev-idp.localhost") is None


def test_settings_last(store: Store) -> None:
    assert store.setting("api") is None
    store.set_setting("api", "http://127.0.0.1:1")
    store.set_setting("api", "http://127.0.0.1:2")
    assert store.setting("api") == "http://127.0.0.1:2"


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_message_is_told_with_its_latency_and_the_icon_of_its_push_url(store: Store, clock: SetClock) -> None:
    store.put_push_url(push_url(icon="https://news.example/i.png"))
    clock.now_ms += 25
    [told] = store.apply_event(frames.MessageEvent(cursor(1), message("m1")), "very-low")
    assert isinstance(told, events.MessageEvent)
    assert (told.title, told.body, told.icon, told.latency_ms, told.live, told.cursor) == (
        *("News", "m1", "https://news.example/i.png"),
        *(25, True, cursor(1)),
    )
    assert store.messages()[0].icon == "https://news.example/i.png"


def test_the_icon_a_message_brings_comes_before_the_one_of_its_push_url(store: Store) -> None:
    store.put_push_url(push_url(icon="https://news.example/i.png"))
    with_icon = message("m1", notification=Notification(body="x", icon="https://news.example/other.png"))
    [told] = store.apply_event(frames.MessageEvent(cursor(1), with_icon), "very-low")
    assert isinstance(told, events.MessageEvent)
    assert told.icon == "https://news.example/other.png"


def test_what_was_missed_is_told_as_missed(store: Store) -> None:
    [told] = store.apply_delta(delta(frames.MessageEvent(cursor(1), message("m1")), seq=1), "very-low")
    assert isinstance(told, events.MessageEvent)
    assert (told.live, told.latency_ms) == (False, None)


def test_read_on_another_device_disappears_here(store: Store) -> None:
    arrive(store, "m1", "m2")
    told = store.apply_event(frames.ReadEvent(cursor(3), ["m1", "never-seen"]), "very-low")
    assert told == [events.ReadEvent(["m1"])]
    assert unread(store) == ["m2"]
    assert [stored.message.id for stored in store.messages(read_too=True)] == ["m1", "m2"]


def test_dropped_messages_are_gone_and_unknown_ones_ignored(store: Store) -> None:
    arrive(store, "m1", "m2")
    told = store.apply_event(frames.DroppedEvent(cursor(3), ["m2", "never-seen"], "replaced"), "very-low")
    assert told == [events.DroppedEvent(["m2"], "replaced")]
    assert [stored.message.id for stored in store.messages(read_too=True)] == ["m1"]
    assert store.apply_event(frames.DroppedEvent(cursor(4), ["never-seen"], "evicted"), "very-low") == []


def test_a_revoked_push_url_goes_and_its_unread_messages_stay(store: Store) -> None:
    store.put_push_url(push_url())
    arrive(store, "m1")
    told = store.apply_event(frames.RevokedEvent(cursor(2), "p1"), "very-low")
    assert told == [events.RevokedEvent("p1", "https://news.example")]
    assert (store.push_urls(), unread(store)) == ([], ["m1"])


def test_another_icon_replaces_the_one_before(store: Store) -> None:
    for icon in ("https://news.example/1.png", "https://news.example/2.png"):
        store.apply_event(frames.PushUrlEvent(cursor(1), push_url(icon=icon)), "very-low")
    assert [found.icon for found in store.push_urls()] == ["https://news.example/2.png"]


def test_the_device_that_allowed_a_site_is_told_of_its_own_event(store: Store) -> None:
    store.put_push_url(push_url())  # the answer to the request was faster, or came to another command
    told = store.apply_event(frames.PushUrlEvent(cursor(1), push_url()), "very-low")
    assert told == [events.PushUrlEvent("p1", "https://news.example", push_url().url, None)]


def test_a_message_past_its_expiry_is_not_shown(store: Store, clock: SetClock) -> None:
    arrive(store, "m1")
    clock.now_ms += HOUR_MS
    assert unread(store) == []


def test_a_message_for_now_or_never_is_shown_until_it_is_read_and_moves_no_cursor(
    store: Store, clock: SetClock
) -> None:
    arrive(store, "m1")
    ephemeral = message("now", expires_at=rfc3339(NOW_MS))
    [told] = store.apply_event(frames.MessageEvent(None, ephemeral), "very-low")
    assert isinstance(told, events.MessageEvent)
    assert (told.live, told.cursor) == (True, None)
    assert store.resume_cursor("very-low") == cursor(1)
    store.apply_snapshot([snapshot(seq=2)])
    clock.now_ms += HOUR_MS
    assert unread(store) == ["now"]
    store.mark_read(["now"])
    assert (unread(store), store.pending_reads()) == ([], [])


def test_a_frame_with_a_moment_that_is_none_is_refused_and_changes_nothing(store: Store) -> None:
    bad = message("m1", expires_at="tomorrow")
    with pytest.raises(FrameInvalid):
        store.apply_event(frames.MessageEvent(cursor(1), bad), "very-low")
    with pytest.raises(FrameInvalid):
        store.apply_delta(
            delta(frames.MessageEvent(cursor(1), message("m0")), frames.MessageEvent(cursor(2), bad), seq=2), "very-low"
        )
    assert (unread(store), store.resume_cursor("very-low")) == ([], None)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_message_read_offline_waits_for_its_confirmation_over_restarts(tmp_path: Path, clock: SetClock) -> None:
    with Store(tmp_path / "laptop.sqlite3", clock) as store:
        arrive(store, "m1", "m2")
        assert store.mark_read(["m1", "never-seen"]) == ["m1"]
        assert store.mark_read(["m1"]) == []
    with Store(tmp_path / "laptop.sqlite3", clock) as store:
        assert (unread(store), store.pending_reads()) == (["m2"], ["m1"])
        assert [stored.confirmed for stored in store.messages(read_too=True)] == [False, True]
        store.apply_event(frames.ReadEvent(cursor(3), ["m1"]), "very-low")
        assert store.pending_reads() == []


def test_a_pending_read_is_not_said_for_ever(store: Store, clock: SetClock) -> None:
    arrive(store, "dropped", "gone", "expired")
    store.mark_read(["dropped", "gone", "expired"])
    store.apply_event(frames.DroppedEvent(cursor(4), ["dropped"], "evicted"), "very-low")
    assert store.pending_reads() == ["gone", "expired"]
    store.apply_snapshot([snapshot(message("expired"), seq=5)])
    assert store.pending_reads() == ["expired"]
    clock.now_ms += HOUR_MS
    assert store.pending_reads() == []


def test_a_read_that_the_service_forgot_is_said_again_and_never_shown_as_unread(store: Store) -> None:
    arrive(store, "m1")
    store.mark_read(["m1"])
    store.confirm_read(["m1"])
    assert store.pending_reads() == []
    store.apply_snapshot([snapshot(message("m1"), seq=1)])
    assert (unread(store), store.pending_reads()) == ([], ["m1"])


# --- snapshots and cursors -------------------------------------------------------------------------------------------


def test_a_snapshot_takes_away_what_is_not_in_it_and_tells_the_difference(store: Store) -> None:
    store.put_push_url(push_url("p1"))
    store.put_push_url(push_url("p2", site="https://old.example"))
    arrive(store, "m1", "m2")
    first = frames.SnapshotFrame([push_url("p1"), push_url("p3", site="https://new.example")], [], None, False)
    told = store.apply_snapshot([first, snapshot(message("m2"), message("m3"), seq=9)])
    assert [type(event).__name__ for event in told] == ["RevokedEvent", "PushUrlEvent", "DroppedEvent", "MessageEvent"]
    assert told[2] == events.DroppedEvent(["m1"], "gone")
    assert unread(store) == ["m2", "m3"]
    assert [found.id for found in store.push_urls()] == ["p1", "p3"]
    assert store.resume_cursor("very-low") == cursor(9)


def test_a_filtered_snapshot_takes_away_only_what_its_filter_would_have_shown(store: Store) -> None:
    arrive(store, "low", urgency="low")
    arrive(store, "high", urgency="high")
    arrive(store, "normal")
    store.apply_snapshot([snapshot(seq=5, min_urgency="normal")])
    assert unread(store) == ["low"]


def test_what_was_filtered_more_strictly_is_no_start_for_a_delta(store: Store) -> None:
    store.apply_snapshot([snapshot(seq=5, min_urgency="high")])
    assert store.resume_cursor("high") == cursor(5)
    assert store.resume_cursor("normal") is None
    store.apply_snapshot([snapshot(seq=6)])
    assert store.resume_cursor("very-low") == cursor(6)
    store.apply_event(frames.ReadEvent(cursor(7), []), "normal")
    assert (store.resume_cursor("normal"), store.resume_cursor("low")) == (cursor(7), None)


def test_a_snapshot_without_a_cursor_is_refused(store: Store) -> None:
    with pytest.raises(FrameInvalid):
        store.apply_snapshot([frames.SnapshotFrame([], [message("m1")], None, True)])
    assert unread(store) == []


def test_old_messages_leave_the_file_a_day_after_they_expired(store: Store, clock: SetClock) -> None:
    arrive(store, "m1", "m2")
    store.mark_read(["m1"])
    clock.now_ms += 26 * HOUR_MS
    store.apply_delta(delta(seq=5), "very-low")
    clock.now_ms = NOW_MS
    assert store.messages(read_too=True) == []


def test_a_device_that_dies_in_the_middle_of_a_page_has_none_of_it(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path / "laptop.sqlite3", clock) as store:
        store.apply_delta(delta(frames.MessageEvent(cursor(1), message("m1")), seq=1), "very-low")

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(store._inbox, "move_to", die)
        page = delta(frames.MessageEvent(cursor(2), message("m2")), seq=2)
        with pytest.raises(KeyboardInterrupt):
            store.apply_delta(page, "very-low")
        with pytest.raises(KeyboardInterrupt):
            store.apply_snapshot([snapshot(message("m2"), seq=2)])
    with Store(tmp_path / "laptop.sqlite3", clock) as store:
        assert (unread(store), store.resume_cursor("very-low")) == (["m1"], cursor(1))


def test_ids_are_found_by_their_beginning(store: Store) -> None:
    arrive(store, "abc1", "abc2", "xyz%")
    assert store.message_ids("abc") == ["abc1", "abc2"]
    assert store.message_ids("%") == []


def test_two_commands_can_use_one_profile_at_once(tmp_path: Path, clock: SetClock) -> None:
    with Store(tmp_path / "laptop.sqlite3", clock) as one, Store(tmp_path / "laptop.sqlite3", clock) as other:
        arrive(one, "m1")
        other.mark_read(["m1"])
        assert one.pending_reads() == ["m1"]


# --- any history, repeated -------------------------------------------------------------------------------------------

NAMES = ["m1", "m2", "m3", "m4"]
ids = st.lists(st.sampled_from([*NAMES, "never-seen"]), max_size=3)
URGENCIES = dict(zip(NAMES, ("low", "normal", "high", "very-low"), strict=True))
some_event = st.one_of(
    st.builds(lambda n: frames.MessageEvent(cursor(1), message(n, urgency=URGENCIES[n])), st.sampled_from(NAMES)),
    st.builds(lambda i: frames.ReadEvent(cursor(1), i), ids),
    st.builds(lambda i: frames.DroppedEvent(cursor(1), i, "evicted"), ids),
    st.builds(lambda n, icon: frames.PushUrlEvent(cursor(1), push_url(n, icon=icon)), st.sampled_from("pq"), st.none()),
    st.builds(lambda n: frames.RevokedEvent(cursor(1), n), st.sampled_from("pq")),
)


def possible(found: list[frames.Event]) -> list[frames.Event]:
    """The part of it that a log can hold: a message comes once, and is read or dropped only after it came."""
    sent: set[str] = {"never-seen"}
    kept: list[frames.Event] = []
    for event in found:
        match event:
            case frames.MessageEvent(_, new) if new.id not in sent:
                sent.add(new.id)
                kept.append(event)
            case frames.ReadEvent(at, ids_):
                kept.append(frames.ReadEvent(at, [i for i in ids_ if i in sent]))
            case frames.DroppedEvent(at, ids_, reason):
                kept.append(frames.DroppedEvent(at, [i for i in ids_ if i in sent], reason))
            case frames.PushUrlEvent() | frames.RevokedEvent():
                kept.append(event)
    return kept


def everything(store: Store) -> object:
    kept = [(s.message, s.read, s.confirmed) for s in store.messages(read_too=True)]
    return sorted(kept, key=lambda row: row[0].id), store.push_urls(), store.pending_reads()


def apply_all(store: Store, found: list[frames.Event], pages: int) -> None:
    size = max(len(found) // pages, 1)
    for start in range(0, max(len(found), 1), size):
        store.apply_delta(delta(*found[start : start + size], seq=start + size), "very-low")


@settings(max_examples=40, deadline=None)
@given(st.lists(some_event, max_size=16), st.integers(1, 4), st.sets(st.sampled_from(NAMES)))
def test_a_history_applied_in_any_portions_and_then_again_from_the_start_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, found: list[frames.Event], pages: int, read_here: set[str]
) -> None:
    found = possible(found)
    # A message read or dropped is not sent again in a delta, so a history that is repeated does not hold it any more.
    dead = {i for event in found if isinstance(event, frames.ReadEvent | frames.DroppedEvent) for i in event.ids}
    again = [e for e in found if not (isinstance(e, frames.MessageEvent) and e.message.id in dead)]
    folder = tmp_path_factory.mktemp("stores")
    with Store(folder / "a.sqlite3", SetClock()) as one, Store(folder / "b.sqlite3", SetClock()) as other:
        apply_all(one, found, 1)
        apply_all(other, found, pages)
        for store in (one, other):
            store.mark_read(read_here)
        before = everything(one)
        apply_all(other, again, pages)
        assert everything(other) == before
        assert other.resume_cursor("very-low") is not None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(some_event, max_size=12),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(["very-low", "low", "normal", "high"]),
)
def test_after_a_snapshot_exactly_its_messages_are_unread_or_pending_above_the_filter(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[frames.Event],
    read_here: set[str],
    inside: set[str],
    least: frames.Urgency,
) -> None:
    rank = frames.URGENCY_RANK
    inside = {name for name in inside if rank[URGENCIES[name]] >= rank[least]}
    with Store(tmp_path_factory.mktemp("stores") / "a.sqlite3", SetClock()) as store:
        apply_all(store, found, 1)
        store.mark_read(read_here)
        below = {i for i in (*unread(store), *store.pending_reads()) if rank[URGENCIES[i]] < rank[least]}
        page = snapshot(*(message(name, urgency=URGENCIES[name]) for name in inside), seq=9, min_urgency=least)
        store.apply_snapshot([page])
        assert {*unread(store), *store.pending_reads()} == inside | below
        once = everything(store)
        assert store.apply_snapshot([page]) == []
        assert everything(store) == once
