// A government system's feed on NATS: its own user, inbox, stream and durable consumer.
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";

import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const [folder, institution, url, stream, durable, most] = process.argv.slice(2);
const own = (name) => path.join(folder, name);

/** A feed that was opened just now is there within seconds. */
async function opened() {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const connection = await connect({
        servers: url,
        // The certificate is the user; there is no password.
        tls: { caFile: own("ca.pem"), certFile: own("cert.pem"), keyFile: own("key.pem") },
        inboxPrefix: `_INBOX_${institution}`,
      });
      try {
        return [connection, await jetstream(connection).consumers.get(stream, durable)];
      } catch (error) {
        await connection.close();
        throw error;
      }
    } catch (error) {
      if (attempt === 30) throw error;
      await wait(500);
    }
  }
}

const [connection, consumer] = await opened();
let told = 0;
for await (const message of await consumer.consume({ max_messages: 50 })) {
  const header = (name) => message.headers.get(name);
  console.log(`${header("ce-type")} ${header("ce-subject")} #${header("sequence")}`);
  console.log(`  ${message.string().slice(0, 60)}`);
  await message.ackAck(); // what is not acknowledged comes again
  told += 1;
  if (told === Number(most)) break;
}
console.log(`told ${told}`);
await connection.close();
