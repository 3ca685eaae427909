// A program that adds jobs by BullMQ for a worker of the same: `REDIS_URL=redis://127.0.0.1:PORT/0 node bullmq_session.cjs`.
// It prints `kill` when the server is to be killed and started again, waits for a line then, and prints the version last.

"use strict";

const assert = require("node:assert");
const readline = require("node:readline");
const { Queue, QueueEvents, Worker } = require("bullmq");

const DEADLINE_MS = 50_000;
// So many jobs are added while the server is there, and while it goes down.
const FEW = 3;
const BURST = 20;

const url = new URL(process.env.REDIS_URL);
// Where the server is away, a connection asks again soon.
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null, retryStrategy: () => 50 };
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function restartServer() {
  console.log("kill");
  assert.strictEqual((await answers.next()).value, "ready");
}

async function main() {
  const held = {};
  held.started = new Promise((resolve) => (held.start = resolve));
  held.released = new Promise((resolve) => (held.release = resolve));
  const queue = new Queue("session", { connection });
  const events = new QueueEvents("session", { connection });
  const worker = new Worker(
    "session",
    async (job) => {
      if (job.name === "held") {
        held.start();
        await held.released;
      }
      return job.data.number * 2 + 1;
    },
    { connection },
  );
  // Each of these tells of the server that is away, and goes on.
  for (const each of [queue, events, worker]) each.on("error", () => {});

  const acknowledged = [];
  const add = async (name) => acknowledged.push(await queue.add(name, { number: acknowledged.length }));
  const checkResults = async () => {
    const results = await Promise.all(acknowledged.map((job) => job.waitUntilFinished(events, DEADLINE_MS)));
    assert.deepStrictEqual(results, acknowledged.map((job) => job.data.number * 2 + 1));
  };

  for (let count = 0; count < FEW; count++) await add("work");
  await checkResults();
  await restartServer();
  for (let count = 0; count < FEW; count++) await add("work");
  await checkResults();
  await add("held");
  await held.started;
  for (let count = 0; count < FEW; count++) await add("work");
  const restarted = restartServer();
  // A job that is added twice, since the connection was lost before the answer, runs twice, which is no harm.
  for (let count = 0; count < BURST; count++) await add("work");
  await restarted;
  held.release();
  await checkResults();

  await Promise.all([worker.close(), queue.close(), events.close()]);
  answers.return();
  process.stdin.destroy();
  console.log(require("bullmq/package.json").version);
}

main();
