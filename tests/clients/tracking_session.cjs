// A program whose caches, one of ioredis and one of node-redis, are told what to drop: `node tracking_session.cjs PORT`.
"use strict";
const assert = require("node:assert");
const Redis = require("ioredis");
const { createClient, BasicClientSideCache } = require("redis");

const port = Number(process.argv[2]);

async function until(holds) {
  const endsAt = Date.now() + 10_000;
  while (!(await holds())) {
    assert.ok(Date.now() < endsAt, "nobody was told");
    await new Promise(setImmediate);
  }
}

// RESP2: a second connection is told of what the first one has read.
async function useRedirection(other) {
  const client = new Redis(port, "127.0.0.1", { retryStrategy: () => null });
  // In RESP3, ioredis drops the pushes that it does not know.
  const told = new Redis(port, "127.0.0.1", { retryStrategy: () => null, protocol: 2 });
  const dropped = [];
  told.on("message", (channel, keys) => dropped.push([channel, keys]));
  const id = await told.client("ID");
  await told.subscribe("__redis__:invalidate");
  assert.strictEqual(await client.client("TRACKING", "ON", "REDIRECT", id), "OK");
  assert.strictEqual(await client.get("name"), null);
  await other.set("name", "Ada");
  await until(() => dropped.length === 1);
  assert.deepStrictEqual(dropped[0][0], "__redis__:invalidate");
  assert.deepStrictEqual(String(dropped[0][1]), "name");
  await client.quit();
  await told.quit();
}

// RESP3: node-redis's own client-side cache.
async function useCache(other) {
  const cache = new BasicClientSideCache({ maxEntries: 100, evictPolicy: "LRU" });
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3, clientSideCache: cache });
  await client.connect();
  await other.set("name", "Ada");
  assert.strictEqual(await client.get("name"), "Ada");
  assert.strictEqual(await client.get("name"), "Ada");
  assert.strictEqual(cache.stats().hitCount, 1);
  await other.set("name", "Bob");
  await until(async () => (await client.get("name")) === "Bob");
  await other.flushall();
  await until(async () => (await client.get("name")) === null);
  await client.close();
}

(async () => {
  const other = new Redis(port, "127.0.0.1", { retryStrategy: () => null });
  await other.flushall();
  for (const step of [useRedirection, useCache]) await step(other);
  await other.quit();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
