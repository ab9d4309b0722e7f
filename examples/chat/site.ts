export async function serveRoom(): Promise<{ url: string; close(): Promise<void> }> { throw new Error('later'); }
