/** A stage for transports over a MessagePort: what lies between the ports is in our hands. */
import type { Transport } from 'holdfast';
import { createHub, failure, type Hub, memoryJournal } from 'holdfast/server';
import type { TransportStage } from 'holdfast/testing';

/** The two ends, as docs/api.md has them. */
export interface PortWire {
  portTransport(open: () => MessagePort): Transport;
  servePort(hub: Hub, port: MessagePort): void;
}

export function portStage({ portTransport, servePort }: PortWire): TransportStage {
  const between = { ...healthy };
  const set = (change: Partial<typeof healthy>) => void Object.assign(between, change);
  const pairs = new Set<ReturnType<typeof relay>>();
  let serving: Hub | undefined;

  function open(): MessagePort {
    const [client, server] = [new MessageChannel(), new MessageChannel()];
    if (serving === undefined || between.refuses) client.port2.postMessage(null);
    else {
      const pair = relay(client.port2, server.port1, between);
      pairs.add(pair);
      servePort(serving, server.port2);
    }
    return client.port1;
  }

  const cut = () => {
    for (const pair of pairs) pair.cut();
    pairs.clear();
  };
  return {
    server: { createHub, failure, memoryJournal },
    transport: () => portTransport(open),
    serve(hub) {
      serving = hub;
      return () => {
        if (serving !== hub) return;
        serving = undefined;
        cut();
      };
    },
    network: {
      cut,
      refuse: () => set({ refuses: true }),
      blackHole: () => set({ holds: true }),
      slow: (bytesPerSecond) => set({ bytesPerSecond }),
      heal() {
        set(healthy);
        for (const pair of pairs) pair.flow();
      },
    },
    resources: () => process.getActiveResourcesInfo(),
    end: cut,
  };
}

const healthy = { refuses: false, holds: false, bytesPerSecond: Number.POSITIVE_INFINITY };

type Between = Readonly<typeof healthy>;

function relay(client: MessagePort, server: MessagePort, between: Between) {
  const lanes = [lane(client, server, between), lane(server, client, between)];
  return {
    flow() {
      for (const flow of lanes) flow();
    },
    cut() {
      for (const port of [client, server]) {
        port.onmessage = null;
        port.postMessage(null);
        port.close();
      }
    },
  };
}

/** One direction: its return lets go of what is held. */
function lane(from: MessagePort, to: MessagePort, between: Between): () => void {
  const waiting: unknown[] = [];
  let isBusy = false;
  const flow = () => {
    if (isBusy || between.holds || waiting.length === 0) return;
    isBusy = true;
    const next = waiting.shift();
    const done = () => {
      isBusy = false;
      to.postMessage(next);
      flow();
    };
    const takes = (String(next).length / between.bytesPerSecond) * 1_000;
    if (takes > 0) setTimeout(done, takes);
    else done();
  };
  from.onmessage = ({ data }) => {
    waiting.push(data);
    flow();
  };
  return flow;
}
