"""A small programme of an invented county as texts, to be broken in one place at a time."""

PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
  county_may_set: [monitoring.reports]
eligibility: {borrower_classes: [poor_household], source: [NAT.reg.1]}
scoring:
  type: base_points
  scheme: plain
  base_points_centi: 10000
  adjustments:
    - {id: tidy, points_centi: 500}
    - {id: late, points_centi: -1500}
  vetoes: [{id: dishonesty}]
  grades:
    - {id: A, min_score_centi: {open: not decided}, limit_fen: 1000000}
    - {id: AA, min_score_centi: {open: not decided}, limit_fen: 2000000}
  min_grade: A
  honours: {min_grade: A, levels: [{id: honest, uplift_fen: 100000}]}
loans:
  benchmark: [{from: 2019-01-01, max_tenor_months: 12, rate_ppm: 43500}]
  npl: {measure: overdue_days, more_than_days: 90}
loan_products:
  - id: micro
    title: {zh: 小额, en: Micro}
    borrower_classes: [poor_household]
    max_principal_fen: 5000000
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: fixed_rate, rate_ppm: 30000}
    interest_settlement: bullet
    approval_chain:
      - {step: village, kind: initial_review, organ: village_department, starts_sla: true}
      - {step: bank, kind: approval, organ: lender}
    purpose: {prohibited: [stocks]}
    sharing_models: [split]
insurance:
  covers:
    - id: accident
      kind: personal_accident
      title: {zh: 意外险, en: Accident}
      assigned: true
      payees: [bank, household]
      sum_insured: {of: loan_principal, pct: 100}
      premium: {rate_ppm: 1000, payer: borrower}
  required_covers: [{borrower_class: poor_household, covers: [accident]}]
  sweep_trigger: always
  claim_tiers:
    - {tier: fast, max_fen: 200000, working_days: 0}
    - {tier: slow, max_fen: null, working_days: 5}
fund:
  multiple: 10
  custody: special_account
  models:
    - id: split
      title: {zh: 分担, en: Split}
      borrower_classes: [poor_household]
      layers:
        - {layer: village, pot: village_fund}
        - {layer: ratio, ratio: {county_fund: 70, bank: 30}}
      trigger: {overdue_more_than_days: 90}
      base: principal_and_interest
monitoring:
  breakers:
    - {id: village, measure: npl_ratio, scope: village, more_than_ppm: 50000, effects: [stop_grant]}
    - {id: town, measure: tripped_villages, scope: township, at_least_pct: 30, effects: []}
  five_tier: {open: not decided}
"""

OVERLAY = """
overlay: {name: own, county: "990101", programme: plain@1, status: decided}
values:
  scoring:
    grades:
      - {id: A, min_score_centi: 9000}
      - {id: AA, min_score_centi: 10000}
"""

ADOPTION = """
adoption:
  county: "990101"
  entries:
    - programme: plain@1:own
      from: 2020-01-01
      parties: {county_fund: fin-1, bank: [rcb-1, rcb-2], village_fund: fin-1}
"""

INSTITUTIONS = """
institutions:
  - institution_id: fin-1
    name: {zh: 财政, en: Treasury}
    role: finance_bureau
    county_code: "990101"
    areas: ["990101"]
    persons:
      - {person_id: fin-1-p1, title: {zh: 经办, en: Officer}, duty: maker}
      - {person_id: fin-1-p2, title: {zh: 复核, en: Reviewer}, duty: checker}
  - institution_id: rcb-1
    name: {zh: 银行一, en: Bank one}
    role: bank
    county_code: "990101"
    areas: ["990101"]
    persons:
      - {person_id: rcb-1-p1, title: {zh: 经办, en: Officer}, duty: maker}
      - {person_id: rcb-1-p2, title: {zh: 复核, en: Reviewer}, duty: checker}
  - institution_id: rcb-2
    name: {zh: 银行二, en: Bank two}
    role: bank
    county_code: "990101"
    areas: ["990101"]
    persons:
      - {person_id: rcb-2-p1, title: {zh: 经办, en: Officer}, duty: maker}
      - {person_id: rcb-2-p2, title: {zh: 复核, en: Reviewer}, duty: checker}
"""


def texts(**replaced: str) -> dict[str, str]:
    """All files, some of them replaced; an empty text leaves a file out."""
    files = {
        "plain@1.yaml": replaced.get("pack", PACK),
        "overlay.yaml": replaced.get("overlay", OVERLAY),
        "adoption.yaml": replaced.get("adoption", ADOPTION),
        "institutions.yaml": replaced.get("institutions", INSTITUTIONS),
    }
    return {file: text for file, text in files.items() if text}


def changed(text: str, old: str, new: str) -> str:
    """The text with one place changed; the place must exist, once."""
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    return text.replace(old, new)
