"""What NATS is told: the server's configuration, its users, the stream and the durables."""
