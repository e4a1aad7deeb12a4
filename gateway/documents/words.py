"""Documents: their words in Chinese and English, and money, rates and days as people write them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.gateway.v1 import documents_pb2 as pb


class Language(StrEnum):
    """In which language a document speaks."""

    CHINESE = "zh"
    ENGLISH = "en"


def language_of(asked: "pb.DocumentLanguage.ValueType") -> Language:
    """The language that was asked for; Chinese where none was."""
    if asked == pb.DOCUMENT_LANGUAGE_ENGLISH:
        return Language.ENGLISH
    return Language.CHINESE


LABELS: Final[Mapping[str, tuple[str, str]]] = {
    # Papers.
    "credit_report": ("农户信用报告", "Credit report"),
    "certificate": ("保险凭证", "Certificate of insurance"),
    "household_statement": ("农户贷款对账单", "Household statement"),
    "loan_statement": ("贷款对账单", "Loan statement"),
    "access_report": ("信息查询记录", "Access report"),
    "my_file": ("我的档案", "My file"),
    # How a paper came about.
    "asked_by": ("申请机构", "Asked by"),
    "asked_for": ("本人查询", "Asked for"),
    "household_itself": ("农户本人", "the household itself"),
    "person": ("经办人", "Person"),
    "made_at": ("出具时间", "Made at"),
    "purpose": ("用途", "Purpose"),
    "not_said": ("未说明", "not said"),
    "as_of": ("数据截至", "Data as of"),
    "data": ("数据指纹", "Data digest"),
    "county": ("县（市、区）代码", "County"),
    "page": ("第 {page} 页，共 {pages} 页", "Page {page} of {pages}"),
    "masked": (
        "本件依申请机构的权限出具，无权查看的内容不显示。",
        "Made with the rights of who asked: what it may not see is not shown.",
    ),
    "nothing": ("无", "None"),
    "total": ("合计", "Total"),
    "yes": ("是", "yes"),
    "no": ("否", "no"),
    # A household.
    "household": ("农户", "Household"),
    "household_number": ("户号", "Number"),
    "head": ("户主", "Head"),
    "members": ("家庭成员", "Members"),
    "area": ("行政区划代码", "Area"),
    "withheld": ("无权查看", "withheld"),
    # Credit.
    "credit": ("信用与额度", "Credit and limit"),
    "index": ("信用指数", "Credit index"),
    "grade": ("信用等级", "Grade"),
    "no_grade": ("未评级", "not rated"),
    "granted": ("授信额度", "Limit granted"),
    "used": ("已用额度", "Used"),
    "committed": ("已批未放", "Approved, not paid out"),
    "free": ("可贷额度", "Free limit"),
    "valid_until": ("额度有效期至", "Valid until"),
    "rated_on": ("评级日期", "Rated on"),
    "programme": ("方案版本", "Programme"),
    "why": ("评级说明", "Why"),
    "next_grade": ("升级条件", "Way to the next grade"),
    "missing": ("尚差分数", "Points missing"),
    "measures": ("现行奖惩措施", "Measures in force"),
    "history": ("历次评级", "Ratings"),
    "open_loans": ("未结清贷款笔数", "Open loans"),
    "overdue_loans": ("其中逾期笔数", "Of them overdue"),
    "external": ("外部评分", "External scores"),
    "model": ("模型", "Model"),
    "score": ("得分", "Score"),
    "kind": ("种类", "Kind"),
    "code": ("代码", "Code"),
    "effects": ("效果", "Effects"),
    "from": ("起始日", "From"),
    "until": ("截止日", "Until"),
    # Loans.
    "loans": ("贷款", "Loans"),
    "loan": ("贷款编号", "Loan"),
    "lender": ("贷款机构", "Lender"),
    "product": ("产品", "Product"),
    "state": ("状态", "State"),
    "principal": ("本金", "Principal"),
    "outstanding": ("本金余额", "Principal owed"),
    "interest": ("利息", "Interest"),
    "interest_owed": ("应付利息", "Interest owed"),
    "rate": ("年利率", "Yearly rate"),
    "disbursed_on": ("放款日", "Paid out on"),
    "matures_on": ("到期日", "Due on"),
    "next_due": ("最近应还日", "Next due"),
    "overdue_days": ("逾期天数", "Days overdue"),
    "class": ("五级分类", "Class"),
    "postings": ("明细", "Postings"),
    "number": ("序号", "No."),
    "on": ("日期", "Date"),
    "amount": ("金额", "Amount"),
    "balance": ("余额", "Balance"),
    "undone": ("已冲销", "undone"),
    # Subsidies, policies, claims, payments.
    "subsidies": ("贴息与补助", "Subsidies and grants"),
    "payer": ("支付方", "Payer"),
    "paid": ("已支付", "Paid"),
    "policies": ("保险", "Insurance"),
    "cover": ("险种", "Cover"),
    "insurer": ("保险机构", "Insurer"),
    "sum_insured": ("保险金额", "Sum insured"),
    "premium": ("保费", "Premium"),
    "premium_of": ("保费分担", "Premium borne by"),
    "payees_first": ("第一受益人", "Paid first"),
    "policy": ("保单号", "Policy"),
    "claims": ("理赔", "Claims"),
    "claim": ("报案号", "Claim"),
    "loss_date": ("出险日", "Day of loss"),
    "cause": ("原因", "Cause"),
    "claimed": ("报损金额", "Reported"),
    "payable": ("应赔金额", "Payable"),
    "payments": ("支付", "Payments"),
    "to_lenders": ("其中还贷", "To lenders"),
    "to_household": ("其中给农户", "To the household"),
    "facts": ("已登记的事实", "Facts on record"),
    "fact": ("事实编号", "Fact"),
    "source": ("来源", "Source"),
    "disputes": ("异议", "Disputes"),
    "due_on": ("答复期限", "Answer due"),
    "answer": ("答复", "Answer"),
    "reason": ("原因", "Reason"),
    "cut": ("以上仅列出部分条目。", "Only the first entries are shown."),
    # Accesses.
    "accesses": ("查询与变更", "Accesses"),
    "when": ("时间", "When"),
    "who": ("机构", "Institution"),
    "what": ("事项", "What"),
    "result": ("结果", "Result"),
    "allowed": ("允许", "allowed"),
    "refused": ("拒绝", "refused"),
    "changed": ("变更", "changed"),
    "read": ("查询", "read"),
    "consent": ("凭证", "Consent"),
}
"""What a paper says beside its data, in both languages."""

CODES: Final[Mapping[str, tuple[str, str]]] = {
    "in_review": ("审批中", "in review"),
    "awaiting_cover": ("待保障", "awaiting cover"),
    "approved": ("已批准", "approved"),
    "refused": ("已拒绝", "refused"),
    "active": ("未结清", "active"),
    "settled": ("已结清", "settled"),
    "written_off": ("已核销", "written off"),
    "normal": ("正常", "normal"),
    "special_mention": ("关注", "special mention"),
    "substandard": ("次级", "substandard"),
    "doubtful": ("可疑", "doubtful"),
    "loss": ("损失", "loss"),
    "unspecified": ("", ""),
    "disbursement": ("放款", "paid out"),
    "opening": ("期初", "taken over"),
    "repayment": ("还款", "repayment"),
    "payout": ("保险赔款", "insurance payout"),
    "payout_undone": ("赔款冲回", "payout undone"),
    "discount": ("减免", "discount"),
    "write_off": ("核销", "written off"),
    "refund": ("退回", "refund"),
    "rate": ("利率调整", "rate"),
    "subsidy_stop": ("停止贴息", "subsidy stopped"),
    "carried_out": ("续贷转出", "carried out"),
    "carried_in": ("续贷转入", "carried in"),
    "recovery": ("收回", "recovery"),
    "reported": ("已报案", "reported"),
    "suspended": ("暂停", "suspended"),
    "proposed": ("已拟定", "proposed"),
    "withdrawn": ("已撤回", "withdrawn"),
    "authorised": ("已核定", "authorised"),
    "instructed": ("已指令", "instructed"),
    "household_instructed": ("已指令付农户", "household instructed"),
    "allocated": ("已分配", "allocated"),
    "confirmed": ("已确认", "confirmed"),
    "unknown": ("待查", "unknown"),
    "correcting": ("更正中", "being corrected"),
    "reversed": ("已冲回", "reversed"),
    "due": ("应付", "due"),
    "paid": ("已付", "paid"),
    "in_force": ("有效", "in force"),
    "waiting": ("等待期", "waiting"),
    "borrower": ("借款人", "borrower"),
    "county": ("县财政", "county"),
    "insurer": ("保险机构", "insurer"),
    "enterprise": ("企业", "enterprise"),
    "finance_bureau": ("财政局", "finance bureau"),
    "interest": ("贴息", "interest subsidy"),
    "cash": ("现金补助", "grant"),
    "premium": ("保费补助", "premium"),
    "reward": ("奖励", "reward"),
    "training": ("培训", "training"),
    "data_fee": ("采集费", "data fee"),
    "fact": ("事实", "fact"),
    "status": ("登记状态", "status"),
    "membership": ("家庭成员", "membership"),
    "payee_account": ("收款账户", "payee account"),
}
"""Codes of the services, in both languages; one that is not here stands as it is."""


TITLES_ZH: Final[Mapping[str, str]] = {
    "county_code": "县代码",
    "household_id": "农户编号",
    "household_number": "户号",
    "area_code": "行政区划代码",
    "status": "登记状态",
    "honour": "荣誉",
    "loan_id": "贷款编号",
    "lender_id": "贷款机构",
    "programme": "方案版本",
    "rule_version": "方案版本",
    "product_id": "产品",
    "borrower_class": "借款人类别",
    "state": "状态",
    "next_step": "当前环节",
    "principal_fen": "本金（分）",
    "term_months": "期限（月）",
    "rate_ppm": "年利率（百万分之）",
    "disbursed_on": "放款日",
    "matures_on": "到期日",
    "outstanding_fen": "本金余额（分）",
    "interest_fen": "利息（分）",
    "overdue_days": "逾期天数",
    "five_tier_class": "五级分类",
    "non_performing": "是否不良",
    "subrogated_fen": "代偿后应还（分）",
    "sla_due_on": "办结期限",
    "suspense_fen": "多收（分）",
    "next_due_on": "最近应还日",
    "undrawn_fen": "未提用（分）",
    "outlet_code": "网点",
    "number": "序号",
    "kind": "种类",
    "value_date": "起息日",
    "amount_fen": "金额（分）",
    "balance_fen": "余额（分）",
    "counts": "是否有效",
    "entitlement_id": "待遇编号",
    "rule_id": "条款",
    "payer": "支付方",
    "due_on": "应付日",
    "approved_on": "批准日",
    "paid_on": "支付日",
    "reference": "凭证号",
    "reason": "原因",
    "claim_id": "报案号",
    "cover_id": "险种",
    "policy_id": "保单号",
    "insurer_id": "保险机构",
    "loss_date": "出险日",
    "cause": "原因",
    "claimed_fen": "报损金额（分）",
    "assessed_fen": "核损金额（分）",
    "payable_fen": "应赔金额（分）",
    "paid_fen": "已付（分）",
    "payout_id": "赔付编号",
    "sum_insured_fen": "保险金额（分）",
    "premium_fen": "保费（分）",
    "from_date": "起保日",
    "until_date": "终保日",
    "case_id": "代偿编号",
    "loss_fen": "损失（分）",
    "filed_on": "申请日",
    "notice_until": "公示截止日",
    "written_off_fen": "核销（分）",
    "loans": "笔数",
    "owing_loans": "未结清笔数",
    "new_loans": "新增笔数",
    "lent_fen": "累计发放（分）",
    "disbursed_fen": "本期发放（分）",
    "collected_principal_fen": "收回本金（分）",
    "collected_interest_fen": "收回利息（分）",
    "interest_owed_fen": "应收利息（分）",
    "subsidy_fen": "应贴息（分）",
    "subsidy_paid_fen": "已贴息（分）",
    "due_fen": "到期本金（分）",
    "due_collected_fen": "到期收回（分）",
    "overdue_loans": "逾期笔数",
    "overdue_principal_fen": "逾期本金（分）",
    "households": "户数",
    "owing_households": "未结清户数",
    "counted_households": "登记户数",
    "lender": "贷款机构",
    "township": "乡镇",
    "village": "村",
    "household": "农户",
    "product": "产品",
    "section": "部分",
    "figure": "指标",
    "value": "数值",
    "id": "编号",
    "pct": "比率（%）",
}
"""Titles of tables; one that is not here stands as the field is called."""


def title_of(name: str, language: Language) -> str:
    """The title of a column."""
    return TITLES_ZH.get(name, name) if language is Language.CHINESE else name


def label(name: str, language: Language) -> str:
    """What a paper says."""
    zh, en = LABELS[name]
    return zh if language is Language.CHINESE else en


def code(name: str, language: Language) -> str:
    """A code of a service for people."""
    found = CODES.get(name)
    if found is None:
        return name
    return found[0] if language is Language.CHINESE else found[1]


def yuan(fen: int) -> str:
    """An amount in yuan, `1,234.56`."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{rest:02d}"


def points(centi: int) -> str:
    """A score in points."""
    whole, rest = divmod(abs(centi), 100)
    return f"{'-' if centi < 0 else ''}{whole}.{rest:02d}"


def per_cent(ppm: int) -> str:
    """A rate in per cent, `4.35%`."""
    whole, rest = divmod(ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + "%"


def day(of: Message, name: str) -> str:
    """A day of a message; empty where it is not set."""
    return written(getattr(of, name)) if of.HasField(name) else ""


def written(value: Date) -> str:
    """A day as `2026-11-22`; empty for none."""
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d}" if value.year else ""


def enum_name(enum: EnumDescriptor, prefix: str, number: int) -> str:
    """A number of an enum as the services' own word for it."""
    found = enum.values_by_number.get(number)
    return found.name.removeprefix(prefix).lower() if found else str(number)
