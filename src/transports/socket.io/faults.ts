/** What socket.io-client says of refusals and lost connections, as errors of ours. */
import { closeFault, HoldfastError, statusFault } from '../../protocol/errors.js';
import { serverFrame } from '../../protocol/guard.js';
import { fieldsOf } from './fields.js';

/** RFC 6455: the frame was too large. */
const TOO_LARGE = 1009;

/** A `connect_error`: the server's middleware refused with `data`, or there is no connection. */
export function refusal(error: unknown): HoldfastError {
  const { message, data, description, context } = fieldsOf(error);
  const said = serverFrame({ kind: 'error', error: { message, ...fieldsOf(data) } });
  if (said.kind === 'error') return HoldfastError.from(said.error);
  // Long polling alone tells how it was answered.
  if (typeof description === 'number' && description > 0) {
    const { getResponseHeader } = fieldsOf(context);
    const type: unknown =
      typeof getResponseHeader === 'function'
        ? getResponseHeader.call(context, 'content-type')
        : '';
    return statusFault({ status: description, isPage: String(type).includes('text/html') });
  }
  return new HoldfastError(
    'CONNECTION_FAILED',
    `Socket.IO refused, or cannot be reached: ${message}.`,
    { isRemote: 'data' in fieldsOf(error) },
  );
}

/** A `disconnect`: a close code where the wire had one. */
export function ending(reason: string, about: unknown): HoldfastError {
  const { description, context } = fieldsOf(about);
  // What a proxy says of a POST that carried too much.
  const code = description === 413 ? TOO_LARGE : fieldsOf(context).code;
  if (typeof code === 'number') return closeFault(code, reason);
  return new HoldfastError('CONNECTION_FAILED', `Socket.IO was lost: ${reason}.`);
}
