/** The part of a WebSocket that the transports use, the same in browsers and in Node. */
export interface Socket {
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Bytes accepted by `send` and not yet handed to the network. */
  readonly bufferedAmount: number;
  /** The subprotocol the server chose, or "". */
  readonly protocol: string;
  /** What was answered in place of a WebSocket, once it is closed. Node only: browsers hide it. */
  readonly refusal?: Refusal | undefined;
  onopen: (() => void) | null;
  /** Text comes as a string, bytes as an ArrayBuffer. */
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: ((event: { readonly message?: string }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
}

/** An HTTP response that is no upgrade. */
export interface Refusal {
  readonly status: number;
  /** Milliseconds, from its `Retry-After`. */
  readonly retryAfter: number | undefined;
  /** It came with HTML, a page for people. */
  readonly isPage: boolean;
}

/** What only some platforms can do with the handshake; the others ignore it. */
export interface SocketOptions {
  /** Request headers of the handshake. Node only: browsers do not let a page set them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Offers compression. Node only: browsers always offer it. @default false */
  readonly perMessageDeflate?: boolean | undefined;
}
