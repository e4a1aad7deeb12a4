"""`make cases-live`: the golden cases asked of the running services, through the gateway."""

import os

# A process that starts others would tell of every fork, before gRPC is even imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
