"""Households: what this service hears. The table at the end is the whole list: nothing."""

from services.kernel.inbox import Handlers

HANDLERS: Handlers = {}
