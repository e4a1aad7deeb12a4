"""Papers: what stands in a report, a certificate, a statement. Pure: answers in, a paper out."""

from collections.abc import Mapping, Sequence

from google.protobuf.descriptor import EnumDescriptor
from liandong.claims.v1 import policies_pb2
from liandong.credit.v1 import limits_pb2
from liandong.gateway.v1 import self_pb2
from liandong.households.v1 import facts_pb2, households_pb2
from liandong.loans.v1 import loans_pb2, reports_pb2

from gateway.documents.pdf import Paper
from gateway.documents.words import (
    Language,
    code,
    day,
    enum_name,
    label,
    per_cent,
    points,
    written,
    yuan,
)

Names = Mapping[str, str]
"""Institutions by id, as people call them."""

ID_SHOWN = 13
"""Of an id in a column: enough to find it; the whole stands above a single loan."""


def _short(id_: str) -> str:
    return id_[-ID_SHOWN:] if len(id_) == 36 else id_


def _called(names: Names, institution_id: str) -> str:
    found = names.get(institution_id)
    return f"{found} ({institution_id})" if found else institution_id


def household(paper: Paper, household_id: str, found: households_pb2.Household | None) -> None:
    """Whose paper it is, as far as who asks may know."""
    language = paper.language
    if found is None:
        head = label("withheld", language)
        paper.pairs([("household", household_id), ("head", head)])
        return
    people = [f"{one.name} {one.relation}".strip() for one in found.members]
    paper.pairs(
        [
            ("household", found.household_id),
            ("household_number", found.household_number),
            ("area", found.area_code),
            ("head", found.members[0].name if found.members else label("withheld", language)),
            ("members", "、".join(people)),
        ]
    )


def credit_report(
    answer: limits_pb2.GetCreditReportResponse,
    whose: households_pb2.Household | None,
    language: Language,
) -> Paper:
    """A household's credit report."""
    paper = Paper(label("credit_report", language), language)
    household(paper, answer.household_id, whose)
    rating, limit = answer.rating, answer.limit
    paper.heading("credit")
    paper.pairs(
        [
            ("grade", rating.grade or label("no_grade", language)),
            ("index", points(answer.index_centi)),
            ("rated_on", day(rating, "rated_on")),
            ("programme", rating.programme),
            ("granted", yuan(limit.granted_fen)),
            ("used", yuan(limit.used_fen)),
            ("committed", yuan(limit.committed_fen)),
            ("free", yuan(limit.free_fen)),
            ("valid_until", day(limit, "valid_until")),
            ("open_loans", str(answer.open_loans)),
            ("overdue_loans", str(answer.overdue_loans)),
        ]
    )
    paper.heading("why")
    words = answer.words_zh if language is Language.CHINESE else answer.words
    for line in words or [label("nothing", language)]:
        paper.text(line)
    if answer.HasField("next_grade"):
        paper.heading("next_grade")
        paper.pairs(
            [
                ("grade", answer.next_grade.grade),
                ("missing", points(answer.next_grade.missing_centi)),
            ]
        )
    _credit_tables(paper, answer)
    return paper


def _credit_tables(paper: Paper, answer: limits_pb2.GetCreditReportResponse) -> None:
    paper.heading("measures")
    paper.table(
        ("code", "effects", "amount", "from", "until"),
        [
            (
                each.code,
                "、".join(each.effects),
                yuan(each.amount_fen),
                day(each, "from_on"),
                day(each, "until_on"),
            )
            for each in answer.measures
        ],
        numbers="amount",
    )
    paper.heading("history")
    paper.table(
        ("rated_on", "score", "grade", "granted", "programme"),
        [
            (
                day(each, "rated_on"),
                points(each.score_centi),
                each.grade,
                yuan(each.limit_fen),
                each.programme,
            )
            for each in answer.history
        ],
        numbers="score granted",
    )
    if answer.external_scores:
        paper.heading("external")
        paper.table(
            ("model", "score", "rated_on"),
            [
                (each.model_id, points(each.score_centi), day(each, "scored_on"))
                for each in answer.external_scores
            ],
            numbers="score",
        )


def certificate(
    answer: policies_pb2.GetCertificateResponse,
    whose: households_pb2.Household | None,
    language: Language,
    names: Names,
) -> Paper:
    """What a household is insured for, cover by cover."""
    paper = Paper(label("certificate", language), language)
    household(paper, answer.household_id, whose)
    if not answer.lines:
        paper.text(label("nothing", language))
    for line in answer.lines:
        paper.heading("cover")
        payers = [f"{code(part.payer, language)} {yuan(part.amount_fen)}" for part in line.payers]
        paper.pairs(
            [
                ("cover", line.title_zh or line.cover_id),
                ("insurer", _called(names, line.insurer_id)),
                ("policy", line.policy_id),
                ("sum_insured", yuan(line.sum_insured_fen)),
                ("from", day(line, "from_date")),
                ("until", day(line, "until_date")),
                ("premium", yuan(line.premium_fen)),
                ("premium_of", "、".join(payers)),
                ("payees_first", "、".join(_called(names, each) for each in line.payees_first)),
                ("loan", line.loan_id),
                ("state", code(line.state, language)),
                ("programme", line.programme),
            ]
        )
    return paper


_POSTINGS = ("number", "on", "kind", "amount", "interest", "principal", "balance", "undone")
_SUMS = "number amount interest principal balance"


def household_statement(
    answer: reports_pb2.GetHouseholdStatementResponse,
    household_id: str,
    whose: households_pb2.Household | None,
    language: Language,
    names: Names,
) -> Paper:
    """A household's loans and their postings."""
    paper = Paper(label("household_statement", language), language)
    household(paper, household_id, whose)
    for loan in answer.loans:
        paper.heading("loan")
        five = enum_name(
            loans_pb2.FiveTierClass.DESCRIPTOR, "FIVE_TIER_CLASS_", loan.five_tier_class
        )
        paper.pairs(
            [
                ("loan", loan.loan_id),
                ("lender", _called(names, loan.lender_id)),
                ("product", loan.product_id),
                ("disbursed_on", day(loan, "disbursed_on")),
                ("matures_on", day(loan, "matures_on")),
                ("outstanding", yuan(loan.figures.balance_fen)),
                ("interest_owed", yuan(loan.figures.interest_owed_fen)),
                ("class", code(five, language)),
            ]
        )
        paper.table(
            _POSTINGS,
            [
                (
                    str(line.number),
                    day(line, "value_date"),
                    code(line.kind.removeprefix("POSTING_KIND_").lower(), language),
                    yuan(line.amount_fen),
                    yuan(line.interest_fen),
                    yuan(line.principal_fen),
                    yuan(line.balance_fen),
                    "" if line.counts else label("yes", language),
                )
                for line in loan.lines
            ],
            numbers=_SUMS,
        )
    paper.heading("total")
    paper.pairs(
        [
            ("outstanding", yuan(answer.total.balance_fen)),
            ("interest_owed", yuan(answer.total.interest_owed_fen)),
        ]
    )
    return paper


def loan_statement(
    loan: loans_pb2.Loan,
    answer: loans_pb2.GetLoanStatementResponse,
    whose: households_pb2.Household | None,
    language: Language,
    names: Names,
) -> Paper:
    """One loan and its postings."""
    paper = Paper(label("loan_statement", language), language)
    household(paper, loan.household_id, whose)
    paper.heading("loan")
    state = enum_name(loans_pb2.LoanState.DESCRIPTOR, "LOAN_STATE_", loan.state)
    paper.pairs(
        [
            ("loan", loan.loan_id),
            ("lender", _called(names, loan.lender_id)),
            ("programme", loan.programme),
            ("product", loan.product_id),
            ("state", code(state, language)),
            ("principal", yuan(loan.principal_fen)),
            ("rate", per_cent(loan.rate_ppm)),
            ("disbursed_on", day(loan, "disbursed_on")),
            ("matures_on", day(loan, "matures_on")),
            ("outstanding", yuan(loan.outstanding_fen)),
            ("interest_owed", yuan(loan.interest_fen)),
        ]
    )
    paper.heading("postings")
    kinds = loans_pb2.PostingKind.DESCRIPTOR
    paper.table(
        _POSTINGS,
        [
            (
                str(each.number),
                day(each, "value_date"),
                code(enum_name(kinds, "POSTING_KIND_", each.kind), language),
                yuan(each.amount_fen),
                yuan(each.interest_fen),
                yuan(each.principal_fen),
                yuan(each.outstanding_fen),
                "" if each.counts else label("yes", language),
            )
            for each in answer.postings
        ],
        numbers=_SUMS,
    )
    return paper


def access_report(
    accesses: Sequence[self_pb2.MyAccess],
    household_id: str,
    whose: households_pb2.Household | None,
    language: Language,
) -> Paper:
    """Who read or did what about a household."""
    paper = Paper(label("access_report", language), language)
    household(paper, household_id, whose)
    paper.heading("accesses")
    paper.table(
        ("when", "who", "person", "what", "purpose", "result", "consent"),
        [
            (
                each.called_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ"),
                f"{each.institution_zh} {each.institution_id}".strip(),
                each.person_id,
                " ".join(
                    (
                        label("changed" if each.changed else "read", language),
                        each.method.rpartition("/")[2],
                    )
                ),
                each.purpose or label("not_said", language),
                label("allowed" if each.allowed else "refused", language)
                + ("" if each.outcome == "OK" else f" {each.outcome}"),
                each.consent_reference,
            )
            for each in accesses
        ],
    )
    return paper


def my_file(
    answer: self_pb2.GetMyFileResponse,
    whose: households_pb2.Household,
    language: Language,
    names: Names,
) -> Paper:
    """A household's own file, in plain words."""
    paper = Paper(label("my_file", language), language)
    household(paper, answer.household_id, whose)
    _my_credit(paper, answer)
    paper.heading("loans")
    paper.table(
        ("lender", "state", "principal", "rate", "outstanding", "interest_owed", "next_due"),
        [
            (
                names.get(each.lender_id, each.lender_id),
                code(each.state, language),
                yuan(each.principal_fen),
                per_cent(each.rate_ppm),
                yuan(each.outstanding_fen),
                yuan(each.interest_fen),
                day(each, "next_due_on"),
            )
            for each in answer.loans
        ],
        numbers="principal rate outstanding interest_owed",
    )
    _my_money(paper, answer, names)
    _my_record(paper, answer)
    for each in answer.withheld:
        paper.text(f"{each.what} × {each.count}: {each.reason_zh} ({each.programme})")
    if answer.cut:
        paper.text(label("cut", language))
    return paper


def _my_credit(paper: Paper, answer: self_pb2.GetMyFileResponse) -> None:
    paper.heading("credit")
    if not answer.HasField("credit"):
        paper.text(label("nothing", paper.language))
        return
    credit = answer.credit
    paper.pairs(
        [
            ("grade", credit.grade or label("no_grade", paper.language)),
            ("index", points(credit.index_centi)),
            ("granted", yuan(credit.granted_fen)),
            ("free", yuan(credit.free_fen)),
            ("valid_until", day(credit, "valid_until")),
        ]
    )
    for line in credit.words_zh if paper.language is Language.CHINESE else credit.words:
        paper.text(line)


def _my_money(paper: Paper, answer: self_pb2.GetMyFileResponse, names: Names) -> None:
    language = paper.language
    paper.heading("subsidies")
    paper.table(
        ("kind", "payer", "amount", "paid", "state"),
        [
            (
                code(each.kind, language),
                code(each.payer, language),
                yuan(each.amount_fen),
                yuan(each.paid_fen),
                code(each.state, language),
            )
            for each in answer.subsidies
        ],
        numbers="amount paid",
    )
    paper.heading("policies")
    paper.table(
        ("cover", "insurer", "sum_insured", "from", "until", "premium"),
        [
            (
                each.title_zh,
                names.get(each.insurer_id, each.insurer_id),
                yuan(each.sum_insured_fen),
                day(each, "from_date"),
                day(each, "until_date"),
                yuan(each.premium_fen),
            )
            for each in answer.policies
        ],
        numbers="sum_insured premium",
    )
    paper.heading("claims")
    paper.table(
        ("loss_date", "cause", "claimed", "payable", "state", "reason"),
        [
            (
                day(each, "loss_date"),
                each.cause,
                yuan(each.claimed_fen),
                yuan(each.payable_fen),
                code(each.state, language),
                each.reason,
            )
            for each in answer.claims
        ],
        numbers="claimed payable",
    )
    paper.heading("payments")
    paper.table(
        ("kind", "on", "amount", "to_lenders", "to_household", "state"),
        [
            (
                code(each.kind, language),
                day(each, "on"),
                yuan(each.amount_fen),
                yuan(each.lenders_fen),
                yuan(each.household_fen),
                code(each.state, language),
            )
            for each in answer.payments
        ],
        numbers="amount to_lenders to_household",
    )


def _my_record(paper: Paper, answer: self_pb2.GetMyFileResponse) -> None:
    paper.heading("facts")
    paper.table(
        ("fact", "kind", "from", "until", "source"),
        [
            (
                _short(each.fact_id),
                each.content.WhichOneof("content") or "",
                day(each, "valid_from"),
                day(each, "valid_to"),
                each.provenance.source_id,
            )
            for each in answer.facts
        ],
    )
    if answer.disputes:
        subjects: EnumDescriptor = facts_pb2.DisputeSubject.DESCRIPTOR
        paper.heading("disputes")
        paper.table(
            ("what", "when", "due_on", "answer"),
            [
                (
                    code(enum_name(subjects, "DISPUTE_SUBJECT_", each.subject), paper.language),
                    written(each.provenance.business_date),
                    day(each, "due_on"),
                    each.answer,
                )
                for each in answer.disputes
            ],
        )
