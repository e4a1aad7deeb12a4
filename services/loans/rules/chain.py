"""Loans: the approval chain: which steps are open, who may take them, when nobody has to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.kernel.errors import Denied
from services.loans.model import Loan
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.loans import ApprovalStep, LoanProduct
from services.programmes.schema.values import Open, Organ, known

LENDER_ROLES = ("bank", "mutual_aid_society", "insurer")
"""Roles of institutions that lend; the pack's word for all of them is `lender`."""
LENDERS_ONLY = ("bank", "mutual_aid_society")
"""They take no other part in a loan; an insurer may decide a step of a bank's."""

ON_PAPER = frozenset(
    {
        "village_committee",
        "villager_group",
        "assigned_helper",
        "cooperative",
        "central_bank",
        "bank_regulator",
        "insurance_regulator",
    }
)
"""They may be connected; what they decide where they are not is recorded like an organ's."""
INSTITUTIONS = frozenset(role.value for role in InstitutionRole) - ON_PAPER
RECORDERS = frozenset({"county_centre", "township_station", "village_department"})
"""They record, on paper evidence, what organs decide that are no institutions of the platform."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an institution in its role, and the person behind it."""

    institution_id: str
    role: str
    person_id: str


def chain(product: LoanProduct) -> tuple[ApprovalStep, ...]:
    """The product's approval chain; refused while it is open."""
    return known(product.approval_chain)


def sittings(steps: Sequence[ApprovalStep]) -> list[list[ApprovalStep]]:
    """The chain in its sittings: steps of one joint session stand beside each other."""
    found: list[list[ApprovalStep]] = []
    for step in steps:
        if found and step.joint_session and found[-1][-1].joint_session:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def still_open(steps: Sequence[ApprovalStep], loan: Loan) -> list[ApprovalStep]:
    """What may be decided now: one step, or in any order what is left of a joint session."""
    passed = {step for step, _ in loan.decided}
    for sitting in sittings(steps):
        if any(step.step == loan.next_step for step in sitting):
            return [step for step in sitting if step.step not in passed]
    return []


def after(steps: Sequence[ApprovalStep], loan: Loan) -> list[ApprovalStep]:
    """What may be decided once the open step of a loan was passed; nothing at the end."""
    if left := still_open(steps, loan):
        return left
    sat = sittings(steps)
    for sitting, coming in pairwise(sat):
        if any(step.step == loan.next_step for step in sitting):
            return coming
    return []


def waits_for_cover(steps: Sequence[ApprovalStep], coming: Sequence[ApprovalStep]) -> bool:
    """Whether what comes is the last sitting: the fund is asked before it."""
    last = sittings(steps)[-1]
    return all(step in last for step in coming)


def by_machine(product: LoanProduct, channel: str) -> bool:
    """Online and at once: one step, and a deadline of minutes that no person could keep."""
    steps = chain(product)
    sla = product.sla
    in_minutes = sla is not None and not isinstance(sla, Open) and sla.unit == "minutes"
    return channel == "online" and len(steps) == 1 and in_minutes


def require_organ(
    organ: Organ,
    loan: Loan,
    product: LoanProduct,
    actor: Actor,
    parties: Mapping[str, Sequence[str]],
) -> bool:
    """
    Refuse who is not the organ; True when it is recorded on paper for one that is no institution.

    The lender's step is the loan's own lender's; institutions that the adoption names for an organ
    are the only ones.
    """
    if organ is Organ.LENDER or organ.value == product.lender:
        fits = actor.role in LENDER_ROLES and actor.institution_id == loan.lender_id
    elif named := parties.get(organ.value, ()):
        fits = actor.institution_id in named
    elif organ.value in INSTITUTIONS or actor.role == organ.value:
        fits = actor.role == organ.value
    elif actor.role in RECORDERS:
        return True
    else:
        fits = False
    if not fits:
        raise Denied(
            "NOT_THE_STEPS_ORGAN",
            f"this is decided by {organ.value}",
            message_zh="本机构无权办理该环节",
        )
    return False
