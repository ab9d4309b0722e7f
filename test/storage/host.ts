/** What storages are lent and told, in tests. */
import { ids, VIRTUAL_EPOCH } from 'holdfast/testing';
import type { StorageHost } from '../../src/client/storage.js';
import type { SavedRequest } from '../../src/machine/fact.js';
import type { Changes } from '../../src/machine/order.js';
import type { HoldfastError } from '../../src/protocol/errors.js';

export interface TestHost extends StorageHost {
  readonly reports: HoldfastError[];
}

export function storageHost(id = ids()): TestHost {
  const reports: HoldfastError[] = [];
  return { id, date: () => VIRTUAL_EPOCH, report: (error) => reports.push(error), reports };
}

export function changes(about: Partial<Changes>): Changes {
  return { puts: [], stamps: [], drops: [], cursors: [], ...about };
}

export function request(requestId: string, about: Partial<SavedRequest> = {}): SavedRequest {
  return {
    requestId,
    type: 'note:add',
    room: undefined,
    wire: `{"kind":"request","requestId":"${requestId}"}`,
    delivery: 'exactly-once',
    timeout: 30_000,
    expiresAt: Number.POSITIVE_INFINITY,
    coalesceKey: undefined,
    session: null,
    ...about,
  };
}
