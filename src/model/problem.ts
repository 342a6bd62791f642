/** One thing that is wrong with what a user wrote, said so that it can be found and mended. */
export interface Problem {
  readonly file?: string;
  /** `HTTPRoute default/cart`. */
  readonly object?: string;
  /** `spec.rules[0].matches[1].path.value`; empty for the object as a whole. */
  readonly path: string;
  /** From 1. */
  readonly line?: number;
  readonly column?: number;
  /** What was found and what was expected. */
  readonly message: string;
}

/** `mesh.yaml:12:9: HTTPRoute default/cart: spec.rules[0].matches: ...`. */
export function formatProblem({ file, line, column, object, path, message }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  return [place, object, path]
    .filter((part) => part !== undefined && part !== '')
    .concat(message)
    .join(': ');
}
