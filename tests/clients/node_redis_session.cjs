// A program that uses node-redis: `node node_redis_session.cjs PORT`.
"use strict";
const assert = require("node:assert");
const { createClient } = require("redis");

async function useStrings(client) {
  await client.flushAll();
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.set("name", "Ada é", { EX: 100 }), "OK");
  assert.strictEqual(await client.get("name"), "Ada é");
  const left = await client.ttl("name");
  assert.ok(left > 90 && left <= 100, `${left} s are left of 100`);
  assert.strictEqual(await client.get("missing"), null);
  assert.strictEqual(await client.incr("counter"), 1);
  assert.strictEqual(await client.incrBy("counter", 41), 42);
  await client.mSet({ a: "1", b: "2" });
  assert.deepStrictEqual(await client.mGet(["a", "missing", "b"]), ["1", null, "2"]);
  assert.strictEqual(await client.set("lock", "me", { PX: 30000, NX: true }), "OK");
  assert.strictEqual(await client.set("lock", "you", { PX: 30000, NX: true }), null);
  assert.strictEqual(await client.exists(["a", "b", "missing"]), 2);
  assert.strictEqual(await client.del(["a", "b"]), 2);
  await assert.rejects(client.sendCommand(["NOSUCH"]), /unknown command/);
  assert.strictEqual(await client.json.set("document", "$", { name: "Grace", born: [1906] }), "OK");
  assert.deepStrictEqual(await client.json.get("document"), { name: "Grace", born: [1906] });
}

async function useMany(client) {
  await Promise.all([...Array(1000).keys()].map((index) => client.set(`key:${index}`, String(index))));
  const values = await Promise.all([...Array(1000).keys()].map((index) => client.get(`key:${index}`)));
  assert.deepStrictEqual(values.map(Number), [...Array(1000).keys()]);
  const seen = new Set();
  for await (const keys of client.scanIterator({ MATCH: "key:*", COUNT: 100 })) [keys].flat().forEach((key) => seen.add(key));
  assert.strictEqual(seen.size, 1000);
}

async function useTransactions(client) {
  assert.deepStrictEqual(await client.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
  const other = await client.duplicate().connect();
  await client.watch("t");
  await other.set("t", "changed");
  await assert.rejects(client.multi().set("t", "lost").exec(), /watched keys/);
  assert.strictEqual(await client.get("t"), "changed");
  await other.close();
}

async function useMessages(client) {
  const subscriber = await client.duplicate().connect();
  let told, matched;
  const received = new Promise((resolve) => (told = resolve));
  const found = new Promise((resolve) => (matched = resolve));
  await subscriber.subscribe("news", (text, channel) => told([channel, text]));
  await subscriber.pSubscribe("w*", (text, channel) => matched([channel, text]));
  assert.strictEqual(await client.publish("news", "hello"), 1);
  assert.strictEqual(await client.publish("weather", "rain"), 1);
  assert.deepStrictEqual(await received, ["news", "hello"]);
  assert.deepStrictEqual(await found, ["weather", "rain"]);
  await subscriber.unsubscribe();
  await subscriber.pUnsubscribe();
  assert.strictEqual(String(await subscriber.ping()), "PONG");
  await subscriber.close();
}

(async () => {
  for (const RESP of [2, 3]) {
    const client = createClient({
      url: `redis://127.0.0.1:${process.argv[2]}/0`,
      RESP,
      name: "session",
      socket: { reconnectStrategy: false },
    });
    await client.connect();
    for (const step of [useStrings, useMany, useTransactions, useMessages]) await step(client);
    await client.close();
  }
  console.log(require("redis/package.json").version);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
