"""AMQP 0-9-1 as a load generator needs it: as little as can be, so that it is never what is measured.

    frames      bytes of AMQP: events ready to publish, and a cut-free reader of what a broker sends. Pure
    client      one blocking connection to a broker on those bytes
    publisher   a process that fills a queue, every event confirmed
    driver      a process that publishes and holds the sockets, so that one clock tells both times
    subjects    what is measured: the queue, the processes that read it, and the fields of their answers
    bare        a reader that only reads bytes, and the tape that it reads: the limit
    gateway     the bridge as a whole, whose one domain is attached on demand
    stock       aio-pika as its documentation shows it

Everything that is measured speaks the lines of `servers.lines`: `drain` attaches to the queue, takes
so many events, and answers with the CPU of its process from before it attached until it has acked the
last and come to rest.
"""

PREFETCH = 500
"""Deliveries that a consumer gets unacked, of whatever is measured."""
