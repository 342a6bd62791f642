/** Who may do what through the control plane's API: three roles, and what each lets its bearer do. Pure words; tokens are made in control/access/. */
import { limits } from './limits.ts';

export type Role =
  /** Reads everything. */
  | { readonly tag: 'reader' }
  /** Reads everything, and writes what lies in its namespaces, one to `limits.editorNamespacesMax` of them. */
  | { readonly tag: 'editor'; readonly namespaces: readonly string[] }
  /** Does everything: also makes and revokes tokens, and rotates the certificate authority. */
  | { readonly tag: 'admin' };

export type RoleName = Role['tag'];
export const roleNames = ['reader', 'editor', 'admin'] as const satisfies readonly RoleName[];

/** Each role may do what those before it may. */
export const isAtLeast = ({ tag }: Role, needed: RoleName): boolean =>
  roleNames.indexOf(tag) >= roleNames.indexOf(needed);

export function mayWriteIn(role: Role, namespace: string): boolean {
  switch (role.tag) {
    case 'reader':
      return false;
    case 'editor':
      return role.namespaces.includes(namespace);
    case 'admin':
      return true;
    default:
      return role satisfies never;
  }
}

/** `editor of shop, pay`. */
export const roleText = (role: Role): string =>
  role.tag === 'editor' ? `editor of ${role.namespaces.join(', ')}` : role.tag;

/**
 * A name of a token goes into the history as the one who made a change, so it can be no other author's: not that of the control plane's own
 * changes, not the one of who needed no token, and no id of another token.
 */
const ownAuthors: readonly string[] = ['anonymous', 'certificate-authority', 'registration'];
const tokenNamePattern = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
export const tokenIdPattern = /^[0-9a-f]{12}$/;

export const isTokenName = (text: string): boolean =>
  text.length <= limits.nameCharsMax &&
  tokenNamePattern.test(text) &&
  !tokenIdPattern.test(text) &&
  !ownAuthors.includes(text);

export const tokenNameExpected = `1 to ${limits.nameCharsMax} lower-case letters, digits, "-" and ".", not 12 hex digits, and not ${ownAuthors.join(', ')}`;
