"""Breaks things on purpose, against real RabbitMQ and real sockets, and counts every event.

`make chaos` runs every scenario; a short cut of them is part of the tests.
"""
