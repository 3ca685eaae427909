// A program that uses ioredis by Sentinel over switches: `node ioredis_sentinel_session.cjs PORT PORT`. Each port is a Sentinel.
// It says `failover` or `kill` when another node is to lead, and writes on meanwhile.
"use strict";
const assert = require("node:assert");
const readline = require("node:readline");
const Redis = require("ioredis");

const WRITES_BEHIND = 20;

async function main() {
  const sentinels = process.argv.slice(2).map((port) => ({ host: "127.0.0.1", port: Number(port) }));
  const client = new Redis({ sentinels, name: "kv", maxRetriesPerRequest: null });
  // Ends of connections are told here, too. No call fails for that.
  client.on("error", () => {});
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const written = [];
  const write = async () => {
    written.push(String(written.length));
    await client.rpush("log", written.at(-1));
  };
  for (const how of ["failover", "kill"]) {
    console.log(how);
    let isSwitched = false;
    const switching = lines.next().then(() => (isSwitched = true));
    while (!isSwitched) await write();
    await switching;
    for (let count = 0; count < WRITES_BEHIND; count++) await write();
  }
  // What ioredis has sent again may be there twice.
  assert.deepStrictEqual([...new Set(await client.lrange("log", 0, -1))], written);
  assert.strictEqual((await client.role())[0], "master");
  client.disconnect();
  process.stdin.destroy();
  console.log(require("ioredis/package.json").version);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
