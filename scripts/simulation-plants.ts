/** Breaks that the simulation has to notice: one line each, in the client, the machine or the server. */
import type { Plant } from './simulation.ts';

export const plants: readonly (Plant & { readonly name: string })[] = [
  {
    name: 'nothing is sent again after a reconnect',
    file: 'src/machine/outbox.ts',
    find: '      else if (entry.sent) this.#requeue(entry);\n',
    replace: '',
  },
  {
    name: 'duplicates come through',
    file: 'src/machine/inbox.ts',
    find: 'if (event.seq <= room.seq) {',
    replace: 'if (event.seq < room.seq) {',
  },
  {
    name: 'a hole goes unnoticed',
    file: 'src/machine/inbox.ts',
    find: 'if (event.seq > room.seq + 1) return this.#missing(event, room, step);',
    replace: '',
  },
  {
    name: 'events are given while their gap is open',
    file: 'src/machine/inbox.ts',
    find: 'if (room !== undefined && gap !== null) {',
    replace: 'if (room !== undefined && gap !== null && gap.failures > 0) {',
  },
  {
    name: 'another epoch is not told as a gap',
    file: 'src/machine/inbox.ts',
    find: 'const gapped = !verdict.recovered && !isNew && !hasAll;',
    replace: "const gapped = !verdict.recovered && !isNew && verdict.reason !== 'epoch';",
  },
  {
    name: 'a hole is told as a gap at once',
    file: 'src/machine/inbox.ts',
    find: 'if (!room.refilled) {',
    replace: 'if (!room.refilled && room.seq % 2 === 0) {',
  },
  {
    name: 'a cursor is stored before its gap is healed',
    file: 'src/machine/delivery.ts',
    find: 'if (gap === null && cursor !== undefined && wanted > 0)',
    replace: 'if ((gap === null || gap.held.length >= 0) && cursor !== undefined)',
  },
  {
    name: 'a bare welcome resets the backoff',
    file: 'src/machine/retry.ts',
    find: '    this.#stableAt = now + this.#options.stableAfter;\n',
    replace: '    this.attempts = 0;\n    this.#stableAt = now + this.#options.stableAfter;\n',
  },
  {
    name: 'old links are heard',
    file: 'src/machine/lifecycle.ts',
    find: "if (this.#phase.name !== 'open' || this.#phase.link !== link) return false;",
    replace: "if (this.#phase.name !== 'open') return false;",
  },
  {
    name: 'silence is forgiven for ever',
    file: 'src/machine/liveness.ts',
    find: "if (now < probe.deadline) return 'quiet';",
    replace: "if (now <= probe.deadline + 1e9) return 'quiet';",
  },
  {
    name: 'what was under way when the client closed was never sent',
    file: 'src/machine/outbox.ts',
    find: '  const written = entry.session !== null;\n',
    replace: "  const written = entry.session !== null && reason !== 'closed';\n",
  },
  {
    name: 'at-most-once of an earlier owner is written again',
    file: 'src/machine/outbox.ts',
    find: "const spent = entry.delivery === 'at-most-once' && entry.session !== null;",
    replace: 'const spent = false;',
  },
  {
    name: 'a link that is given up stays open',
    file: 'src/client/driver.ts',
    find: '        this.#links.get(order.link)?.close(order.code, order.reason);\n',
    replace: '',
  },
  {
    name: 'a closed client still listens to the device',
    file: 'src/client/driver.ts',
    find: '    this.#stopLifecycle?.();\n',
    replace: '',
  },
  {
    name: 'an earlier deadline does not move the alarm',
    file: 'src/client/alarm.ts',
    find: '} else if (this.#set === null || this.#set.at > deadline) {',
    replace: '} else if (this.#set === null) {',
  },
  {
    name: 'a listener that throws stops those after it',
    file: 'src/lib/emitter.ts',
    find: 'const call = shielded(run, this.#report);',
    replace: 'const call = run; void shielded;',
  },
  {
    name: 'what ran may be claimed again',
    file: 'src/server/request-memory.ts',
    find: "if (entry?.state === 'settled') {\n      this.recall",
    replace: "if (entry?.state === 'settled' && claim.link === this.link + 9) {\n      this.recall",
  },
  {
    name: 'a request of a dead node runs again',
    file: 'src/server/request-memory.ts',
    find: '      if (!claim.rerunnable) {\n',
    replace: '      if (!claim.rerunnable && claim.link < 0) {\n',
  },
  {
    name: 'a refused request stays claimed',
    file: 'src/server/memory-node.ts',
    find: 'if (response === undefined) memory.release(requestId);',
    replace: 'if (response === undefined) memory.recall(requestId);',
  },
  {
    name: 'what a handler publishes is left out',
    file: 'src/server/requests.ts',
    find: 'const events = done.call?.drafts ?? [];',
    replace: 'const events = (done.call?.drafts ?? []).slice(1);',
  },
  {
    name: 'a full buffer is written to',
    file: 'src/server/outlet.ts',
    find: 'return !this.#closed && this.bufferedAmount < this.#highWater;',
    replace: 'return !this.#closed;',
  },
  {
    name: 'an expired cursor counts as recovered',
    file: 'src/server/reader.ts',
    find: 'recovered: reason === undefined,',
    replace: "recovered: reason === undefined || reason === 'expired',",
  },
  {
    name: 'the journal forgets one event too many',
    file: 'src/server/room-log.ts',
    find: 'const fits = this.#entries.length - this.#start <= maxEvents',
    replace: 'const fits = this.#entries.length - this.#start < maxEvents',
  },
  {
    name: 'the wheel turns without connections',
    file: 'src/server/wheel.ts',
    find: '    if (this.#members.size > 0) return;\n',
    replace: '    if (this.#members.size >= 0) return;\n',
  },
];
