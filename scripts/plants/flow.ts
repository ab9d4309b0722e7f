/** Breaks of the edge cases of flow control. */
import type { Plant } from './plant.ts';

export const flow: Plant[] = [
  {
    id: 'E37',
    breaks: 'the client writes whatever the buffer holds',
    file: 'src/machine/delivery.ts',
    find: 'const HIGH_WATER = 65_536;',
    replace: 'const HIGH_WATER = 65_536_000;',
    test: 'test/scenarios/flow.test.ts',
  },
  {
    id: 'E37',
    breaks: 'a full buffer is not looked at again',
    file: 'src/machine/delivery.ts',
    find: 'if (this.#outbox.blocked) this.#recheckAt = step.now + BUFFER_RECHECK;',
    replace: '',
    test: 'test/scenarios/flow.test.ts',
  },
  {
    id: 'E37',
    breaks: 'the server writes whatever the buffer holds',
    file: 'src/server/outlet.ts',
    find: 'return !this.#closed && this.bufferedAmount < this.#highWater;',
    replace: 'return !this.#closed;',
    test: 'test/scenarios/flow.test.ts',
  },
  {
    id: 'E37',
    breaks: 'a link that stopped reading is never closed',
    file: 'src/server/peer.ts',
    find: '} else if (stalledFor >= stalledTimeout) {',
    replace: '} else if (stalledFor > 1e9) {',
    test: 'test/scenarios/flow.test.ts',
  },
  {
    id: 'E37',
    breaks: 'a slow link is taken for one that stopped reading',
    file: 'src/server/outlet.ts',
    find: 'else if (progressed) this.#fullSince = now;',
    replace: '',
    test: 'test/server/slow-link.test.ts',
  },
];
