/** `npm run demo`: a room in the browser, or the same without one. */
import { type Command, help, parseFlags } from './flags.ts';
import { runHeadless } from './headless.ts';
import { complaints, table } from './judge.ts';
import { serveRoom } from './site.ts';
import { wire } from './wires.ts';

const command = commandLine();
if (command?.run === 'help') console.log(help);
if (command?.run === 'page') await page();
if (command?.run === 'headless') await headless(command);

function commandLine(): Command | undefined {
  try {
    return parseFlags(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exitCode = 2;
    return undefined;
  }
}

async function page(): Promise<void> {
  const site = await serveRoom();
  console.log(`The room is open: ${site.url}\nBreak it as you like. Ctrl-C ends it.`);
  onInterrupt(() => void site.close());
}

async function headless(command: Command & { run: 'headless' }): Promise<void> {
  const { seconds, seed, transport } = command;
  const interrupted = new AbortController();
  const forget = onInterrupt(() => interrupted.abort());
  console.log(`Four clients over ${transport}, ${seconds} s of faults, --seed ${seed}`);
  try {
    const { signal } = interrupted;
    const report = await runHeadless({
      seconds,
      seed,
      signal,
      transport: (doors) => wire(transport, doors),
      print: (line) => console.log(line),
    });
    const found = complaints(report);
    console.log(`\n${table(report)}\n`);
    for (const complaint of found) console.error(`FAILED: ${complaint}`);
    if (found.length === 0) console.log('Nothing lost, nothing doubled, all in order.');
    else
      console.error(
        `Again: npm run demo -- --headless --transport ${transport} --seconds ${seconds} --seed ${seed}`,
      );
    process.exitCode = found.length === 0 ? 0 : 1;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    console.log('Interrupted: no verdict.');
    process.exitCode = 130;
  } finally {
    forget();
  }
}

function onInterrupt(end: () => void): () => void {
  process.once('SIGINT', end).once('SIGTERM', end);
  return () => process.off('SIGINT', end).off('SIGTERM', end);
}
