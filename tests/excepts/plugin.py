"""`pytest -p tests.excepts.plugin`: note which `except` of the platform the tests reach."""

from tests.excepts import tracing

# When the plugin is loaded: no conftest has imported anything of ours yet.
tracing.start()
