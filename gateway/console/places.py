"""Places: every page of the console, what it needs, and its place in the menu."""

from gateway.console.app import Place
from gateway.console.desk import REPORT, TOTALS
from gateway.console.pages import (
    live,
    me,
    money,
    overview,
    parked,
    programmes,
    status,
    things,
    traces,
    work,
)

_POST = ("POST",)

PLACES = [
    Place("/", overview.first, ()),
    Place("/overview", overview.overview, (REPORT, TOTALS), ("概览", "Overview")),
    Place("/overview/history", overview.history, (REPORT,)),
    Place("/overview/collected", overview.collected, (REPORT,)),
    Place("/money", money.money, (money.PAYOUTS, money.CASES), ("资金流向", "Money flows")),
    Place("/loans", things.loans, (things.LOANS,), ("贷款", "Loans")),
    Place("/work", work.work, tuple(work.METHODS.values()), ("待办", "Work")),
    Place("/duties/{list}", work.listed, tuple(work.METHODS.values())),
    Place("/live", live.live, (live.SUBSCRIBE,), ("实时事件", "Live events")),
    Place("/live/stream", live.stream, (live.SUBSCRIBE,)),
    Place("/find", things.find, (things.FIND,)),
    Place("/loans/{id}", things.loan, (things.LOAN,)),
    Place("/claims/{id}", things.claim, (things.CLAIM,)),
    Place("/cases/{id}", things.case, (things.CASE,)),
    Place("/households/{id}", things.household, (things.TELL,)),
    Place("/stories/{kind}/{id}", things.story, (things.TELL,)),
    Place("/traces", traces.traces, (TOTALS,), ("追踪", "Traces")),
    Place("/traces/{id}", traces.trace, (things.FIND,)),
    Place("/log", things.log, (things.ACCESSES,), ("访问日志", "Access log")),
    Place("/parked", parked.parked, (parked.LIST,), ("停放事件", "Parked events")),
    Place("/parked/act", parked.act, (parked.REPLAY, parked.DROP), methods=_POST),
    Place("/hands", status.hands, (status.PAUSES,), ("暂停与恢复", "Pause and resume")),
    Place("/hands/act", status.act, (status.PROPOSE,), methods=_POST),
    Place(
        "/programmes",
        programmes.programmes,
        (things.LOANS, TOTALS),
        ("方案", "Programmes"),
    ),
    Place("/programmes/{ref}", programmes.programme, (things.LOANS, TOTALS)),
    Place("/me", me.me, (me.IDENTIFY,), ("我的档案", "My file")),
    Place("/me/paper", me.paper, (me.IDENTIFY,)),
    Place("/me/dispute", me.dispute, (me.IDENTIFY,), methods=_POST),
    Place("/status", status.status, (status.STATUS,), ("本机构状态", "Own status")),
]
