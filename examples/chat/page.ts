/** The page: a client in a room, and everything that can be seen of it. */
import { type ConnectionState, createClient, HoldfastError } from 'holdfast';
import { contract, LOBBY } from './contract.ts';
import { byId, show } from './page/elements.ts';
import { Figure } from './page/figure.ts';
import { Harms } from './page/harms.ts';
import { fetchHome, fetchToken } from './page/house.ts';
import { Log } from './page/log.ts';
import { Messages } from './page/messages.ts';
import { drawCounts, drawStatus } from './page/readings.ts';
import { chosenWire, drawWire } from './page/wire-choice.ts';
import { words } from './page/words.ts';
import { Tally } from './tally.ts';
import { wire } from './wires.ts';

/** Milliseconds between two requests whose answer time is drawn. */
const ECHO_PACE = 500;
/** Echoes that may wait for their answer: more of them would only crowd the picture. */
const ECHOES_OPEN = 120;

const home = await fetchHome();
const wireName = chosenWire();
const log = new Log();
const messages = new Messages();
const figure = new Figure(byId('figure', HTMLCanvasElement));
const tally = new Tally(home.number + 1);
const readings = { published: home.number, gaps: 0, note: '' };
let token: string | undefined;
let said = 0;

const client = createClient({
  contract,
  transport: wire(wireName, home.doors),
  auth: async ({ reason, signal }) => {
    if (token === undefined || reason === 'expired') {
      if (token !== undefined) log.add('A fresh token is fetched.');
      await signIn({}, signal);
    }
    return { token };
  },
  onGap: async ({ room, reason, signal }) => {
    if (room !== LOBBY) return undefined;
    const { eventId, number, messages: history } = await fetchHome(signal);
    const missed = Math.max(0, number - tally.last);
    tally.excuse(number);
    readings.gaps++;
    messages.history(history);
    log.add(
      `Gap notice (${reason}): ${missed} events will not come; their sum was fetched.`,
      'wait',
    );
    return eventId;
  },
  // Shorter than the defaults: somebody sits here and watches.
  reconnect: { connectTimeout: 4_000, maxDelay: 4_000 },
});

const harms = new Harms({
  done(label) {
    figure.harmed(label);
    log.add(`You: ${label}.`, 'off');
  },
  heard: ({ number }) => {
    readings.published = number;
  },
});

client.on('feed:ticked', ({ number }) => {
  tally.take(number);
  figure.arrived(!client.state.synced);
});
client.on('message:said', (message, { timestamp }) => {
  messages.said(message, { at: timestamp, isLate: !client.state.synced });
});
client.onError((error) => log.add(error.message, 'wait'));
client.onState(follow());

messages.history(home.messages);
byId('composer', HTMLFormElement).addEventListener('submit', say);
byId('retry', HTMLButtonElement).addEventListener('click', () => client.reconnect());
byId('sign-in', HTMLButtonElement).addEventListener('click', () => void signInAgain());
setInterval(echo, ECHO_PACE);
requestAnimationFrame(draw);

void client.connect();
enterRoom();

/** From where the history ends. Again after a sign-in, where it was refused with the connection. */
function enterRoom(): void {
  const room = client.room(LOBBY);
  if (room.state === 'joining' || room.state === 'joined') return;
  void room.join({ since: home.eventId });
}

async function signIn(wish: { signIn?: boolean }, signal?: AbortSignal): Promise<void> {
  const issued = await fetchToken(token === undefined ? wish : { ...wish, old: token }, signal);
  token = issued.token;
  show(byId('me', HTMLElement), issued.name);
}

async function signInAgain(): Promise<void> {
  log.add('You: sign in again.');
  await signIn({ signIn: true });
  void client.connect();
  enterRoom();
}

interface Outage {
  readonly at: number;
  readonly replayed: number;
  readonly gaps: number;
}

/** Tells the figure and the log what changed, and how a recovery went. */
function follow(): (state: ConnectionState) => void {
  let outage: Outage | undefined;
  let told = 'Disconnected';
  return (state) => {
    const { tone, title, why } = words(state, Date.now());
    if (title === told) return;
    told = title;
    figure.entered(tone);
    const isNews = tone === 'off' || (title === 'Connection lost' && outage === undefined);
    if (isNews) log.add(`${title}. ${why}`, tone);
    if (tone === 'off' || tone === 'wait') {
      outage ??= {
        at: performance.now(),
        replayed: client.metrics().replayed,
        gaps: readings.gaps,
      };
      readings.note = '';
    } else if (tone === 'ok' && outage !== undefined) {
      readings.note = recovery(outage);
      log.add(readings.note, tone);
      outage = undefined;
    }
  };
}

function recovery({ at, replayed, gaps }: Outage): string {
  const took = ((performance.now() - at) / 1_000).toFixed(1);
  const metrics = client.metrics();
  if (metrics.reconnects === 0) return `Connected after ${took} s.`;
  if (readings.gaps > gaps) return `Back after ${took} s; what the server forgot was fetched.`;
  return `Back after ${took} s; ${metrics.replayed - replayed} missed events caught up.`;
}

function say(event: SubmitEvent): void {
  event.preventDefault();
  const input = byId('text', HTMLInputElement);
  const text = input.value.trim();
  if (text === '') return;
  input.value = '';
  const id = crypto.randomUUID();
  messages.sending({ id, text });
  said++;
  client.request('message:say', { text, number: said }, { room: LOBBY, requestId: id }).then(
    () => messages.settle(id, { state: 'acknowledged' }),
    (error: unknown) => messages.settle(id, { state: 'failed', why: reasonOf(error) }),
  );
}

function echo(): void {
  const { status, queued } = client.state;
  if (status === 'closed' || status === 'disconnected' || queued > ECHOES_OPEN) return;
  const answered = figure.asked();
  client.request('echo:ask', {}).then(answered, () => {});
}

function reasonOf(error: unknown): string {
  if (!(error instanceof HoldfastError)) return 'failed';
  if (error.code === 'NOT_SENT') return 'not sent';
  if (error.code === 'OUTCOME_UNKNOWN') return 'may have been said';
  return error.message;
}

function draw(now: number): void {
  const { state } = client;
  // The echoes are the page's own; nobody who looks at it has asked them.
  const queued = client.pending().filter(({ type }) => type !== 'echo:ask').length;
  drawStatus(state, { queued, note: readings.note });
  drawWire(state.transport);
  const wasIn = state.lastConnected !== null;
  drawCounts(tally, { ...client.metrics(), ...readings, wasIn, since: home.number });
  harms.draw(now);
  figure.draw(now);
  requestAnimationFrame(draw);
}
