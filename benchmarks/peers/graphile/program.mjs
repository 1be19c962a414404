// graphile-worker in the configuration its performance page recommends: 24 jobs at once, a local queue of 500,
// completions batched.
import { Logger, makeWorkerUtils, run as runWorker } from "graphile-worker";
import { run } from "./roles.mjs";

const logger = new Logger(() => () => {});

await run(async (dsn) => {
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
  const utils = await makeWorkerUtils({ preset, logger });
  return {
    install: () => utils.migrate(),
    enqueue: (task) => utils.addJob("noop", task),
    enqueueMany: (tasks) => utils.addJobs(tasks.map((task) => ({ identifier: "noop", payload: task }))),
    work: async (handle) => {
      const taskList = { noop: async (task) => handle(task) };
      await (await runWorker({ preset, logger, taskList, crontab: "" })).promise;
    },
    close: () => utils.release(),
  };
});
