/** The sources in one script, as an application's bundler makes it: for other processes and bare contexts. */
import path from 'node:path';
import { build } from 'esbuild';

const root = path.resolve(import.meta.dirname, '../..');

/**
 * @param code what the script does, with `holdfast`, `holdfast/websocket` and the storages to import from
 * @param external packages that stay outside
 */
export async function bundle(
  platform: 'browser' | 'node',
  code: string,
  external: string[] = [],
): Promise<string> {
  const source = (file: string) => path.join(root, 'src', file);
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: root, loader: 'ts' },
    bundle: true,
    external,
    write: false,
    platform,
    format: platform === 'node' ? 'cjs' : 'iife',
    globalName: 'script',
    target: 'es2022',
    logLevel: 'error',
    alias: {
      '#platform': source(`platform/${platform}.ts`),
      holdfast: source('index.ts'),
      'holdfast/websocket': source('transports/websocket.ts'),
      'holdfast/fallback': source('transports/fallback.ts'),
      'holdfast/sse': source('transports/sse.ts'),
      'holdfast/polling': source('transports/polling.ts'),
      'holdfast/message-pack': source('protocol/message-pack.ts'),
      'holdfast/drop-in': source('drop-in/reconnecting-web-socket.ts'),
      'holdfast/storage/indexed-db': source('storage/indexed-db.ts'),
      'holdfast/storage/sqlite': source('storage/sqlite.ts'),
    },
  });
  const [script] = outputFiles;
  if (script === undefined) throw new Error('esbuild wrote nothing.');
  return script.text;
}
