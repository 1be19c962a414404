// pg-boss: one worker with batches of 500. It polls twice a second at most; a worker that got a full batch is told by
// notifyWorker to look again at once. Finished jobs and their output are kept until they are archived.
import PgBoss from "pg-boss";
import { run } from "./roles.mjs";

const QUEUE = "noop";
const BATCH = 500;

await run(async (dsn) => {
  const boss = new PgBoss({ connectionString: dsn, max: 20, schedule: false, supervise: false });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return {
    install: () => boss.createQueue(QUEUE),
    enqueue: (task) => boss.send(QUEUE, task),
    enqueueMany: (tasks) => boss.insert(tasks.map((task) => ({ name: QUEUE, data: task }))),
    work: async (handle) => {
      const options = { batchSize: BATCH, pollingIntervalSeconds: 0.5, priority: false };
      const id = await boss.work(QUEUE, options, async (jobs) => {
        if (jobs.length === BATCH) boss.notifyWorker(id);
        for (const job of jobs) handle(job.data);
      });
      await new Promise(() => {});
    },
    close: () => boss.stop({ graceful: false }),
  };
});
