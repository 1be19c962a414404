// The roles of benchmarks/peers/program.py for peers on Node.js, on top of a queue:
// {install(), enqueue(task), enqueueMany(tasks), work(handle), close()}.
const PAYLOAD_BYTES = 200;
const PICKUP_GAP_MS = [30, 60];
const LISTEN_MS = 1000;
const BULK_CALLERS = 2;

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

async function install(queue) {
  await queue.install();
  report("done");
}

async function single(queue, tasks, clients) {
  let next = 0;
  const client = async () => {
    while (next < tasks) await queue.enqueue(payload(next++));
  };
  await timed(() => Promise.all(Array.from({ length: clients }, client)));
}

async function bulk(queue, tasks, batch) {
  const many = Array.from({ length: batch }, (_, n) => payload(n));
  let left = tasks;
  const caller = async () => {
    while ((left -= batch) >= 0) await queue.enqueueMany(many);
  };
  await timed(() => Promise.all(Array.from({ length: BULK_CALLERS }, caller)));
}

async function pickup(queue, tasks) {
  for (let n = 0; n < tasks; n++) {
    const sent_ns = monotonicNs();
    await queue.enqueue(payload(n));
    report("sent", { n, sent_ns, acked_ns: monotonicNs() });
    await sleep(PICKUP_GAP_MS[0] + Math.random() * (PICKUP_GAP_MS[1] - PICKUP_GAP_MS[0]));
  }
  report("done");
}

async function work(queue, mode, tasks) {
  let begun = 0;
  const stamp = (task) => report("entered", { n: task.n, ns: monotonicNs() });
  const count = () => {
    begun += 1;
    if (begun === 1) report("first");
    if (begun === tasks) report("last");
  };
  const working = queue.work(mode === "stamp" ? stamp : count);
  if (mode === "stamp") await sleep(LISTEN_MS);
  report("ready");
  await working;
}

// Runs the role that the command line names; `connect(dsn)` gives the queue.
export async function run(connect) {
  const [role, dsn, ...rest] = process.argv.slice(2);
  const queue = await connect(dsn);
  if (role === "work") {
    await work(queue, rest[0], Number(rest[1]));
  } else {
    await { install, single, bulk, pickup }[role](queue, ...rest.map(Number));
    await queue.close();
  }
}
