// The first events of an institution: its feed, from where this reader left off.
import crypto from "node:crypto";

import { Institution } from "./client.mjs";

const [folder, institution, most] = process.argv.slice(2);
const bank = new Institution(folder, institution);
const person = `${institution}-p1`;
const feeds = bank.client("gateway.v1.FeedsService");

let cursor = "";
let told = 0;
const stream = feeds.Subscribe({ reader: "interop", nouns: ["loans", "claims"] }, bank.metadata(person));
for await (const answer of stream) {
  cursor = answer.cursor; // also without an event: how far the feed has come
  if (answer.event) {
    const { type, subject, sequence, data } = answer.event;
    console.log(`${type} ${subject} #${sequence} ${data.slice(0, 60)}`);
    told += 1;
  }
  if (answer.live || told === Number(most)) break;
}
stream.on("error", () => {}); // it was cancelled by us
stream.cancel();

await bank.call("gateway.v1.FeedsService", "AcknowledgeFeed", person, {
  request_id: crypto.randomUUID(),
  reader: "interop",
  cursor, // the next time it goes on after this one
});
console.log(`told ${told}`);
bank.close();
