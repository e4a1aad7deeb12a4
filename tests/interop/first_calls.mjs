// The first calls of a bank: who am I, which loans are mine, what was paid to me; then confirm it.
import crypto from "node:crypto";

import { Institution, reasonOf } from "./client.mjs";

const [folder, institution, county] = process.argv.slice(2);
const bank = new Institution(folder, institution);
const maker = `${institution}-p1`;
const checker = `${institution}-p2`;

const me = await bank.call("gateway.v1.GatewayService", "WhoAmI", maker, {});
console.log(`I am ${me.institution.name_zh}, ${me.person_id} acts`);

const { loans } = await bank.call("loans.v1.LoansService", "ListLoans", maker, {
  county_code: county,
  state: "LOAN_STATE_ACTIVE",
  page_size: 3,
});
for (const loan of loans) console.log(`loan ${loan.loan_id} owes ${loan.outstanding_fen} fen`);

const { instructions } = await bank.call(
  "claims.v1.ClaimsService",
  "ListPaymentInstructions",
  maker,
  { county_code: county, state: "INSTRUCTION_STATE_OPEN" },
);
for (const instruction of instructions) {
  const { payout } = await bank.call("claims.v1.ClaimsService", "ConfirmPayment", checker, {
    request_id: crypto.randomUUID(), // keep it: the same id again is answered, not done twice
    county_code: county,
    instruction_id: instruction.instruction_id,
    confirmed_fen: instruction.amount_fen,
    value_date: instruction.sent_on,
  });
  console.log(`confirmed ${instruction.amount_fen} fen: ${payout.state}`);
}

try {
  await bank.call("loans.v1.LoansService", "GetLoan", maker, {
    county_code: county,
    loan_id: crypto.randomUUID(),
  });
} catch (error) {
  console.log(`refused: ${reasonOf(error)}`);
}
bank.close();
