"""What the doors of funds share: where a page begins."""

from uuid import UUID

from services.funds import reports
from services.kernel import wire
from services.kernel.ids import parse_id


def start_id(token: str) -> UUID:
    """The id after which a page begins."""
    last = wire.page_start(token)
    return parse_id("page_token", last) if last else reports.FIRST
