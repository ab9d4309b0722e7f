/** `holdfast/storage`: what it takes to bring a storage of your own. */
import type { ClientStorage, StorageAdapter } from '../client/storage.js';
import { Ledger } from '../machine/ledger.js';
import { isSaved } from './shape.js';
import { storageFailed } from './slots.js';

export {
  type ClientStorage,
  LINKS_PER_OWNER,
  type Slot,
  type StorageAdapter,
  type StorageHost,
} from '../client/storage.js';
export type { Saved, SavedRequest } from '../machine/fact.js';
export type { Changes } from '../machine/order.js';

/** Makes an adapter what the option `outbox.storage` takes. What it says is saved is checked. */
export function defineStorage(adapter: StorageAdapter): ClientStorage {
  const { name } = adapter;
  return {
    name,
    async open(host) {
      const slot = await adapter.open(host);
      if (isSaved(slot.saved)) return slot;
      await slot.close();
      throw storageFailed(
        `The storage "${name}" gave a slot whose "saved" is not what it must be: clientId, link, user, requests and cursors, as they were written.`,
      );
    },
    ledger: () => new Ledger(),
  };
}
