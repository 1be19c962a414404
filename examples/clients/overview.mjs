// Show the whole system, and say what needs somebody's eye: node overview.mjs
import { call } from './workstation.mjs';

const { data } = await call('GET', '/api/agents/system/overview');
const share = data.totalAgents === 0 ? 0 : Math.round((data.healthyAgents / data.totalAgents) * 100);
console.log(`agents: ${data.totalAgents}, running ${data.runningAgents}, stopped ${data.stoppedAgents}`);
console.log(`healthy: ${data.healthyAgents} (${share} %), degraded ${data.degradedAgents}`);
console.log(`MCP servers: ${data.mcpContainers}`);
console.log(`by type: ${JSON.stringify(data.agentsByType)}`);
console.log(`pending tasks: ${data.pendingTasks}`);

if (data.unhealthyAgents > 0) console.error(`CRITICAL: ${data.unhealthyAgents} agents are unhealthy`);
if (data.pendingTasks > 100) console.error(`WARNING: ${data.pendingTasks} tasks wait`);
