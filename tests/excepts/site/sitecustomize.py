"""Found by every Python that a traced test starts."""

from tests.excepts import tracing

tracing.start()
