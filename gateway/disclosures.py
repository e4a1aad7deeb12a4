"""Disclosures: what a programme's pack says, in plain Chinese and English, for everybody. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.documents.words import per_cent, points, yuan
from gateway.plain_words import both
from services.programmes.schema.loans import (
    BenchmarkPlusPricing,
    BenchmarkPricing,
    LoanProduct,
    RangePricing,
    SpreadPricing,
    Subsidy,
    SubsidyMode,
)
from services.programmes.schema.pack import Pack
from services.programmes.schema.scoring import (
    BasePointsScoring,
    ExternalScoring,
    Grade,
    ScoringRules,
    WeightedScoring,
)
from services.programmes.schema.values import Open

Said = tuple[str, str]
"""One sentence, in Chinese and in English."""

OPEN: Final[Said] = ("待定", "not decided yet")


@dataclass(frozen=True, slots=True)
class Section:
    """One of the five disclosures (HN-RCU.gat.1)."""

    name: str
    title: Said
    lines: tuple[Said, ...]


TITLES: Final[dict[str, Said]] = {
    "conditions": ("贷款条件公开", "Conditions"),
    "rating_principles": ("评级授信原则公开", "Principles of rating"),
    "process_and_deadlines": ("办理流程和时限公开", "Process and deadlines"),
    "amount_use_and_rate": ("贷款额度、用途和利率公开", "Amount, use and rate"),
    "breach_liability": ("违约责任公开", "Liability for breach"),
}

NOTHING: Final[Said] = ("方案未作规定。", "The programme says nothing about it.")


def five(pack: Pack) -> tuple[Section, ...]:
    """The five sections of a programme, in their order; one it is silent on says so."""
    found = {
        "conditions": _conditions(pack),
        "rating_principles": _rating(pack),
        "process_and_deadlines": _process(pack),
        "amount_use_and_rate": _amounts(pack),
        "breach_liability": _breach(pack),
    }
    return tuple(
        Section(name, TITLES[name], tuple(lines) or (NOTHING,)) for name, lines in found.items()
    )


def demands(pack: Pack) -> bool:
    """Whether the pack itself demands the five."""
    said = pack.gateway.disclosures if pack.gateway else ()
    return {each.id for each in said} >= set(TITLES)


def plain_sheet(product: LoanProduct) -> tuple[Said, ...]:
    """Who lends, how much, at what price, how long, how to repay (AH-RCU.gat.1)."""
    lender = both(product.lender)
    cycles = [both(each) for each in product.settlement_cycles]
    return (
        (f"谁放贷：{lender[0]}。", f"Who lends: {lender[1]}."),
        *_who_borrows(product),
        *_how_much(product),
        *_price(product),
        *_subsidy(product),
        _joined("还款方式：", "How to repay: ", cycles)
        if cycles
        else _open("还款方式", "Repaying"),
        (
            "资金只能用于本人生产经营，不得转借他人。",
            "The money is for one's own production and is not lent on.",
        ),
    )


def _listed(codes: Iterable[str]) -> Said:
    words = [both(code) for code in codes]
    return "、".join(zh for zh, _ in words), ", ".join(en for _, en in words)


def _joined(zh: str, en: str, words: Sequence[Said]) -> Said:
    return (
        f"{zh}{'、'.join(each for each, _ in words)}。",
        f"{en}{', '.join(each for _, each in words)}.",
    )


def _open(zh: str, en: str) -> Said:
    return f"{zh}：{OPEN[0]}。", f"{en}: {OPEN[1]}."


def _conditions(pack: Pack) -> list[Said]:
    rules, lines = pack.eligibility, []
    if rules is None:
        return []
    lines.append(_joined("对象：", "For: ", [both(each.value) for each in rules.borrower_classes]))
    if isinstance(rules.gates, Open):
        lines.append(_open("准入条件", "Conditions"))
    elif rules.gates:
        held = [both(gate.code) for gate in rules.gates]
        lines.append(_joined("须同时满足：", "All must hold: ", held))
    if rules.standards:
        lines.append(_joined("标准：", "Standards: ", [both(each) for each in rules.standards]))
    if isinstance(rules.max_age, int):
        lines.append((f"年龄不超过{rules.max_age}周岁。", f"At most {rules.max_age} years old."))
    for product in pack.loan_products:
        if product.gates:
            zh, en = _listed(gate.code for gate in product.gates)
            lines.append(
                (f"{product.title.zh}另须：{zh}。", f"{product.title.en} also needs: {en}.")
            )
    return lines


def _rating(pack: Pack) -> list[Said]:
    scoring = pack.scoring
    if scoring is None:
        return []
    lines = list(_scheme(scoring))
    if scoring.vetoes:
        vetoes = [both(each.id) for each in scoring.vetoes]
        lines.append(_joined("一票否决：", "Refused whatever the score: ", vetoes))
    if isinstance(scoring.grades, Open):
        lines.append(_open("等级", "Grades"))
    else:
        lines.extend(_grade(each) for each in scoring.grades)
    if scoring.public_notice is not None and isinstance(scoring.public_notice.days, int):
        days = scoring.public_notice.days
        lines.append(
            (f"评级结果公示{days}天。", f"The rating hangs out {days} days for objections.")
        )
    return lines


def _scheme(scoring: ScoringRules) -> Iterable[Said]:
    if isinstance(scoring, BasePointsScoring):
        base = points(scoring.base_points_centi)
        yield f"基础分{base}分，按指标加减分。", f"Everybody starts with {base} points."
        if not isinstance(scoring.adjustments, Open):
            for one in scoring.adjustments:
                zh, en = both(one.id)
                sign = "+" if one.points_centi > 0 else ""
                yield (
                    f"{zh}：{sign}{points(one.points_centi)}分",
                    (f"{en}: {sign}{points(one.points_centi)}"),
                )
    elif isinstance(scoring, WeightedScoring):
        if isinstance(scoring.factors, Open):
            yield _open("评分因素", "Factors")
            return
        for factor in scoring.factors:
            zh, en = both(factor.id)
            weight = OPEN if isinstance(factor.weight_pct, Open) else (f"{factor.weight_pct}%",) * 2
            yield f"{zh}：权重{weight[0]}", f"{en}: weight {weight[1]}"
    elif isinstance(scoring, ExternalScoring):
        yield "由贷款机构的评分模型评分。", "A model of the lender gives the score."
    else:
        yield "不打分，由评议程序提出额度。", "No points: the review proposes how much."


def _grade(grade: Grade) -> Said:
    least = (
        OPEN if isinstance(grade.min_score_centi, Open) else (points(grade.min_score_centi),) * 2
    )
    limit = OPEN if isinstance(grade.limit_fen, Open) else (yuan(grade.limit_fen),) * 2
    return (
        f"{grade.id}级：{least[0]}分以上，授信{limit[0]}元。",
        f"Grade {grade.id}: from {least[1]} points, limit {limit[1]} yuan.",
    )


def _process(pack: Pack) -> list[Said]:
    lines: list[Said] = []
    for product in pack.loan_products:
        title = product.title
        if isinstance(product.approval_chain, Open):
            lines.append(_open(f"{title.zh}流程", f"Process of {title.en}"))
        else:
            steps = [
                (
                    f"{both(each.organ.value)[0]}{both(each.kind.value)[0]}",
                    f"{both(each.organ.value)[1]}: {both(each.kind.value)[1]}",
                )
                for each in product.approval_chain
            ]
            lines.append(
                (
                    f"{title.zh}：{' → '.join(zh for zh, _ in steps)}。",
                    f"{title.en}: {' → '.join(en for _, en in steps)}.",
                )
            )
        if isinstance(product.sla, Open):
            lines.append(_open(f"{title.zh}办结时限", f"Deadline of {title.en}"))
        elif product.sla is not None:
            unit = both(product.sla.unit)
            lines.append(
                (
                    f"{title.zh}：受理后{product.sla.value}{unit[0]}内办结。",
                    f"{title.en}: done within {product.sla.value} {unit[1]}.",
                )
            )
    return lines


def _amounts(pack: Pack) -> list[Said]:
    lines: list[Said] = []
    for product in pack.loan_products:
        lines.append((f"【{product.title.zh}】", f"[{product.title.en}]"))
        lines.extend(_how_much(product))
        lines.extend(_price(product))
        lines.extend(_subsidy(product))
        purpose = product.purpose
        if purpose.allowed is not None and not isinstance(purpose.allowed, Open):
            allowed = [both(each) for each in purpose.allowed]
            lines.append(_joined("可用于：", "May be used for: ", allowed))
        if purpose.prohibited:
            prohibited = [both(each) for each in purpose.prohibited]
            lines.append(_joined("不得用于：", "Not for: ", prohibited))
    return lines


def _who_borrows(product: LoanProduct) -> Iterable[Said]:
    yield _joined("贷给谁：", "For: ", [both(each.value) for each in product.borrower_classes])


def _how_much(product: LoanProduct) -> Iterable[Said]:
    most = product.max_principal_fen
    if isinstance(most, Open):
        yield _open("最高额度", "At most")
    elif most is not None:
        yield f"最高额度：{yuan(most)}元。", f"At most {yuan(most)} yuan."
    for tier in product.amount_tiers:
        if not isinstance(tier.max_principal_fen, Open):
            zh, en = both(tier.id)
            amount = yuan(tier.max_principal_fen)
            yield f"{zh}：最高{amount}元。", f"{en}: at most {amount} yuan."
    term = product.max_term_months
    if isinstance(term, Open):
        yield _open("期限", "Term")
    elif term is not None:
        yield f"期限：最长{term}个月。", f"For at most {term} months."
    security = product.security
    if security.collateral == "none" and security.guarantor == "none":
        yield "免抵押、免担保。", "No collateral and no guarantor."


def _price(product: LoanProduct) -> Iterable[Said]:
    match product.pricing:
        case BenchmarkPricing():
            yield "利率：同期基准利率。", "Rate: the benchmark of the term."
        case BenchmarkPlusPricing(max_uplift_pct=pct):
            yield (
                f"利率：不高于基准利率上浮{pct}%。",
                f"Rate: at most the benchmark raised by {pct}%.",
            )
        case RangePricing(min_rate_ppm=least, max_rate_ppm=most):
            low = per_cent(least) if least is not None else "—"
            high = per_cent(most) if most is not None else "—"
            yield f"年利率：{low} 至 {high}。", f"Yearly rate: {low} to {high}."
        case SpreadPricing(reference=reference, max_spread_ppm=most):
            zh, en = both(reference)
            spread = "" if most is None else f" + {_signed(most)}"
            yield f"年利率：不高于{zh}{spread}。", f"Yearly rate: at most {en}{spread}."
        case _:
            yield _open("利率", "Rate")


def _signed(ppm: int) -> str:
    return per_cent(ppm) if ppm >= 0 else f"(-{per_cent(-ppm)})"


def _subsidy(product: LoanProduct) -> Iterable[Said]:
    subsidy: Subsidy | Open = product.subsidy
    if isinstance(subsidy, Open):
        yield _open("贴息", "Interest subsidy")
        return
    match subsidy.mode:
        case SubsidyMode.NONE:
            return
        case SubsidyMode.FULL_AT_BENCHMARK:
            yield "财政按基准利率全额贴息。", "The treasury pays all interest at the benchmark."
        case _:
            rate = per_cent(subsidy.rate_ppm or 0)
            yield f"财政贴息：年利率{rate}。", f"The treasury pays {rate} a year of the interest."
    if isinstance(subsidy.max_months, int):
        months = subsidy.max_months
        yield f"贴息最长{months}个月。", f"For at most {months} months."


def _breach(pack: Pack) -> list[Said]:
    lines: list[Said] = []
    rules = pack.loans
    if rules is None:
        return lines
    if rules.overdue_actions:
        actions = [both(each.value) for each in rules.overdue_actions]
        lines.append(_joined("逾期后：", "When overdue: ", actions))
    if rules.npl_actions:
        actions = [both(each.value) for each in rules.npl_actions]
        lines.append(_joined("形成不良后：", "When non-performing: ", actions))
    for one in rules.sanctions:
        cause, effects = both(one.cause or one.id), _listed(each.value for each in one.effects)
        months = (
            (f"，{one.ban_months}个月", f" for {one.ban_months} months")
            if isinstance(one.ban_months, int)
            else ("", "")
        )
        lines.append(
            (f"{cause[0]}：{effects[0]}{months[0]}。", f"{cause[1]}: {effects[1]}{months[1]}.")
        )
    for product in pack.loan_products:
        if product.use and product.use.prohibited_conduct:
            conduct = [both(each) for each in product.use.prohibited_conduct]
            lines.append(_joined("属于违约：", "Breach: ", conduct))
    return list(dict.fromkeys(lines))
