// Report the health of an agent now and then: node health_reporter.mjs AGENT_ID [EVERY_SECONDS] [TIMES]
import { call } from './workstation.mjs';

const [agentId, every = '60', times = 'Infinity'] = process.argv.slice(2);
let failures = 0;

function measure() {
  const { heapUsed, heapTotal, rss } = process.memoryUsage();
  return { heapUsed, heapTotal, rss, uptime: process.uptime(), failures };
}

function judge({ heapUsed, heapTotal }) {
  return failures > 0 || heapUsed > 0.95 * heapTotal ? 'degraded' : 'healthy';
}

for (let count = 1; ; count += 1) {
  const metadata = measure();
  const healthStatus = judge(metadata);
  try {
    await call('POST', `/api/agents/${agentId}/health`, { healthStatus, metadata });
    failures = 0;
    console.log(`reported ${healthStatus}`);
  } catch (error) {
    failures += 1;
    console.error(`not reported (${failures} in a row): ${error.message}`);
    if (failures > 3) process.exitCode = 1;
  }
  if (count >= Number(times)) break;
  await new Promise((resolve) => setTimeout(resolve, Number(every) * 1000));
}
