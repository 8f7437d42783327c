"""What the pure core does: no broker, no socket, no clock."""
