// What every client here needs: the server's address, a token, one call, and waiting for a task.

export const url = process.env.WORKSTATION_URL ?? 'http://127.0.0.1:3000';
const token = process.env.WORKSTATION_TOKEN;
if (!token) {
  console.error('WORKSTATION_TOKEN is not set: make one with `workstation token create --role user`.');
  process.exit(2);
}

/** One call of the API; returns the body, throws an Error with `status` and `code` where it was refused. */
export async function call(method, path, body) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!answer.success) {
    throw Object.assign(new Error(answer.error), { status: response.status, code: answer.code });
  }
  return answer;
}

/** Create a task for an agent; returns its id. Repeating with the same key never makes a second task. */
export async function createTask(agentId, type, payload, options = {}) {
  const { taskId } = await call('POST', '/api/agents/tasks', { agentId, type, payload, ...options });
  return taskId;
}

/** Wait until a task is final: the server answers as soon as it is. Returns its result, throws what it failed with. */
export async function waitForTask(taskId) {
  for (;;) {
    const { data } = await call('GET', `/api/agents/tasks/${taskId}?wait=30`);
    if (data.status === 'completed') return data.result;
    if (data.status === 'failed') throw new Error(data.result.error);
    if (data.status === 'cancelled') throw new Error(`task ${taskId} was cancelled`);
  }
}
