"""A county that looks after its loans: its clauses, its institutions, what they ask of tasks."""

from datetime import date
from typing import Any

import yaml
from liandong.loans.v1 import tasks_pb2

from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.loans.servicer.tasks import TasksServicer
from services.programmes.loader import Catalogue, load_texts
from tests.loans.county import BANK, COUNTY, OTHER_BANK, PACK, TOWN, VILLAGE, a_caller, calling
from tests.loans.steps import an_id

STATION = a_caller("township_station", institution_id="tst-1", areas=(TOWN,))
STATION_2 = a_caller("township_station", institution_id="tst-1", post=2, areas=(TOWN,))
VILLAGE_2 = a_caller("village_department", institution_id="vil-1", post=2, areas=(VILLAGE,))
OTHER_STATION = a_caller("township_station", institution_id="tst-2", areas=("990101002",))
LENDER_2 = a_caller("bank", institution_id=BANK, post=2)
LENDER_3 = a_caller("bank", institution_id=BANK, post=3)
POVERTY = a_caller("poverty_office", institution_id="pov-1")
SHA = "ab" * 32

LOANS: dict[str, Any] = {
    "purpose_verification": {
        "disbursed_since": date(2020, 1, 1),
        "signed_by": ["village_department", "township_station", "county_centre"],
    },
    "post_loan_checks": [
        {"id": "quarterly", "by": ["lender"], "every": "quarter", "finds": ["unused", "other_use"]}
    ],
    "task_terms": {"within_days": 10, "escalate_every_days": 5},
    "dispositions": [
        {"id": "sound", "actions": ["repayment_plan", "notice"]},
        {"id": "temporary_difficulty", "actions": ["funding_help"]},
        {"id": "sound_still_in_need", "actions": ["renewal"]},
        {
            "id": "malicious",
            "actions": ["forced_collection"],
            "plan_per_case": True,
            "jointly_by": ["poverty_office", "lender"],
        },
        {"id": "force_majeure", "actions": ["compensation"]},
    ],
    "due_diligence": {"exempts": ["loan_officer"]},
    "escalation": ["assigned_helper", "township_station", "poverty_office"],
}
MONITORING: dict[str, Any] = {
    "deputies": {"duties": ["self_check"]},
    "reports": [
        {
            "id": "self_check",
            "kind": "self_check",
            "every": "month",
            "by": ["township_station", "village_department"],
            "to": ["county_centre"],
        },
        {"id": "daily", "every": "day", "by": ["county_centre"], "only_while_overdue": True},
        {"id": "cross", "kind": "cross_check", "every": "year", "by": ["lender"], "per": "loan"},
        {
            "id": "evaluated",
            "kind": "evaluation",
            "every": {"open": "not stated"},
            "by": ["lender"],
        },
    ],
    "compliance": [
        {"id": "overdue"},
        {"id": "non_productive_use"},
        {"id": "not_at_benchmark"},
        {"id": "subsidy_not_paid"},
        {"id": "fund_misreported"},
        {"id": "prohibited_enterprise_use"},
    ],
    "ledgers": [
        {"id": "issues", "of": "compliance_issue", "rectify_within_days": 15},
        {"id": "data", "of": "data_issue", "rectify_within_days": {"open": "not stated"}},
    ],
}


def _institutions() -> dict[str, Any]:
    made = {
        "cfc-1": ("county_centre", [COUNTY]),
        "pov-1": ("poverty_office", [COUNTY]),
        "tst-1": ("township_station", [TOWN]),
        "tst-2": ("township_station", ["990101002"]),
        "vil-1": ("village_department", [VILLAGE]),
        BANK: ("bank", [COUNTY]),
        OTHER_BANK: ("bank", [COUNTY]),
        "fin-1": ("finance_bureau", [COUNTY]),
        "agr-1": ("guarantor", [COUNTY]),
        "grp-1": ("guarantor", [COUNTY]),
    }
    return {
        "institutions": [
            {
                "institution_id": name,
                "name": {"zh": name, "en": name},
                "role": role,
                "county_code": COUNTY,
                "areas": areas,
                "persons": [
                    {
                        "person_id": f"{name}-p{post}",
                        "title": {"zh": "经办", "en": "Officer"},
                        "duty": "maker" if post % 2 else "checker",
                    }
                    for post in (1, 2, 3)
                ],
            }
            for name, (role, areas) in made.items()
        ]
    }


ADOPTION = f"""
adoption:
  county: "{COUNTY}"
  entries:
    - programme: plain@1
      from: 2020-01-01
      parties:
        lender: [{BANK}, {OTHER_BANK}]
        bank: [{BANK}, {OTHER_BANK}]
        county_fund: fin-1
        guarantee: agr-1
        reguarantee: grp-1
"""


def a_pack() -> str:
    pack = yaml.safe_load(PACK)
    pack["loans"] |= LOANS
    pack["monitoring"] |= MONITORING
    pack["loans"]["npl"] = {"measure": "overdue_days", "more_than_days": 5}
    return yaml.safe_dump(pack, allow_unicode=True, sort_keys=False)


def a_watchful_catalogue() -> Catalogue:
    """The invented county under a programme with all clauses about what follows a loan."""
    return load_texts(
        {
            "plain@1.yaml": a_pack(),
            "adoption.yaml": ADOPTION,
            "institutions.yaml": yaml.safe_dump(_institutions(), allow_unicode=True),
            "days.yaml": "calendar: [{year: 2021, holidays: [2021-01-01, 2021-01-06]}]",
        }
    )


class Desk:
    """What institutions ask of tasks and issues."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self.door = TasksServicer(db, catalogue)

    async def ask(self, name: str, caller: Caller, **values: Any) -> Any:
        kind = getattr(tasks_pb2, f"{name}Request")
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            values = {"request_id": an_id(), **values}
        request = kind(county_code=COUNTY, **values)
        return await getattr(self.door, name)(request, calling(caller, request))

    async def tasks(self, caller: Caller, **values: Any) -> list[Any]:
        return list((await self.ask("ListTasks", caller, **values)).tasks)

    async def own(self, caller: Caller, kind: int) -> int:
        """The first two posts of an institution own its tasks of a kind."""
        who = caller.institution_id
        answer = await self.ask(
            "AssignDuty", caller, kind=kind, owner_id=f"{who}-p1", deputy_id=f"{who}-p2"
        )
        return int(answer.assigned)


def photo() -> tasks_pb2.Evidence:
    return tasks_pb2.Evidence(
        kind=tasks_pb2.EVIDENCE_KIND_PHOTO, reference="store/1.jpg", sha256=SHA
    )


def violation(error: LiandongError) -> tuple[str, str]:
    (found,) = error.violations
    assert found.rule
    return found.field, found.value
