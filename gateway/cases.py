"""Cases: what a case says of access, in its own words."""

from collections.abc import Callable, Mapping

from gateway import access
from services.programmes.cases.values import Case

DONE = {
    "reviewed_by": "review",
    "disbursed_by": "disbursement",
    "approved_by": "compensation_approval",
}
"""A case's word for who did something to the duty it was."""


def decide(given: Case) -> Case:
    subject, resource = given["subject"], given["resource"]
    areas = (subject["area"],) if subject.get("area") else ()
    verdict = access.decide(
        access.Subject(
            role=subject["type"],
            institution_id=subject.get("institution"),
            areas=areas,
            person_id=subject.get("user"),
            household_id=subject.get("household"),
        ),
        given["action"],
        access.Resource(
            area=resource.get("area"),
            household_id=resource.get("household"),
            lender=resource.get("lender"),
            insurer=resource.get("insurer"),
            application_to=resource.get("application_to"),
            open_claim_insurer=resource.get("open_claim_insurer"),
            done_by={DONE[word]: who for word, who in resource.items() if word in DONE},
        ),
    )
    return {"allow": verdict.allow}


RULES: Mapping[str, Callable[[Case], Case]] = {
    "gateway.access": decide,
}
