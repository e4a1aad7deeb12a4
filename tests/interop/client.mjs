// Calls the gateway as an institution: one connection, and a token for each person who acts on it.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const base64url = (data) => Buffer.from(data).toString("base64url");
const sha256 = (data) => base64url(crypto.createHash("sha256").update(data).digest());

/** Sign a token that names the person who acts. */
export function personToken(folder, institution, person, env = "local") {
  const key = crypto.createPrivateKey(fs.readFileSync(path.join(folder, "person.pem")));
  const certificate = new crypto.X509Certificate(fs.readFileSync(path.join(folder, "cert.pem")));
  const { x } = crypto.createPublicKey(key).export({ format: "jwk" });
  const now = Math.floor(Date.now() / 1000);
  const header = {
    alg: "EdDSA",
    typ: "JWT",
    kid: sha256(JSON.stringify({ crv: "Ed25519", kty: "OKP", x })),
  };
  const claims = {
    iss: institution,
    sub: person,
    aud: `spiffe://liandong/${env}/svc/gateway`,
    iat: now,
    exp: now + 300, // at most 600 seconds later
    jti: crypto.randomBytes(16).toString("base64url"),
    cnf: { "x5t#S256": sha256(certificate.raw) }, // of no use with another certificate
  };
  const signed = [header, claims].map((part) => base64url(JSON.stringify(part))).join(".");
  return `${signed}.${base64url(crypto.sign(null, Buffer.from(signed), key))}`;
}

/** The protos as they are, with the names that they have there. */
export function contract(protos) {
  const files = fs
    .readdirSync(path.join(protos, "liandong"), { recursive: true })
    .filter((name) => name.endsWith(".proto"))
    .map((name) => path.join("liandong", name));
  const definition = protoLoader.loadSync(files, {
    includeDirs: [protos, path.join(protos, "third_party")],
    keepCase: true,
    longs: String, // money is whole fen in 64 bits
    enums: String,
    defaults: true, // an empty list is a list
  });
  return grpc.loadPackageDefinition(definition).liandong;
}

export class Institution {
  constructor(folder, institution, protos = "protos") {
    const read = (name) => fs.readFileSync(path.join(folder, name));
    this.folder = folder;
    this.institution = institution;
    this.api = contract(protos);
    this.address = read("gateway").toString().trim();
    this.credentials = grpc.credentials.createSsl(
      read("ca.pem"),
      read("key.pem"),
      read("cert.pem"),
    );
    this.clients = new Map();
    this.tokens = new Map();
  }

  /** A client of a service, e.g. `loans.v1.LoansService`; all share one connection. */
  client(service) {
    if (!this.clients.has(service)) {
      const Client = service.split(".").reduce((found, name) => found[name], this.api);
      this.clients.set(service, new Client(this.address, this.credentials));
    }
    return this.clients.get(service);
  }

  /** Who acts: a token serves many calls of one connection. */
  metadata(person) {
    const metadata = new grpc.Metadata();
    const found = this.tokens.get(person);
    if (!found || found.until < Date.now()) {
      const token = personToken(this.folder, this.institution, person);
      this.tokens.set(person, { token, until: Date.now() + 240_000 });
    }
    metadata.set("authorization", `Bearer ${this.tokens.get(person).token}`);
    return metadata;
  }

  /** One call, with a deadline. */
  call(service, method, person, request) {
    const client = this.client(service);
    const deadline = new Date(Date.now() + 20_000);
    return new Promise((resolve, reject) => {
      client[method](request, this.metadata(person), { deadline }, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  close() {
    for (const client of this.clients.values()) client.close();
  }
}

const details = protobuf.parse(`
  syntax = "proto3";
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Any { string type_url = 1; bytes value = 2; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`).root;

/** The stable reason of an error: act on it, never on the text. */
export function reasonOf(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const found = packed ? details.lookupType("Status").decode(packed).details : [];
  const info = found.find((each) => each.typeUrl.endsWith("/google.rpc.ErrorInfo"));
  return info ? details.lookupType("ErrorInfo").decode(info.value).reason : grpc.status[error.code];
}
