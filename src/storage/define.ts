/** `holdfast/storage`: what it takes to bring a storage of your own. */
import type { ClientStorage, StorageAdapter } from '../client/storage.js';
import { Ledger } from '../machine/ledger.js';

export {
  type ClientStorage,
  LINKS_PER_OWNER,
  type Slot,
  type StorageAdapter,
  type StorageHost,
} from '../client/storage.js';
export type { Saved, SavedRequest } from '../machine/fact.js';
export type { Changes } from '../machine/order.js';

/** Makes an adapter what the option `outbox.storage` takes. */
export function defineStorage(adapter: StorageAdapter): ClientStorage {
  return { name: adapter.name, open: (host) => adapter.open(host), ledger: () => new Ledger() };
}
