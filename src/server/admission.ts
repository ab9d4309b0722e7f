/** From `hello` to `welcome`: who is it, is there room, which link counts. */
import { HoldfastError } from '../protocol/errors.js';
import { type Hello, ME, type Terms, type Welcome } from '../protocol/frame.js';
import type { Core } from './core.js';
import type { Abort } from './deadline.js';
import { type Identity, identify } from './identity.js';
import { checkRooms } from './memberships.js';
import type { Seat } from './seat.js';
import type { Seats } from './seats.js';
import type { WireRequest } from './wire.js';

export interface Admission {
  readonly hello: Hello;
  readonly request: WireRequest;
  /** Of the connection. */
  readonly maxRooms: number;
  readonly abort: Abort;
  /** The connection was closed, or the hub leaves: nothing more is to be done. */
  readonly isOver: () => boolean;
  /** Takes the seat, in the same breath in which it was found free. */
  readonly enter: (admitted: Admitted) => void;
}

export interface Admitted {
  readonly seat: Seat;
  readonly identity: Identity;
  readonly welcome: Welcome;
}

/**
 * Calls `enter`, unless it is over.
 * @throws HoldfastError that refuses the connection.
 */
export async function admit(core: Core, seats: Seats, admission: Admission): Promise<void> {
  const { hello, request, abort, isOver } = admission;
  const { clientId, auth } = hello;
  checkRooms(core.settings.limits, hello.rooms);
  const kicks = seats.watchKicks();
  try {
    const identity = await identify(core, { auth, clientId, request, abort });
    if (!isOver()) await seated(core, seats, { ...admission, identity, kicked: kicks.of });
  } finally {
    kicks.over();
  }
}

interface Identified extends Admission {
  readonly identity: Identity;
  /** Credentials that were looked at before a kick do not count after it. */
  readonly kicked: (userKey: string) => HoldfastError | undefined;
}

async function seated(core: Core, seats: Seats, admission: Identified): Promise<void> {
  const { hello, identity, isOver, enter, kicked } = admission;
  const { clientId, link } = hello;
  refuseKicked(kicked(identity.key));
  let seat = seats.of(identity.key, clientId);
  try {
    // Asked before the journal too: a refused client should not leave its mark there.
    refuseOverLimit(core, seats, seat);
    const linked = await core.journal.link(seat.key, link);
    // The one from before may have been given up meanwhile, with the older link.
    seat = seats.of(identity.key, clientId);
    if (!linked.accepted || link < seat.link) throw superseded(link);
    if (!isOver() && !seats.isFull(seat) && kicked(identity.key) === undefined) {
      enter({ seat, identity, welcome: welcomeOf(core, admission, linked.session) });
      return;
    }
    // A wire that is opened anew has the link of the one that is still served.
    if (seat.peer === undefined || seat.link !== link) core.journal.unlink(seat.key, link);
    if (isOver()) return;
    refuseKicked(kicked(identity.key));
    refuseOverLimit(core, seats, seat);
  } finally {
    seats.emptied(seat);
  }
}

function welcomeOf(core: Core, { identity, maxRooms }: Identified, session: string): Welcome {
  const welcome: Welcome = {
    kind: 'welcome',
    connectionId: core.settings.environment.id(),
    session,
    terms: termsOf(core, identity, maxRooms),
  };
  if (identity.isNamed) welcome.user = identity.key;
  return welcome;
}

function termsOf(core: Core, { expiresIn }: Identity, maxRooms: number): Terms {
  const { heartbeat, limits, journal, retrySpread } = core.settings;
  const terms: Terms = {
    heartbeat,
    maxMessageSize: limits.maxMessageSize,
    messagesPerSecond: limits.messagesPerSecond,
    maxRooms,
    replayWindow: journal.replayWindow,
    requestWindow: journal.requestWindow,
    retrySpread,
  };
  if (expiresIn !== undefined) terms.authExpiresIn = expiresIn;
  return terms;
}

function refuseKicked(error: HoldfastError | undefined): void {
  if (error !== undefined) throw error;
}

function refuseOverLimit(core: Core, seats: Seats, seat: Seat): void {
  if (!seats.isFull(seat)) return;
  throw new HoldfastError(
    'TOO_MANY_CONNECTIONS',
    `This user has ${core.settings.limits.connectionsPerUser} clients connected, the limit. Close one first.`,
  );
}

function superseded(link: number): HoldfastError {
  return new HoldfastError('SUPERSEDED', `Link ${link} is older than one that is served already.`);
}

/** The rooms a hello asks for, its own first: joined whether it is named or not. */
export function wishesOf({ rooms }: Hello) {
  const own = rooms.find((wish) => wish.room === ME) ?? { room: ME };
  return [own, ...rooms.filter((wish) => wish.room !== ME)];
}
