"""The admin side, built from its configuration: what operators look at and do, and where it is served."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry

from mirror.admin.api import Api, Operations
from mirror.admin.application import admin_application
from mirror.admin.guard import Guard
from mirror.admin.health import Probe
from mirror.composition.place import Place
from mirror.composition.pulls import Inside
from mirror.composition.registries import Outside, routing
from mirror.composition.warming import Warming
from mirror.config import Config
from mirror.proxy.belief import Believed
from mirror.proxy.events.observer import Observer
from mirror.proxy.operations.inspection import Inspection, Rules
from mirror.proxy.operations.naming import Naming
from mirror.proxy.operations.pins import Pinning
from mirror.proxy.operations.purge import Purge
from mirror.server.handed import HandedConnections
from mirror.server.listener import Listener


def operations(config: Config, believed: Believed, inside: Inside, outside: Outside) -> Operations:
    """Return what operators can ask for, and have done."""
    cache, catalogue = inside.cache, inside.cache.catalogue
    rules = Rules(config.policy, frozenset(config.upstreams), believed, config.cache.blob_ttl, outside.budgets)
    return Operations(
        Naming(routing(config)),
        Inspection(catalogue, rules, inside.clock),
        Pinning(catalogue, cache.pin_board, outside.observer),
        Purge(catalogue, cache.sweeper, outside.observer),
    )


def admin_runner(
    config: Config, registry: CollectorRegistry, probe: Probe, warming: Warming, asked: Operations
) -> web.AppRunner:
    """Return what answers operators and Prometheus; `probe` tells whether the mirror is ready."""
    guard = Guard(config.admin.listen.host, config.admin.token)
    application = admin_application(registry, probe, warming.api(guard), Api(asked, guard))
    return web.AppRunner(application, access_log=None, shutdown_timeout=1.0)


def admin_listener(
    config: Config, runner: web.AppRunner, observer: Observer, place: Place
) -> Listener | HandedConnections:
    """Return where operators and Prometheus are listened to.

    A worker does not listen itself: what its supervisor has accepted is handed to it.
    """
    if not place.is_alone:
        return HandedConnections(runner)
    return Listener("admin.listen", config.admin.listen.host, config.admin.listen.port, runner, observer)
