// Create a scraping task and look every second how far it is: node create_and_poll.mjs URL [AGENT_ID]
import { call, createTask } from './workstation.mjs';

const [page, agentId = '1'] = process.argv.slice(2);
const selectors = { title: 'h1.product-title', price: 'span.price', description: 'div.description' };
const taskId = await createTask(agentId, 'scrape', { url: page, selectors }, { priority: 7 });
console.log(`created task ${taskId}`);

for (;;) {
  const { data } = await call('GET', `/api/agents/tasks/${taskId}`);
  if (data.status === 'completed') {
    console.log(JSON.stringify(data.result));
    break;
  }
  if (data.status === 'failed' || data.status === 'cancelled') {
    console.error(`${data.status}: ${data.result?.error ?? 'no reason was given'}`);
    process.exit(1);
  }
  console.log(`${data.status} ${data.progress?.percent ?? 0} %`);
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
