"""The event-bus edge. Only this package imports aio-pika and pamqp."""

from bridge.amqp import tolerant

tolerant.install()
