"""What a pack must say of access for a golden case to be its own."""

from collections.abc import Callable, Mapping

from gateway import access
from services.programmes.cases.values import Case
from services.programmes.terms import Terms


def decide(terms: Terms, given: Case) -> None:
    """The pack's own conditions decide as the platform's do in the case."""
    conditions = access.conditions_of(terms.gateway)
    action, subject = given["action"], given["subject"]
    if action == "credit_grade.read":
        assert conditions.shared_grade == "application_only"
    elif action == "loan.disburse":
        assert ("review", "disbursement") in conditions.segregation
        assert terms.gateway.segregation
    elif action == "fund.compensation.approve":
        assert terms.gateway.compensation_approved_by
        assert subject["type"] not in conditions.compensation_approvers
    elif subject["type"] == access.HOUSEHOLD:
        assert conditions.self_service
        assert "own_loans" in [scope.id for scope in terms.gateway.self_service_scopes]
    else:
        assert subject["type"] in [role.organ for role in terms.gateway.roles]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "gateway.access": decide,
}
