"""Runs every clause of a pack, section by section; an open value may refuse, nothing may crash."""

from collections.abc import Callable, Mapping

import pytest

from services.kernel.errors import Refused
from services.programmes.assemble import open_values
from services.programmes.schema.pack import Pack
from services.programmes.schema.values import known
from tests.programmes.evaluators import lending, money, people, watching

EVALUATORS: Mapping[str, Callable[[Pack], None]] = {
    "registry": people.registered,
    "eligibility": people.eligible,
    "scoring": people.scored,
    "gateway": people.shared_data,
    "loans": lending.lent,
    "loan_products": lending.offered,
    "insurance": money.insured,
    "fund": money.funded,
    "monitoring": watching.monitored,
}
# Typed data that no function of this package computes with.
ONLY_DATA = frozenset({"programme", "conditions"})


def evaluate(pack: Pack) -> None:
    """Every section, and what holds for all of them."""
    assert Pack.model_validate(pack.model_dump(by_alias=True)) == pack
    for value in open_values(pack):
        assert value.path
        with pytest.raises(Refused):
            known(value)
    for section, run in EVALUATORS.items():
        if getattr(pack, section):
            run(pack)
