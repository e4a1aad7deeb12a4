"""`make bench`: what the platform does, beside what this machine can do at all, in one run."""

import os

# A process that starts others would tell of every fork, before gRPC is even imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
