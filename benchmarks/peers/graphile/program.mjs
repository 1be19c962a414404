// graphile-worker in the configuration its performance page recommends: 24 jobs at once, a local queue of 500,
// completions batched. The roles are those of benchmarks/peers/program.py.
import { Logger, makeWorkerUtils, run } from "graphile-worker";

const PAYLOAD_BYTES = 200;
const PICKUP_GAP_MS = [30, 60];
const LISTEN_MS = 1000;
const [role, dsn, ...rest] = process.argv.slice(2);
const quiet = new Logger(() => () => {});
const preset = {
  worker: {
    connectionString: dsn,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

const report = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
const monotonicNs = () => Number(process.hrtime.bigint());
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function payload(n) {
  const bare = JSON.stringify({ n, pad: "" }).length;
  return { n, pad: "x".repeat(PAYLOAD_BYTES - bare) };
}

async function timed(work) {
  report("start");
  const started = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  report("done", { seconds: Number(process.hrtime.bigint() - started) / 1e9, cpu: (user + system) / 1e6 });
}

async function install(utils) {
  await utils.migrate();
  report("done");
}

async function single(utils, tasks, clients) {
  let next = 0;
  const client = async () => {
    while (next < tasks) await utils.addJob("noop", payload(next++));
  };
  await timed(() => Promise.all(Array.from({ length: clients }, client)));
}

async function bulk(utils, tasks, batch) {
  const specs = Array.from({ length: batch }, (_, n) => ({ identifier: "noop", payload: payload(n) }));
  await timed(async () => {
    for (let done = 0; done < tasks; done += batch) await utils.addJobs(specs);
  });
}

async function pickup(utils, tasks) {
  for (let n = 0; n < tasks; n++) {
    const sent_ns = monotonicNs();
    await utils.addJob("noop", payload(n));
    report("sent", { n, sent_ns, acked_ns: monotonicNs() });
    await sleep(PICKUP_GAP_MS[0] + Math.random() * (PICKUP_GAP_MS[1] - PICKUP_GAP_MS[0]));
  }
  report("done");
}

async function work(mode, tasks) {
  let begun = 0;
  const stamp = (task) => report("entered", { n: task.n, ns: monotonicNs() });
  const count = () => {
    begun += 1;
    if (begun === 1) report("first");
    if (begun === tasks) report("last");
  };
  const handle = mode === "stamp" ? stamp : count;
  const runner = await run({ preset, logger: quiet, taskList: { noop: async (task) => handle(task) }, crontab: "" });
  if (mode === "stamp") await sleep(LISTEN_MS);
  report("ready");
  await runner.promise;
}

if (role === "work") {
  await work(rest[0], Number(rest[1]));
} else {
  const utils = await makeWorkerUtils({ preset, logger: quiet });
  await { install, single, bulk, pickup }[role](utils, ...rest.map(Number));
  await utils.release();
}
