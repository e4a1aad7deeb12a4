"""Funds: whose money lies where, and who may take it: sub-accounts, pots, kinds, sources."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.funds.model import Fund, FundClass, FundState
from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.leverage import allocate, leverage
from services.programmes.schema.fund import Fund as FundTerms

UNDIVIDED = ""
"""Stands where a custodian would for money that lies in no sub-account."""

MARGIN = "defaulter_margin"
"""In the layers of every programme this pot is what the borrower itself put down."""
VILLAGE_POT = "village_mutual_fund"
VILLAGE_PROJECT = "village_project_fund"
MUTUAL_POOL = "enterprise_mutual_fund"
INSURER_POOL = "insurer_pool"
STABILISATION = "insurer_stabilisation"
VILLAGE_DIGITS = 12

YEARLY_SOURCE = "yearly_top_up"
TOP_UP_SOURCE = "top_up"
POOL_PAYER = "county_budget"
"""Who has to fill a pool of the insurers."""
GOVERNMENT_SOURCES = frozenset(
    {
        "central_budget",
        "provincial_budget",
        "city_budget",
        "county_budget",
        "provincial_poverty_fund",
        "county_poverty_fund",
        "government",
        YEARLY_SOURCE,
        TOP_UP_SOURCE,
    }
)
COMMON_SOURCES = GOVERNMENT_SOURCES | {
    "bank",
    "donation",
    "enterprise",
    "guarantor",
    "household",
    "insurer",
    "interest",
    "member",
    "supporting_unit",
    "village_collective",
}
"""Who may pay into a fund of any programme; a programme may name more."""


@dataclass(frozen=True, slots=True)
class Line:
    """Money that moves between two places of a fund."""

    source: str
    target: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fund is for and to whom it belongs."""

    fund_class: FundClass
    needs_scope: bool


# --- kinds ----------------------------------------------------------------------------------------


def kinds(terms: FundTerms) -> Mapping[str, Kind]:
    """The kinds of funds of a programme: parties and pots that hold money, and its other pools."""
    found = {VILLAGE_PROJECT: Kind(FundClass.VILLAGE_PROJECT, needs_scope=True)}
    lenders = {model.otherwise_borne_by for model in terms.models}
    for name in (name for model in terms.models for name in (*model.parties, *model.pots)):
        if name not in lenders:
            found[name] = Kind(FundClass.COMPENSATION, needs_scope=False)
    for name in {VILLAGE_POT} & set(found):
        found[name] = Kind(FundClass.VILLAGE_MUTUAL, needs_scope=False)
    if terms.village_fund is not None:
        found[terms.village_fund.pot] = Kind(FundClass.VILLAGE_MUTUAL, needs_scope=True)
    if MARGIN in found:
        found[MARGIN] = Kind(FundClass.MARGIN, needs_scope=True)
    if MUTUAL_POOL in found or terms.mutual_pool is not None:
        found[MUTUAL_POOL] = Kind(FundClass.MUTUAL_GUARANTEE, needs_scope=False)
    if terms.insurer_pool is not None:
        found[INSURER_POOL] = Kind(FundClass.INSURER_POOL, needs_scope=False)
    if terms.insurer_stabilisation is not None:
        found[STABILISATION] = Kind(FundClass.STABILISATION, needs_scope=True)
    return found


def check_kind(terms: FundTerms, kind: str, scope_id: str, county_code: str) -> FundClass:
    """The class of a fund that is to be opened; refused where the programme has no such kind."""
    known = kinds(terms)
    if kind not in known:
        rule = f"must be one of {', '.join(sorted(known))}"
        raise invalid_field("KIND_NOT_IN_PROGRAMME", "kind", kind, rule, "方案中无此基金类别")
    found = known[kind]
    if found.needs_scope and not scope_id:
        raise invalid_field(
            "SCOPE_NEEDED",
            "scope_id",
            scope_id,
            f"a {kind} belongs to one village, enterprise or insurer: say to which",
            "须指明所属村、企业或保险机构",
        )
    of_village = found.fund_class in (FundClass.VILLAGE_MUTUAL, FundClass.VILLAGE_PROJECT)
    is_village = len(scope_id) == VILLAGE_DIGITS and scope_id.isdecimal()
    if of_village and scope_id and not (is_village and scope_id.startswith(county_code)):
        rule = f"must be the twelve digits of a village of {county_code}"
        raise invalid_field("VILLAGE_UNKNOWN", "scope_id", scope_id, rule, "非本县行政村")
    return found.fund_class


def check_source(terms: FundTerms | None, source: str) -> None:
    """A source that the programme or the platform knows."""
    named = {each.id for each in terms.contributions} if terms else set()
    if terms and terms.village_fund is not None:
        named.add(terms.village_fund.raised_by)
    if source not in named | COMMON_SOURCES:
        rule = f"must be one of {', '.join(sorted(named | COMMON_SOURCES))}"
        raise invalid_field("SOURCE_UNKNOWN", "source", source, rule, "资金来源未知")


def check_custodian(fund: Fund, custodian_id: str, banks: Sequence[str]) -> None:
    """A bank that lends under the programme."""
    if custodian_id and custodian_id not in (*banks, *(name for name, _ in fund.accounts)):
        rule = f"must be one of {', '.join(banks)}" if banks else "the fund is kept in one account"
        raise invalid_field(
            "CUSTODIAN_UNKNOWN", "custodian_id", custodian_id, rule, "非本方案托管银行"
        )


# --- pots -----------------------------------------------------------------------------------------


def pots(funds: Iterable[Fund], *, area_code: str, owner_id: str = "") -> list[Fund]:
    """The funds that stand for one loan: the county's, its village's, its borrower's margin."""
    chosen: dict[str, Fund] = {}
    for fund in funds:
        mine = fund.scope_id in ("", owner_id) or (
            fund.fund_class is FundClass.VILLAGE_MUTUAL and area_code.startswith(fund.scope_id)
        )
        closer = fund.kind not in chosen or bool(fund.scope_id)
        if mine and closer:
            chosen[fund.kind] = fund
    return list(chosen.values())


def reach(fund: Fund, lender_id: str) -> Fen:
    """What a fund can pay for a lender: its own sub-account, and what lies in none (S57)."""
    if not fund.accounts:
        return fund.balance_fen
    return Fen(dict(fund.accounts).get(lender_id, 0) + fund.undivided_fen)


def pay_out(fund: Fund, amount_fen: Fen, lender_id: str) -> Fund:
    """Take money out for a lender: from its own sub-account first."""
    assert 0 <= amount_fen <= reach(fund, lender_id)
    own = min(amount_fen, dict(fund.accounts).get(lender_id, Fen(0)))
    after = _put(fund, lender_id, Fen(-own)) if own else fund
    return replace(after, balance_fen=Fen(after.balance_fen - (amount_fen - own)))


def receive(fund: Fund, amount_fen: Fen, custodian_id: str = UNDIVIDED) -> Fund:
    """Put money in; what comes for a lender goes to its sub-account where it has one."""
    if custodian_id and custodian_id in dict(fund.accounts):
        return _put(fund, custodian_id, amount_fen)
    return replace(fund, balance_fen=Fen(fund.balance_fen + amount_fen))


def receive_apart(fund: Fund, amount_fen: Fen, custodian_id: str) -> Fund:
    """Put money into a sub-account, a new one where the bank has none yet."""
    if not custodian_id:
        return receive(fund, amount_fen)
    return _put(fund, custodian_id, amount_fen)


def _put(fund: Fund, custodian_id: str, amount_fen: Fen) -> Fund:
    accounts = dict(fund.accounts)
    accounts[custodian_id] = Fen(accounts.get(custodian_id, 0) + amount_fen)
    assert accounts[custodian_id] >= 0
    return replace(
        fund,
        balance_fen=Fen(fund.balance_fen + amount_fen),
        accounts=tuple(sorted(accounts.items())),
    )


def changes(before: Fund, after: Fund) -> list[tuple[str, int]]:
    """By how much each place of a fund changed; the places in order."""
    was = {UNDIVIDED: before.undivided_fen, **dict(before.accounts)}
    now = {UNDIVIDED: after.undivided_fen, **dict(after.accounts)}
    return [
        (name, now.get(name, 0) - was.get(name, 0))
        for name in sorted({*was, *now})
        if now.get(name, 0) != was.get(name, 0)
    ]


# --- orders ---------------------------------------------------------------------------------------


def check_open(fund: Fund) -> None:
    """A fund that takes and gives money."""
    if fund.state is FundState.CLOSED:
        raise Refused("FUND_CLOSED", f"fund {fund.fund_id} is closed", message_zh="基金已关闭")


def check_dates(value_date: date, *, today: date, closed_through: date | None) -> None:
    """Neither ahead of the business date nor in a period whose books are closed."""
    if value_date > today:
        raise invalid_field(
            "VALUE_DATE_AHEAD", "value_date", value_date, f"at most the business date {today}"
        )
    if closed_through is not None and value_date <= closed_through:
        raise Refused(
            "PERIOD_CLOSED",
            f"the books are closed through {closed_through}, {value_date} is in them",
            message_zh="会计期间已关闭",
            facts={"closed_through": str(closed_through)},
        )


def check_finance(role: str) -> None:
    """Only the finance bureau moves money inside a fund or out of it (S57)."""
    if role != "finance_bureau":
        raise Denied(
            "FINANCE_BUREAU_ONLY",
            f"only the finance bureau moves a fund's money, not a {role}",
            message_zh="仅财政部门可调拨基金",
        )


def transfer(fund: Fund, lines: Sequence[Line]) -> Fund:
    """Move money between places of a fund; each must hold what leaves it at its turn."""
    check_open(fund)
    for index, line in enumerate(lines):
        if line.source == line.target or line.amount_fen <= 0:
            raise invalid_field(
                "LINE_MOVES_NOTHING",
                f"lines[{index}]",
                f"{line.source} → {line.target}: {line.amount_fen}",
                "must move an amount above 0 between two places",
            )
        holds = {UNDIVIDED: fund.undivided_fen, **dict(fund.accounts)}.get(line.source, Fen(0))
        check_holds(line.source, holds, line.amount_fen)
        fund = receive_apart(
            _take(fund, line.source, line.amount_fen), line.amount_fen, line.target
        )
    return fund


def _take(fund: Fund, custodian_id: str, amount_fen: Fen) -> Fund:
    if custodian_id:
        return _put(fund, custodian_id, Fen(-amount_fen))
    return replace(fund, balance_fen=Fen(fund.balance_fen - amount_fen))


def check_holds(name: str, holds_fen: int, amount_fen: int) -> None:
    """A place must hold what is to leave it."""
    if amount_fen > holds_fen:
        raise Refused(
            "ACCOUNT_TOO_SMALL",
            f"{name or 'the undivided part'} holds {holds_fen} fen, {amount_fen} are to leave it",
            message_zh="账户余额不足",
            facts={"balance_fen": str(holds_fen), "amount_fen": str(amount_fen)},
        )


def division(fund: Fund, weights: Sequence[tuple[str, int]]) -> list[Line]:
    """The movements that divide a fund by what the banks have lent (S57, S02)."""
    check_open(fund)
    if not any(weight for _, weight in weights):
        raise Refused(
            "NOTHING_LENT", "no bank has lent anything under the programme", message_zh="尚无放贷"
        )
    # A bank that does not lend any more keeps nothing.
    rest = [(name, 0) for name, _ in fund.accounts if name not in dict(weights)]
    shares = allocate(fund.balance_fen, [*weights, *rest])
    held = dict(fund.accounts)
    surplus = {UNDIVIDED: fund.undivided_fen} | {
        name: Fen(held.get(name, 0) - share) for name, share in shares.items()
    }
    lines: list[Line] = []
    for name, share in shares.items():
        missing = share - held.get(name, 0)
        for source in [each for each, more in surplus.items() if more > 0]:
            amount = min(missing, surplus[source])
            if amount > 0:
                lines.append(Line(source, name, Fen(amount)))
                surplus[source] = Fen(surplus[source] - amount)
                missing -= amount
    if not lines:
        raise Refused(
            "ALREADY_IN_PROPORTION",
            "the sub-accounts are in proportion to the lending already",
            message_zh="各账户已按比例分配",
        )
    return lines


def withdraw(
    fund: Fund, amount_fen: Fen, custodian_id: str, *, minimum_fen: int, multiple: int | None
) -> Fund:
    """Give money back; never below the minimum, nor what cover or debts need."""
    check_open(fund)
    holds = dict(fund.accounts).get(custodian_id, Fen(0)) if custodian_id else fund.undivided_fen
    check_holds(custodian_id, holds, amount_fen)
    after = _take(fund, custodian_id, amount_fen)
    check_minimum(after, minimum_fen)
    needs = leverage(after.balance_fen, multiple=multiple or 1, outstanding_fen=fund.covered_fen)
    if fund.owed_fen or (multiple is not None and needs.top_up_fen):
        raise Refused(
            "COVER_NEEDS_IT",
            f"{after.balance_fen} fen would be left for {fund.covered_fen} of cover and "
            f"{fund.owed_fen} of debts",
            message_zh="余额不足以支撑在保贷款",
            facts={"covered_fen": str(fund.covered_fen), "owed_fen": str(fund.owed_fen)},
        )
    return after


def check_minimum(fund: Fund, minimum_fen: int) -> None:
    """A fund that holds at least what its programme asks for."""
    if fund.fund_class is FundClass.COMPENSATION and fund.balance_fen < minimum_fen:
        raise Refused(
            "FUND_BELOW_MINIMUM",
            f"the fund would hold {fund.balance_fen} fen, its minimum is {minimum_fen}",
            message_zh="基金余额低于最低规模",
            facts={"balance_fen": str(fund.balance_fen), "minimum_fen": str(minimum_fen)},
        )


def close(fund: Fund) -> Fund:
    """Close a fund that holds, covers and owes nothing."""
    check_open(fund)
    if fund.balance_fen or fund.covered_fen or fund.owed_fen:
        raise Refused(
            "FUND_IN_USE",
            f"the fund holds {fund.balance_fen}, covers {fund.covered_fen} and owes "
            f"{fund.owed_fen} fen",
            message_zh="基金仍有余额、在保贷款或欠款",
        )
    return replace(fund, state=FundState.CLOSED)


def reason_given(reason: str) -> None:
    """A no says why."""
    if not reason.strip():
        raise invalid_field("REASON_NEEDED", "reason", reason, "say why it is turned down")


def same_person() -> Refused:
    """Two persons stand behind every payment (S52)."""
    return Refused(
        "SAME_PERSON",
        "whoever did one step of this cannot do the next",
        message_zh="须由不同人员办理",
    )


def check_bounds(amount_fen: int, minimum_fen: int, maximum_fen: int, held_fen: int) -> None:
    """What a village is asked for keeps its fund between the programme's bounds (S28)."""
    if not minimum_fen <= held_fen + amount_fen <= maximum_fen:
        raise Refused(
            "VILLAGE_FUND_OUT_OF_BOUNDS",
            f"{held_fen} + {amount_fen} fen is not within {minimum_fen} to {maximum_fen}",
            message_zh="村级互助金超出规定范围",
            facts={"min_fen": str(minimum_fen), "max_fen": str(maximum_fen)},
        )
