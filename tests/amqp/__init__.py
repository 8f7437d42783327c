"""The event-bus edge against a real RabbitMQ."""
