// Scrape many pages at once and wait for all: node batch.mjs URL...
import { createTask, waitForTask } from './workstation.mjs';

const pages = process.argv.slice(2);
const taskIds = await Promise.all(pages.map((page) => createTask('1', 'scrape', { url: page })));
console.log(`created ${taskIds.length} tasks`);

const results = await Promise.all(taskIds.map(waitForTask));
console.log(JSON.stringify(results.map(({ url, title }) => ({ url, title }))));
