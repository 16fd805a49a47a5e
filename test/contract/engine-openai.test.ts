import { afterAll } from 'vitest';
import { type FakeEngine, startFakeEngine } from '../../services/fake-engine/server.js';
import { openOpenAiEngine } from '../../src/engine/openai.js';
import { engineContract } from './engine.js';

const servers: FakeEngine[] = [];
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
});

for (const mode of ['chat', 'completions'] as const) {
  engineContract(`openai (${mode})`, async () => {
    const server = await startFakeEngine({ stepBaseMs: 2, stepPerSequenceMs: 0 });
    servers.push(server);
    return await openOpenAiEngine({ name: 'e', baseUrl: server.url, mode, slots: 8, requestTimeoutMs: 20_000 });
  });
}
