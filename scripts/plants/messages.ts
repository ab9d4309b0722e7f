/** Breaks of the edge cases of messages. */
import type { Plant } from './plant.ts';

export const messages: Plant[] = [
  {
    id: 'E42',
    breaks: 'a malformed frame throws',
    file: 'src/protocol/codec.ts',
    find: "return { kind: 'garbled', why: 'not JSON' };",
    replace: "throw new TypeError('not JSON');",
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E42',
    breaks: 'the hub ends the connection',
    file: 'src/server/decode.ts',
    find: "const what = typeof wire === 'string' ? 'JSON' : 'MessagePack';",
    replace: "throw new HoldfastError('PROTOCOL_ERROR', 'It is no JSON.');",
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E42',
    breaks: 'a type named like a key of Object.prototype finds it',
    file: 'src/protocol/contract.ts',
    find: 'return part !== undefined && Object.hasOwn(part, type) ? part[type] : undefined;',
    replace: 'return part?.[type];',
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E43',
    breaks: 'an event that does not fit is not reported',
    file: 'src/client/audience.ts',
    find: 'this.#report(error);\n',
    replace: '',
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E43',
    breaks: 'the cursor stands still',
    file: 'src/client/audience.ts',
    find: 'had(event);\n      return;',
    replace: 'return;',
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E44',
    breaks: 'a listener that throws stops the rest',
    file: 'src/lib/shield.ts',
    find: 'report(thrown);',
    replace: 'throw thrown;',
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E44',
    breaks: 'one that was taken off is called all the same',
    file: 'src/lib/emitter.ts',
    find: '    guarded.listener = null;\n',
    replace: '',
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E45',
    breaks: 'what takes long to decode comes later',
    file: 'src/transports/websocket.ts',
    find: 'on.received(codec.decode(data));',
    replace:
      "typeof data === 'string' && data.length < 1_000 ? on.received(codec.decode(data)) : void Promise.resolve().then(() => setTimeout(() => on.received(codec.decode(data))));",
    test: 'test/scenarios/messages.test.ts',
  },
  {
    id: 'E45',
    breaks: 'large requests go last',
    file: 'src/machine/outbox.ts',
    find: 'this.#blocked = budget <= 0;',
    replace:
      'this.#blocked = budget <= 0;\n      if (next.bytes > 1_000 && this.#line.length > 1) { this.#line.shift(); this.#line.push(next); next = this.#line.peek() ?? next; }',
    test: 'test/scenarios/messages.test.ts',
  },
];
