"""One machine: PostgreSQL and NATS from their wheels, a local CA, and the processes beside them."""
