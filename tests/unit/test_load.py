"""What a process says it is busy with."""

import trio
from trio.testing import MockClock

from pushctl.load import WINDOW_SECONDS, LoadMeter
from pushctl.metrics import ApiMetrics, BoxOfficeMetrics, GcMetrics, RouterMetrics, SocketMetrics
from pushctl.stages import Stage


async def test_rates_are_of_the_last_ten_seconds_and_counts_of_all(autojump_clock: MockClock) -> None:
    done = {"jobs": 0, "nothing": 0}
    meter = LoadMeter(lambda: dict(done), lambda: 0.25)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        for _ in range(20):
            done["jobs"] += 5
            await trio.sleep(1)
        busy = meter.load()
        await trio.sleep(WINDOW_SECONDS + 2)
        idle = meter.load()
        nursery.cancel_scope.cancel()
    assert (busy.counts, idle.counts) == ({"jobs": 100}, {"jobs": 100})
    assert 4 <= busy.per_second["jobs"] <= 6
    assert idle.per_second == {}
    assert (busy.rss_bytes > 1_000_000, busy.lag_ms) == (True, 250)


def test_roles_count_what_they_do_in_a_few_words() -> None:
    socket, api, router, office = SocketMetrics(), ApiMetrics(), RouterMetrics("rpc"), BoxOfficeMetrics()
    socket.stage(Stage.WRITTEN, 4)
    socket.closes.labels("4002").inc()
    socket.closes.labels("1000").inc(2)
    socket.refusals.labels("full").inc()
    api.http.requests["/push", "201"] += 3
    api.http.requests["/push", "410"] += 1
    router.jobs("handed_over", 7)
    router.jobs("nobody", 9)
    office.arrivals.inc(2)
    said = [{word: n for word, n in each.counts().items() if n} for each in (socket, api, router, office, GcMetrics())]
    assert said == [
        {"written": 4, "closes": 3, "slow_closes": 1, "refused": 1},
        {"requests": 4},
        {"jobs": 7},
        {"arrivals": 2},
        {},
    ]
