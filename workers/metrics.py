"""What a worker counts, as Prometheus metrics with valid names and real values."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mesh.bus.counters import Counters

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


class Metrics:
    """One registry a process. Which service that is, the scrape's target says, never a metric's name."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.sessions = Gauge("meshag_sessions", "Sessions in this process", registry=registry)
        self.loop_lag = Gauge("meshag_loop_lag_seconds", "How late the event loop was lately", registry=registry)
        self.actor_failures = Counter("meshag_actor_failures", "Session actors that broke", registry=registry)
        self.provider_failures = Counter(
            "meshag_provider_failures", "Failed provider attempts", ["provider", "kind"], registry=registry
        )
        self.breaker_open = Gauge(
            "meshag_breaker_open", "Targets (model, key) that are asked last", ["role", "provider"], registry=registry
        )
        self.breaker_opened = Counter(
            "meshag_breaker_opened",
            "Times that this process found a target to be out",
            ["role", "provider", "kind"],
            registry=registry,
        )
        self.probes = Counter(
            "meshag_probes",
            "Questions whether a target is well again",
            ["role", "provider", "outcome"],
            registry=registry,
        )
        self.turns = Counter("meshag_turns", "Caller turns that were answered or spoken", registry=registry)
        self.apologies = Counter(
            "meshag_apologies", "Apologies heard because no provider of a role answered", ["role"], registry=registry
        )
        self.stage_seconds = Histogram(
            "meshag_stage_seconds",
            "Time from a stage's input to its first output",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.response_seconds = Histogram(
            "meshag_response_seconds",
            "From the caller's last voiced sample to the first sample of the answer",
            buckets=SECONDS,
            registry=registry,
        )
        self.audio_gaps = Counter("meshag_audio_gaps", "Chunks of audio that did not arrive", registry=registry)
        self.wire = Counter(
            "meshag_wire", "What media sockets dropped, filled or did not understand", ["what"], registry=registry
        )
        self.dropped = Counter("meshag_dropped", "Things dropped by a full queue", ["queue"], registry=registry)

    def watch(self, counters: Counters) -> None:
        """Show the bus's counters too."""
        self.registry.register(_BusCollector(counters))


class _BusCollector(Collector):
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> "list[CounterMetricFamily]":
        return [
            CounterMetricFamily(f"meshag_bus_{name}", f"Messages on the bus: {name.replace('_', ' ')}", value=value)
            for name, value in vars(self._counters).items()
        ]
