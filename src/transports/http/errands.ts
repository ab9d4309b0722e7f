/** Requests and messages, which go up by POST: line by line, and what waits of a line goes together. */

import type { HoldfastError } from '../../protocol/errors.js';
import type { Garbled, ServerFrame } from '../../protocol/frame.js';
import { byteLength } from '../../protocol/wire.js';
import { type Answer, answerOf, type Call, failed, isObject, JSON_TYPE } from './call.js';
import { later } from './later.js';

export interface ErrandHost {
  readonly call: Call;
  readonly signal: AbortSignal;
  /** Who sends them, as of now. */
  head(): object;
  /** Bytes of one POST's frames. */
  most(): number;
  /** How long a POST may go without its answer, in ms: its connection may be dead, and the link's alive. */
  patience(): number;
  heard(frame: ServerFrame | Garbled): void;
  ended(fault: HoldfastError): void;
}

interface Errand {
  readonly wire: string;
  readonly bytes: number;
  /** Of a request; a message has none. */
  readonly requestId: unknown;
}

interface Line {
  readonly waiting: Errand[];
  /** One was refused with others beside it: they go one by one until it is found. */
  isSingle: boolean;
}

export interface Errands {
  put(wire: string): void;
  /** Bytes not yet handed to `fetch`. */
  readonly waiting: number;
}

export function errandsOf(host: ErrandHost): Errands {
  const { call, signal } = host;
  const lines = new Map<unknown, Line>();
  let waiting = 0;

  async function run(room: unknown, line: Line): Promise<void> {
    // What comes in one call goes together.
    await Promise.resolve();
    try {
      while (line.waiting.length > 0 && !signal.aborted) await post(line, batchOf(line));
      lines.delete(room);
    } catch (thrown) {
      host.ended(failed(thrown));
    }
  }

  function batchOf({ isSingle, waiting: all }: Line): Errand[] {
    let bytes = 0;
    let count = 0;
    for (const errand of all) {
      bytes += errand.bytes;
      if (count > 0 && (isSingle || bytes > host.most())) break;
      count++;
      waiting -= errand.bytes;
    }
    return all.splice(0, count);
  }

  function putBack(line: Line, batch: Errand[]): void {
    line.waiting.unshift(...batch);
    for (const { bytes } of batch) waiting += bytes;
  }

  /** Undefined where no answer came in time. */
  async function exchange(body: string): Promise<Answer | undefined> {
    const own = new AbortController();
    const end = () => own.abort();
    const stop = later(host.patience(), end);
    signal.addEventListener('abort', end);
    try {
      const init = { method: 'POST', headers: JSON_TYPE, body, signal: own.signal };
      return await answerOf(await call(init));
    } catch (thrown) {
      if (signal.aborted || !own.signal.aborted) throw thrown;
      return undefined;
    } finally {
      stop();
      signal.removeEventListener('abort', end);
    }
  }

  async function post(line: Line, batch: Errand[]): Promise<void> {
    const head = JSON.stringify(host.head()).slice(0, -1);
    const body = `${head},"frames":[${batch.map(({ wire }) => wire).join()}]}`;
    const answer = await exchange(body);
    if (answer === undefined) {
      // Requests run once, however often they are asked; a message may have arrived.
      putBack(
        line,
        batch.filter(({ requestId }) => requestId !== undefined),
      );
      return;
    }
    const { frames, error, fault } = answer;
    for (const frame of frames) host.heard(frame);
    if (fault === undefined) return;
    const { code, message, retryAfter } = fault;
    // A bare status concerns what was posted; in a frame of ours UNAUTHORIZED is about the client.
    if (!excused.test(code) || (error !== undefined && code === 'UNAUTHORIZED')) throw fault;
    const isCulprit = batch.length === 1 || !guilty.test(code);
    if (!isCulprit) {
      line.isSingle = true;
      putBack(line, batch);
      return;
    }
    for (const { requestId } of batch) {
      if (typeof requestId !== 'string') continue;
      const body = { code, message, ...(retryAfter !== undefined && { retryAfter }) };
      host.heard({ kind: 'response', requestId, success: false, error: body });
    }
  }

  return {
    put(wire) {
      const frame: unknown = JSON.parse(wire);
      const { room, requestId } = isObject(frame) ? frame : {};
      const bytes = byteLength(wire);
      waiting += bytes;
      const line = lines.get(room) ?? { waiting: [], isSingle: false };
      line.waiting.push({ wire, bytes, requestId });
      if (lines.has(room)) return;
      lines.set(room, line);
      void run(room, line);
    },
    get waiting() {
      return waiting;
    },
  };
}

/** Refusals of what was posted: nothing of it ran, and the link goes on. */
const excused = /^(TOKEN_EXPIRED|UNAUTHORIZED|RATE_LIMITED|INVALID_PAYLOAD|MESSAGE_TOO_LARGE)$/;

/** Those that one of several may have earned for all. */
const guilty = /^(INVALID|MESSAGE)/;
