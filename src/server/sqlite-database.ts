/** A thin hold on one open database: statements prepared once, columns checked as they are read. */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';

export type Row = Record<string, SQLOutputValue>;

export class Database {
  readonly #sqlite: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(sqlite: DatabaseSync) {
    this.#sqlite = sqlite;
  }

  /** Several statements, or such as return nothing. */
  exec(sql: string): void {
    this.#sqlite.exec(sql);
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** One row after the other: whoever has enough stops. */
  rows(sql: string, ...values: SQLInputValue[]): Iterable<Row> {
    return this.#statement(sql).iterate(...values);
  }

  /** Answers with how many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** The id that the new row was given. */
  insert(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).lastInsertRowid);
  }

  close(): void {
    this.#statements.clear();
    this.#sqlite.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#sqlite.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** @throws TypeError where the column holds something else: somebody wrote to our tables. */
export function int(value: SQLOutputValue | undefined): number {
  if (typeof value === 'number') return value;
  throw new TypeError(`A number was expected in a column, not ${typeof value}.`);
}

/** @throws TypeError where the column holds something else: somebody wrote to our tables. */
export function text(value: SQLOutputValue | undefined): string {
  if (typeof value === 'string') return value;
  throw new TypeError(`Text was expected in a column, not ${typeof value}.`);
}

/** A name as SQLite can keep it: as UTF-8, which has no lone surrogates. */
export function packed(name: string): string {
  return name.startsWith('\0') || /\p{Surrogate}/u.test(name) ? `\0${JSON.stringify(name)}` : name;
}

/** Undoes {@link packed}. */
export function unpacked(name: string): string {
  if (!name.startsWith('\0')) return name;
  const parsed: unknown = JSON.parse(name.slice(1));
  return typeof parsed === 'string' ? parsed : name;
}
