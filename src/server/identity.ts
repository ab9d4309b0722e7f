/** Who a client is, and what it may do: the application's answers, under a deadline. */
import { createHash } from 'node:crypto';
import { validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { ErrorBody } from '../protocol/frame.js';
import type { Core } from './core.js';
import { Abort, DeadlinePassed, within } from './deadline.js';
import { errorBody, failure, isDeliberate, unauthorized } from './failure.js';
import type { AuthorizeInput } from './options.js';
import type { WireRequest } from './wire.js';

export interface Identity {
  readonly user: unknown;
  /** The opaque key of the user. */
  readonly key: string;
  /** Without `authenticate` nobody has an identity to tell. */
  readonly isNamed: boolean;
  /** Milliseconds from now. */
  readonly expiresIn: number | undefined;
}

export interface Credentials {
  readonly auth: unknown;
  readonly clientId: string;
  readonly request: WireRequest;
  readonly abort: Abort;
}

/** @throws HoldfastError that may be told to the client as it is. */
export async function identify(core: Core, credentials: Credentials): Promise<Identity> {
  try {
    return await ask(core, credentials);
  } catch (error) {
    if (isDeliberate(error)) throw error;
    const isOver = credentials.abort.aborted && !(error instanceof DeadlinePassed);
    if (!isOver) core.report(error, 'authenticate');
    throw failure('SERVER_ERROR', 'The server could not check the credentials. Try again.', {
      retryable: true,
    });
  }
}

async function ask(core: Core, { auth, clientId, request, abort }: Credentials): Promise<Identity> {
  const { authenticate, credentials, userKey, limits } = core.settings;
  if (authenticate === undefined) {
    const key = digest(clientId);
    return { user: key, key, isNamed: false, expiresIn: undefined };
  }
  let checked = auth;
  if (credentials !== undefined) {
    try {
      checked = validate(credentials, auth, '`auth`');
    } catch {
      throw unauthorized('`auth` does not have the shape that this server expects.');
    }
  }
  const input = {
    auth: checked,
    request,
    get signal() {
      return abort.signal;
    },
  };
  const deadline = { clock: core.clock, ms: limits.helloTimeout, abort };
  const { user, expiresIn } = authenticated(await within(deadline, () => authenticate(input)));
  return { user, key: userKey(user), isNamed: true, expiresIn };
}

/** @throws TypeError, RangeError that tell the application what it answered with, but no user of it. */
function authenticated(answer: unknown): Pick<Identity, 'user' | 'expiresIn'> {
  const isAnswer = typeof answer === 'object' && answer !== null && 'user' in answer;
  if (!isAnswer || answer.user === undefined || answer.user === null) {
    const kind = answer === null ? 'null' : typeof answer;
    const said = isAnswer || kind === 'object' ? 'an object without a user' : kind;
    throw new TypeError(`authenticate must return { user, expiresIn? }, it returned ${said}.`);
  }
  const expiresIn = 'expiresIn' in answer ? answer.expiresIn : undefined;
  if (expiresIn === undefined) return { user: answer.user, expiresIn };
  if (typeof expiresIn === 'number' && Number.isFinite(expiresIn) && expiresIn > 0) {
    return { user: answer.user, expiresIn };
  }
  throw new RangeError(
    `authenticate must return expiresIn as milliseconds above 0, or leave it out, not ${String(expiresIn)}.`,
  );
}

/**
 * Undefined where the application allows it, else what to tell the client.
 * @param parent ends the question when whoever asked is gone.
 */
export async function authorize(
  core: Core,
  parent: Abort,
  who: Omit<AuthorizeInput<unknown>, 'signal'>,
): Promise<ErrorBody | undefined> {
  const { authorizeRoom, limits } = core.settings;
  if (authorizeRoom === undefined) return undefined;
  const abort = new Abort();
  const forget = parent.onAbort((reason) => abort.abort(reason));
  const input = {
    ...who,
    get signal() {
      return abort.signal;
    },
  };
  const deadline = { clock: core.clock, ms: limits.helloTimeout, abort };
  try {
    if (await within(deadline, () => authorizeRoom(input))) return undefined;
    const verb = who.action === 'join' ? 'join' : `send a ${who.action} in`;
    return errorBody(new HoldfastError('FORBIDDEN', `You may not ${verb} the room "${who.room}".`));
  } catch (error) {
    if (isDeliberate(error)) return errorBody(error);
    if (parent.aborted) return serverError(true);
    core.report(error, `authorizeRoom for the room "${who.room}"`);
    return serverError(true);
  } finally {
    forget();
  }
}

/** What a client is told of an error that is none of its business. */
export function serverError(retryable: boolean): ErrorBody {
  return {
    code: 'SERVER_ERROR',
    message: 'The server failed. Its log says why.',
    retryable,
  };
}

/** A stable name that does not tell what it was made of: a clientId is a credential. */
export function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 32);
}
