"""The socket edge: bytes in, commands out; frames in, bytes out. Only this package imports websockets."""
