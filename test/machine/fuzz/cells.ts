/** How often each fact came in each phase. Plain Node imports this file, hence the suffixes. */
import { phases } from '../scene.ts';
import { kinds } from '../table.ts';

/** The counts as a table, and the cells that were never met. `cells` is by `phase fact`. */
export function cellTable(cells: Record<string, number>): { shown: string; missing: string[] } {
  const count = (phase: string, fact: string) => cells[`${phase} ${fact}`] ?? 0;
  const line = (first: string, rest: readonly (string | number)[]) =>
    first.padEnd(18) + rest.map((one) => String(one).padStart(9)).join('');
  const counts = (fact: string) => phases.map((phase) => count(phase, fact));
  const rows = kinds.map((fact) => line(fact, counts(fact)));
  const missing = phases.flatMap((phase) =>
    kinds.filter((fact) => count(phase, fact) === 0).map((fact) => `${phase} ${fact}`),
  );
  return { shown: [line('', phases), ...rows].join('\n'), missing };
}
