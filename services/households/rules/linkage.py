"""Linkage: what entities and households may agree, and who serves a village. Pure."""

from datetime import date
from typing import Final

from stdnum.cn import uscc

from services.households.model import LinkageTerms, VillageService
from services.kernel.errors import LiandongError, invalid_field

WHOLE_PPM: Final = 1_000_000
MAJORITY_PPM: Final = 500_000


def credit_code_fault(credit_code: str) -> LiandongError | None:
    """Why a unified social credit code is none; its characters were checked before."""
    # The library's own check wants eight digits in front, which villages' organisations lack.
    if uscc.calc_check_digit(credit_code[:-1]) == credit_code[-1]:
        return None
    rule = "the check character is wrong"
    return invalid_field(
        "CREDIT_CODE_CHECKSUM", "credit_code", credit_code, rule, "统一社会信用代码校验位错误"
    )


def terms_fault(terms: LinkageTerms) -> LiandongError | None:
    """Why what was agreed cannot be: shares are parts of one whole."""
    total = terms.household_share_ppm + terms.entity_share_ppm + terms.village_share_ppm
    if total not in {0, WHOLE_PPM}:
        rule = f"household, entity and village shares make {WHOLE_PPM} ppm, or none is agreed"
        return invalid_field("SHARES", "terms", f"{total} ppm", rule, "各方份额之和应为100%")
    if terms.household_majority and terms.household_share_ppm <= MAJORITY_PPM:
        rule = f"a majority is more than {MAJORITY_PPM} ppm"
        share = f"{terms.household_share_ppm} ppm"
        return invalid_field(
            "HOUSEHOLD_MAJORITY", "terms.household_share_ppm", share, rule, "农户份额未过半"
        )
    return None


def period_fault(valid_from: date, valid_to: date | None) -> LiandongError | None:
    """Why a contract cannot run from a day to another."""
    if valid_to is None or valid_from <= valid_to:
        return None
    rule = f"must not be before valid_from {valid_from}"
    return invalid_field("CONTRACT_PERIOD", "valid_to", valid_to, rule, "截止日早于起始日")


def service_fault(service: VillageService) -> LiandongError | None:
    """Why nobody can serve a village like this: two liaison officers, one of each side."""
    sides = sorted(officer.side for officer in service.liaison_officers)
    if sides != ["bank", "village"]:
        rule = "one is the village's and one the bank's"
        field = "service.liaison_officers"
        return invalid_field(
            "LIAISON_NEEDS_BOTH_SIDES", field, " ".join(sides), rule, "须有村方、银行方联络员各一名"
        )
    bank = next(officer for officer in service.liaison_officers if officer.side == "bank")
    if bank.institution_id != service.contracted_bank_id:
        rule = f"the bank's officer is of the contracted bank {service.contracted_bank_id}"
        field = "service.liaison_officers"
        return invalid_field(
            "LIAISON_BANK", field, bank.institution_id, rule, "联络员不属于包干银行"
        )
    points = [point.service_point_id for point in service.service_points]
    twice = next((point for point in points if points.count(point) > 1), None)
    if twice is not None:
        rule = "must not be named twice"
        return invalid_field(
            "SERVICE_POINT_TWICE", "service.service_points", twice, rule, "服务点重复"
        )
    return None
