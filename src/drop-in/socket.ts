/** The sockets underneath: what is used of them, and what they are given. */

/** What a WebSocket can send. */
export type Message = string | ArrayBufferLike | Blob | ArrayBufferView;

/** What it receives; `ws` may be asked for buffers. */
export type InnerData = string | Blob | ArrayBuffer | Uint8Array<ArrayBuffer>;

/** The part of a WebSocket that is used: of the platform's, and of one that the application brings. */
export interface InnerSocket {
  readonly readyState: number;
  readonly bufferedAmount: number;
  readonly protocol: string;
  readonly extensions?: string;
  readonly url?: string;
  binaryType?: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: InnerData; readonly origin?: string }) => void) | null;
  onerror: ((event: Failure) => void) | null;
  onclose: ((event: End) => void) | null;
  send(data: Message): void;
  close(code?: number, reason?: string): void;
}

/** Browsers say neither. */
export interface Failure {
  readonly message?: string;
  readonly error?: unknown;
}

export interface End {
  readonly code: number;
  readonly reason: string;
  readonly wasClean?: boolean;
}

/** It is not heard again, and opens for nobody. An error still finds a listener: without one, `ws` throws it. */
export function abandon(socket: InnerSocket, code?: number, reason?: string): void {
  socket.onopen = () => socket.close();
  socket.onmessage = null;
  socket.onclose = null;
  socket.onerror = () => {};
  try {
    if (socket.readyState < 2) socket.close(code, reason);
  } catch {
    // Some runtimes throw for a socket that is not open yet; it is closed when it opens.
  }
}

/** A socket takes bytes as they are when they are sent; those that wait must not change meanwhile. */
export function copyOf(data: Message): Message {
  if (typeof data === 'string') return data;
  if (!ArrayBuffer.isView(data)) return data.slice(0);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}

/** In bytes. The codec of the protocol counts text too, but brings the check of every frame along. */
export function sizeOf(data: Message): number {
  if (typeof data !== 'string') return 'size' in data ? data.size : data.byteLength;
  let bytes = 0;
  for (const character of data) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}
