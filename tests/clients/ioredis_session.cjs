// A program that uses ioredis: `node ioredis_session.cjs PORT`.
"use strict";
const assert = require("node:assert");
const Redis = require("ioredis");

async function useStrings(client) {
  await client.flushall();
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.set("name", "Ada é"), "OK");
  assert.strictEqual(await client.get("name"), "Ada é");
  assert.strictEqual(await client.get("missing"), null);
  const bytes = Buffer.from([...Array(256).keys()]);
  await client.set("bytes", bytes);
  assert.deepStrictEqual(await client.getBuffer("bytes"), bytes);
  assert.strictEqual(await client.incr("counter"), 1);
  assert.strictEqual(await client.incrby("counter", 41), 42);
  await client.mset({ a: "1", b: "2" });
  assert.deepStrictEqual(await client.mget("a", "missing", "b"), ["1", null, "2"]);
  assert.strictEqual(await client.set("lock", "me", "PX", 30000, "NX"), "OK");
  assert.strictEqual(await client.set("lock", "you", "PX", 30000, "NX"), null);
  assert.ok((await client.pttl("lock")) > 0);
  assert.strictEqual(await client.expire("name", 100), 1);
  const left = await client.ttl("name");
  assert.ok(left > 90 && left <= 100, `${left} s are left of 100`);
  assert.strictEqual(await client.del("a", "b", "missing"), 2);
  await assert.rejects(client.call("NOSUCH"), /unknown command/);
  await assert.rejects(client.incr("name"), /not an integer/);
}

async function useMany(client) {
  const pipeline = client.pipeline();
  for (let index = 0; index < 1000; index++) pipeline.set(`key:${index}`, index);
  assert.ok((await pipeline.exec()).every(([error, reply]) => error === null && reply === "OK"));
  const values = await Promise.all([...Array(1000).keys()].map((index) => client.get(`key:${index}`)));
  assert.deepStrictEqual(values.map(Number), [...Array(1000).keys()]);
  const seen = new Set();
  for await (const keys of client.scanStream({ match: "key:*", count: 100 })) keys.forEach((key) => seen.add(key));
  assert.strictEqual(seen.size, 1000);
}

async function useTransactions(client) {
  assert.deepStrictEqual(await client.multi().set("t", 1).incr("t").get("t").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
  const other = client.duplicate();
  await client.watch("t");
  await other.set("t", "changed");
  assert.strictEqual(await client.multi().set("t", "lost").exec(), null);
  assert.strictEqual(await client.get("t"), "changed");
  await other.quit();
}

async function useMessages(client) {
  const subscriber = client.duplicate();
  const received = new Promise((resolve) => subscriber.on("message", (channel, text) => resolve([channel, text])));
  const matched = new Promise((resolve) => subscriber.on("pmessage", (...all) => resolve(all)));
  assert.strictEqual(await subscriber.subscribe("news"), 1);
  assert.strictEqual(await subscriber.psubscribe("w*"), 2);
  assert.strictEqual(await client.publish("news", "hello"), 1);
  assert.strictEqual(await client.publish("weather", "rain"), 1);
  assert.deepStrictEqual(await received, ["news", "hello"]);
  assert.deepStrictEqual(await matched, ["w*", "weather", "rain"]);
  await subscriber.unsubscribe("news");
  await subscriber.quit();
}

(async () => {
  for (const options of [{}, { enableAutoPipelining: true, connectionName: "session", keepAlive: 1000 }]) {
    const client = new Redis(Number(process.argv[2]), "127.0.0.1", { ...options, retryStrategy: () => null });
    for (const step of [useStrings, useMany, useTransactions, useMessages]) await step(client);
    assert.strictEqual(await client.quit(), "OK");
  }
  console.log(require("ioredis/package.json").version);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
