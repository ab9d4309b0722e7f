/** What is said over a socket: the port between its life and the language of its server. */
import type { Socket } from 'socket.io-client';
import { isTextOnly } from '../../protocol/bytes.js';
import { jsonCodec } from '../../protocol/codec.js';
import type { HoldfastError } from '../../protocol/errors.js';
import type { ClientFrame, Garbled, Hello, ServerFrame } from '../../protocol/frame.js';
import { serverFrame } from '../../protocol/guard.js';
import { viewed } from './fields.js';

/** How a server is spoken to. Made by `ordinary()`; left out for holdfast's own. */
export interface SocketIoLanguage {
  /** Once for each transport: what outlives a link is remembered there. */
  begin(): (talk: Talk) => Speech;
}

/** What may be done with one socket. Nothing of it is heard any more once its link has ended. */
export interface Talk {
  readonly socket: Socket;
  received(frame: ServerFrame | Garbled): void;
  /** Gives the link up. */
  failed(fault: HoldfastError): void;
}

export interface Speech {
  /** A ping is answered by the server, at the price of a frame. */
  readonly pings: boolean;
  /** The handshake's `auth`. */
  greet(hello: Hello): object;
  /** The server has accepted the socket. */
  connected(): void;
  /** An event of Socket.IO: its name, then its arguments. */
  heard(event: readonly unknown[]): void;
  /** Only while the socket is connected. */
  say(frame: ClientFrame, text: string | undefined): void;
}

/** holdfast/1: whole frames, each as the one argument of an event or of an ack. */
export const holdfast: SocketIoLanguage = {
  begin:
    () =>
    ({ socket, received }) => {
      const heard = (frame: unknown) => received(frameOf(frame));
      return {
        pings: true,
        greet: (hello) => hello,
        connected() {},
        heard: ([, frame]) => heard(frame),
        say(frame, text = '') {
          const whole = isTextOnly(text) ? text : frame;
          if (frame.kind === 'request') socket.emit(frame.type, whole, heard);
          else socket.emit(frame.kind === 'message' ? frame.type : `holdfast:${frame.kind}`, whole);
        },
      };
    },
};

function frameOf(value: unknown): ServerFrame | Garbled {
  if (typeof value === 'string') return jsonCodec.decode(value);
  try {
    return serverFrame(viewed(value));
  } catch {
    return { kind: 'garbled', why: 'nested too deeply' };
  }
}
