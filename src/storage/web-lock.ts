/** A Web Lock as something to hold: the browser drops it when its page or worker is gone. */

/** Lets go; resolves once somebody else may take it. Harmless twice. */
export type Release = () => Promise<void>;

/** Takes a lock, or says null where somebody holds it. */
export function holdWebLock(locks: LockManager, name: string): Promise<Release | null> {
  return new Promise((resolve, reject) => {
    const over = locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) return resolve(null);
      return new Promise<void>((letGo) => {
        resolve(async () => {
          letGo();
          await over;
        });
      });
    });
    over.catch(reject);
  });
}
