"""Two kinds of metrics beside those of prometheus-client: histograms that cost little, and values read on demand.

Owns: how a Tally is told to Prometheus, and what is looked up when Prometheus asks. Promises: a family is there, with
its help, before anything was observed. Must not know: which metrics there are.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from pushctl.tally import QUICK_SECONDS, Tally


def told(family: HistogramMetricFamily, labels: Sequence[str], tally: Tally) -> None:
    """Add a tally to a family."""
    bounds = [*map(floatToGoString, tally.bounds), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(tally.counts), strict=True)), tally.sum)


class Tallies(Collector):
    """A histogram metric, one tally for each combination of label values. The parameters of `of` are known words."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        bounds: Sequence[float] = QUICK_SECONDS,
    ) -> None:
        self._name, self._text, self._labels, self._bounds = name, text, labels, bounds
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def of(self, *values: str) -> Tally:
        """The tally with these label values: keep it, where it is used often."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}, not {values}")
        if values not in self._tallies:
            self._tallies[values] = Tally(self._bounds)
        return self._tallies[values]

    def show(self, tally: Tally, *values: str) -> None:
        """Tell somebody else's tally under these label values."""
        self._tallies[values] = tally

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, tally in self._tallies.items():
            told(family, values, tally)
        return [family]


Look = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""(label values, value), as things are now."""


class Looked(Collector):
    """A metric whose values are looked up whenever Prometheus asks: nothing is spent on it in between."""

    def __init__(
        self,
        kind: Literal["gauge", "counter"],
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        look: Look = tuple,
    ) -> None:
        self._family = GaugeMetricFamily if kind == "gauge" else CounterMetricFamily
        self._name, self._text, self._labels = name, text, labels
        self.look = look
        """Set by the role, once it has something to look at."""
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        family = self._family(self._name, self._text, labels=self._labels)
        for values, value in self.look():
            family.add_metric(values, value)
        return [family]
