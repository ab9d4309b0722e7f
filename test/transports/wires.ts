/** Every wire of this package: how it is played, and what it cannot do. */
import type { Server } from 'node:http';
import type { Transport } from 'holdfast';
import { fallback } from 'holdfast/fallback';
import { messagePack } from 'holdfast/message-pack';
import { polling } from 'holdfast/polling';
import type { Hub } from 'holdfast/server';
import { socketIo } from 'holdfast/socket.io';
import { sse } from 'holdfast/sse';
import type { PromiseName, TransportStage } from 'holdfast/testing';
import { realStage } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { Server as SocketIoServer } from 'socket.io';
import { memoryStage } from '../testing/memory-stage.js';

export interface WireUnderTest {
  readonly name: string;
  readonly stage: () => TransportStage | Promise<TransportStage>;
  readonly less: Readonly<Partial<Record<PromiseName, string>>>;
}

const ws = (port: number) => `ws://127.0.0.1:${port}/realtime`;
const http = (port: number) => `http://127.0.0.1:${port}/realtime`;

export const wires: readonly WireUnderTest[] = [
  { name: 'memory', stage: () => memoryStage(), less: {} },
  real('websocket', (port) => webSocket(ws(port))),
  real('websocket, MessagePack', (port) => webSocket(ws(port), { codec: messagePack() })),
  socket('websocket'),
  socket('polling'),
  real('sse', (port) => sse(http(port))),
  real('long polling', (port) => polling(http(port), { wait: 1_000 })),
  real('plain polling', (port) => polling(http(port), { interval: 700 }), {
    push: 'it asks once in an interval',
  }),
  real('fallback', (port) =>
    fallback([webSocket(ws(port)), sse(http(port))], { headStart: 300, store: false }),
  ),
];

function real(
  name: string,
  transport: (port: number) => Transport,
  less: WireUnderTest['less'] = {},
): WireUnderTest {
  return { name, stage: () => realStage({ attach, transport }), less };
}

function socket(wire: 'websocket' | 'polling'): WireUnderTest {
  const stage = () => {
    const homes: SocketIoServer['engine'][] = [];
    return realStage({
      attach(hub, server) {
        const io = new SocketIoServer(server, { maxHttpBufferSize: 2_000_000 });
        const detach = hub.attachSocketIO(io);
        homes.push(io.engine);
        stick(server, homes);
        return () => {
          detach();
          io.engine.close();
        };
      },
      transport: (port) => socketIo(`http://127.0.0.1:${port}`, { transports: [wire] }),
    });
  };
  return { name: `socket.io over ${wire}`, stage, less: {} };
}

/** Sticky sessions: a poll goes to whoever opened its session, as Socket.IO wants it of a balancer. */
function stick(server: Server, homes: readonly SocketIoServer['engine'][]): void {
  const [own] = server.listeners('request');
  server.removeAllListeners('request').on('request', (request, response) => {
    const sid = new URL(request.url ?? '/', 'http://home').searchParams.get('sid') ?? '';
    const home = homes.find((one) => Object.hasOwn(Reflect.get(one, 'clients'), sid));
    if (home === undefined || home === homes.at(-1)) own?.call(server, request, response);
    else Reflect.get(home, 'handleRequest').call(home, request, response);
  });
}

/** Everything that goes over one HTTP server. */
function attach(hub: Hub, server: Server): () => void {
  server.on('request', hub.handleHttp.bind(hub));
  return hub.attachWebSocket(server);
}
