/** Each bundler as an application would configure it for the browser: not at all. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';
import { createLogger, build as viteBuild } from 'vite';
import webpack from 'webpack';

interface Bundle {
  code: string;
  warnings: string[];
}

export const bundlers: Record<string, (project: string, entry: string) => Promise<Bundle>> = {
  async esbuild(project, entry) {
    const { outputFiles, warnings } = await esbuild.build({
      absWorkingDir: project,
      entryPoints: [entry],
      bundle: true,
      minify: true,
      format: 'esm',
      write: false,
      logLevel: 'silent',
    });
    return { code: outputFiles[0]?.text ?? '', warnings: warnings.map(({ text }) => text) };
  },

  async vite(project, entry) {
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    const customLogger = { ...createLogger('silent'), warn, warnOnce: warn };
    const result = await viteBuild({
      root: project,
      configFile: false,
      logLevel: 'silent',
      customLogger,
      build: { write: false, rollupOptions: { input: path.join(project, entry) } },
    });
    const outputs = [result].flat().flatMap((part) => ('output' in part ? part.output : []));
    const code = outputs.map((file) => ('code' in file ? file.code : '')).join('\n');
    return { code, warnings };
  },

  async webpack(project, entry) {
    const output = { path: path.join(project, 'packed'), filename: 'page.js' };
    const stats = await new Promise<webpack.Stats | undefined>((resolve, reject) => {
      webpack(
        { mode: 'production', context: project, entry: `./${entry}`, output },
        (error, done) => (error ? reject(error) : resolve(done)),
      );
    });
    const { errors = [], warnings = [] } = stats?.toJson({ errors: true, warnings: true }) ?? {};
    const [error] = errors;
    if (error !== undefined) throw new Error(error.message);
    const code = readFileSync(path.join(output.path, output.filename), 'utf8');
    return { code, warnings: warnings.map(({ message }) => message) };
  },
};
