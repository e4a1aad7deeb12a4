// A government system's feed on NATS: its own user, inbox, stream and durable consumer.
import path from "node:path";

import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const [folder, institution, url, streamName, durable, most] = process.argv.slice(2);
const own = (name) => path.join(folder, name);

const connection = await connect({
  servers: url,
  tls: {
    handshakeFirst: false,
    caFile: own("ca.pem"),
    certFile: own("cert.pem"), // the certificate is the user; there is no password
    keyFile: own("key.pem"),
  },
  inboxPrefix: `_INBOX_${institution}`,
});
const consumer = await jetstream(connection).consumers.get(streamName, durable);
let told = 0;
const messages = await consumer.fetch({ max_messages: Number(most), expires: 5_000 });
for await (const message of messages) {
  const event = message.json();
  const header = (name) => message.headers?.get(name);
  console.log(`${header("ce-type")} ${header("ce-subject")} #${header("ce-sequence")}`);
  console.log(`  ${Object.keys(event).join(" ")}`);
  await message.ackAck(); // what is not acknowledged comes again
  told += 1;
}
console.log(`told ${told}`);
await connection.close();
