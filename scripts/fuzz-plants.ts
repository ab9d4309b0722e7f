/**
 * `npm run fuzz:planted [-- --sequences 20000]`: breaks the session machine in one line at a time, and
 * counts the stories until the fuzz notices. A plant that it does not notice fails the run.
 */
import { parseArgs } from 'node:util';
import { openMachine, type Plant } from './fuzz-machine.ts';

const { values } = parseArgs({
  options: {
    sequences: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});
const end = Number(values.sequences);
const seed = Number(values.seed);

const plants: (Plant & { name: string })[] = [
  {
    name: 'old links are heard',
    file: 'lifecycle.ts',
    find: "if (this.#phase.name !== 'open' || this.#phase.link !== link) return false;",
    replace: "if (this.#phase.name !== 'open') return false;",
  },
  {
    name: 'any link that opens is greeted',
    file: 'lifecycle.ts',
    find: "if (attempt?.step !== 'dialing' || attempt.link !== link) return false;",
    replace: "if (attempt?.step !== 'dialing') return false;",
  },
  {
    name: 'a handover leaves the old link open',
    file: 'lifecycle.ts',
    find: "      step.out.push(hangUp(this.#phase.link, 'moved to another link'));\n",
    replace: '',
  },
  {
    name: 'a dial without credentials',
    file: 'lifecycle.ts',
    find: 'if (this.#options.auth === null) {\n      this.#dial(step);',
    replace: 'if (this.#options.auth === null || this.#links > 2) {\n      this.#dial(step);',
  },
  {
    name: 'a bare welcome resets the backoff',
    file: 'retry.ts',
    find: '    this.#stableAt = now + this.#options.stableAfter;\n',
    replace: '    this.attempts = 0;\n    this.#stableAt = now + this.#options.stableAfter;\n',
  },
  {
    name: "the server's retryAfter is not heard",
    file: 'retry.ts',
    find: 'const wait = Math.max(asked, backoff(',
    replace: 'const wait = Math.max(0, backoff(',
  },
  {
    name: 'the jitter before the cap',
    file: 'backoff.ts',
    find: "return Math.max(1, ceiling + (jitter === 'none' ? 0 : jitter * roll));",
    replace: "return Math.min(limits.maxDelay, ceiling + (jitter === 'none' ? 0 : jitter * roll));",
  },
  {
    name: 'one question more for credentials',
    file: 'auth.ts',
    find: '    if (this.#asking !== null) return null;\n',
    replace: '',
  },
  {
    name: "credentials' deadline never comes",
    file: 'auth.ts',
    find: 'return Math.min(this.#asking?.until ?? NEVER, this.renewAt);',
    replace: 'return this.renewAt;',
  },
  {
    name: 'dead without a ping',
    file: 'liveness.ts',
    find: "      this.probe(now, buffered);\n      return 'ping';",
    replace: "      return 'dead';",
  },
  {
    name: 'silence is forgiven for ever',
    file: 'liveness.ts',
    find: "if (now < probe.deadline) return 'quiet';",
    replace: "if (now <= probe.deadline + 1e9) return 'quiet';",
  },
  {
    name: 'the flight limit is off by one',
    file: 'outbox.ts',
    find: "return next.kind === 'message' || this.#inFlight < this.#limits.maxInFlight;",
    replace: "return next.kind === 'message' || this.#inFlight <= this.#limits.maxInFlight;",
  },
  {
    name: 'what was forgotten stays in the line',
    file: 'outbox.ts',
    find: '    else this.#line.remove(entry);\n',
    replace: '    else if (entry.place % 7 !== 0) this.#line.remove(entry);\n',
  },
  {
    name: 'at-most-once of an earlier owner is written again',
    file: 'outbox.ts',
    find: "const spent = entry.delivery === 'at-most-once' && entry.session !== null;",
    replace: 'const spent = false;',
  },
  {
    name: 'another memory is as good',
    file: 'outbox.ts',
    find: 'const forgotten = entry.session !== null && entry.session !== session;',
    replace: 'const forgotten = entry.session !== null && session === null;',
  },
  {
    name: 'repeats go to the end of the line',
    file: 'outbox.ts',
    find: 'this.#line.insert(entry, (other) => other.place > entry.place);',
    replace: 'this.#line.push(entry);',
  },
  {
    name: 'a request is written before it is stored',
    file: 'ledger.ts',
    find: "    if (this.#state !== 'open') return true;\n",
    replace: '    return true;\n',
  },
  {
    name: 'a request is written under a memory that is not stored',
    file: 'ledger.ts',
    find: 'return this.#durable.get(requestId) === (session ?? this.#session);',
    replace: 'return this.#durable.has(requestId) || session !== session;',
  },
  {
    name: 'what has ended stays stored',
    file: 'ledger.ts',
    find: 'if (wasStored || wasTried || !this.isReady) drops.add(requestId);',
    replace: 'if (wasTried || !this.isReady) drops.add(requestId);',
  },
  {
    name: 'a write that failed is forgotten',
    file: 'ledger.ts',
    find: '    this.#page = merged(this.#underWay.page, this.#page);\n',
    replace: '',
  },
  {
    name: 'two writes at a time',
    file: 'ledger.ts',
    find: '|| this.#underWay !== null || isBlank',
    replace: '|| isBlank',
  },
  {
    name: 'a storage that says nothing is waited for',
    file: 'ledger.ts',
    find: 'return this.#underWay !== null && now >= this.#underWay.until ? this.#writes : null;',
    replace: 'return null;',
  },
  {
    name: 'what an earlier owner wrote counts as never written',
    file: 'outbox.ts',
    find: '    entry.session = session;\n',
    replace: '',
  },
  {
    name: 'written and never written are the same',
    file: 'outbox.ts',
    find: "    entry.session ??= this.#session ?? '';\n",
    replace: '    entry.session ??= this.#session;\n',
  },
  {
    name: 'timeouts run without a link',
    file: 'outbox.ts',
    find: '      entry.deadline = NEVER;\n      const twice',
    replace: '      const twice',
  },
  {
    name: "another user's requests stay",
    file: 'lifecycle.ts',
    find: 'if (this.#owner !== undefined && this.#owner !== user) this.#delivery.disown(step);',
    replace: "if (this.#owner === undefined && user === '') this.#delivery.disown(step);",
  },
  {
    name: 'pauses are shortened',
    file: 'pace.ts',
    find: 'this.#heldUntil = Math.max(this.#heldUntil, until);',
    replace: 'this.#heldUntil = until;',
  },
  {
    name: 'rounding spins the pace',
    file: 'pace.ts',
    find: 'Math.max(1, ((1 - this.#tokens) * 1_000) / this.#rate)',
    replace: '((1 - this.#tokens) * 1_000) / this.#rate',
  },
  {
    name: 'a hole goes unnoticed',
    file: 'inbox.ts',
    find: 'if (event.seq > room.seq + 1) return this.#missing(event, room, step);',
    replace: 'if (event.seq > room.seq + 2) return this.#missing(event, room, step);',
  },
  {
    name: 'duplicates come through',
    file: 'inbox.ts',
    find: 'if (event.seq <= room.seq) {',
    replace: 'if (event.seq < room.seq) {',
  },
  {
    name: 'eventIds are not remembered',
    file: 'inbox.ts',
    find: '    this.#seen.add(key);\n',
    replace: '',
  },
  {
    name: 'the cursor runs ahead of the listeners',
    file: 'inbox.ts',
    find: '      room.given.push(event);\n',
    replace: '      room.given.push(event);\n      room.cursor = event.eventId;\n',
  },
  {
    name: 'events pass an open gap',
    file: 'inbox.ts',
    find: 'if (room !== undefined && gap !== null) {',
    replace: 'if (room !== undefined && gap !== null && gap.failures === 0) {',
  },
  {
    name: 'what was held is given backwards',
    file: 'inbox.ts',
    find: 'for (const event of gap.held.slice(contained + 1)) this.#give',
    replace: 'for (const event of gap.held.slice(contained + 1).reverse()) this.#give',
  },
  {
    name: 'onGap may hang',
    file: 'inbox.ts',
    find: 'until: step.now + HEAL_TIMEOUT',
    replace: 'until: step.now + 2 * HEAL_TIMEOUT',
  },
  {
    name: 'an overtaken join is an answer',
    file: 'rooms.ts',
    find: '    if (room.answers > 0) return false;\n',
    replace: '',
  },
  {
    name: 'a leave is forgotten',
    file: 'rooms.ts',
    find: "if (onLink !== 'absent') leaves.push(name);",
    replace: "if (onLink === 'moved') leaves.push(name);",
  },
  {
    name: 'a join during a dial is forgotten',
    file: 'rooms.ts',
    find: "      room.onLink = !asked ? 'absent' : moved ? 'moved' : 'joining';",
    replace: "      room.onLink = moved ? 'moved' : 'joining';",
  },
  {
    name: 'joins are answered before their room is caught up',
    file: 'rooms.ts',
    find: 'return room.caughtUp && room.gap === null;',
    replace: 'return room.caughtUp;',
  },
  {
    name: 'writes to a link that is closing',
    file: 'session.ts',
    find: "if (frames.length > 0) step.out.push({ order: 'transmit', link, frames });",
    replace:
      "if (frames.length > 0) step.out.push({ order: 'transmit', link: Math.max(1, link - (frames.length > 2 ? 1 : 0)), frames });",
  },
  {
    name: 'another state object each time',
    file: 'session.ts',
    find: 'if (old !== null && isSame(old, next)) return old;',
    replace: 'if (old !== null && old.queued === 0 && isSame(old, next)) return old;',
  },
  {
    name: 'closed, and a request is taken',
    file: 'session.ts',
    find: "if (this.#lifecycle.phase.name !== 'closed') {\n      this.#delivery.ask",
    replace: "if (this.#lifecycle.phase.name !== 'closing') {\n      this.#delivery.ask",
  },
];

const sound = await play(undefined, end);
if (sound !== null) throw new Error(`The machine breaks ${sound.message} as it stands.`);

let missed = 0;
console.log('stories   broken  plant');
for (const { name, ...plant } of plants.filter((one) => one.name.includes(values.only))) {
  const failure = await play(plant, end);
  const needed = failure === null ? 'none' : (failure.sequence + 1).toLocaleString('en');
  console.log(`${needed.padStart(7)}   ${failure?.id ?? 'MISSED'}     ${plant.file}: ${name}`);
  if (failure === null) missed++;
}
console.log(`${plants.length} plants, ${missed} missed`);
process.exitCode = missed === 0 ? 0 : 1;

async function play(plant: Plant | undefined, stories: number) {
  const machine = await openMachine(plant);
  const { failure } = await machine.run({ seed, first: 0, end: stories, facts: 60 });
  await machine.close();
  return failure;
}
