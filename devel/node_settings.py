"""What a private RabbitMQ node is told: its configuration file and its environment.

Every variable that steers RabbitMQ or Erlang is set here or removed, so that nothing of the system's node
is read or touched (https://www.rabbitmq.com/docs/configure#supported-environment-variables).

Two things make it start quickly, measured with RabbitMQ 3.10 on two cores (over 5 s without, 2 to 3 s with):

- RabbitMQ has Erlang's schedulers sleep at once when they are idle. That costs a thread switch for each
  of the 50,000 places where code is looked for while booting. They may spin for a moment instead; an
  idle node takes below 1 % of a core either way.
- Erlang's distribution is up before RabbitMQ looks, so it does not start a second Erlang just to have a
  port mapper. The port mapper (epmd) is there before, on a port of its own, and ends with the node;
  without one, RabbitMQ's monitor of it starts one after a minute that outlives the node.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devel.ports import LOOPBACK

# With a port mapper and a folder of its own, the same name never meets another node's.
NODE_NAME = "bridge@localhost"

# Two schedulers are plenty for one developer, and each brings memory of its own.
SCHEDULERS = "+S 2:2"

CONFIG = """\
# Alarms stop every publisher. These limits are far below the defaults, for small machines.
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.8
# The default of 512 MB lets the log of quorum queues grow in memory up to that size.
raft.wal_max_size_bytes = 16777216
"""

# Plugins that listen. Without these lines, on every interface and on the port of the system's node.
PLUGIN_CONFIG = {
    "rabbitmq_management": "management.tcp.ip = {host}\nmanagement.tcp.port = {port}\n",
    "rabbitmq_prometheus": "prometheus.tcp.ip = {host}\nprometheus.tcp.port = {port}\n",
    "rabbitmq_stream": "stream.listeners.tcp.1 = {host}:{port}\n",
    # Else it closes a socket whose client has said nothing for a minute, as subscribers do.
    "rabbitmq_web_stomp": (
        "stomp.listeners.tcp = none\nweb_stomp.tcp.ip = {host}\nweb_stomp.tcp.port = {port}\n"
        "web_stomp.ws_opts.idle_timeout = 3600000\n"
    ),
}


@dataclass(frozen=True)
class Ports:
    """The ports of one life of a node, all on loopback."""

    amqp: int
    distribution: int  # Erlang's own protocol, spoken by rabbitmqctl.
    mapper: int  # Erlang's port mapper, epmd.
    plugins: Mapping[str, int]  # By plugin, for those that listen.


# Starts the port mapper in this process group, waits for it, and becomes the command that follows. Asking
# for it has a limit: somebody else may have the port and never answer. The mapper itself ends only when its
# port is taken.
WITH_MAPPER = """\
epmd & mapper=$!
until timeout 1 epmd -names >/dev/null 2>&1 && kill -0 $mapper; do
    kill -0 $mapper 2>/dev/null || { echo "epmd: eaddrinuse (port $ERL_EPMD_PORT)"; exit 1; }
    sleep 0.02
done
exec "$@"
"""


def start_command(server: Path) -> list[str]:
    """Return the command that starts a node in the environment for it."""
    return ["sh", "-c", WITH_MAPPER, "sh", str(server)]


def configuration(ports: Ports, *, as_shipped: bool) -> str:
    """Return the contents of rabbitmq.conf; `as_shipped` leaves RabbitMQ's own limits as they are."""
    plugins = [PLUGIN_CONFIG[name].format(host=LOOPBACK, port=port) for name, port in ports.plugins.items()]
    return ("" if as_shipped else CONFIG) + "".join(plugins)


def environment(folder: Path, ports: Ports, *, as_shipped: bool) -> dict[str, str]:
    """Return all environment variables for the scripts of the node in `folder`.

    `as_shipped` leaves Erlang's schedulers as RabbitMQ sets them: it starts later, and wastes no CPU.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
    }
    interface = f"inet_dist_use_interface {{{LOOPBACK.replace('.', ',')}}}"
    listen = f"inet_dist_listen_min {ports.distribution} inet_dist_listen_max {ports.distribution}"
    quick = {} if as_shipped else {"RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "short"}
    schedulers = "" if as_shipped else f"{SCHEDULERS} "
    return (
        inherited
        | quick
        | {
            "HOME": str(folder / "home"),  # Erlang's cookie is there.
            "LC_ALL": "C.UTF-8",  # rabbitmqctl complains about anything that is not UTF-8.
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(ports.amqp),
            "RABBITMQ_DIST_PORT": str(ports.distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",  # Standard output: one place to look when it does not start.
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # The script then becomes Erlang instead of staying around it: one process, and signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"{schedulers}-sname {NODE_NAME} -start_epmd false -kernel {interface} {listen}"
            ),
            "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false -dist_listen false",
            "ERL_EPMD_PORT": str(ports.mapper),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP_SECONDS": "0",  # None: the log says enough.
        }
    )
