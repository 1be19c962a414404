// Let the server retry, and give up waiting after a time of our own: node retry_with_timeout.mjs URL [SECONDS]
import { randomUUID } from 'node:crypto';
import { call, createTask, waitForTask } from './workstation.mjs';

const [page, seconds = '60'] = process.argv.slice(2);
const options = { priority: 8, max_retries: 3, timeout_ms: 30_000, idempotency_key: randomUUID() };

/** Create the task; while the server is away or busy, say it again with the same key. */
async function createDespiteTrouble(tries = 5) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await createTask('1', 'scrape', { url: page }, options);
    } catch (error) {
      const passing = error.status === undefined || error.status === 429 || error.status === 503;
      if (!passing || attempt === tries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt * Math.random()));
    }
  }
}

const taskId = await createDespiteTrouble();
let timer;
const tooLate = new Promise((_, reject) => {
  timer = setTimeout(() => reject(new Error(`task ${taskId} is not done after ${seconds} s`)), Number(seconds) * 1000);
});
try {
  console.log(JSON.stringify(await Promise.race([waitForTask(taskId), tooLate])));
} catch (error) {
  console.error(error.message);
  await call('POST', `/api/agents/tasks/${taskId}/cancel`).catch((refused) => console.error(refused.message));
  process.exitCode = 1;
} finally {
  clearTimeout(timer);
}
